"""The flags that several commands share, each declared once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from impasto.optim.checkpoints import Checkpoints


def output_flag(about: str) -> Any:
    """`--output`, with a help text of the command's own."""
    return typer.Option("--output", "-o", help=about, rich_help_panel="Output")


def bits_flag(about: str) -> Any:
    """`--bits`, with a help text of the command's own."""
    return typer.Option(help=about, rich_help_panel="Output")


def checkpoint_flag(about: str, least: float) -> Any:
    """`--checkpoint-every`, in seconds, at least `least`."""
    return typer.Option(help=about, min=least, metavar="S", rich_help_panel="Output")


def resume_flag(about: str) -> Any:
    """`--resume`, with a help text of the command's own."""
    return typer.Option("--resume", help=about, rich_help_panel="Output")


def json_flag(unit: str) -> Any:
    """`--json`, one object per `unit`."""
    return typer.Option(
        "--json", help=f"Print one JSON object per {unit} and no progress bar.", rich_help_panel="Output"
    )


PicturePath = Annotated[Path, output_flag("Output file: .png, .jpg, .webp or .tif.")]
Bits = Annotated[int, bits_flag("Bits per channel: 8, or 16 for .png and .tif.")]
StorePaths = Annotated[
    bool,
    typer.Option(
        "--store-paths",
        help="Store the full paths of the input files in the result; by default only their names.",
        rich_help_panel="Output",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel="Output")]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="Compute on a Ray cluster: at ADDRESS, or with auto the one that this machine belongs to. If there is "
        "none, auto starts one on this machine, closed to others.",
        metavar="auto|ADDRESS",
        rich_help_panel="Machine",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a result is written, and what is printed meanwhile.

    A command has a flag for each field whose annotation holds one; the other fields are fixed.
    """

    path: PicturePath
    bits: Bits = 8
    save_every: Annotated[
        int | None,
        typer.Option(
            help="Also write intermediate results, OUT-00050.png and so on, every N evaluations.",
            min=1,
            metavar="N",
            rich_help_panel="Output",
        ),
    ] = None
    plot: Annotated[
        Path | None, typer.Option(help="Plot the losses to this .png, .svg or .pdf file.", rich_help_panel="Output")
    ] = None
    checkpoint_every: Annotated[
        float,
        checkpoint_flag(
            "Save a checkpoint to OUT.checkpoint every S seconds, 0 for never; it is deleted at the end.", 0
        ),
    ] = 60.0
    resume: Annotated[bool, resume_flag("Resume from OUT.checkpoint; the result is the same, bit for bit.")] = False
    as_json: Annotated[bool, json_flag("step")] = False
    store_paths: StorePaths = False
    quiet: Quiet = False

    @property
    def checkpoints(self) -> Checkpoints | None:
        """Where and how often to save checkpoints; None for never."""
        from impasto.optim.checkpoints import Checkpoints

        if not (self.checkpoint_every or self.resume):
            return None
        path = self.path.with_name(self.path.name + ".checkpoint")
        return Checkpoints(path, self.checkpoint_every or math.inf, self.resume)


@dataclass(frozen=True, kw_only=True)
class FastOutput(Output):
    """The output of a feed-forward network, which has no losses and takes too little time for checkpoints."""

    save_every: None = None
    plot: None = None
    checkpoint_every: float = 0.0
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class TextureOutput(Output):
    """A picture or a sound as output."""

    path: Annotated[Path, output_flag("Output file: .png, .jpg, .webp or .tif; for a sound .wav, .flac, .ogg or .mp3.")]


@dataclass(frozen=True, kw_only=True)
class SoundOutput(Output):
    """A sound as output."""

    path: Annotated[Path, output_flag("Output file: .wav, .flac, .ogg or .mp3.")]
    bits: Annotated[int, bits_flag("Bits per sample: 16, 24, or 32 (floating point) for .wav.")] = 16
    save_every: None = None
