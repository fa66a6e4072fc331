/** Paints, beside the page, which therefore never freezes. One request at a time. */

import { Network } from "./network";
import type { Answers, FromWorker, Kind, Message, Requests, ToWorker } from "./protocol";
import type { Gallery, Recipe } from "./gallery";
import { isOpaque } from "./photo";
import { fit, resize, toPixels, type Pixels } from "./resize";
import { samples, SIDE, tiles, type Box } from "./tiles";

/** The weight of earlier frames' statistics in the next one's: those of single frames would flicker. */
const DECAY = 0.9;

/** The photo at one size, and what the network loses of it when it is to leave it as it is. */
interface Prepared {
  width: number;
  height: number;
  planes: Float32Array;
  alpha: Float32Array | undefined;
  lost?: Float32Array;
}

let gallery: Gallery;
let address: string;
let network: Network;
let photo: Pixels | undefined;
let prepared: Prepared | undefined;
let running: { size: string; statistics: Float32Array } | undefined;

/** Says how much is done; throws an error if the request was given up. */
type Report = (done: number, total: number) => Promise<void>;

const actions: { [K in Kind]: (request: Requests[K], report: Report) => Promise<Answers[K]> } = {
  async load(request) {
    ({ gallery, address } = request);
    network = await Network.load(gallery, address, true);
    return { backend: network.backend, threads: network.threads };
  },

  async photo({ picture }) {
    if (!isOpaque(picture)) fill(picture);
    photo = picture;
    prepared = undefined;
    return null;
  },

  async paint({ recipe, strength, long }) {
    const started = performance.now();
    const at = prepare(long);
    const planes = await paintWhole(at, recipe, strength);
    return { ...toPixels(planes, at.width, at.height, at.alpha), milliseconds: performance.now() - started };
  },

  async frame({ picture, recipe, long }) {
    const started = performance.now();
    const [width, height] = fit(picture.width, picture.height, long);
    const planes = resize(picture, width, height).subarray(0, 3 * width * height);
    const size = `${width}×${height}`;
    if (running?.size !== size) running = undefined;
    const painted = await withFallback(() =>
      network.paint(planes, width, height, recipe, running?.statistics, running ? DECAY : 0),
    );
    running = { size, statistics: painted.statistics };
    return { ...toPixels(painted.planes, width, height), milliseconds: performance.now() - started };
  },

  async full({ recipe, strength }, report) {
    if (!photo) throw new Error("there is no photo");
    const { width, height } = photo;
    if (Math.max(width, height) <= SIDE) {
      const at = prepare(Math.max(width, height));
      return toPixels(await paintWhole(at, recipe, strength), width, height, at.alpha);
    }
    const painted = new Uint8ClampedArray(photo.data); // with the photo's alpha
    const parts = tiles(width, height);
    await report(0, parts.length);
    const sample = mosaic(photo, samples(width, height));
    const measure = async (style: Recipe) =>
      (await withFallback(() => network.paint(sample.planes, sample.width, sample.height, style))).statistics;
    const statistics = await measure(recipe);
    const none = neutral();
    const lostStatistics = strength < 1 ? await measure(none) : undefined;
    for (const [index, { painted: box, kept }] of parts.entries()) {
      const planes = cut(photo, box);
      const found = await withFallback(() => network.paint(planes, box.width, box.height, recipe, statistics));
      if (lostStatistics) {
        const same = await withFallback(() => network.paint(planes, box.width, box.height, none, lostStatistics));
        restore(found.planes, planes, same.planes, strength);
      }
      paste(painted, width, found.planes, box, kept);
      await report(index + 1, parts.length);
    }
    return { width, height, data: painted };
  },
};

/**
 * Fill the transparent parts of a picture with its mean colour, as the program does. What they hide then affects neither
 * the statistics of the picture nor, when it is resampled, the edges of what is seen.
 */
function fill({ data }: Pixels): void {
  const sums = [0, 0, 0, 0];
  for (let i = 0; i < data.length; i += 4) {
    for (let band = 0; band < 3; band++) sums[band]! += data[i + 3]! * data[i + band]!;
    sums[3]! += data[i + 3]!;
  }
  const mean = sums.map((sum) => sum / Math.max(1, sums[3]!));
  for (let i = 0; i < data.length; i += 4)
    for (let band = 0; band < 3; band++)
      data[i + band] = mean[band]! + (data[i + 3]! / 255) * (data[i + band]! - mean[band]!);
}

/** The photo with this long side. */
function prepare(long: number): Prepared {
  if (!photo) throw new Error("there is no photo");
  const [width, height] = fit(photo.width, photo.height, long);
  if (prepared?.width !== width || prepared.height !== height) {
    const planes = resize(photo, width, height);
    const area = width * height;
    const alpha = planes.subarray(3 * area);
    prepared = {
      width,
      height,
      planes: planes.slice(0, 3 * area),
      alpha: alpha.some((value) => value < 1) ? alpha.slice() : undefined,
    };
  }
  return prepared;
}

async function paintWhole(at: Prepared, recipe: Recipe, strength: number): Promise<Float32Array> {
  const { planes, width, height } = at;
  const painted = (await withFallback(() => network.paint(planes, width, height, recipe))).planes;
  if (strength < 1) {
    at.lost ??= (await withFallback(() => network.paint(planes, width, height, neutral()))).planes;
    restore(painted, planes, at.lost, strength);
  }
  return painted;
}

/** Below strength 1, what the network loses of a photo that it leaves as it is, is restored in proportion. */
function restore(painted: Float32Array, photo: Float32Array, same: Float32Array, strength: number): void {
  for (let i = 0; i < painted.length; i++)
    painted[i] = Math.min(1, Math.max(0, painted[i]! + (1 - strength) * (photo[i]! - same[i]!)));
}

/** The style of the photo as it is. */
function neutral(): Recipe {
  return { shares: new Float32Array(gallery.styles.length), vector: new Float32Array(gallery.length) };
}

/** A graphics processor can be lost: the computation is then repeated in WebAssembly. */
async function withFallback<T>(compute: () => Promise<T>): Promise<T> {
  try {
    return await compute();
  } catch (error) {
    if (network.backend === "wasm") throw error;
    await network.release();
    network = await Network.load(gallery, address, false);
    return compute();
  }
}

/** Planes `(3, h, w)` in [0, 1] of a part of a picture. */
function cut(picture: Pixels, { left, top, width, height }: Box): Float32Array {
  const planes = new Float32Array(3 * width * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let band = 0; band < 3; band++)
        planes[(band * height + y) * width + x] =
          picture.data[4 * ((top + y) * picture.width + left + x) + band]! / 255;
  return planes;
}

function paste(data: Uint8ClampedArray, stride: number, planes: Float32Array, from: Box, kept: Box): void {
  const area = from.width * from.height;
  for (let y = kept.top; y < kept.top + kept.height; y++)
    for (let x = kept.left; x < kept.left + kept.width; x++)
      for (let band = 0; band < 3; band++)
        data[4 * (y * stride + x) + band] = 255 * planes[band * area + (y - from.top) * from.width + x - from.left]!;
}

/** Parts of a picture side by side, all of one size, as many across as down. */
function mosaic(picture: Pixels, boxes: Box[]): { planes: Float32Array; width: number; height: number } {
  const count = Math.sqrt(boxes.length);
  const width = count * boxes[0]!.width, height = count * boxes[0]!.height;
  const planes = new Float32Array(3 * width * height);
  boxes.forEach((box, index) => {
    const part = cut(picture, box);
    const left = (index % count) * box.width, top = Math.floor(index / count) * box.height;
    for (let band = 0; band < 3; band++)
      for (let y = 0; y < box.height; y++) {
        const row = part.subarray((band * box.height + y) * box.width, (band * box.height + y + 1) * box.width);
        planes.set(row, (band * height + top + y) * width + left);
      }
  });
  return { planes, width, height };
}

const cancelled = new Set<number>();
let queue = Promise.resolve();

self.onmessage = ({ data: message }: MessageEvent<ToWorker>) => {
  if (message.kind === "cancel") cancelled.add(message.id);
  else queue = queue.then(() => answer(message));
};

async function answer({ id, kind, request }: Message): Promise<void> {
  const say = (answer: FromWorker, transfer: Transferable[] = []) => self.postMessage(answer, { transfer });
  const report: Report = async (done, total) => {
    say({ id, done, total });
    await new Promise((resume) => setTimeout(resume)); // so that a request to stop is heard
    if (cancelled.delete(id)) throw new Error("given up");
  };
  try {
    const act = actions[kind] as (request: unknown, report: Report) => Promise<Answers[Kind]>;
    const answer = await act(request, report);
    const pixels = answer && "data" in answer ? [answer.data.buffer as ArrayBuffer] : [];
    say({ id, answer }, pixels);
  } catch (error) {
    say({ id, error: error instanceof Error ? error.message : String(error) });
  }
}
