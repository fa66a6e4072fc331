"""`impasto stylize`, `texture`, `reconstruct` and `demo`: one picture each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.display import set_up_logging
from impasto.cli.parameters import with_options
from impasto.cli.render import CLUSTER, OUTPUT, QUIET, Output, check, files_of, render
from impasto.inputs.photos import PHOTOS
from impasto.presets import preset
from impasto.settings.options import ReconstructOptions, StylizeOptions, TextureOptions

#: What files of sound are called.
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus")

Photo = Annotated[str, typer.Argument(help=f"The photo: a file, or one of {', '.join(PHOTOS)}.")]
Paintings = Annotated[list[str], typer.Argument(help="The painting, or several: files, or names of 'impasto styles'.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(no_args_is_help=True)(with_options(StylizeOptions)(stylize))
    app.command(no_args_is_help=True)(with_options(TextureOptions)(texture))
    app.command(no_args_is_help=True)(with_options(ReconstructOptions)(reconstruct))
    app.command()(demo)


def stylize(content: Photo, style: Paintings, options: StylizeOptions, output: Output, cluster: CLUSTER = None) -> int:
    """Repaint the photo CONTENT in the manner of the painting STYLE.

    The picture is seen through VGG-19: content is the activations of a deep layer, style the statistics of
    several, and the pixels are optimised until both fit (Gatys, Ecker and Bethge, CVPR 2016), from coarse to
    fine. The file keeps the settings that made it: see 'impasto info'. Ctrl-C keeps the best picture so far.
    """
    set_up_logging(output.quiet)
    import impasto
    from impasto import record

    pictures = [content, *style]
    check(output, files_of(pictures, options))
    settings = record.settings("stylize", pictures, options, output.bits)
    if cluster is not None:
        from impasto import cluster as many

        return render(many.iterate(content, style, options, output.checkpoints, cluster), output, settings)
    return render(impasto.iterate(content, style, options, checkpoints=output.checkpoints), output, settings)


def texture(
    style: Paintings,
    options: TextureOptions,
    output: Output,
    seconds: Annotated[
        float | None, typer.Option(help="Of a texture of sound: how long it is to be.", rich_help_panel="Picture")
    ] = None,
) -> int:
    """Make a texture of the painting STYLE, of any size, from noise; or of a sound, of any length.

    What is matched are the statistics of several layers, the same that 'stylize' takes for style: nothing says where
    anything is (Gatys, Ecker and Bethge, NeurIPS 2015). With --seamless the picture can be tiled.
    """
    set_up_logging(output.quiet)
    import impasto
    from impasto import record

    if len(style) == 1 and Path(style[0]).suffix.lower() in SOUNDS:
        from impasto.cli.audio import texture_of_sound

        return texture_of_sound(style[0], options, seconds, output)
    if seconds is not None:
        raise ValueError("--seconds is for textures of sound, and a painting lasts none")
    check(output, files_of(style, options))
    settings = record.settings("texture", style, options, output.bits)
    return render(impasto.iterate_texture(style, options, output.checkpoints), output, settings)


def reconstruct(
    picture: Annotated[str, typer.Argument(help=f"The picture: a file, or one of {', '.join(PHOTOS)}.")],
    options: ReconstructOptions,
    output: Output,
) -> int:
    """Reconstruct PICTURE from what some layers know of it, starting from noise.

    With --content-layer, what a layer's activations tell: nearly everything in low layers, only what things are
    and about where in high ones. With --style-layers, what statistics tell: colours and strokes, but no place
    for them. Figure 1 of Gatys, Ecker and Bethge, CVPR 2016.
    """
    set_up_logging(output.quiet)
    import impasto
    from impasto import record

    check(output, files_of([picture], options))
    settings = record.settings("reconstruct", [picture], options, output.bits)
    return render(impasto.iterate_reconstruction(picture, options, output.checkpoints), output, settings)


def demo(
    output: OUTPUT = Path("demo.png"),
    photo: Annotated[str, typer.Option(help=f"One of {', '.join(PHOTOS)}, or a file.")] = "chelsea",
    style: Annotated[str, typer.Option(help="A name of 'impasto styles', or a file.")] = "swirls",
    size: Annotated[int, typer.Option(help="Long side in pixels.", min=16)] = 384,
    quiet: QUIET = False,
) -> int:
    """Repaint a photo that comes with the install in a style that does too, in a minute or two."""
    return stylize(photo, [style], preset("default", size=size), Output(output=output, quiet=quiet))
