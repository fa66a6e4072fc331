/** What the page and the worker say to each other. */

import type { Gallery, Recipe } from "./gallery";
import type { Pixels } from "./resize";

export type Backend = "webgpu" | "wasm";

export interface Requests {
  /** Load the network from an address; the answer comes when it can paint. */
  load: { gallery: Gallery; address: string };
  /** From now on, paint this photo. */
  photo: { picture: Pixels };
  /** Paint the photo with this long side. */
  paint: { recipe: Recipe; strength: number; long: number };
  /** Paint a frame of the camera; statistics are averaged over frames. */
  frame: { picture: Pixels; recipe: Recipe; long: number };
  /** Paint the photo at its own size, in tiles. */
  full: { recipe: Recipe; strength: number };
}

export interface Answers {
  load: { backend: Backend; threads: number };
  photo: null;
  paint: Pixels & { milliseconds: number };
  frame: Pixels & { milliseconds: number };
  full: Pixels;
}

export type Kind = keyof Requests;

export type Message = { [K in Kind]: { id: number; kind: K; request: Requests[K] } }[Kind];

export type ToWorker = Message | { kind: "cancel"; id: number };

export type FromWorker =
  | { id: number; answer: Answers[Kind] }
  | { id: number; error: string }
  | { id: number; done: number; total: number };
