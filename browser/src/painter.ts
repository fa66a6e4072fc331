/** The worker as the page sees it. */

import type { Answers, FromWorker, Kind, Requests } from "./protocol";

interface Pending {
  resolve(answer: never): void;
  reject(error: Error): void;
  report?: ((done: number, total: number) => void) | undefined;
}

interface Options {
  transfer?: Transferable[];
  /** Called as the work proceeds. */
  report?: (done: number, total: number) => void;
  /** Gives the request up. */
  signal?: AbortSignal;
}

/** The reason with which requests fail that were given up, or overtaken by newer ones. */
export class Superseded extends Error {}

export class Painter {
  private worker = this.start();
  private readonly pending = new Map<number, Pending>();
  private count = 0;

  private start(): Worker {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      const found = this.pending.get(data.id);
      if (!found) return;
      if ("total" in data) return found.report?.(data.done, data.total);
      this.pending.delete(data.id);
      if ("answer" in data) found.resolve(data.answer as never);
      else found.reject(new Error(data.error));
    };
    worker.onerror = (event) => {
      for (const { reject } of this.pending.values()) reject(new Error(event.message || "the painter has stopped"));
      this.pending.clear();
    };
    return worker;
  }

  /** Ask the worker, which answers one request after the other. */
  ask<K extends Kind>(kind: K, request: Requests[K], { transfer = [], report, signal }: Options = {}): Promise<Answers[K]> {
    return new Promise((resolve, reject) => {
      const id = this.count++;
      this.pending.set(id, { resolve: resolve as (answer: never) => void, reject, report });
      this.worker.postMessage({ id, kind, request }, transfer);
      signal?.addEventListener("abort", () => {
        if (!this.pending.delete(id)) return;
        this.worker.postMessage({ kind: "cancel", id });
        reject(new Superseded());
      });
    });
  }

  /** Begin anew, after the worker ran out of memory. */
  restart(): void {
    this.worker.terminate();
    for (const { reject } of this.pending.values()) reject(new Superseded());
    this.pending.clear();
    this.worker = this.start();
  }
}

/** Runs one task at a time; of those that are requested meanwhile, only the newest. */
export class Latest {
  private running: Promise<void> | undefined;
  private next: (() => Promise<void>) | undefined;

  /** Resolves as `idle` does. */
  run(task: () => Promise<void>): Promise<void> {
    this.next = task;
    return (this.running ??= this.work());
  }

  /** Resolves when nothing is left to do. */
  get idle(): Promise<void> {
    return this.running ?? Promise.resolve();
  }

  private async work(): Promise<void> {
    try {
      while (this.next) {
        const now = this.next;
        this.next = undefined;
        await now();
      }
    } finally {
      this.running = undefined;
    }
  }
}
