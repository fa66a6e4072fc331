"""`impasto train` and `impasto export`: feed-forward networks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from impasto.cli import signals
from impasto.cli.display import err, out, set_up_logging
from impasto.cli.flags import Quiet, checkpoint_flag, json_flag, output_flag, resume_flag
from impasto.cli.parameters import with_options
from impasto.progress import counted, duration
from impasto.settings.options import TrainOptions

if TYPE_CHECKING:
    import torch

    from impasto.fast.crops import Dataset
    from impasto.fast.training import TrainingProgress
    from impasto.images.regions import StyleSource


def register(app: typer.Typer) -> None:
    app.command()(with_options(TrainOptions)(train))
    app.command()(export)


def train(
    photos: Annotated[Path, typer.Option(help="Folder of photos to train on.", rich_help_panel="Pictures")],
    style: Annotated[
        list[str],
        typer.Option(
            help="A style of the gallery: a file, a folder of them, or a name from 'impasto styles'. May be repeated.",
            rich_help_panel="Pictures",
        ),
    ],
    folder: Annotated[Path, output_flag("Folder for the model, samples, losses and checkpoints.")],
    options: TrainOptions,
    paintings: Annotated[
        Path | None,
        typer.Option(
            help="Folder of other paintings, from which the model learns to predict the style of any.",
            rich_help_panel="Pictures",
        ),
    ] = None,
    resume: Annotated[bool, resume_flag("Resume from the checkpoint in the folder.")] = False,
    checkpoint_every: Annotated[float, checkpoint_flag("Save the model and a checkpoint every S seconds.", 1)] = 300,
    as_json: Annotated[bool, json_flag("step")] = False,
    quiet: Quiet = False,
) -> int:
    """Train a feed-forward network with a gallery of styles, by the objective of 'stylize'.

    The folder receives the model, for 'impasto fast --model', contact sheets of held-out photos, and the losses. After
    Ctrl-C, --resume continues as if the training had never stopped.
    """
    set_up_logging(quiet)
    from impasto.devices import choose_device
    from impasto.fast import training

    device = choose_device(options.device)
    shown = not (quiet or as_json)
    styles = _read_styles(style, options)
    others = None if paintings is None else read_photos(paintings, options.crop, device, shown)
    run = training.TrainingRun(options, read_photos(photos, options.crop, device, shown), styles, others, device)
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
        out.print(f"{folder / 'model.safetensors'}  {counted(run.step, 'step')}", markup=False)
    return 0


def _read_styles(given: Sequence[str], options: TrainOptions) -> list[StyleSource]:
    """The styles of the gallery, by the stems of their files."""
    from impasto.fast.learning import source_of
    from impasto.fast.objective import PAINTING_AREA
    from impasto.inputs.read import files_in, read_styles

    files = [path for name in given for path in (files_in(name) if Path(name).is_dir() else [name])]
    read = read_styles(files, PAINTING_AREA * options.style_scale**2)
    sources = [source_of(Path(name).stem, picture) for name, picture in read]
    names = [source.name for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several styles are called {', '.join(repeated)}; rename their files")
    return sources


def read_photos(folder: Path, crop: int, device: torch.device, shown: bool) -> Dataset:
    """The pictures of a folder, read with a progress bar."""
    from impasto.errors import PictureError
    from impasto.fast import crops
    from impasto.inputs.read import files_in

    files = files_in(folder)
    pairs = crops.load(files, 3 * crop, device)
    hidden = not (shown and err.is_terminal)
    bar = track(pairs, f"reading {escape(str(folder))}", len(files), console=err, transient=True, disable=hidden)
    read = [(path.name, picture) for path, picture in bar if picture is not None]
    if not read:
        raise PictureError(f"none of the {len(files)} files in {folder} is a picture that can be read")
    return crops.Dataset([picture for _, picture in read], [name for name, _ in read])


@contextmanager
def _table(shown: bool) -> Iterator[Any]:
    """A live table of the losses."""
    means: dict[str, float] = {}

    def draw(progress: TrainingProgress) -> Table:
        pace = progress.seconds / max(1, progress.step - first[0] + 1)
        table = Table(
            title=f"step {progress.step}/{progress.steps}, {pace:.2f} s each, {duration(progress.eta)} left",
            title_justify="left",
            show_header=False,
        )
        for name, value in means.items():
            table.add_row(name, f"{value:.4f}")
        return table

    first: list[int] = []
    with Live(console=err, refresh_per_second=2, transient=True) as live:

        def show(progress: TrainingProgress) -> None:
            first.append(progress.step)
            for name, value in progress.losses.items():
                means[name] = value if name not in means else 0.98 * means[name] + 0.02 * value
            if shown and err.is_terminal:
                live.update(draw(progress))
            elif shown and (progress.step % 100 == 0 or progress.step == progress.steps):
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
        "seconds": round(progress.seconds, 3),
        "eta": round(progress.eta, 3),
    }


def export(
    output: Annotated[Path, output_flag("Output file: .onnx.")],
    model: Annotated[
        Path | None,
        typer.Argument(help="A model from 'impasto train'; by default the bundled one.", show_default=False),
    ] = None,
    tiles: Annotated[
        bool,
        typer.Option(
            "--tiles",
            help="For pictures that are painted in tiles: the graph also takes and gives the statistics of features.",
        ),
    ] = False,
) -> None:
    """Export a model as an ONNX graph, for browsers and programs without PyTorch. Needs the extra 'export'.

    Inputs: 'photo', 1×3×height×width, sRGB in [0, 1]; 'shares', 1×styles, how much of each style of the gallery; and
    'vector', that of a learnt painting, or zeros. With --tiles also 'statistics', 1×n, means and variances of features,
    and 'share', how much these count; the rest is the picture's own. An output 'used' gives those that were used.
    """
    set_up_logging(False)
    from impasto.fast import export, models

    with err.status("exporting"):
        difference = export.export(models.load(model), output, tiles)
    out.print(f"{output}  differs from PyTorch by {difference:.1e} at most", markup=False)
