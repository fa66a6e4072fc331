"""`impasto fast`: one picture by a feed-forward network; `impasto learn`: a painting for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli import signals
from impasto.cli.display import count_bar, err, out, set_up_logging
from impasto.cli.flags import FastOutput, Quiet, output_flag
from impasto.cli.parameters import with_options
from impasto.cli.render import check_output, input_files, render
from impasto.cli.stylize import Paintings, Photo
from impasto.cli.train import read_photos
from impasto.errors import WeightsError
from impasto.files import check_writable
from impasto.progress import counted, duration
from impasto.settings.options import FastOptions, LearnOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from impasto.fast.learning import LearningProgress


def register(app: typer.Typer) -> None:
    app.command()(with_options(FastOptions)(fast))
    app.command()(with_options(LearnOptions)(learn))


def fast(content: Photo, style: Paintings, options: FastOptions, output: FastOutput) -> int:
    """Repaint the photo CONTENT in the style of the painting STYLE, in one pass of a feed-forward network.

    Styles of the gallery, see 'impasto styles', are painted at once. Any other painting is learnt first, which takes
    two minutes, and kept; from then on it, too, is painted at once. 'stylize' takes a thousand times as long as one
    pass, and follows the painting more closely.
    """
    set_up_logging(output.quiet)
    import impasto.fast
    from impasto import record

    pictures = [content, *style]
    check_output(output, input_files(pictures, options))
    settings = record.settings("fast", pictures, options, output.bits, store_paths=output.store_paths)
    return render(impasto.fast.iterate(content, style, options), output, settings)


def learn(
    options: LearnOptions,
    painting: Annotated[str | None, typer.Argument(help="The painting: a file.", show_default=False)] = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of photos to learn with; by default the bundled ones.", rich_help_panel="Pictures"),
    ] = None,
    output: Annotated[Path | None, output_flag("Also write the style to this file: .safetensors.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List what was learnt.", rich_help_panel="Output")] = False,
    remove: Annotated[
        str | None,
        typer.Option(help="Forget a painting, by its name or key.", metavar="NAME|KEY", rich_help_panel="Output"),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Learn the style of PAINTING for 'impasto fast', in two minutes.

    Only the scales and shifts of the network's normalisations are optimised, from the nearest style of the gallery. The
    result is kept in the cache folder, see 'impasto info'. A painting that was learnt before is improved. After Ctrl-C
    what was learnt so far is kept.
    """
    set_up_logging(quiet)
    from impasto.fast import learning

    if remove is not None:
        return _remove(remove)
    if listed:
        for style in learning.learnt_styles():
            out.print(f"{style.key}  {duration(style.seconds)}  {style.name}", markup=False)
        return 0
    if painting is None:
        raise ValueError("no painting was given; expected a file, or --list or --remove")
    if output is not None:
        if output.suffix != ".safetensors":
            raise ValueError(f"cannot write a style to {output.name!r}; expected a name that ends in .safetensors")
        check_writable(output, WeightsError)
    from impasto.devices import choose_device
    from impasto.fast import models
    from impasto.fast.learning import Learner
    from impasto.fast.objective import PAINTING_AREA
    from impasto.inputs.read import read_styles

    device = choose_device(options.device)
    model = models.load(options.model, device)
    dataset = None if photos is None else read_photos(photos, options.crop, device, not quiet)
    ((name, picture),) = read_styles(painting, PAINTING_AREA * options.style_scale**2)
    learner = Learner(model, learning.source_of(name, picture), options, device, dataset)
    try:
        show_learning(learner.steps(), quiet)
    except KeyboardInterrupt:
        with signals.deferred():
            kept = learner.save(output)
        if learner.vector is None or (kept is None and output is None):
            raise
        where = "kept" if kept is not None else f"in {output}"
        err.print(f"impasto: interrupted after {duration(learner.seconds)}; what was learnt is {where}", markup=False)
        return signals.exit_code()
    kept = learner.save(output)
    if not quiet:
        out.print(f"{kept or 'not kept'}  {counted(learner.step, 'step')} in {duration(learner.seconds)}", markup=False)
    return 0


def _remove(name: str) -> int:
    """Forget a learnt painting."""
    from impasto.fast import learning

    known = learning.learnt_styles()
    found = [style for style in known if name in (style.key, style.name, Path(style.name).name)]
    if not found:
        names = ", ".join(style.name for style in known) or "none"
        raise ValueError(f"no painting {name!r} was learnt; known are: {names}")
    for style in found:
        style.path.unlink(missing_ok=True)
        out.print(f"{style.name} removed", markup=False)
    return 0


def learn_ahead(styles: Sequence[str], options: FastOptions, quiet: bool) -> None:
    """Learn the paintings that are not known yet, with a progress bar."""
    import impasto.fast.stylizer

    show_learning(impasto.fast.stylizer.learn_ahead(list(styles), options), quiet)


def show_learning(steps: Iterator[LearningProgress], quiet: bool) -> None:
    """Show the steps of learning paintings with a progress bar."""
    with count_bar(quiet) as bar:
        task = bar.add_task("preparing", total=1, left="")
        for progress in steps:
            signals.check()
            losses = f"content {progress.losses['content']:.3g}  style {progress.losses['style']:.3g}"
            bar.update(
                task,
                description=f"learning {Path(progress.name).name}",
                completed=progress.fraction,
                left=f"{duration(progress.eta)} left  [dim]{losses}",
            )
