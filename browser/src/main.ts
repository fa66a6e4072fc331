/** The page: a photo, a style, and the picture that they make. */

import "./style.css";
import { Camera, mirrored, type Facing } from "./camera";
import { keepStyles, keptStyles, loadGallery, parseLearnt, recipe, type Gallery, type Recipe, type Style } from "./gallery";
import { Latest, Painter, Superseded } from "./painter";
import { decode, encode, imageData, type Decoded } from "./photo";
import { fit, type Pixels } from "./resize";
import { Server, serverAddress, type Job, type Limits } from "./server";

/** Long sides in pixels: of the picture, of one that answers while a dial moves, of one after the memory ran out, of
 * a frame of the camera, and of the photo as it is kept for comparison. */
const LONG = 512, DRAFT = 320, LEAST = 256, LIVE = 256, BEFORE = 1280;
/** A picture that takes longer, in milliseconds, is preceded by a draft while a dial moves. */
const SLOW = 300;
const PAINTING = "Painting…";
/** The key of this page's last job, until its picture is seen: the page may be closed meanwhile. */
const BEGUN = "impasto-begun";

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const stage = element("stage"), picture = element<HTMLCanvasElement>("picture"), before = element<HTMLCanvasElement>("before");
const strength = element<HTMLInputElement>("strength"), mix = element<HTMLInputElement>("mix"), second = element<HTMLSelectElement>("second");
const saving = element<HTMLDialogElement>("saving"), fineButton = element<HTMLButtonElement>("fine");

/** Of the network. */
const address = new URL("gallery.onnx", document.baseURI).href;
const painter = new Painter();
const latest = new Latest();
const camera = new Camera();
/** Null without one. Its part of the page is there from the beginning: nothing moves when the server answers. */
let server = serverAddress() === null ? null : new Server(serverAddress()!);

interface Photo {
  file: Blob;
  /** Its name without the suffix. */
  stem: string;
  width: number;
  height: number;
  /** Pixels of the file, which may have more than the photo. */
  area: number;
}

let gallery: Gallery;
let styles: Style[] = [];
let style: Style;
let long = LONG;
let milliseconds = 0;
let photo: Photo | undefined;
/** How many photos were chosen: the last one counts, though an earlier one may take longer to read. */
let choices = 0;
/** What is shown, unless the camera is on or a job is watched; with the server's file if the server has painted it. */
let shown: { pixels: Pixels; file?: Blob } | undefined;
/** Whether the dials were moved while the camera was on. */
let isStale = false;
/** The server's job, until its picture is seen, and whether the job is what is seen. */
let job: Job | undefined;
let isWatched = false;
/** Its files once it is done: the server deletes them some time after the last request. */
let finished: { picture: Blob; before: Blob | undefined } | undefined;
/** The photo that the server has. */
let uploaded: Photo | undefined;
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

/** Paint the photo as the dials say; while they move, a smaller picture answers. Resolves when it is painted. */
async function repaint(isMoving = false): Promise<void> {
  if (!photo) return;
  isStale = camera.isOn;
  if (isStale) return;
  isWatched = false;
  showJob();
  say("");
  await latest.run(async () => {
    const side = isMoving && milliseconds > SLOW ? Math.min(DRAFT, long) : long;
    const status = element("status");
    const timer = setTimeout(() => status.textContent || say(PAINTING, -1), 250);
    try {
      await paint(side).catch(recover);
    } catch (error) {
      report(error);
    } finally {
      clearTimeout(timer);
      if (status.textContent === PAINTING) say("");
    }
  });
}

async function paint(side: number): Promise<void> {
  const description = `${style.name} ${side} ${strength.value} ${second.value} ${mix.value}`;
  const painted = await painter.ask("paint", { ...wanted(), long: side });
  if (side === long) milliseconds = painted.milliseconds;
  show(painted);
  document.body.dataset.painted = description;
}

/** After the memory ran out: begin anew, with a smaller picture. */
async function recover(error: unknown): Promise<void> {
  const isMemory = error instanceof Error && /memory|alloc|abort/i.test(error.message);
  if (!isMemory || long <= LEAST) throw error;
  console.info("Painting again, smaller:", error);
  const lost = photo!;
  const picture = await decode(lost.file, lost.stem);
  if (photo !== lost) return; // another one is painted next
  long = LEAST;
  painter.restart();
  await Promise.all([
    painter.ask("load", { gallery, address }),
    painter.ask("photo", { picture }, { transfer: [picture.data.buffer as ArrayBuffer] }),
    paint(long),
  ]);
  say("There is too little memory for the full picture: this one is smaller.");
}

function show(pixels: Pixels, file?: Blob): void {
  shown = file ? { pixels, file } : { pixels };
  showAgain();
}

/** Draw what is shown, which the camera or a job of the server may have covered. */
function showAgain(): void {
  if (shown && !camera.isOn && !isWatched) draw(shown.pixels);
  tellWhere();
}

/** Say who paints what is seen: where the photo goes is nobody's guess. */
function tellWhere(): void {
  const isServer = isWatched || shown?.file, isUploaded = photo && photo === uploaded;
  element("privacy").textContent =
    camera.isOn || !(isServer || isUploaded)
      ? "Painted on your device. Nothing is uploaded."
      : isServer
        ? "Painted by the server that this page is from."
        : "Painted on your device.";
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
    await use(decode(file, name), file, name.replace(/\.\w+$/, "") || "photo");
  } catch (error) {
    report(error);
  }
}

async function use(reading: Decoded | Promise<Decoded>, file: Blob, stem: string): Promise<void> {
  if (!(await setPhoto(reading, file, stem))) return;
  if (camera.isOn) stopCamera();
  await repaint();
}

/** Whether it is the photo now: another one may have been chosen meanwhile. */
async function setPhoto(reading: Decoded | Promise<Decoded>, file: Blob, stem: string): Promise<boolean> {
  const choice = ++choices;
  const pixels = await reading;
  await ready;
  const [width, height] = fit(pixels.width, pixels.height, Math.min(BEFORE, Math.max(pixels.width, pixels.height)));
  const bitmap = await createImageBitmap(imageData(pixels), { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
  if (choice !== choices) return false;
  compare(false);
  before.width = width;
  before.height = height;
  before.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
  photo = { file, stem, width: pixels.width, height: pixels.height, area: pixels.area };
  long = LONG;
  painter.ask("photo", { picture: pixels }, { transfer: [pixels.data.buffer as ArrayBuffer] }).catch(report);
  return true;
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
    void repaint();
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
    await ready;
    const learnt = parseLearnt(await file.arrayBuffer(), file.name, gallery);
    if (!styles.some(({ name }) => name === learnt.name)) offer(learnt, true);
    else styles = styles.map((each) => (each.name === learnt.name ? Object.assign(each, learnt) : each));
    keepStyles(gallery, styles);
    select(learnt.name);
    void repaint();
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

let isHeld = false;
stage.addEventListener("pointerdown", (event) => {
  if (camera.isOn || event.button !== 0 || !before.hidden) return;
  isHeld = true;
  compare(true);
});
for (const end of ["pointerup", "pointercancel", "pointerleave"])
  stage.addEventListener(end, () => {
    if (isHeld) compare(false);
    isHeld = false;
  });
stage.addEventListener("contextmenu", (event) => event.preventDefault());
element("compare").addEventListener("click", () => compare(before.hidden === true));

// -- saving --------------------------------------------------------------------------------------------------

/** Stops the picture at full size. */
let full: AbortController | undefined;

const nameOf = (file: Blob) => `${photo!.stem}-impasto.${file.type === "image/png" ? "png" : "jpg"}`;

function download(file: Blob): void {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: nameOf(file) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const file = async (): Promise<Blob> => shown!.file ?? encode(shown!.pixels);

element("save").addEventListener("click", () => {
  if (!shown || !photo) return;
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
  status.textContent = PAINTING;
  const started = performance.now();
  const progress = (done: number, total: number) => {
    bar.value = done / total;
    if (done) status.textContent = `${minutes(((performance.now() - started) / 1000) * (total / done - 1))} left`;
  };
  full = new AbortController();
  const { signal } = full;
  try {
    const file = await encode(await painter.ask("full", wanted(), { report: progress, signal }));
    if (signal.aborted) return;
    download(file);
  } catch (error) {
    if (signal.aborted) return;
    report(error);
  }
  saving.close();
});

element("saving-close").addEventListener("click", () => saving.close());
saving.addEventListener("close", () => full?.abort());

element("share").addEventListener("click", async () => {
  if (!shown) return;
  const blob = await file();
  const files = [new File([blob], nameOf(blob), { type: blob.type })];
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
  element("server").hidden = camera.isOn || !server;
  picture.classList.toggle("mirrored", camera.isOn && camera.isMirrored);
  tellWhere();
}

async function live(facing: Facing): Promise<void> {
  const buttons = [element<HTMLButtonElement>("camera"), element<HTMLButtonElement>("turn")];
  for (const button of buttons) button.disabled = true;
  let run: number;
  try {
    await ready;
    run = await camera.start(facing);
  } catch (error) {
    if (!(error instanceof Superseded)) endLive();
    return report(error);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
  isWatched = false;
  showJob();
  compare(false);
  say("");
  showTools();
  let rate = 0;
  while (camera.run === run) {
    const started = performance.now();
    try {
      const picture = camera.frame(LIVE);
      const request = { picture, recipe: wanted().recipe, long: LIVE };
      const painted = await painter.ask("frame", request, { transfer: [picture.data.buffer as ArrayBuffer] });
      if (camera.run !== run) return;
      draw(painted);
    } catch (error) {
      if (camera.run === run) endLive();
      return report(error);
    }
    await new Promise(requestAnimationFrame);
    const now = 1000 / (performance.now() - started);
    rate = rate ? 0.9 * rate + 0.1 * now : now;
    element("rate").textContent = `${rate.toFixed(rate < 10 ? 1 : 0)} frames/s`;
  }
}

function stopCamera(): void {
  camera.stop();
  showTools();
  showAgain();
}

function endLive(): void {
  stopCamera();
  if (isStale) void repaint();
}

async function takeFrame(): Promise<void> {
  const frame = camera.isMirrored ? mirrored(camera.frame()) : camera.frame();
  stopCamera();
  await use({ ...frame, area: frame.width * frame.height }, await encode(frame), "camera");
}

element("camera").addEventListener("click", () => void live(camera.facing));
element("turn").addEventListener("click", () => void live(camera.facing === "user" ? "environment" : "user"));
element("close").addEventListener("click", endLive);
element("take").addEventListener("click", () => void takeFrame().catch(report));
document.addEventListener("visibilitychange", () => {
  if (document.hidden && camera.isOn) endLive();
});

// -- the server ----------------------------------------------------------------------------------------------

async function paintFinely(): Promise<void> {
  if (!server || !photo || !limits) return;
  const other = styles.find(({ name }) => name === second.value);
  const chosen = other ? [style, other] : [style];
  if (chosen.some(({ vector }) => vector))
    throw new Error("The server does not have this painting: add it under “All options”.");
  const size = Math.min(LONG, limits.size), share = Number(mix.value);
  const weights = other ? { style_weights: [1 - share, share] } : {};
  const options = { size, strength: Number(strength.value), ...weights };
  const { file, stem, area } = photo;
  say("Asking the server…", -1);
  uploaded = photo;
  tellWhere();
  const isAllowed = file.size <= limits.upload && area <= limits.pixels;
  const upload = isAllowed ? file : await encode(pixelsBefore());
  const name = `${stem}.${upload.type === "image/png" ? "png" : "jpg"}`;
  const begun = await server.begin(upload, name, chosen.map(({ name }) => name), options);
  localStorage.setItem(BEGUN, begun.id);
  void follow(begun);
}

function pixelsBefore(): Pixels {
  const { width, height, data } = before.getContext("2d")!.getImageData(0, 0, before.width, before.height);
  return { width, height, data: data as Uint8ClampedArray };
}

/** Follow a job of the server until it is over. What is painted here meanwhile covers it, until it is asked for. */
async function follow(begun: Job, isSeen = true): Promise<void> {
  job = begun;
  if (isSeen && !camera.isOn) watch();
  showJob();
  try {
    job = await server!.follow(begun.id, (state) => {
      const isNew = state.preview !== job!.preview;
      job = state;
      if (isWatched) tellProgress();
      if (isWatched && isNew) void drawPreview();
    });
    if (!job.picture) {
      endJob();
      say("Stopped before it began.");
    } else {
      finished = await filesOf(job);
      if (isWatched) await present();
      else say("The server has painted its picture.");
    }
  } catch (error) {
    endJob();
    report(error);
  }
  fineButton.disabled = false;
  showJob();
}

function watch(): void {
  isWatched = true;
  tellProgress();
  void drawPreview();
}

function tellProgress(): void {
  const { position, eta, fraction } = job!;
  if (position) say(position === 1 ? "Next in line" : `Number ${position} in line`, -1);
  else if (eta !== undefined) say(`About ${minutes(eta)} left`, fraction);
}

async function drawPreview(): Promise<void> {
  const address = job!.preview;
  if (!address) return;
  const pixels = await server!.file(address).then((file) => decode(file, "preview")).catch(() => undefined);
  if (pixels && isWatched && job?.preview === address) draw(pixels); // otherwise a later one is there already
}

/** The picture of a job that is done, and the photo that it was painted from. */
async function filesOf({ picture, before }: Job): Promise<typeof finished> {
  const file = await server!.file(picture!);
  return { picture: file, before: uploaded?.file ?? (before ? await server!.file(before) : undefined) };
}

/** Show the picture of the job that is done; what it was painted from becomes the photo, unless it is. */
async function present(): Promise<void> {
  const { picture, before } = finished!;
  isWatched = true;
  const pixels = await decode(picture, "picture");
  await latest.idle;
  if (!isWatched) return; // something else is painted already
  const stem = uploaded?.stem ?? "photo";
  if (before && photo !== uploaded && (await setPhoto(decode(before, stem), before, stem))) uploaded = photo;
  localStorage.removeItem(BEGUN);
  endJob();
  show(pixels, picture);
  say("");
  document.body.dataset.painted = `finely ${style.name}`;
}

function endJob(): void {
  job = finished = undefined;
  isWatched = false;
  showAgain();
}

function showJob(): void {
  fineButton.textContent = !job ? "Paint finely" : finished ? "Show it" : isWatched ? "Stop" : "Watch it";
  tellWhere();
}

fineButton.addEventListener("click", async () => {
  fineButton.disabled = true;
  try {
    if (!job) await paintFinely();
    else if (finished) await present();
    else if (!isWatched) watch();
    else return void (await server!.stop(job.id)); // the end of the job enables the button
  } catch (error) {
    if (finished) endJob();
    report(error);
  }
  fineButton.disabled = false;
  showJob();
});

/** A job of an earlier visit is shown again; once it is asked for, if a photo was chosen. */
async function connect(sample: Blob): Promise<void> {
  if (!server) return;
  let begun: Job | undefined;
  try {
    limits = await server.limits();
    const jobs = await server.jobs();
    begun = jobs.findLast(({ status }) => status === "running" || status === "queued");
    begun ??= jobs.find(({ id, picture }) => picture && id === localStorage.getItem(BEGUN));
    fineButton.disabled = false;
  } catch (error) {
    console.info("Without the server's optimiser:", error);
    server = null;
    showTools();
  }
  if (begun) await follow(begun, photo?.file === sample);
}

// -- the beginning -------------------------------------------------------------------------------------------

/** Resolves when the network can paint. */
const ready = load();

async function load(): Promise<void> {
  label();
  showTools();
  gallery = await loadGallery();
  for (const each of [...keptStyles(gallery), ...gallery.styles]) offer(each);
  select(gallery.first);
  say("Loading the network…", -1);
  const { backend, threads } = await painter.ask("load", { gallery, address });
  document.body.dataset.backend = `${backend} ${threads}`;
}

async function begin(): Promise<void> {
  await ready;
  const sample = await (await fetch("sample.webp")).blob();
  if (!choices && (await setPhoto(decode(sample, "sample.webp"), sample, "sample"))) await repaint();
  void connect(sample);
  await navigator.serviceWorker?.register("sw.js").catch(() => undefined);
}

begin().catch(report);
