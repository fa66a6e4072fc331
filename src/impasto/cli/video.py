"""`impasto video`: a clip, frame by frame."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn

from impasto.cli.display import duration, err, out, set_up_logging
from impasto.cli.parameters import with_options
from impasto.cli.stylize import Paintings
from impasto.options import VideoOptions

if TYPE_CHECKING:
    from impasto.video import Shot

#: Seconds between two previews.
PACE = 2.0


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(no_args_is_help=True)(with_options(VideoOptions)(video))


def video(
    clip: Annotated[Path, typer.Argument(help="The clip: a file, or a folder of pictures.")],
    style: Paintings,
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
    preview: Annotated[
        Path | None,
        typer.Option(help="Keep the last finished frame in this picture, to look at.", rich_help_panel="Output"),
    ] = None,
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
    from impasto.video.painting import work_of

    if preview is not None:
        images.check_output(preview)
    if destination.exists() and clip.exists() and destination.samefile(clip):
        raise ValueError(f"{destination} is the clip that is given; write to another name")
    shots = moving.iterate(clip, style, destination, options, resume)
    last: Shot | None = None
    shown = 0.0
    try:
        with _bar(quiet or as_json) as bar:
            task = bar.add_task("getting ready", total=1, left="")
            for shot in shots:
                last = shot
                bar.update(
                    task,
                    description=f"frame {shot.number}/{shot.frames}, scene {shot.scene}",
                    completed=shot.number / shot.frames,
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
            f"impasto: interrupted; the first {last.number} frames are in {destination}; the same command with "
            "--resume goes on",
            markup=False,
        )
        return 130
    if preview is not None and last is not None:
        images.write(preview, last.picture)
    if last is not None and not (quiet or as_json):
        height, width = last.picture.size
        out.print(
            f"{destination}  {width}×{height} px, {last.number} frames in {duration(last.seconds)}", markup=False
        )
    return 0 if not work_of(destination).exists() else 1


def _bar(hidden: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[left]}"),
        console=err,
        disable=hidden or not err.is_terminal,
        transient=True,
    )


def _report(shot: Shot) -> dict[str, Any]:
    return {
        "event": "frame",
        "frame": shot.number,
        "frames": shot.frames,
        "scene": shot.scene,
        "followed": round(shot.followed, 4),
        "seconds": round(shot.seconds, 3),
        "eta": round(shot.eta, 3),
    }
