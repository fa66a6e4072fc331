"""`impasto audio`, and `impasto texture` of a sound."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from impasto.cli.display import set_up_logging
from impasto.cli.parameters import with_options
from impasto.cli.render import Medium, Output, check, render
from impasto.settings.fields import default_of, fields_of, flag_of
from impasto.settings.options import AudioOptions, SoundTextureOptions, TextureOptions

#: What there is of an output's options only for pictures; the depth is an option of its own.
FIXED = {"save_every": None, "bits": 16}


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(no_args_is_help=True)(with_options(AudioOptions, FIXED)(audio))


def audio(
    content: Annotated[str, typer.Argument(help="The sound whose content is kept: a .wav, .flac, .ogg or .mp3.")],
    style: Annotated[str, typer.Argument(help="The sound whose texture it takes on.")],
    options: AudioOptions,
    output: Output,
    depth: Annotated[
        int,
        typer.Option(
            "--bits", help="Bits per sample: 16, 24, or 32 (floating point) for .wav.", rich_help_panel="Output"
        ),
    ] = 16,
) -> int:
    """Give the sound CONTENT the texture of the sound STYLE.

    What is matched are statistics over time of what random filters hear in a spectrogram (Ulyanov and Lebedev 2016);
    the samples themselves are optimised. The result is as long and as loud as CONTENT. To make a texture of one sound
    alone, see 'impasto texture rain.wav'.
    """
    set_up_logging(output.quiet)
    from impasto import audio as sound
    from impasto import record

    output = dataclasses.replace(output, bits=depth)
    check(output, [content, style], sounds())
    settings = record.settings("audio", [content, style], options, depth)
    return render(sound.iterate(content, style, options, output.checkpoints), output, settings, sounds())


def texture_of_sound(style: str, pictures: TextureOptions, seconds: float | None, output: Output) -> int:
    """Make a texture of a sound; what was asked for is said in the options of pictures.

    Raises:
        ValueError: something that only pictures have.
    """
    from impasto import audio as sound
    from impasto import record

    known, asked = fields_of(SoundTextureOptions), {}
    for name, field in fields_of(TextureOptions).items():
        value = getattr(pictures, name)
        if value != default_of(field):
            if name not in known:
                raise ValueError(f"{flag_of(field)} is for textures of pictures, and {style} is a sound")
            asked[name] = value
    options = SoundTextureOptions(**asked, seconds=seconds)
    if output.bits == 8:  # what pictures have
        output = dataclasses.replace(output, bits=16)
    check(output, [style], sounds())
    more = [] if seconds is None else ["--seconds", f"{seconds:g}"]
    settings = record.settings("texture", [style], pictures, output.bits, more)
    return render(sound.iterate_texture(style, options, output.checkpoints), output, settings, sounds())


def sounds() -> Medium:
    """Sounds."""
    from impasto.audio import sounds

    def write(path: Path, sound: sounds.Sound, bits: int, settings: dict[str, Any]) -> None:
        sounds.write(path, sound, bits, json.dumps(settings))

    def tell(sound: sounds.Sound) -> str:
        return f"{sound.seconds:.1f} s at {sound.rate} Hz"

    return Medium(sounds.check_output, write, lambda path, size, bits: None, tell)
