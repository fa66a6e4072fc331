"""Synthetic clips: a textured square moves over a textured ground, so that the flow is known."""

from fractions import Fraction

import av
import numpy as np
import torch
import torch.nn.functional as F


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth coloured patches, `(h, w, 3)` in 0–255."""
    small = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    large = F.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
    return (large[0].permute(1, 2, 0) * 255).byte().numpy()


def scene(count: int, height: int = 64, width: int = 96, seed: int = 0, step: int = 3) -> list[np.ndarray]:
    """`count` frames: a square moves `step` pixels to the right in each."""
    ground, square = texture(height, width, seed), 255 - texture(24, 24, seed + 1)
    frames = []
    for index in range(count):
        frame = ground.copy()
        frame[16:40, 8 + step * index : 32 + step * index] = square
        frames.append(frame)
    return frames


def write(path, frames, times=None, rate=10, sound=False, codec="libx264", aspect=None, colors=None, **stream_options):
    """Write a clip file; `times` are in milliseconds, `sound` is whether it has AAC, or another codec.

    The sound is a tone of 351 Hz, at `sound_rate` Hz and in the `layout`.
    """
    sound_rate, layout = stream_options.pop("sound_rate", 44100), stream_options.pop("layout", "mono")
    base = Fraction(1, 1000)
    times = times or [round(1000 * index / rate) for index in range(len(frames))]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = stream_options.pop("pix_fmt", "yuv420p" if codec != "gif" else "rgb8")
        stream.codec_context.time_base = base
        if codec == "libx264":
            stream.codec_context.options = {"crf": "10"}
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if colors:
            stream.codec_context.colorspace, stream.codec_context.color_primaries, stream.codec_context.color_trc = (
                colors
            )
        if stream_options.pop("interlaced", False):
            stream.codec_context.options = {"x264-params": "tff=1"}
        audio = out.add_stream("aac" if sound is True else sound, rate=sound_rate, layout=layout) if sound else None
        for frame, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format=stream.pix_fmt)
            picture.pts, picture.time_base = time, base
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        if audio is not None:
            steps = np.arange(sound_rate * times[-1] // 1000 + sound_rate // 10) * (44100 / sound_rate / 20)
            samples = np.sin(steps).astype(np.float32)[None]
            samples = samples.repeat(2 if layout == "stereo" else 1, 0)
            size = audio.codec_context.frame_size or 1024
            resampler = av.AudioResampler(format=audio.codec_context.format)
            for start in range(0, samples.shape[1], size):
                part = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(samples[:, start : start + size]), "fltp", layout
                )
                part.sample_rate, part.pts = sound_rate, start
                for converted in resampler.resample(part):
                    out.mux(audio.encode(converted))
            out.mux(audio.encode(None))
    return path
