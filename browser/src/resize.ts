/** Resampling, as the program does it: bicubic (a = -1/2), antialiased. */

export interface Pixels {
  width: number;
  height: number;
  /** RGBA, not premultiplied. */
  data: Uint8ClampedArray;
}

/** The width and height whose longer side is `long`. */
export function fit(width: number, height: number, long: number): [number, number] {
  const scale = long / Math.max(width, height);
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** Planes `(4, height, width)` in [0, 1] of a picture at another size. */
export function resize(picture: Pixels, width: number, height: number): Float32Array {
  const across = taps(picture.width, width);
  const down = taps(picture.height, height);
  const rows = new Float32Array(4 * picture.height * width);
  const { data } = picture;
  for (let y = 0; y < picture.height; y++) {
    for (let x = 0; x < width; x++) {
      let r = 0, g = 0, b = 0, a = 0;
      const { first, weights } = across[x]!;
      let from = 4 * (y * picture.width + first);
      for (const weight of weights) {
        r += weight * data[from]!;
        g += weight * data[from + 1]!;
        b += weight * data[from + 2]!;
        a += weight * data[from + 3]!;
        from += 4;
      }
      const to = 4 * (y * width + x);
      rows[to] = r;
      rows[to + 1] = g;
      rows[to + 2] = b;
      rows[to + 3] = a;
    }
  }
  const area = width * height;
  const planes = new Float32Array(4 * area);
  const sums = new Float32Array(4 * width);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    const { first, weights } = down[y]!;
    weights.forEach((weight, index) => {
      const from = 4 * (first + index) * width;
      for (let i = 0; i < 4 * width; i++) sums[i]! += weight * rows[from + i]!;
    });
    for (let x = 0; x < width; x++)
      for (let band = 0; band < 4; band++)
        planes[band * area + y * width + x] = Math.min(1, Math.max(0, sums[4 * x + band]! / 255));
  }
  return planes;
}

interface Taps {
  first: number;
  weights: Float32Array;
}

/** For each of the new positions, where its sources begin, and their weights, which add up to 1. */
function taps(from: number, to: number): Taps[] {
  if (from === to) return Array.from({ length: to }, (_, i) => ({ first: i, weights: new Float32Array([1]) }));
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(center - 2 * stretch + 0.5));
    const last = Math.min(from, Math.trunc(center + 2 * stretch + 0.5));
    const weights = new Float32Array(last - first);
    let sum = 0;
    for (let k = 0; k < weights.length; k++) sum += weights[k] = cubic((first + k - center + 0.5) / stretch);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/** A picture of these planes. */
export function toPixels(planes: Float32Array, width: number, height: number, alpha?: Float32Array): Pixels {
  const area = width * height;
  const data = new Uint8ClampedArray(4 * area);
  for (let i = 0; i < area; i++) {
    for (let band = 0; band < 3; band++) data[4 * i + band] = 255 * planes[band * area + i]!;
    data[4 * i + 3] = alpha ? 255 * alpha[i]! : 255;
  }
  return { width, height, data };
}
