/** Files of photos, decoded by the browser. */

import type { Pixels } from "./resize";

/** Larger photos are reduced to this number of pixels, beyond which Safari on phones draws nothing. */
const MOST_PIXELS = 16e6;

/** The pixels of a file, which may have more. */
export interface Decoded extends Pixels {
  /** How many the file has. */
  area: number;
}

/** A photo as upright pixels; throws an error for people if the browser cannot read it. */
export async function decode(file: Blob, name: string): Promise<Decoded> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { premultiplyAlpha: "none" });
  } catch {
    if (await isHeic(file))
      throw new Error(
        `${name} is a HEIC photo, which this browser cannot read. On an iPhone, choose “Most compatible” under ` +
          "Settings › Camera › Formats, or share the photo as JPEG.",
      );
    throw new Error(`${name} cannot be read: it is no picture, or damaged. Choose a JPEG, PNG or WebP file.`);
  }
  try {
    return { ...pixelsOf(bitmap, bitmap.width, bitmap.height), area: bitmap.width * bitmap.height };
  } finally {
    bitmap.close();
  }
}

export function pixelsOf(source: CanvasImageSource, width: number, height: number): Pixels {
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  const canvas = new OffscreenCanvas(Math.max(1, Math.floor(width * scale)), Math.max(1, Math.floor(height * scale)));
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { width: canvas.width, height: canvas.height, data: data as Uint8ClampedArray };
}

/** Whether a file is of the kind that iPhones make, by its first bytes. */
async function isHeic(file: Blob): Promise<boolean> {
  const head = new TextDecoder("latin1").decode(await file.slice(4, 12).arrayBuffer());
  return /^ftyp(hei|hev|mif|msf)/.test(head);
}

/** A file of a picture: PNG if some of it is transparent, otherwise a JPEG. */
export async function encode(picture: Pixels): Promise<Blob> {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext("2d")!.putImageData(imageData(picture), 0, 0);
  return canvas.convertToBlob(isOpaque(picture) ? { type: "image/jpeg", quality: 0.95 } : { type: "image/png" });
}

export function imageData(picture: Pixels): ImageData {
  return new ImageData(picture.data as Uint8ClampedArray<ArrayBuffer>, picture.width, picture.height);
}

export function isOpaque({ data }: Pixels): boolean {
  for (let i = 3; i < data.length; i += 4) if (data[i]! < 255) return false;
  return true;
}
