/** Styles to choose from: those of the gallery, and paintings of one's own that `impasto learn` has learnt. */

export interface Style {
  name: string;
  title: string;
  /** Who painted it, and when; empty if that is not known. */
  painter: string;
  /** Address of a square thumbnail. */
  image: string;
  /** Of a painting that was learnt; styles of the gallery are known to the network by their place. */
  vector?: Float32Array;
}

export interface Gallery {
  /** The digest of the model, which learnt styles name. */
  model: string;
  /** Of a style's vector, and of the statistics of features. */
  length: number;
  statistics: number;
  /** The name of the style that is chosen at first. */
  first: string;
  /** Some pixels of a test pattern in the first style. */
  check: number[];
  styles: Style[];
}

export async function loadGallery(): Promise<Gallery> {
  const gallery = (await (await fetch("gallery.json")).json()) as Gallery;
  for (const style of gallery.styles) style.image = `styles/${style.name}.webp`;
  return gallery;
}

/** A style in the network's terms: shares of the gallery's styles, and a vector that is added. */
export interface Recipe {
  shares: Float32Array;
  vector: Float32Array;
}

/** `strength` of the styles with these weights, which add up to 1. */
export function recipe(gallery: Gallery, weights: [Style, number][], strength: number): Recipe {
  const shares = new Float32Array(gallery.styles.length);
  const vector = new Float32Array(gallery.length);
  for (const [style, weight] of weights) {
    const amount = weight * strength;
    if (style.vector) style.vector.forEach((value, index) => (vector[index]! += amount * value));
    else shares[gallery.styles.indexOf(style)]! += amount;
  }
  return { shares, vector };
}

/** A file of `impasto learn -o`, in the format safetensors, as a style; throws an error for people if it is none. */
export function parseLearnt(file: ArrayBuffer, name: string, gallery: Gallery): Style {
  const wrong = new Error(`${name} is not a style of “impasto learn”.`);
  if (file.byteLength < 8) throw wrong;
  const size = Number(new DataView(file).getBigUint64(0, true));
  if (size > Math.min(file.byteLength - 8, 1e6)) throw wrong;
  let header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> & {
    __metadata__?: Record<string, string>;
  };
  try {
    header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, size)));
  } catch {
    throw wrong;
  }
  const about = header.__metadata__;
  const tensor = (key: string): Uint8Array | undefined => {
    const found = header[key];
    return found && new Uint8Array(file.slice(8 + size + found.data_offsets[0], 8 + size + found.data_offsets[1]));
  };
  const vector = tensor("vector");
  if (!about?.["impasto-style"] || !vector || header.vector?.dtype !== "F32") throw wrong;
  if (about.model !== gallery.model || vector.length !== 4 * gallery.length)
    throw new Error(`${name} was learnt for another version of impasto; learn the painting again.`);
  const title = (about.name ?? name).replace(/^.*[/\\]/, "").replace(/\.\w+$/, "");
  const small = tensor("thumbnail");
  const [, height, width] = header.thumbnail?.shape ?? [];
  const image = small && height && width ? thumbnail(small, width, height) : "icon.svg";
  const learnt = new Float32Array(vector.buffer);
  return { name: `learnt ${title}`, title, painter: "your own painting", image, vector: learnt };
}

/** A data address of a picture, given its planes `(3, h, w)`. */
function thumbnail(planes: Uint8Array, width: number, height: number): string {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  const area = width * height;
  for (let i = 0; i < area; i++) {
    for (let band = 0; band < 3; band++) pixels.data[4 * i + band] = planes[band * area + i]!;
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return canvas.toDataURL("image/png");
}

const key = ({ model }: Gallery) => `impasto-learnt-${model}`;

/** Learnt styles of earlier visits, as far as the browser kept them. */
export function keptStyles(gallery: Gallery): Style[] {
  try {
    const kept = JSON.parse(localStorage.getItem(key(gallery)) ?? "[]") as (Omit<Style, "vector"> & { vector: string })[];
    return kept.map((style) => ({ ...style, vector: new Float32Array(bytes(style.vector).buffer as ArrayBuffer) }));
  } catch {
    return [];
  }
}

/** Keep learnt styles for the next visit; the browser may refuse. */
export function keepStyles(gallery: Gallery, styles: Style[]): void {
  try {
    const learnt = styles.filter((style) => style.vector);
    localStorage.setItem(key(gallery), JSON.stringify(learnt.map((style) => ({ ...style, vector: text(style.vector!) }))));
  } catch {
    // The storage is full or forbidden: the styles last for this visit.
  }
}

function text(vector: Float32Array): string {
  return btoa(String.fromCharCode(...new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength)));
}

function bytes(encoded: string): Uint8Array {
  return Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
}
