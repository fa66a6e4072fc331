/** The page: a photo, a style, and the picture that they make. */

import "./style.css";
import { Camera, mirrored } from "./camera";
import { keepStyles, keptStyles, loadGallery, parseLearnt, recipe, type Gallery, type Recipe, type Style } from "./gallery";
import { Latest, Painter, Superseded } from "./painter";
import { decode, encode, imageData } from "./photo";
import type { Backend } from "./protocol";
import { fit, type Pixels } from "./resize";
import { Server, serverAddress, type Job, type Limits } from "./server";

/** Long sides in pixels: of the picture, of one that answers while a dial moves, of one after the memory ran out, of
 * a frame of the camera, and of the photo as it is kept for comparison. */
const LONG = 512, DRAFT = 320, LEAST = 256, LIVE = 256, BEFORE = 1280;
/** A picture that takes longer, in milliseconds, is preceded by a draft while a dial moves. */
const SLOW = 300;

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const stage = element("stage"), picture = element<HTMLCanvasElement>("picture"), before = element<HTMLCanvasElement>("before");
const strength = element<HTMLInputElement>("strength"), mix = element<HTMLInputElement>("mix"), second = element<HTMLSelectElement>("second");
const saving = element<HTMLDialogElement>("saving"), fineButton = element<HTMLButtonElement>("fine");

/** Of the network. */
const address = new URL("gallery.onnx", document.baseURI).href;
const painter = new Painter();
const latest = new Latest();
const camera = new Camera();
const server = serverAddress() === null ? null : new Server(serverAddress()!);

let gallery: Gallery;
let styles: Style[] = [];
let style: Style;
let backend: Backend = "wasm";
let long = LONG;
let milliseconds = 0;
/** The photo as a file, its name without the suffix, and its size. */
let photo: { file: Blob; stem: string; width: number; height: number };
/** What is shown, unless the camera is on; with the server's file of it if the server has painted it. */
let shown: { pixels: Pixels; file?: Blob } | undefined;
let job: Job | undefined;
let limits: Limits | undefined;

// -- messages ------------------------------------------------------------------------------------------------

function say(text: string, fraction?: number, isBad = false): void {
  const status = element("status"), bar = element<HTMLProgressElement>("bar");
  status.textContent = text;
  status.setAttribute("role", isBad ? "alert" : "status");
  element("message").classList.toggle("bad", isBad);
  bar.hidden = fraction === undefined || isBad;
  if (fraction === undefined || fraction < 0) bar.removeAttribute("value");
  else bar.value = fraction;
}

function report(error: unknown): void {
  if (!(error instanceof Superseded)) say(error instanceof Error ? error.message : String(error), undefined, true);
}

const minutes = (seconds: number) =>
  seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;

// -- the picture ---------------------------------------------------------------------------------------------

function wanted(): { recipe: Recipe; strength: number } {
  const amount = Number(strength.value), share = Number(mix.value);
  const other = styles.find(({ name }) => name === second.value);
  const weights: [Style, number][] = other ? [[style, 1 - share], [other, share]] : [[style, 1]];
  return { recipe: recipe(gallery, weights, amount), strength: amount };
}

/** Paint the photo as the dials say; while they move, a smaller picture answers. */
function repaint(isMoving = false): void {
  if (camera.isOn) return;
  if (job) return; // what the dials say applies to the next picture
  const side = isMoving && milliseconds > SLOW ? Math.min(DRAFT, long) : long;
  const timer = setTimeout(() => say("Painting…", -1), 250);
  void latest.run(async () => {
    try {
      const painted = await painter.ask("paint", { ...wanted(), long: side });
      if (side === long) milliseconds = painted.milliseconds;
      if (!camera.isOn && !job) show(painted);
      say("");
      document.body.dataset.painted = `${style.name} ${side} ${strength.value} ${second.value} ${mix.value}`;
    } catch (error) {
      await recover(error);
    } finally {
      clearTimeout(timer);
    }
  });
}

/** After the memory ran out: begin anew, with a smaller picture. */
async function recover(error: unknown): Promise<void> {
  if (error instanceof Superseded || long <= LEAST) return report(error);
  console.info("Painting again, smaller:", error);
  long = LEAST;
  painter.restart();
  ({ backend } = await painter.ask("load", { gallery, address }));
  await painter.ask("photo", { picture: await decode(photo.file, photo.stem) });
  show(await painter.ask("paint", { ...wanted(), long }));
  say("There is too little memory for the full picture: this one is smaller.");
}

function show(pixels: Pixels, file?: Blob): void {
  shown = file ? { pixels, file } : { pixels };
  draw(pixels);
  tellWhere(file !== undefined);
}

/** Say who paints what is seen: where the photo goes is nobody's guess. */
function tellWhere(isServer: boolean): void {
  element("privacy").textContent = isServer
    ? "Painted by the server that this page is from."
    : "Painted on your device. Nothing is uploaded.";
}

function draw(pixels: Pixels): void {
  if (picture.width !== pixels.width || picture.height !== pixels.height) {
    picture.width = pixels.width;
    picture.height = pixels.height;
  }
  picture.getContext("2d")!.putImageData(imageData(pixels), 0, 0);
  picture.setAttribute("aria-label", `The photo in the style of ${style.title}`);
}

// -- the photo -----------------------------------------------------------------------------------------------

async function open(file: Blob, name: string): Promise<void> {
  try {
    await use(await decode(file, name), file, name.replace(/\.\w+$/, "") || "photo");
  } catch (error) {
    report(error);
  }
}

async function use(pixels: Pixels, file: Blob, stem: string): Promise<void> {
  if (camera.isOn) endLive();
  photo = { file, stem, width: pixels.width, height: pixels.height };
  const [width, height] = fit(pixels.width, pixels.height, Math.min(BEFORE, Math.max(pixels.width, pixels.height)));
  const bitmap = await createImageBitmap(imageData(pixels), { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
  before.width = width;
  before.height = height;
  before.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
  await painter.ask("photo", { picture: pixels }, [pixels.data.buffer as ArrayBuffer]);
  repaint();
}

element<HTMLInputElement>("file").addEventListener("change", ({ target }) => {
  const input = target as HTMLInputElement;
  const file = input.files?.[0];
  input.value = ""; // so that the same file can be chosen again
  if (file) void open(file, file.name);
});

function take(files: FileList | undefined): void {
  const file = files?.[0];
  if (!file) return;
  void (file.name.endsWith(".safetensors") ? add(file) : open(file, file.name));
}

window.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("over");
});
window.addEventListener("dragleave", () => stage.classList.remove("over"));
window.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  take(event.dataTransfer?.files);
});
window.addEventListener("paste", (event) => take(event.clipboardData?.files));

// -- styles --------------------------------------------------------------------------------------------------

function tile(each: Style): HTMLElement {
  const label = document.createElement("label");
  label.className = "tile";
  label.title = each.painter ? `${each.title} — ${each.painter}` : each.title;
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: each.name });
  input.addEventListener("change", () => {
    style = each;
    repaint();
    label.scrollIntoView({ inline: "center", block: "nearest" });
  });
  const image = Object.assign(document.createElement("img"), { src: each.image, alt: "", width: 80, height: 80, loading: "lazy" });
  const name = Object.assign(document.createElement("span"), { textContent: each.title });
  label.append(input, image, name);
  return label;
}

function offer(each: Style, isFirst = false): void {
  styles = [...styles, each];
  const gallery = element("gallery"), made = tile(each);
  if (isFirst) gallery.querySelector("legend")!.after(made);
  else gallery.insertBefore(made, element("add"));
  second.append(new Option(each.title, each.name));
}

async function add(file: File): Promise<void> {
  try {
    const learnt = parseLearnt(await file.arrayBuffer(), file.name, gallery);
    if (!styles.some(({ name }) => name === learnt.name)) offer(learnt, true);
    else styles = styles.map((each) => (each.name === learnt.name ? Object.assign(each, learnt) : each));
    keepStyles(styles);
    select(learnt.name);
    repaint();
  } catch (error) {
    report(error);
  }
}

function select(name: string): void {
  style = styles.find((each) => each.name === name) ?? styles[0]!;
  const input = document.querySelector<HTMLInputElement>(`input[name="style"][value="${CSS.escape(style.name)}"]`)!;
  input.checked = true;
  input.parentElement!.scrollIntoView({ inline: "center", block: "nearest" });
}

element<HTMLInputElement>("vector").addEventListener("change", ({ target }) => {
  const input = target as HTMLInputElement;
  const file = input.files?.[0];
  input.value = "";
  if (file) void add(file);
});

// -- dials ---------------------------------------------------------------------------------------------------

function label(): void {
  document.querySelector('output[for="strength"]')!.textContent = `${Math.round(100 * Number(strength.value))} %`;
  document.querySelector('output[for="mix"]')!.textContent = second.value ? `${Math.round(100 * Number(mix.value))} %` : "";
  mix.hidden = !second.value;
}

for (const dial of [strength, mix]) {
  dial.addEventListener("input", () => (label(), repaint(true)));
  dial.addEventListener("change", () => repaint());
}
second.addEventListener("change", () => (label(), repaint()));

// -- before and after ----------------------------------------------------------------------------------------

function compare(isOn: boolean): void {
  before.hidden = !isOn;
  picture.style.visibility = isOn ? "hidden" : "";
  element("compare").setAttribute("aria-pressed", String(isOn));
}

stage.addEventListener("pointerdown", (event) => {
  if (!camera.isOn && event.button === 0) compare(true);
});
for (const end of ["pointerup", "pointercancel", "pointerleave"]) stage.addEventListener(end, () => compare(false));
stage.addEventListener("contextmenu", (event) => event.preventDefault());
element("compare").addEventListener("click", () => compare(before.hidden === true));

// -- saving --------------------------------------------------------------------------------------------------

function download(file: Blob): void {
  const suffix = file.type === "image/png" ? "png" : "jpg";
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: `${photo.stem}-impasto.${suffix}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const file = async (): Promise<Blob> => shown!.file ?? encode(shown!.pixels);

element("save").addEventListener("click", () => {
  if (!shown) return;
  const { width, height } = shown.pixels;
  element("save-shown").textContent = `As shown, ${width} × ${height}`;
  element("save-full").textContent = `Full size, ${photo.width} × ${photo.height}`;
  const isLarger = !shown.file && Math.max(photo.width, photo.height) > Math.max(width, height);
  element("save-full").hidden = element("full-note").hidden = !isLarger;
  element("choices").hidden = false;
  element("painting-full").hidden = true;
  saving.showModal();
});

element("save-shown").addEventListener("click", async () => {
  saving.close();
  download(await file());
});

element("save-full").addEventListener("click", async () => {
  const bar = element<HTMLProgressElement>("full-bar"), status = element("full-status");
  element("choices").hidden = true;
  element("painting-full").hidden = false;
  bar.removeAttribute("value");
  status.textContent = "Painting…";
  const started = performance.now();
  try {
    const painted = await painter.ask("full", wanted(), [], (done, total) => {
      bar.value = done / total;
      if (done) status.textContent = `${minutes(((performance.now() - started) / 1000) * (total / done - 1))} left`;
    });
    if (saving.open) download(await encode(painted));
  } catch (error) {
    report(error);
  }
  saving.close();
});

element("saving-close").addEventListener("click", () => saving.close());
saving.addEventListener("close", () => painter.cancel());

element("share").addEventListener("click", async () => {
  const blob = await file();
  const files = [new File([blob], `${photo.stem}-impasto.${blob.type === "image/png" ? "png" : "jpg"}`, { type: blob.type })];
  await navigator.share({ files }).catch((error) => error.name === "AbortError" || report(error));
});

function canShare(): boolean {
  return navigator.canShare?.({ files: [new File([""], "a.png", { type: "image/png" })] }) ?? false;
}

// -- the camera ----------------------------------------------------------------------------------------------

function showTools(): void {
  for (const id of ["take", "turn", "close"]) element(id).hidden = !camera.isOn;
  for (const id of ["open", "camera", "compare", "save"]) element(id).hidden = camera.isOn;
  element("share").hidden = camera.isOn || !canShare();
  element("rate").hidden = !camera.isOn;
  picture.classList.toggle("mirrored", camera.isOn && camera.isMirrored);
}

async function live(facing: "user" | "environment"): Promise<void> {
  try {
    await camera.start(facing);
  } catch (error) {
    showTools();
    return report(error);
  }
  say("");
  showTools();
  let rate = 0;
  while (camera.isOn && camera.facing === facing) {
    const started = performance.now();
    try {
      const frame = camera.frame(LIVE);
      const painted = await painter.ask("frame", { picture: frame, recipe: wanted().recipe, long: LIVE }, [frame.data.buffer as ArrayBuffer]);
      if (!camera.isOn) return;
      draw(painted);
    } catch (error) {
      endLive();
      return report(error);
    }
    await new Promise(requestAnimationFrame);
    const now = 1000 / (performance.now() - started);
    rate = rate ? 0.9 * rate + 0.1 * now : now;
    element("rate").textContent = `${rate.toFixed(rate < 10 ? 1 : 0)} frames/s`;
  }
}

function endLive(): void {
  camera.stop();
  showTools();
  if (shown) draw(shown.pixels);
}

element("camera").addEventListener("click", () => void live(camera.facing));
element("turn").addEventListener("click", () => void live(camera.facing === "user" ? "environment" : "user"));
element("close").addEventListener("click", endLive);
element("take").addEventListener("click", async () => {
  const frame = camera.isMirrored ? mirrored(camera.frame()) : camera.frame();
  endLive();
  await use(frame, await encode(frame), "camera");
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden && camera.isOn) endLive();
});

// -- the server ----------------------------------------------------------------------------------------------

async function paintFinely(): Promise<void> {
  if (!server) return;
  if (job) {
    fineButton.disabled = true;
    await server.stop(job.id).catch(report);
    return;
  }
  const other = styles.find(({ name }) => name === second.value);
  const chosen = other ? [style, other] : [style];
  if (chosen.some(({ vector }) => vector))
    return say("The server does not have this painting: add it under “All options”.", undefined, true);
  const size = Math.min(LONG, limits!.size), share = Number(mix.value);
  const weights = other ? { style_weights: [1 - share, share] } : {};
  const upload = photo.file.size <= limits!.upload ? photo.file : await encode(pixelsBefore());
  try {
    say("Asking the server…", -1);
    const begun = await server.begin(upload, `${photo.stem}.${upload.type === "image/png" ? "png" : "jpg"}`,
      chosen.map(({ name }) => name), { size, strength: Number(strength.value), ...weights });
    await follow(begun);
  } catch (error) {
    report(error);
  }
}

function pixelsBefore(): Pixels {
  const { width, height, data } = before.getContext("2d")!.getImageData(0, 0, before.width, before.height);
  return { width, height, data: data as Uint8ClampedArray };
}

/** Show a job of the server until it is over. */
async function follow(begun: Job): Promise<void> {
  job = begun;
  tellWhere(true);
  fineButton.textContent = "Stop";
  fineButton.disabled = false;
  let drawn = "";
  try {
    const done = await server!.follow(begun.id, (state) => {
      if (state.position) say(state.position === 1 ? "Next in line" : `Number ${state.position} in line`, -1);
      else if (state.eta !== undefined) say(`About ${minutes(state.eta)} left`, state.fraction);
      if (state.preview && state.preview !== drawn) void drawFrom((drawn = state.preview));
    });
    if (!done.picture) return say("Stopped before it began.");
    const blob = await (await fetch(done.picture)).blob();
    show(await decode(blob, "picture"), blob);
    say("");
    document.body.dataset.painted = `finely ${style.name}`;
  } finally {
    job = undefined;
    fineButton.textContent = "Paint finely";
    fineButton.disabled = false;
  }
}

async function drawFrom(address: string): Promise<void> {
  const response = await fetch(address).catch(() => undefined);
  if (!response?.ok) return; // the next preview is there already
  const pixels = await decode(await response.blob(), "preview");
  if (job) draw(pixels);
}

fineButton.addEventListener("click", () => void paintFinely());

/** Show the server's part of the page; a job of an earlier visit is shown again. */
async function connect(): Promise<void> {
  if (!server) return;
  try {
    limits = await server.limits();
    element("server").hidden = false;
    const begun = (await server.jobs()).findLast(({ status }) => status === "running" || status === "queued");
    if (begun) await follow(begun);
  } catch (error) {
    console.info("Without the server's optimiser:", error);
  }
}

// -- the beginning -------------------------------------------------------------------------------------------

async function begin(): Promise<void> {
  label();
  showTools();
  gallery = await loadGallery();
  for (const each of [...keptStyles(gallery), ...gallery.styles]) offer(each);
  select(gallery.first);
  say("Loading the network…", -1);
  const loaded = await painter.ask("load", { gallery, address });
  backend = loaded.backend;
  document.body.dataset.backend = `${backend} ${loaded.threads}`;
  if (!photo) await open(await (await fetch("sample.webp")).blob(), "sample.webp");
  void connect();
}

begin().catch(report);
if ("serviceWorker" in navigator) void navigator.serviceWorker.register("sw.js").catch(() => undefined);
