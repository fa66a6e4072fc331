"""`impasto video` and `impasto live`: moving pictures, from a file or as they come."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.display import count_bar, duration, err, out, set_up_logging
from impasto.cli.fast import Paintings
from impasto.cli.parameters import with_options
from impasto.cli.render import CLUSTER
from impasto.settings.options import FastOptions, VideoOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from impasto.images import Picture
    from impasto.video import Shot

#: Seconds between two previews.
PACE = 2.0


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(no_args_is_help=True)(with_options(VideoOptions)(video))
    app.command(no_args_is_help=True)(with_options(FastOptions, size=320)(live))


def video(
    clip: Annotated[Path, typer.Argument(help="The clip: a file, or a folder of pictures.")],
    options: VideoOptions,
    destination: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Write the clip here: .mp4, .mov, .mkv, .webm or .gif; without a suffix, a folder of pictures.",
            rich_help_panel="Output",
        ),
    ],
    style: Paintings = None,
    preview: Annotated[
        Path | None,
        typer.Option(help="Keep the last finished frame in this picture, to look at.", rich_help_panel="Output"),
    ] = None,
    cluster: CLUSTER = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last finished frame.", rich_help_panel="Output")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per frame, and no bar.", rich_help_panel="Output")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing but errors.", rich_help_panel="Output")
    ] = False,
) -> int:
    """Repaint CLIP in the manner of the painting STYLE, without flicker.

    Every frame starts from the one before, moved along the optical flow, and is kept near it wherever that can be
    followed (Ruder, Dosovitskiy and Brox, 2016). With --fast a frame is one pass of a network. Sound, times and
    colours' tags are the clip's. Ctrl-C keeps what is finished, and --resume goes on.
    """
    set_up_logging(quiet)
    from impasto import images
    from impasto import video as moving
    from impasto.video.finished import work_of

    if preview is not None:
        images.check_output(preview)
    if destination.exists() and clip.exists() and destination.samefile(clip):
        raise ValueError(f"{destination} is the clip that is given; write to another name")
    if cluster is not None:
        from impasto.cluster import clips as many

        shots = many.iterate(clip, style or [], destination, options, resume, cluster)
    else:
        shots = moving.iterate(clip, style or [], destination, options, resume)
    last: Shot | None = None
    shown = 0.0
    try:
        with count_bar(quiet or as_json) as bar:
            task = bar.add_task("getting ready", total=1, left="")
            for shot in shots:
                last = shot
                bar.update(
                    task,
                    description=(f"pass {shot.turn}/{shot.turns}, " if shot.turns > 1 else "")
                    + f"frame {shot.number}/{shot.frames}, scene {shot.scene}",
                    completed=shot.seconds / max(shot.seconds + shot.eta, 1e-9),
                    left=f"{duration(shot.eta)} left",
                )
                if preview is not None and time.monotonic() - shown > PACE:
                    shown = time.monotonic()
                    images.write(preview, shot.picture)
                if as_json:
                    out.print(json.dumps(_report(shot)), markup=False)
    except KeyboardInterrupt:
        shots.close()  # type: ignore[attr-defined]
        if last is None:
            raise
        err.print(
            f"impasto: interrupted; what is finished is in {destination}; the same command with --resume goes on",
            markup=False,
        )
        return 130
    if preview is not None and last is not None:
        images.write(preview, last.picture)
    if last is not None and not (quiet or as_json):
        height, width = last.picture.size
        out.print(f"{destination}  {width}×{height} px, {last.frames} frames in {duration(last.seconds)}", markup=False)
    return 0 if not work_of(destination).exists() else 1


def _report(shot: Shot) -> dict[str, Any]:
    return {
        "event": "frame",
        "frame": shot.number,
        "frames": shot.frames,
        "pass": shot.turn,
        "scene": shot.scene,
        "followed": round(shot.followed, 4),
        "seconds": round(shot.seconds, 3),
        "eta": round(shot.eta, 3),
    }


def live(
    source: Annotated[str, typer.Argument(help="A camera's number, a file, or an address such as rtsp://….")],
    options: FastOptions,
    style: Paintings = None,
    destination: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Record into this file: .mp4, .mov, .mkv or .webm.", rich_help_panel="Output"
        ),
    ] = None,
    window: Annotated[bool, typer.Option(help="Show a window.", rich_help_panel="Output")] = True,
    seconds: Annotated[
        float | None, typer.Option(help="End after so many seconds.", min=0, rich_help_panel="Output")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing but errors.", rich_help_panel="Output")
    ] = False,
) -> int:
    """Repaint a camera, a file or a stream as it comes, in a window, or into a file.

    Frames that come while another is painted are dropped: what you see is now. End with Ctrl-C, or close the window.
    """
    set_up_logging(quiet)
    from impasto.files import atomic_write
    from impasto.video import clips
    from impasto.video import live as now

    if destination is not None:
        clips.check_output(destination)
        if destination.suffix.lower() in ("", ".gif"):
            raise ValueError(f"cannot record into {destination.name!r}; needed is .mp4, .mov, .mkv or .webm")
    if destination is None and not window:
        raise ValueError("with neither a window nor a file there is nothing to see; give -o FILE, or --window")
    moment = writer = None
    with ExitStack() as stack:
        show = _window() if window else None
        status = stack.enter_context(err.status("waiting for the first frame")) if not quiet else None
        try:
            for moment in now.live(source, style or [], options):
                if destination is not None:
                    if writer is None:
                        draft = stack.enter_context(atomic_write(destination))
                        size = moment.picture.size
                        writer = stack.enter_context(clips.Writer(draft, now.untimed(destination, size), size, 20))
                    writer.add(moment.picture, round(moment.seconds * 1000))
                if status is not None:
                    status.update(f"{moment.pace:.1f} frames a second, {moment.dropped} dropped")
                if (show is not None and not show(moment.picture)) or moment.seconds > (seconds or float("inf")):
                    break
        except KeyboardInterrupt:
            pass  # that is how one ends it
    if moment is not None and not quiet:
        recorded = "" if destination is None else f"{destination}  "
        out.print(
            f"{recorded}{moment.painted} frames, {moment.dropped} dropped, {moment.pace:.1f} a second", markup=False
        )
    return 0


def _window() -> Callable[[Picture], bool]:
    """A window to show pictures in; says whether it is still open.

    Raises:
        ValueError: there is no display, or Python came without Tk.
    """
    try:
        import tkinter

        root = tkinter.Tk()
    except Exception as error:  # ImportError, or tkinter.TclError, which there is only with Tk
        raise ValueError(f"there is no window to show it in ({error}); record with -o FILE --no-window") from error
    from PIL import ImageTk

    root.title("impasto")
    label = tkinter.Label(root)
    label.pack()
    is_open = [True]
    root.protocol("WM_DELETE_WINDOW", lambda: is_open.__setitem__(0, False))

    def show(picture: Picture) -> bool:
        image = ImageTk.PhotoImage(picture.to_pil())
        label.configure(image=image)
        label.image = image  # type: ignore[attr-defined] # Tk keeps none of its own
        root.update()
        if not is_open[0]:
            root.destroy()
        return is_open[0]

    return show
