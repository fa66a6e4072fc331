"""`impasto train` and `impasto export`: feed-forward networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.progress import track
from rich.table import Table

from impasto.cli import signals
from impasto.cli.display import duration, err, out, set_up_logging
from impasto.cli.flags import Quiet, checkpoint_flag, json_flag, output_flag, resume_flag
from impasto.cli.parameters import with_options
from impasto.settings.options import TrainOptions

if TYPE_CHECKING:
    import torch

    from impasto.fast.crops import Dataset
    from impasto.fast.training import TrainingProgress


def register(app: typer.Typer) -> None:
    app.command(no_args_is_help=True)(with_options(TrainOptions)(train))
    app.command(no_args_is_help=True)(export)


def train(
    photos: Annotated[Path, typer.Option(help="Folder of photos to train on.", rich_help_panel="Pictures")],
    folder: Annotated[Path, output_flag("Folder for the model, samples, losses and checkpoints.")],
    options: TrainOptions,
    paintings: Annotated[
        Path | None,
        typer.Option(help="Folder of paintings; the model then takes any painting.", rich_help_panel="Pictures"),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(help="A single painting; the model then knows no other.", rich_help_panel="Pictures"),
    ] = None,
    resume: Annotated[bool, resume_flag("Resume from the checkpoint in the folder.")] = False,
    checkpoint_every: Annotated[float, checkpoint_flag("Save the model and a checkpoint every S seconds.", 1)] = 300,
    as_json: Annotated[bool, json_flag("step")] = False,
    quiet: Quiet = False,
) -> int:
    """Train a feed-forward network: for any painting (--paintings), or for a single one (--style).

    The folder receives the model, for 'impasto fast --model', contact sheets of held-out pictures, and the losses.
    After Ctrl-C, --resume continues as if the training had never stopped.
    """
    set_up_logging(quiet)
    if (paintings is None) == (style is None):
        raise ValueError("give either --paintings, a folder, or --style, a single painting")

    from impasto import images
    from impasto.devices import choose_device
    from impasto.fast import training
    from impasto.inputs.read import read_styles

    device = choose_device(options.device)
    shown = not (quiet or as_json)
    styles: Dataset | torch.Tensor
    if style is not None:
        ((_, painting),) = read_styles(style, (2 * options.crop) ** 2, {})
        height, width = images.fit_area(
            painting.size, min(painting.size[0] * painting.size[1], (2 * options.crop) ** 2)
        )
        styles = painting.resized(max(8, height // 8 * 8), max(8, width // 8 * 8)).rgb[None].to(device)
    else:
        assert paintings is not None
        styles = _read(paintings, options, device, shown)
    run = training.TrainingRun(options, _read(photos, options, device, shown), styles, device)
    steps = training.train(run, folder, resume, checkpoint_every)
    try:
        with _table(shown) as show:
            for progress in steps:
                signals.check()
                show(progress)
                if as_json:
                    out.print(json.dumps(_report(progress)), markup=False)
    except KeyboardInterrupt:
        with signals.deferred():
            steps.close()  # type: ignore[attr-defined]
        err.print(
            f"impasto: interrupted at step {run.step}; run the same command with --resume to continue", markup=False
        )
        return signals.exit_code()
    if shown:
        out.print(f"{folder / 'model.safetensors'}  {run.step} steps", markup=False)
    return 0


def _read(folder: Path, options: TrainOptions, device: torch.device, shown: bool) -> Dataset:
    """The pictures of a folder, read with a progress bar."""
    from impasto.errors import PictureError
    from impasto.fast import crops
    from impasto.inputs.read import files_in

    files = files_in(folder)
    pairs = crops.load(files, 2 * options.crop, device)
    hidden = not (shown and err.is_terminal)
    bar = track(pairs, f"reading {folder}", len(files), console=err, transient=True, disable=hidden)
    read = [(path.name, picture) for path, picture in bar if picture is not None]
    if not read:
        raise PictureError(f"none of the {len(files)} files in {folder} is a picture that can be read")
    return crops.Dataset([picture for _, picture in read], [name for name, _ in read])


@contextmanager
def _table(shown: bool) -> Iterator[Any]:
    """A live table of the losses, on training and on held-out pictures."""
    means: dict[str, float] = {}
    held_out: dict[str, float] = {}

    def draw(progress: TrainingProgress) -> Table:
        pace = progress.seconds / max(1, progress.step - first[0] + 1)
        table = Table(
            title=f"step {progress.step}/{progress.steps}, {pace:.2f} s each, {duration(progress.eta)} left",
            title_justify="left",
        )
        for column in ("", "training", "held out"):
            table.add_column(column, justify="left" if not column else "right")
        for name, value in means.items():
            table.add_row(name, f"{value:.4f}", f"{held_out[name]:.4f}" if name in held_out else "")
        return table

    first: list[int] = []
    with Live(console=err, refresh_per_second=2, transient=True) as live:

        def show(progress: TrainingProgress) -> None:
            first.append(progress.step)
            for name, value in progress.losses.items():
                means[name] = value if name not in means else 0.98 * means[name] + 0.02 * value
            held_out.update(progress.held_out)
            if shown and err.is_terminal:
                live.update(draw(progress))
            elif shown and progress.held_out:
                left = f"{duration(progress.eta)} left"
                err.print(f"step {progress.step}/{progress.steps}  total {means['total']:.4f}  {left}")

        yield show


def _report(progress: TrainingProgress) -> dict[str, Any]:
    """A step as JSON."""
    return {
        "event": "step",
        "step": progress.step,
        "steps": progress.steps,
        "losses": dict(progress.losses),
        "held_out": dict(progress.held_out),
        "seconds": round(progress.seconds, 3),
        "eta": round(progress.eta, 3),
    }


def export(
    output: Annotated[Path, output_flag("Output file: .onnx.")],
    model: Annotated[
        Path | None,
        typer.Argument(help="A model from 'impasto train'; by default the bundled one.", show_default=False),
    ] = None,
) -> None:
    """Export a model as an ONNX graph, for browsers and programs without PyTorch. Needs the extra 'export'.

    Inputs: a photo and, unless the model has a painting of its own, a painting; 1×3×height×width, sRGB in [0, 1].
    """
    set_up_logging(False)
    from impasto.fast import export, models

    with err.status("exporting"):
        difference = export.export(models.load(model), output)
    out.print(f"{output}  differs from PyTorch by {difference:.1e} at most", markup=False)
