"""`impasto audio`, and `impasto texture` of a sound."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from impasto.cli.display import set_up_logging
from impasto.cli.flags import Output, SoundOutput
from impasto.cli.parameters import with_options
from impasto.cli.render import MediaWriter, check_output, render
from impasto.settings.fields import default_of, fields_of, flag_of
from impasto.settings.options import AudioOptions, SoundTextureOptions, TextureOptions


def register(app: typer.Typer) -> None:
    app.command()(with_options(AudioOptions)(audio))


def audio(
    content: Annotated[str, typer.Argument(help="The sound whose content is kept: .wav, .flac, .mp3, .m4a or other.")],
    style: Annotated[str, typer.Argument(help="The sound whose texture is transferred.")],
    options: AudioOptions,
    output: SoundOutput,
) -> int:
    """Give the sound CONTENT the texture of the sound STYLE.

    The samples are optimised until statistics over time of random convolutional features of the spectrogram match
    (Ulyanov and Lebedev 2016). The result is as long and as loud as CONTENT. For a texture of one sound, see
    'impasto texture rain.wav'.
    """
    set_up_logging(output.quiet)
    import impasto.audio
    from impasto import record

    writer = sound_writer()
    check_output(output, [content, style], writer)
    settings = record.settings("audio", [content, style], options, output.bits, store_paths=output.store_paths)
    return render(
        impasto.audio.iterate(content, style, options, checkpoints=output.checkpoints), output, settings, writer
    )


def texture_of_sound(style: str, picture_options: TextureOptions, seconds: float | None, output: Output) -> int:
    """Synthesise a texture of a sound, with those of the options of `impasto texture` that sounds have too.

    Raises:
        ValueError: an option was given that only pictures have.
    """
    import impasto.audio
    from impasto import record

    sound_fields, given = fields_of(SoundTextureOptions), {}
    for name, field in fields_of(TextureOptions).items():
        value = getattr(picture_options, name)
        if value != default_of(field):
            if name not in sound_fields:
                raise ValueError(f"{flag_of(field)} is for textures of pictures, and {style} is a sound")
            given[name] = value
    options = SoundTextureOptions(**given, seconds=seconds)
    if output.bits == 8:  # the default for pictures
        output = dataclasses.replace(output, bits=16)
    writer = sound_writer()
    check_output(output, [style], writer)
    more = [] if seconds is None else ["--seconds", f"{seconds:g}"]
    settings = record.settings("texture", [style], picture_options, output.bits, more, output.store_paths)
    return render(
        impasto.audio.iterate_texture(style, options, checkpoints=output.checkpoints), output, settings, writer
    )


def sound_writer() -> MediaWriter:
    from impasto.audio import sounds

    def write(path: Path, sound: sounds.Sound, bits: int, settings: dict[str, Any]) -> None:
        sounds.write(path, sound, bits, json.dumps(settings))

    def describe(sound: sounds.Sound) -> str:
        return f"{sound.seconds:.1f} s at {sound.rate} Hz"

    return MediaWriter(sounds.check_output, write, lambda path, size, bits: None, describe)
