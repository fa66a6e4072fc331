"""`impasto video` and `impasto live`: clips, cameras and streams."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli import signals
from impasto.cli.display import count_bar, err, out, set_up_logging
from impasto.cli.fast import learn_ahead
from impasto.cli.flags import Cluster, Quiet, json_flag, output_flag, resume_flag
from impasto.cli.parameters import with_options
from impasto.cli.stylize import Paintings
from impasto.errors import ImpastoError
from impasto.presets import COMMAND_DEFAULTS
from impasto.progress import counted, duration
from impasto.settings.options import FastOptions, VideoOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from impasto.images import Picture
    from impasto.video import StylizedFrame

#: Seconds between two previews.
PREVIEW_INTERVAL = 2.0


def register(app: typer.Typer) -> None:
    app.command()(with_options(VideoOptions)(video))
    app.command()(with_options(FastOptions, **COMMAND_DEFAULTS["live"])(live))


def video(
    clip: Annotated[Path, typer.Argument(help="The clip: a file, or a folder of pictures.")],
    style: Paintings,
    options: VideoOptions,
    destination: Annotated[
        Path, output_flag("Output file: .mp4, .mov, .mkv, .webm or .gif; without a suffix, a folder of pictures.")
    ],
    preview: Annotated[
        Path | None,
        typer.Option(help="Keep writing the last finished frame to this picture.", rich_help_panel="Output"),
    ] = None,
    cluster: Cluster = None,
    resume: Annotated[bool, resume_flag("Resume after the last finished frame.")] = False,
    as_json: Annotated[bool, json_flag("frame")] = False,
    quiet: Quiet = False,
) -> int:
    """Repaint CLIP in the style of the painting STYLE, without flicker.

    Every frame starts from the one before, warped along the optical flow, and a temporal loss keeps it close to that
    (Ruder, Dosovitskiy and Brox, 2016). With --fast a feed-forward network paints each frame in one pass. Sound
    and timing are copied. Ctrl-C keeps the finished frames, and --resume continues after them.
    """
    set_up_logging(quiet)
    import impasto.video
    from impasto import images
    from impasto.video import clips
    from impasto.video.frame_store import check_output, frames_folder

    if preview is not None:
        images.check_output(preview)
    if options.fast:
        check_output(destination, clips.open_clip(clip).path)
        learn_ahead(style, options.fast_options, quiet or as_json)
    if cluster is not None:
        import impasto.cluster.clips

        frames = impasto.cluster.clips.iterate(clip, style, destination, options, resume=resume, address=cluster)
    else:
        frames = impasto.video.iterate(clip, style, destination, options, resume=resume)
    last: StylizedFrame | None = None
    previewed = 0.0
    try:
        with count_bar(quiet or as_json) as bar:
            task = bar.add_task("preparing", total=1, left="")
            for frame in frames:
                last = frame
                bar.update(
                    task,
                    description=(f"pass {frame.pass_number}/{frame.passes}, " if frame.passes > 1 else "")
                    + f"frame {frame.number}/{frame.frames}, scene {frame.scene}",
                    completed=frame.fraction,
                    left=f"{duration(frame.eta)} left",
                )
                if preview is not None and time.monotonic() - previewed > PREVIEW_INTERVAL:
                    previewed = time.monotonic()
                    images.write(preview, frame.picture)
                if as_json:
                    out.print(json.dumps(_report(frame)), markup=False)
                signals.check()
    except KeyboardInterrupt:
        with signals.deferred():
            frames.close()  # type: ignore[attr-defined]
        if last is None:
            raise
        advice = "run the same command with --resume to continue"
        err.print(f"impasto: interrupted; the finished frames are in {destination}; {advice}", markup=False)
        return signals.exit_code()
    if preview is not None and last is not None:
        with signals.deferred():
            images.write(preview, last.picture)
    if last is not None and not (quiet or as_json):
        height, width = last.picture.shape
        out.print(
            f"{destination}  {width}×{height} px, {counted(last.frames, 'frame')} in {duration(last.seconds)}",
            markup=False,
        )
    return 0 if not frames_folder(destination).exists() else 1


def _report(frame: StylizedFrame) -> dict[str, Any]:
    return {
        "event": "frame",
        "frame": frame.number,
        "frames": frame.frames,
        "pass": frame.pass_number,
        "scene": frame.scene,
        "followed": round(frame.reliable_share, 4),
        "seconds": round(frame.seconds, 3),
        "eta": round(frame.eta, 3),
    }


def live(
    source: Annotated[str, typer.Argument(help="Number of a camera, a file, or an address such as rtsp://….")],
    style: Paintings,
    options: FastOptions,
    destination: Annotated[Path | None, output_flag("Record to this file: .mp4, .mov, .mkv or .webm.")] = None,
    window: Annotated[bool, typer.Option(help="Show a window.", rich_help_panel="Output")] = True,
    seconds: Annotated[
        float | None, typer.Option(help="Stop after this many seconds.", min=0, rich_help_panel="Output")
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Repaint a camera, a file or a stream in real time, in a window or into a file.

    Frames that arrive while another is being painted are dropped, so that the result does not lag behind. Stop with
    Ctrl-C, or close the window.
    """
    set_up_logging(quiet)
    from impasto.files import atomic_write
    from impasto.video import clips, live

    if destination is not None:
        clips.check_output(destination)
        if destination.suffix.lower() in ("", ".gif"):
            raise ValueError(
                f"cannot record to {destination.name!r}; expected a name such as clip.mp4, .mov, .mkv or .webm"
            )
    if destination is None and not window:
        raise ValueError("without a window and a file there is nothing to see; give --window, or -o FILE")
    learn_ahead(style, options, quiet)
    frame = writer = failure = None
    with ExitStack() as stack:
        show = _window() if window else None
        status = stack.enter_context(err.status("waiting for the first frame")) if not quiet else None
        try:
            for frame in live.live(source, style, options):
                signals.check()
                if destination is not None:
                    if writer is None:
                        draft = stack.enter_context(atomic_write(destination))
                        size = frame.picture.shape
                        writer = stack.enter_context(
                            clips.Writer(draft, live.recording_clip(destination, size), size, 20)
                        )
                    writer.add(frame.picture, round(frame.seconds * 1000))
                if status is not None:
                    status.update(f"{frame.frame_rate:.1f} frames a second, {frame.dropped} dropped")
                if (show is not None and not show(frame.picture)) or (seconds is not None and frame.seconds > seconds):
                    break
        except KeyboardInterrupt:
            pass  # the usual way to stop
        except ImpastoError as error:
            if writer is None:
                raise
            failure = error  # the camera was unplugged, say: what was recorded is kept
    if frame is not None and not quiet:
        recorded = "" if destination is None else f"{destination}  "
        out.print(
            f"{recorded}{counted(frame.painted, 'frame')}, {frame.dropped} dropped, {frame.frame_rate:.1f} a second",
            markup=False,
        )
    if failure is not None:
        raise failure
    return signals.exit_code(usual=True)


def _window() -> Callable[[Picture], bool]:
    """Open a window; the function returned shows a picture in it, and tells whether it is still open.

    Raises:
        ValueError: there is no display, or this Python has no Tk.
    """
    try:
        import tkinter

        root = tkinter.Tk()
    except Exception as error:  # ImportError, or TclError, which cannot be named without Tk
        raise ValueError(f"cannot open a window ({error}); record with -o FILE --no-window") from error
    from PIL import ImageTk

    root.title("impasto")
    label = tkinter.Label(root)
    label.pack()
    is_open = [True]
    root.protocol("WM_DELETE_WINDOW", lambda: is_open.__setitem__(0, False))

    def show(picture: Picture) -> bool:
        image = ImageTk.PhotoImage(picture.to_pil())
        label.configure(image=image)
        label.image = image  # type: ignore[attr-defined] # Tk holds no reference to it
        root.update()
        if not is_open[0]:
            root.destroy()
        return is_open[0]

    return show
