"""`impasto stylize` and `impasto demo`: the main job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.display import StepBar, duration, err, out, set_up_logging
from impasto.cli.parameters import with_options
from impasto.options import StylizeOptions, preset
from impasto.photos import PHOTOS

if TYPE_CHECKING:
    from impasto.transfer import Step

Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Write the picture here: .png, .jpg, .webp or .tif.", rich_help_panel="Output"
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.", rich_help_panel="Output")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(no_args_is_help=True)(with_options(StylizeOptions, preset)(stylize))
    app.command()(demo)


def stylize(
    content: Annotated[str, typer.Argument(help=f"The photo: a file, or one of {', '.join(PHOTOS)}.")],
    style: Annotated[list[str], typer.Argument(help="The painting: a file, or a name of 'impasto styles'.")],
    options: StylizeOptions,
    output: Output,
    bits: Annotated[
        int, typer.Option(help="Bits per channel: 8, or 16 for .png and .tif.", rich_help_panel="Output")
    ] = 8,
    save_every: Annotated[
        int | None,
        typer.Option(
            help="Also write OUT-00050.png and so on, every N evaluations.",
            min=1,
            metavar="N",
            rich_help_panel="Output",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw how the losses fell: a .png, .svg or .pdf.", rich_help_panel="Output"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per step, and no bar.", rich_help_panel="Output"),
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Repaint the photo CONTENT in the manner of the painting STYLE.

    The picture is seen through VGG-19: content is the activations of a deep layer, style the statistics of
    several, and the pixels are optimised until both fit (Gatys, Ecker and Bethge, CVPR 2016), from coarse to
    fine. The file keeps the settings that made it: see 'impasto info'. Ctrl-C keeps the best picture so far.
    """
    set_up_logging(quiet)
    import impasto
    from impasto import images, plots, record

    images.check_output(output, bits=bits)
    for given in (content, *style):
        if output.exists() and Path(given).exists() and output.samefile(given):
            raise ValueError(f"{output} is one of the pictures given; write to another name")
    if plot is not None:
        plots.check_plot(plot)
    settings = record.settings(content, style, options, bits)

    curve = []
    step: Step | None = None
    failure: BaseException | None = None
    saved = 0
    try:
        with StepBar(shown=not (quiet or as_json)).running() as bar:
            for step in impasto.iterate(content, style, options):
                bar.show(step)
                curve.append((step.evaluations, step.scale, step.loss, step.losses))
                if as_json:
                    out.print(json.dumps(_report(step)), markup=False)
                if save_every is not None and step.evaluations // save_every > saved:
                    saved = step.evaluations // save_every
                    name = output.with_name(f"{output.stem}-{step.evaluations:05}{output.suffix}")
                    images.write(name, step.picture, bits, settings)
    except (Exception, KeyboardInterrupt) as error:
        if step is None:
            raise
        failure = error  # hours may lie behind it: first the picture
    assert step is not None  # `iterate` yields one at least
    images.write(output, step.picture, bits, settings)
    if plot is not None:
        plots.plot_losses(plot, curve)
    if as_json:
        done = {"event": "done", "output": str(output), "interrupted": failure is not None, "settings": settings}
        out.print(json.dumps(_report(step) | done), markup=False)
    elif failure is not None:
        err.print(f"impasto: interrupted; the best picture so far is in {output}", markup=False)
    elif not quiet:
        height, width = step.size
        out.print(
            f"{output}  {width}×{height} px, {step.evaluations} evaluations in {duration(step.seconds)}",
            markup=False,
        )
    if isinstance(failure, KeyboardInterrupt):
        return 130
    if failure is not None:
        raise failure
    return 0


def demo(
    output: Output = Path("demo.png"),
    photo: Annotated[str, typer.Option(help=f"One of {', '.join(PHOTOS)}, or a file.")] = "chelsea",
    style: Annotated[str, typer.Option(help="A name of 'impasto styles', or a file.")] = "swirls",
    size: Annotated[int, typer.Option(help="Long side in pixels.", min=16)] = 384,
    quiet: Quiet = False,
) -> int:
    """Repaint a photo that comes with the install in a style that does too, in a minute or two."""
    return stylize(photo, [style], preset("default", size=size), output, quiet=quiet)


def _report(step: Step) -> dict[str, Any]:
    """A step for machines: everything but the picture."""
    return {
        "event": "step",
        "scale": step.scale,
        "scales": step.scales,
        "width": step.image.shape[-1],
        "height": step.image.shape[-2],
        "iteration": step.iteration,
        "iterations": step.iterations,
        "evaluations": step.evaluations,
        "loss": step.loss,
        "losses": dict(step.losses),
        "seconds": round(step.seconds, 3),
        "eta": round(step.eta, 3),
        "note": step.note,
    }
