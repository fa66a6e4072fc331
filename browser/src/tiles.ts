/**
 * Tiles of a picture that is too large to be painted at once.
 *
 * The network normalises every layer by the statistics of the whole picture. All tiles are painted with the same
 * statistics, measured on a sample of the picture, so that they fit together without a seam: what lies within
 * `CONTEXT` pixels of an inner border, which is as far as the network sees, is cut off.
 */

/** The side of a tile; the noise that the network adds repeats with `PERIOD`, so tiles begin at its multiples. */
export const SIDE = 1024;
const PERIOD = 256;
const CONTEXT = 96;

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Tile {
  /** What is painted. */
  painted: Box;
  /** What of it is kept, in the picture's pixels. */
  kept: Box;
}

export function tiles(width: number, height: number): Tile[] {
  return spans(height).flatMap((down) =>
    spans(width).map((across) => ({
      painted: box(across.start, down.start, across.end, down.end),
      kept: box(across.from, down.from, across.to, down.to),
    })),
  );
}

function box(left: number, top: number, right: number, bottom: number): Box {
  return { left, top, width: right - left, height: bottom - top };
}

/** Along one side: where tiles start and end, and from where to where they are kept. */
function spans(length: number): { start: number; end: number; from: number; to: number }[] {
  const step = SIDE - PERIOD;
  const found = [];
  for (let start = 0; ; start += step) {
    const isLast = start + SIDE >= length;
    const from = start === 0 ? 0 : start + PERIOD / 2;
    const end = isLast ? length : start + SIDE;
    // What is kept ends half a period before the tile, which is farther than the context.
    found.push({ start, end, from, to: isLast ? length : end - PERIOD / 2 });
    if (isLast) return found;
  }
}

/** Parts of the picture, evenly spread, that together have its statistics: `count` by `count`. */
export function samples(width: number, height: number, count = 4, side = PERIOD): Box[] {
  const across = Math.min(side, width), down = Math.min(side, height);
  const at = (index: number, room: number) => Math.round((index * room) / (count - 1));
  return Array.from({ length: count * count }, (_, k) => ({
    left: at(k % count, width - across),
    top: at(Math.floor(k / count), height - down),
    width: across,
    height: down,
  }));
}

if (PERIOD / 2 < CONTEXT) throw new Error("tiles overlap by less than the network sees");
