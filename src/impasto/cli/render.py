"""From an operation's steps to a file: shared by all commands that make one picture or sound."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.cli import signals
from impasto.cli.display import err, out
from impasto.cli.flags import Output
from impasto.errors import ImpastoError
from impasto.progress import StepBar, counted, duration
from impasto.settings.options import Options

if TYPE_CHECKING:
    from impasto.optim.checkpoints import LossRecord
    from impasto.optim.steps import Step

log = logging.getLogger(__name__)


def input_files(pictures: Sequence[str], options: Options) -> list[str]:
    """The files that an operation reads, by the names given: pictures, masks and the start. Some may not be files."""
    masks = [value for name in ("content_mask", "style_mask") for value in getattr(options, name, {}).values()]
    return [*pictures, *masks, *([options.init] if hasattr(options, "init") else [])]


@dataclass(frozen=True)
class MediaWriter:
    """How results of one kind, pictures or sounds, are written.

    Attributes:
        check: (path, bits): raises an error if no such file can be written.
        write: (path, result, bits, settings).
        check_space: (path, size, bits): raises an error if the disk is too full.
        describe: the size or length of a result, for people.
    """

    check: Callable[[Path, int], None]
    write: Callable[[Path, Any, int, dict[str, Any]], None]
    check_space: Callable[[Path, tuple[int, int], int], None]
    describe: Callable[[Any], str]


def picture_writer() -> MediaWriter:
    from impasto import images

    def check(path: Path, bits: int) -> None:
        images.check_output(path, bits=bits)

    def describe(picture: images.Picture) -> str:
        return f"{picture.shape[1]}×{picture.shape[0]} px"

    return MediaWriter(check, images.write, images.check_space, describe)


def check_output(output: Output, inputs: Sequence[str], writer: MediaWriter | None = None) -> None:
    """Raise an error if a file cannot be written, or would replace one of the inputs; call it before long work."""
    (writer or picture_writer()).check(output.path, output.bits)
    for name in inputs:
        if output.path.exists() and Path(name).exists() and output.path.samefile(name):
            raise ValueError(f"{output.path} is one of the input files; write to another name")
    if output.plot is not None:
        from impasto import plots

        plots.check_plot(output.plot)


def is_finished(output: Output, settings: dict[str, Any]) -> bool:
    """Whether a run to be resumed has ended already, and its picture is there, with these settings; then says so."""
    if not output.resume or not output.path.exists() or (output.checkpoints and output.checkpoints.path.exists()):
        return False
    from impasto import images, record
    from impasto.errors import PictureError

    try:
        stored = images.read_settings(output.path)
    except PictureError:  # whatever it is, the run did not write it
        return False
    if stored is None or stored.get("interrupted") or not record.is_same_run(stored, settings):
        return False
    if not output.quiet:
        err.print(f"impasto: {output.path} is finished; leave --resume away to make it anew", markup=False)
    return True


def render(steps: Iterator[Step], output: Output, settings: dict[str, Any], writer: MediaWriter | None = None) -> int:
    """Show the steps and write the result of the last one, after Ctrl-C, another signal or an error too.

    Returns:
        The exit code: 0 for success, 1 if the result had to be written elsewhere, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    writer = writer or picture_writer()
    records: list[LossRecord] = []
    step: Step | None = None
    failure: BaseException | None = None
    saved, path = 0, output.path
    try:
        with StepBar(err, hidden=output.quiet or output.as_json).running() as bar:
            for step in steps:
                if not records:
                    writer.check_space(path, step.shape, output.bits)
                    records += step.earlier[:-1]
                    if output.save_every is not None and step.earlier:  # what a resumed run begins with is there
                        saved = step.evaluations // output.save_every
                bar.show(step)
                if records:
                    signals.check()
                records.append((step.evaluations, step.scale, step.loss, step.losses))
                if output.as_json:
                    out.print(json.dumps(_report(step)), markup=False)
                if output.save_every is not None and step.evaluations // output.save_every > saved:
                    saved = step.evaluations // output.save_every
                    name = path.with_name(f"{path.stem}-{step.evaluations:05}{path.suffix}")
                    try:
                        writer.write(name, step.picture, output.bits, settings | {"found": dict(step.found)})
                    except ImpastoError as error:  # no reason to end the run
                        log.warning("%s", error)
    except (Exception, KeyboardInterrupt) as error:
        if not records:
            raise
        failure = error  # raised below: first the checkpoint and the result are saved, which may have taken hours
    assert step is not None  # operations yield at least one
    with signals.deferred():
        if isinstance(steps, Generator):
            steps.close()
        written = _finish(step, records, failure, output, settings, writer)
    if isinstance(failure, KeyboardInterrupt):
        return signals.exit_code()
    if failure is not None:
        raise failure
    return 0 if written == path else 1


def _finish(
    step: Step,
    records: Sequence[LossRecord],
    failure: BaseException | None,
    output: Output,
    settings: dict[str, Any],
    writer: MediaWriter,
) -> Path:
    """Write and report the result of the last step. Returns the path written to."""
    path, checkpoints = output.path, output.checkpoints
    settings = settings | {"found": dict(step.found), "interrupted": failure is not None}
    result = step.finish(step.image.cpu())
    written = write_result(writer, path, result, output.bits, settings)
    if checkpoints is not None and failure is None and written == path:
        checkpoints.discard()
    if output.plot is not None:
        from impasto import plots

        plots.plot_losses(output.plot, records)
    if output.as_json:
        done = {"event": "done", "output": str(written), "interrupted": failure is not None, "settings": settings}
        out.print(json.dumps(_report(step) | done), markup=False)
    elif failure is not None:
        resumable = checkpoints is not None and checkpoints.path.exists()
        advice = "; run the same command with --resume to continue" if resumable else ""
        err.print(f"impasto: interrupted; the best result so far is in {written}{advice}", markup=False)
    elif not output.quiet:
        work = f"{counted(step.evaluations, 'evaluation')} in " if step.losses else ""
        out.print(f"{written}  {writer.describe(result)}, {work}{duration(step.seconds)}", markup=False)
    return written


def write_result(writer: MediaWriter, path: Path, result: Any, bits: int, settings: dict[str, Any]) -> Path:
    """Write a result; if that fails, to an unused name in another folder. Returns the path written to."""
    from impasto import files

    try:
        writer.write(path, result, bits, settings)
        return path
    except ImpastoError as error:
        for folder in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
            try:
                other = files.unused(folder() / path.name)
                writer.write(other, result, bits, settings)
            except (ImpastoError, OSError, RuntimeError):
                continue
            err.print(f"impasto: {error}; the result is in {other}", style="red", markup=False)
            return other
        raise


def _report(step: Step) -> dict[str, Any]:
    """A step as JSON, without the picture."""
    return {
        "event": "step",
        "scale": step.scale,
        "scales": step.scales,
        "width": step.image_shape[1],
        "height": step.image_shape[0],
        "iteration": step.iteration,
        "iterations": step.iterations,
        "evaluations": step.evaluations,
        "loss": step.loss,
        "losses": dict(step.losses),
        "seconds": round(step.seconds, 3),
        "eta": round(step.eta, 3),
        "note": step.note,
    }
