"""The options as keyword arguments, for type checkers: `stylize(photo, painting, size=512)`.

Fields have the types that `fields.check` converts, which are more than those that the options hold.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from impasto.settings.choices import (
    BorderPadding,
    ColorMatch,
    ColorMode,
    ContentNorm,
    Optimizer,
    Pooling,
    Preprocessing,
    SoundEncoderName,
    SoundInit,
    SoundStatistic,
    StyleName,
    StyleNorm,
)


class Keywords(TypedDict, total=False):
    """Those of `Options`."""

    preset: str
    device: str


class PictureKeywords(Keywords, total=False):
    """Those of `PictureOptions`."""

    memory: int | str | None


class OptimizationKeywords(PictureKeywords, total=False):
    """Those of `OptimizationOptions`."""

    iterations: int
    time_budget: float | None
    optimizer: Optimizer
    history: int
    rate: float
    seed: int


class VGGKeywords(OptimizationKeywords, total=False):
    """Those of `VGGOptions`."""

    scales: int | Literal["auto"] | None
    total_variation: float
    weights: str
    preprocessing: Preprocessing | None
    pooling: Pooling
    padding: BorderPadding


class PaintingKeywords(PictureKeywords, total=False):
    """Those of `PaintingOptions`."""

    style_weights: Sequence[float] | float | str
    style_scale: Sequence[float] | float | str
    style_mask: Mapping[str, Any] | Sequence[str] | str


class StyleLossKeywords(PaintingKeywords, VGGKeywords, total=False):
    """Those of `StyleLossOptions`."""

    statistic: StyleName
    style_layers: Mapping[str, float] | Sequence[str] | str | None
    style_norm: StyleNorm


class PhotoKeywords(PictureKeywords, total=False):
    """Those of `PhotoOptions`."""

    size: int | Literal["original"] | None
    color: ColorMode
    color_match: ColorMatch
    content_mask: Mapping[str, Any] | Sequence[str] | str


class FastKeywords(PhotoKeywords, PaintingKeywords, total=False):
    """Those of `FastOptions`."""

    strength: float
    model: str | None
    learn_seconds: float


class StylizeKeywords(PhotoKeywords, StyleLossKeywords, total=False):
    """Those of `StylizeOptions`."""

    strength: float
    init: str
    match_colors: bool
    content_weight: float
    style_weight: float | Literal["auto"] | None
    content_layers: Mapping[str, float] | Sequence[str] | str
    content_norm: ContentNorm
    saliency: float


class TextureKeywords(StyleLossKeywords, total=False):
    """Those of `TextureOptions`."""

    size: int | tuple[int, int] | str
    seamless: bool


class ReconstructKeywords(StyleLossKeywords, total=False):
    """Those of `ReconstructOptions`."""

    size: int | Literal["original"] | None
    content_layer: Mapping[str, float] | Sequence[str] | str | None


class VideoKeywords(StylizeKeywords, total=False):
    """Those of `VideoOptions`."""

    fast: bool
    later: int
    temporal_weight: float
    long_term: int
    passes: int
    smoothing: float
    model: str | None
    flow: str | None
    frame_rate: float | None
    crf: int


class SoundKeywords(OptimizationKeywords, total=False):
    """Those of `SoundOptions`."""

    statistic: SoundStatistic
    encoder: SoundEncoderName
    sample_rate: int


class AudioKeywords(SoundKeywords, total=False):
    """Those of `AudioOptions`."""

    strength: float
    init: SoundInit
    content_weight: float
    style_weight: float


class SoundTextureKeywords(SoundKeywords, total=False):
    """Those of `SoundTextureOptions`."""

    seconds: float | None
