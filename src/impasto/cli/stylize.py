"""`impasto stylize`, `texture`, `reconstruct` and `demo`: one picture each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.display import set_up_logging
from impasto.cli.flags import Cluster, Output, PicturePath, Quiet, TextureOutput
from impasto.cli.parameters import with_options
from impasto.cli.render import check_output, input_files, is_finished, render
from impasto.inputs.photos import PHOTOS
from impasto.presets import preset
from impasto.settings.options import ReconstructOptions, StylizeOptions, TextureOptions

#: Sounds, and clips with sound.
SOUND_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".opus",
    ".m4a", ".aac", ".wma", ".ac3", ".amr", ".mka", ".mp4", ".m4v", ".mov", ".mkv", ".webm",
)  # fmt: skip

Photo = Annotated[str, typer.Argument(help=f"The photo: a file, or one of {', '.join(PHOTOS)}.")]
Paintings = Annotated[list[str], typer.Argument(help="One painting or several: files, or names from 'impasto styles'.")]


def register(app: typer.Typer) -> None:
    app.command()(with_options(StylizeOptions)(stylize))
    app.command()(with_options(TextureOptions)(texture))
    app.command()(with_options(ReconstructOptions)(reconstruct))
    app.command()(demo)


def stylize(content: Photo, style: Paintings, options: StylizeOptions, output: Output, cluster: Cluster = None) -> int:
    """Repaint the photo CONTENT in the style of the painting STYLE, by optimisation.

    The pixels are optimised, from coarse to fine, until the activations of a deep layer of VGG-19 match those of
    the photo, and the statistics of several layers match those of the painting (Gatys, Ecker and Bethge, CVPR 2016).
    The file stores the settings that made it: see 'impasto info'. Ctrl-C writes the picture so far.
    """
    set_up_logging(output.quiet)
    import impasto
    from impasto import record

    pictures = [content, *style]
    check_output(output, input_files(pictures, options))
    settings = record.settings("stylize", pictures, options, output.bits, store_paths=output.store_paths)
    if is_finished(output, settings):
        return 0
    if cluster is not None:
        import impasto.cluster

        steps = impasto.cluster.iterate(content, style, options, checkpoints=output.checkpoints, address=cluster)
    else:
        steps = impasto.iterate(content, style, options, checkpoints=output.checkpoints)
    return render(steps, output, settings)


def texture(
    style: Paintings,
    options: TextureOptions,
    output: TextureOutput,
    seconds: Annotated[
        float | None,
        typer.Option(help="For a sound: length of the result; by default that of STYLE.", rich_help_panel="Picture"),
    ] = None,
) -> int:
    """Synthesise a texture of any size from the painting STYLE; or of any length, from a sound.

    Noise is optimised until the statistics of several layers match, as for the style in 'stylize'; they do not depend
    on positions (Gatys, Ecker and Bethge, NeurIPS 2015). With --seamless the picture can be tiled.
    """
    set_up_logging(output.quiet)
    import impasto
    from impasto import record

    if len(style) == 1 and Path(style[0]).suffix.lower() in SOUND_SUFFIXES:
        from impasto.cli.audio import texture_of_sound

        return texture_of_sound(style[0], options, seconds, output)
    if seconds is not None:
        raise ValueError("--seconds is for textures of sounds; for a picture give --size")
    check_output(output, input_files(style, options))
    settings = record.settings("texture", style, options, output.bits, store_paths=output.store_paths)
    if is_finished(output, settings):
        return 0
    return render(impasto.iterate_texture(style, options, checkpoints=output.checkpoints), output, settings)


def reconstruct(
    picture: Annotated[str, typer.Argument(help=f"The picture: a file, or one of {', '.join(PHOTOS)}.")],
    options: ReconstructOptions,
    output: Output,
) -> int:
    """Reconstruct PICTURE from its features at some layers, starting from noise.

    With --content-layer, from the activations of a layer: low layers keep nearly everything, high ones only what
    things are and roughly where. With --style-layers, from style statistics: they keep colours and strokes, but no
    positions (figure 1 of Gatys, Ecker and Bethge, CVPR 2016).
    """
    set_up_logging(output.quiet)
    import impasto
    from impasto import record

    check_output(output, input_files([picture], options))
    settings = record.settings("reconstruct", [picture], options, output.bits, store_paths=output.store_paths)
    if is_finished(output, settings):
        return 0
    return render(impasto.iterate_reconstruction(picture, options, checkpoints=output.checkpoints), output, settings)


def demo(
    output: PicturePath = Path("demo.png"),
    photo: Annotated[str, typer.Option(help=f"One of {', '.join(PHOTOS)}, or a file.")] = "astronaut",
    style: Annotated[str, typer.Option(help="A name from 'impasto styles', or a file.")] = "stained-glass",
    size: Annotated[int, typer.Option(help="Long side in pixels.", min=16)] = 384,
    quiet: Quiet = False,
) -> int:
    """Repaint a bundled photo in a bundled style, in about a minute."""
    # So few evaluations look like twice as many here, and nobody waits for a demonstration.
    return stylize(photo, [style], preset("default", size=size, iterations=20), Output(path=output, quiet=quiet))
