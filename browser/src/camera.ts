/** The camera, frame by frame. */

import { Superseded } from "./painter";
import { pixelsOf } from "./photo";
import type { Pixels } from "./resize";

export type Facing = "user" | "environment";

export class Camera {
  private readonly video = document.createElement("video");
  private stream: MediaStream | undefined;
  facing: Facing = "user";
  /** Another number after every start and stop. */
  run = 0;

  /** Start, or start again with the other camera; returns `run`, throws an error for people if there is none. */
  async start(facing: Facing): Promise<number> {
    this.stop();
    const { run } = this;
    if (!navigator.mediaDevices) throw new Error("The camera needs a page over HTTPS, or on this computer itself.");
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: facing, width: { ideal: 1280 } },
        audio: false,
      });
    } catch (error) {
      const isRefused = error instanceof DOMException && error.name === "NotAllowedError";
      throw new Error(isRefused ? "The browser may not use the camera; allow it beside the address." : "There is no camera.");
    }
    if (run !== this.run) {
      end(stream);
      throw new Superseded();
    }
    this.stream = stream;
    this.facing = facing;
    this.video.muted = true;
    this.video.playsInline = true;
    this.video.srcObject = stream;
    try {
      await this.video.play();
    } catch {
      if (run !== this.run) throw new Superseded();
      this.stop();
      throw new Error("The camera does not start.");
    }
    return run;
  }

  get isOn(): boolean {
    return this.stream !== undefined;
  }

  /** The picture is shown as in a mirror if the camera looks at the person. */
  get isMirrored(): boolean {
    return this.facing === "user";
  }

  /** The current frame, at its own size or with a shorter long side. */
  frame(long = Infinity): Pixels {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (long >= Math.max(width, height)) return pixelsOf(this.video, width, height);
    const scale = long / Math.max(width, height);
    const canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
    const context = canvas.getContext("2d", { willReadFrequently: true })!;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.video, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return { width: canvas.width, height: canvas.height, data: data as Uint8ClampedArray };
  }

  stop(): void {
    this.run++;
    if (this.stream) end(this.stream);
    this.stream = undefined;
    this.video.srcObject = null;
  }
}

function end(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/** The same picture as in a mirror. */
export function mirrored({ width, height, data }: Pixels): Pixels {
  const source = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const target = new Uint32Array(width * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) target[y * width + x] = source[y * width + width - 1 - x]!;
  return { width, height, data: new Uint8ClampedArray(target.buffer) };
}
