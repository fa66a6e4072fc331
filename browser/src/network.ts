/** The network in ONNX Runtime: on the graphics processor where there is one that computes right, else WebAssembly. */

import type { InferenceSession, Tensor } from "onnxruntime-common";
import asyncifyLoader from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import asyncifyBinary from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import wasmLoader from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmBinary from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

import type { Gallery, Recipe } from "./gallery";
import type { Backend } from "./protocol";

/** Threads beyond which small layers gain nothing. */
const MOST_THREADS = 4;
/** Largest difference from the expected pixels at which a graphics processor is trusted. */
const TOLERANCE = 0.02;

type Runtime = typeof import("onnxruntime-web/wasm");

export interface Painted {
  /** `(3, h, w)`, in [0, 1]. */
  planes: Float32Array;
  statistics: Float32Array;
}

export class Network {
  private constructor(
    private readonly runtime: Runtime,
    private readonly session: InferenceSession,
    private readonly gallery: Gallery,
    readonly backend: Backend,
    readonly threads: number,
  ) {}

  /** Load the network; throws if the browser can run it in no way. */
  static async load(gallery: Gallery, address: string, allowGpu: boolean): Promise<Network> {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`the network cannot be loaded (${response.status})`);
    const model = new Uint8Array(await response.arrayBuffer());
    if (allowGpu && (await hasGpu())) {
      try {
        const network = await Network.create("webgpu", model, gallery);
        if (await network.isRight()) return network;
      } catch (error) {
        console.info("The graphics processor is not used:", error);
      }
    }
    return Network.create("wasm", model, gallery);
  }

  private static async create(backend: Backend, model: Uint8Array, gallery: Gallery): Promise<Network> {
    const runtime = (await (backend === "wasm"
      ? import("onnxruntime-web/wasm")
      : import("onnxruntime-web/webgpu"))) as Runtime;
    const here = (file: string) => new URL(file, import.meta.url).href;
    const threads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
    runtime.env.logLevel = "error";
    runtime.env.wasm.numThreads = threads;
    runtime.env.wasm.wasmPaths =
      backend === "wasm"
        ? { mjs: here(wasmLoader), wasm: here(wasmBinary) }
        : { mjs: here(asyncifyLoader), wasm: here(asyncifyBinary) };
    const session = await runtime.InferenceSession.create(model, {
      executionProviders: [backend],
      graphOptimizationLevel: "all",
    });
    return new Network(runtime, session, gallery, backend, threads);
  }

  /** Paint planes `(3, height, width)` in [0, 1]; with statistics given, these have a `share` in those that are used. */
  async paint(
    planes: Float32Array,
    width: number,
    height: number,
    recipe: Recipe,
    statistics?: Float32Array,
    share = statistics ? 1 : 0,
  ): Promise<Painted> {
    const tensor = (values: Float32Array, dims: number[]): Tensor => new this.runtime.Tensor("float32", values, dims);
    const { length, statistics: count } = this.gallery;
    const found = await this.session.run({
      photo: tensor(planes, [1, 3, height, width]),
      shares: tensor(recipe.shares, [1, recipe.shares.length]),
      vector: tensor(recipe.vector, [1, length]),
      statistics: tensor(statistics ?? new Float32Array(count), [1, count]),
      share: tensor(new Float32Array([share]), [1]),
    });
    return {
      planes: found.painted!.data as Float32Array,
      statistics: Float32Array.from(found.used!.data as Float32Array),
    };
  }

  async release(): Promise<void> {
    await this.session.release().catch(() => undefined);
  }

  /** Whether a test pattern comes out as it should: drivers have bugs. */
  private async isRight(): Promise<boolean> {
    const side = 64, step = 16;
    const planes = new Float32Array(3 * side * side);
    for (let band = 0, at = 0; band < 3; band++)
      for (let row = 0; row < side; row++)
        for (let column = 0; column < side; column++) planes[at++] = ((column * 3 + row * 5 + band * 7) % 32) / 31;
    const { styles, length, check } = this.gallery;
    const shares = Float32Array.from(styles, (_, index) => (index === 0 ? 1 : 0));
    const painted = (await this.paint(planes, side, side, { shares, vector: new Float32Array(length) })).planes;
    let index = 0;
    for (let band = 0; band < 3; band++)
      for (let row = 0; row < side; row += step)
        for (let column = 0; column < side; column += step)
          if (!(Math.abs(painted[(band * side + row) * side + column]! - check[index++]!) < TOLERANCE)) return false;
    return true;
  }
}

/** Whether there is a graphics processor, and not only a program that stands for one. */
async function hasGpu(): Promise<boolean> {
  type Adapter = { isFallbackAdapter?: boolean; info?: { isFallbackAdapter?: boolean; architecture?: string } };
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } }).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  if (!adapter) return false;
  return !(adapter.isFallbackAdapter || adapter.info?.isFallbackAdapter || adapter.info?.architecture === "swiftshader");
}
