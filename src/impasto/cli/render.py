"""From an operation's steps to a file: what all commands that make a picture share."""

from __future__ import annotations

import json
import logging
import math
import signal
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.display import StepBar, duration, err, out
from impasto.errors import ImpastoError
from impasto.settings.options import Options

if TYPE_CHECKING:
    from impasto.optim.checkpoints import Checkpoints
    from impasto.optim.steps import Step

log = logging.getLogger(__name__)

OUTPUT = Annotated[
    Path,
    typer.Option("--output", "-o", help="Write the picture here: .png, .jpg, .webp or .tif.", rich_help_panel="Output"),
]
BITS = Annotated[int, typer.Option(help="Bits per channel: 8, or 16 for .png and .tif.", rich_help_panel="Output")]
SAVE_EVERY = Annotated[
    int | None,
    typer.Option(
        help="Also write OUT-00050.png and so on, every N evaluations.",
        min=1,
        metavar="N",
        rich_help_panel="Output",
    ),
]
PLOT = Annotated[
    Path | None,
    typer.Option(help="Draw how the losses fell: a .png, .svg or .pdf.", rich_help_panel="Output"),
]
CHECKPOINT_EVERY = Annotated[
    float,
    typer.Option(
        help="Put the run away in OUT.checkpoint every S seconds; 0 for never. It goes when the picture is written.",
        min=0,
        metavar="S",
        rich_help_panel="Output",
    ),
]
RESUME = Annotated[
    bool,
    typer.Option("--resume", help="Go on from OUT.checkpoint, to the same file.", rich_help_panel="Output"),
]
AS_JSON = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object per step, and no bar.", rich_help_panel="Output"),
]
CLUSTER = Annotated[
    str | None,
    typer.Option(
        help="Spread the work over a Ray cluster: its ADDRESS, or auto for the one this machine is in; where there "
        "is none, one is begun on this machine, closed to others.",
        metavar="auto|ADDRESS",
        rich_help_panel="Machine",
    ),
]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.", rich_help_panel="Output")]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a picture goes, and what is shown on the way."""

    output: Path
    bits: int = 8
    save_every: int | None = None
    plot: Path | None = None
    checkpoint_every: float = 60.0
    resume: bool = False
    as_json: bool = False
    quiet: bool = False

    @property
    def checkpoints(self) -> Checkpoints | None:
        """Where the run is put away; None for nowhere."""
        from impasto.optim.checkpoints import Checkpoints

        if not (self.checkpoint_every or self.resume):
            return None
        path = self.output.with_name(self.output.name + ".checkpoint")
        return Checkpoints(path, self.checkpoint_every or math.inf, self.resume)


def files_of(pictures: Sequence[str], options: Options) -> list[str]:
    """Every name of a file that an operation reads, as far as the command line tells."""
    masks = [value for name in ("content_mask", "style_mask") for value in getattr(options, name, {}).values()]
    return [*pictures, *masks, *([options.init] if hasattr(options, "init") else [])]


@dataclass(frozen=True)
class Medium:
    """What is made.

    Attributes:
        check: path, bits: an error if nothing can be written there.
        write: path, what is written, bits, settings.
        check_space: path, size, bits: an error if there is no room for it.
        tell: what a person is told of it.
    """

    check: Callable[[Path, int], None]
    write: Callable[[Path, Any, int, dict[str, Any]], None]
    check_space: Callable[[Path, tuple[int, int], int], None]
    tell: Callable[[Any], str]


def pictures() -> Medium:
    """Pictures."""
    from impasto import images

    def check(path: Path, bits: int) -> None:
        images.check_output(path, bits=bits)

    def tell(picture: images.Picture) -> str:
        return f"{picture.size[1]}×{picture.size[0]} px"

    return Medium(check, images.write, images.check_space, tell)


def check(output: Output, given: Sequence[str], medium: Medium | None = None) -> None:
    """Raise an error if nothing can be written, or if it would replace one of the files given."""
    (medium or pictures()).check(output.output, output.bits)
    for name in given:
        if output.output.exists() and Path(name).exists() and output.output.samefile(name):
            raise ValueError(f"{output.output} is one of the files given; write to another name")
    if output.plot is not None:
        from impasto import plots

        plots.check_plot(output.plot)


def render(steps: Iterator[Step], output: Output, settings: dict[str, Any], medium: Medium | None = None) -> int:
    """Go through the steps, show them, and write what the last one made, whatever happens; the exit code."""
    medium = medium or pictures()
    curve: list[tuple[int, int, float, Mapping[str, float]]] = []
    step: Step | None = None
    failure: BaseException | None = None
    saved = 0
    path, checkpoints = output.output, output.checkpoints
    try:
        with StepBar(shown=not (output.quiet or output.as_json)).running() as bar, _remembering_ctrl_c() as asked:
            for step in steps:
                if not curve:
                    medium.check_space(path, step.size, output.bits)
                    curve += step.earlier[:-1]
                bar.show(step)
                if asked.is_set() and curve:
                    raise KeyboardInterrupt
                curve.append((step.evaluations, step.scale, step.loss, step.losses))
                if output.as_json:
                    out.print(json.dumps(_report(step)), markup=False)
                if output.save_every is not None and step.evaluations // output.save_every > saved:
                    saved = step.evaluations // output.save_every
                    name = path.with_name(f"{path.stem}-{step.evaluations:05}{path.suffix}")
                    try:
                        medium.write(name, step.picture, output.bits, settings)
                    except ImpastoError as error:  # the run is worth more
                        log.warning("%s", error)
    except (Exception, KeyboardInterrupt) as error:
        if not curve:
            raise
        failure = error  # hours may lie behind it: first the run, where it is not over yet, then the picture
        if isinstance(steps, Generator):
            steps.close()
    assert step is not None  # there is one at least
    made = step.finish(step.image.cpu())
    written = _write(medium, path, made, output.bits, settings)
    if checkpoints is not None and failure is None and written == path:
        checkpoints.discard()
    if output.plot is not None:
        from impasto import plots

        plots.plot_losses(output.plot, curve)
    if output.as_json:
        done = {"event": "done", "output": str(written), "interrupted": failure is not None, "settings": settings}
        out.print(json.dumps(_report(step) | done), markup=False)
    elif failure is not None:
        kept = checkpoints is not None and checkpoints.path.exists()
        further = "; the same command with --resume goes on" if kept else ""
        err.print(f"impasto: interrupted; the best so far is in {written}{further}", markup=False)
    elif not output.quiet:
        work = f"{step.evaluations} evaluations in " if step.losses else ""
        out.print(f"{written}  {medium.tell(made)}, {work}{duration(step.seconds)}", markup=False)
    if isinstance(failure, KeyboardInterrupt):
        return 130
    if failure is not None:
        raise failure
    return 0 if written == path else 1


@contextmanager
def _remembering_ctrl_c() -> Iterator[Event]:
    """Whether Ctrl-C was pressed: raised in a finaliser, as it may be, it would be swallowed."""
    pressed = Event()
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield pressed
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _write(medium: Medium, path: Path, made: Any, bits: int, settings: dict[str, Any]) -> Path:
    """Write what was made; where that fails, to another place, under a name that nothing has yet; says where."""
    from impasto import files

    try:
        medium.write(path, made, bits, settings)
        return path
    except ImpastoError as error:
        for folder in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
            try:
                other = files.unused(folder() / path.name)
                medium.write(other, made, bits, settings)
            except (ImpastoError, OSError, RuntimeError):
                continue
            err.print(f"impasto: {error}; the result is in {other}", style="red", markup=False)
            return other
        raise


def _report(step: Step) -> dict[str, Any]:
    """A step for machines: everything but the picture."""
    return {
        "event": "step",
        "scale": step.scale,
        "scales": step.scales,
        "width": step.image_size[1],
        "height": step.image_size[0],
        "iteration": step.iteration,
        "iterations": step.iterations,
        "evaluations": step.evaluations,
        "loss": step.loss,
        "losses": dict(step.losses),
        "seconds": round(step.seconds, 3),
        "eta": round(step.eta, 3),
        "note": step.note,
    }
