"""What a person can decide, as one frozen dataclass per operation: the one place where options are declared.

Importing this module imports no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, get_args

from impasto.settings.choices import (
    BorderPadding,
    ColorMatch,
    ColorMode,
    ContentNorm,
    Device,
    Init,
    NetworkKind,
    Optimizer,
    Pooling,
    Precision,
    Preprocessing,
    SoundEncoderName,
    SoundInit,
    SoundStatistic,
    StyleName,
    StyleNorm,
)
from impasto.settings.fields import BYTES, EXTENT, LAYERS, MASKS, NUMBERS, SCALES, SIZE, check, format_numbers, option

#: The layers that Gatys et al. 2016 read, for VGG-16 and VGG-19 alike.
CONTENT_LAYERS = {"relu4_2": 1.0}
STYLE_LAYERS = {f"relu{block}_1": 0.2 for block in range(1, 6)}
#: Nearest neighbours among all positions cost the square of their number: the finest layer is left out.
NEAREST_LAYERS = {"relu2_1": 0.25, "relu3_1": 0.25, "relu4_1": 0.25, "relu5_1": 0.25}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every operation lets one decide."""

    operation: ClassVar[str]

    device: Device = option("auto", "Machine", "Where to compute.", result_neutral=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class PictureOptions(Options):
    """What every operation that makes a picture lets one decide."""

    memory: int | None = option(
        None,
        "Machine",
        "Memory to take at most, such as 4GB; large pictures are computed in parts. By default most of what is free.",
        result_neutral=True,
        **BYTES,
    )


@dataclass(frozen=True, kw_only=True)
class OptimizationOptions(PictureOptions):
    """What every operation that optimises lets one decide."""

    iterations: int = option(50, "Time", "Evaluations at the last scale; smaller scales get more.", least=1)
    time_budget: float | None = option(
        None,
        "Time",
        "Seconds to take at most; the iterations are shared out to fit.",
        metavar="SECONDS",
        above=0,
        result_neutral=True,
    )

    optimizer: Optimizer = option("lbfgs", "Optimiser", "Method.")
    history: int = option(10, "Optimiser", "Steps that L-BFGS remembers, each as large as the picture.", least=1)
    rate: float = option(0.02, "Optimiser", "Adam's step, as a part of the range from black to white.", above=0)
    seed: int = option(0, "Optimiser", "Seed of all randomness: the same seed makes the same file.", least=0)


@dataclass(frozen=True, kw_only=True)
class VGGOptions(OptimizationOptions):
    """What every operation that optimises a picture lets one decide."""

    scales: int | None = option(
        None,
        "Time",
        "Sizes to go through, coarse to fine; 1 is the last only. auto, the default: from about 128 px.",
        **SCALES,
    )

    total_variation: float = option(0.0, "Objective", "Weight of the total variation: smoothness.", least=0)

    weights: str = option(
        "vgg19", "Network", "Weights: a name of 'impasto weights list', or a file.", metavar="NAME|FILE"
    )
    preprocessing: Preprocessing | None = option(
        None,
        "Network",
        "For a file of weights: the pixels it was trained on.",
    )
    pooling: Pooling = option("max", "Network", "Pooling of the network.")
    padding: BorderPadding = option(
        "replicate",
        "Network",
        "What the network sees beyond the border: its last pixels again, or zeros, which paint a frame.",
    )


@dataclass(frozen=True, kw_only=True)
class PaintingOptions(PictureOptions):
    """How paintings are read."""

    style_weights: tuple[float, ...] = option(
        (),
        "Style",
        "Shares of several styles, in their order: 0.7,0.3. Equal by default.",
        **NUMBERS,
        metavar="A,B,…",
        per_run=True,
    )
    style_scale: tuple[float, ...] = option(
        (1.0,),
        "Style",
        "Brush size: 2 for strokes twice as large, or several to blend, 0.5,1,2.",
        **NUMBERS,
        metavar="X[,Y…]",
    )
    style_mask: Mapping[str, Any] = option(
        {},
        "Regions",
        "Read a style only where a mask is white: STYLE=FILE, the style by number or name. May be repeated. "
        "What is transparent in a painting is never read.",
        **MASKS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.style_scale or min(self.style_scale) <= 0:
            raise ValueError(f"style_scale is {format_numbers(self.style_scale)!r}; every scale must be above 0")
        if self.style_weights and not sum(self.style_weights):
            raise ValueError("style_weights are all 0; one at least must weigh something")


@dataclass(frozen=True, kw_only=True)
class StyleLossOptions(PaintingOptions, VGGOptions):
    """What every operation that optimises towards a style lets one decide."""

    statistic: StyleName = option(
        "gram",
        "Style",
        "What of the style's features is matched: the mean of a statistic over all positions, or at each "
        "position the nearest of the style's features.",
    )
    style_layers: Mapping[str, float] | None = option(
        None,
        "Objective",
        "Style layers, as name or name=weight. By default relu1_1 to relu5_1, for 'nearest' without the first.",
        **LAYERS,
    )
    style_norm: StyleNorm = option(
        "relative",
        "Objective",
        "Scale of each style loss: gatys (1/(4N²)), relative (to the target).",
    )

    @property
    def resolved_style_layers(self) -> Mapping[str, float]:
        """The style layers and their weights, the default's where none were given."""
        if self.style_layers is not None:
            return self.style_layers
        return NEAREST_LAYERS if self.statistic == "nearest" else STYLE_LAYERS


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(PictureOptions):
    """How a photo is repainted, whichever way."""

    size: int | None = option(512, "Picture", "Long side of the result in pixels, or 'original'.", **SIZE)
    color: ColorMode = option(
        "style",
        "Picture",
        "Whose colours: the style's; or the photo's, by repainting its luminance only (luminance), by "
        "recolouring the style first (match), or both; palette transfers nothing but the style's colours.",
    )
    color_match: ColorMatch = option(
        "covariance",
        "Picture",
        "How colours are matched: mean and covariance, or the histogram of each channel.",
    )
    content_mask: Mapping[str, Any] = option(
        {},
        "Regions",
        "Where a style goes: STYLE=FILE, white where; the style by number or name, or 'keep' for what stays "
        "untouched. May be repeated. FILE may be 'alpha', the photo's own. Styles without a mask share "
        "what no mask covers.",
        **MASKS,
    )


@dataclass(frozen=True, kw_only=True)
class FastOptions(PhotoOptions, PaintingOptions):
    """How to repaint a photo with a feed-forward network, at once."""

    operation: ClassVar[str] = "fast"

    strength: float = option(
        1.0,
        "Picture",
        "How much style: 0 is the photo, 1 what the network was trained for, 2 twice as far on.",
        least=0,
    )
    model: str | None = option(
        None, "Network", "A model of 'impasto train'; by default the one that comes along.", metavar="FILE"
    )


@dataclass(frozen=True, kw_only=True)
class StylizeOptions(PhotoOptions, StyleLossOptions):
    """How to repaint a photo. The defaults are ours; `preset` gives those of the papers."""

    operation: ClassVar[str] = "stylize"

    strength: float = option(
        1.0,
        "Picture",
        "How much style: 0 keeps the photo, 1 is a balance, 2 leaves little of it. "
        "The style's weight grows with its cube, since the eye answers to ratios.",
        least=0,
    )
    init: str = option(
        "content",
        "Picture",
        "Start from: content, noise, mixed (the photo under noise), style; or from a draft at full size, unless "
        "--scales says otherwise: fast (what 'impasto fast' makes of it), or a picture's FILE.",
        aliases=("--start",),
    )
    match_colors: bool = option(
        True, "Picture", "Start with the photo's colours matched to the style's (for content and mixed)."
    )

    content_weight: float = option(1.0, "Objective", "Weight of the content, alpha.", least=0)
    style_weight: float = option(20.0, "Objective", "Weight of the style at strength 1, beta.", least=0)
    content_layers: Mapping[str, float] = option(
        CONTENT_LAYERS, "Objective", "Content layers, as name or name=weight.", **LAYERS
    )
    content_norm: ContentNorm = option(
        "relative",
        "Objective",
        "Scale of the content loss: half (Gatys's 1/2 Σ), course (1/(4HWC) Σ), relative (to the target).",
    )

    @property
    def effective_style_weight(self) -> float:
        """beta, the dial included."""
        return self.style_weight * self.strength * self.strength * self.strength

    @property
    def stylize_options(self) -> "StylizeOptions":
        """Those of a single picture, where there is more to decide."""
        return StylizeOptions(**{field.name: getattr(self, field.name) for field in fields(StylizeOptions)})

    @property
    def fast_options(self) -> FastOptions:
        """The options of the fast way that come nearest."""
        shared = {field.name for field in fields(FastOptions)} & {field.name for field in fields(self)}
        return FastOptions(**{name: getattr(self, name) for name in shared})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.effective_style_weight):
            raise ValueError(f"strength is {self.strength:g}; style_weight times its cube is not a finite number")
        if not self.content_weight * sum(self.content_layers.values()) and not (
            self.effective_style_weight * sum(self.resolved_style_layers.values())
        ):
            raise ValueError("both content and style weigh nothing: there is nothing to optimise")


@dataclass(frozen=True, kw_only=True)
class BatchOptions(StylizeOptions):
    """How to repaint many photos."""

    operation: ClassVar[str] = "batch"

    fast: bool = option(False, "Picture", "One pass of a network per picture: a hundred times as fast, fewer strokes.")
    model: str | None = option(
        None,
        "Network",
        "With --fast: a model of 'impasto train'; by default the one that comes along.",
        metavar="FILE",
    )
    workers: int | None = option(
        None,
        "Machine",
        "Pictures to paint at a time. By default as many as there are cores and memory.",
        least=1,
        result_neutral=True,
    )
    threads: int | None = option(
        None, "Machine", "Threads that paint one picture, 1 by default.", least=1, result_neutral=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        masks = [f"content_mask {name}" for name, mask in self.content_mask.items() if mask != "alpha"]
        masks += [f"style_mask {name}" for name in self.style_mask]
        if masks:
            raise ValueError(f"{masks[0]} belongs to one picture; a batch takes no masks but the photos' own alpha")
        if self.style_weights:
            raise ValueError("style_weights share a picture out among styles; in a batch each style has its own")
        if self.init not in get_args(Init):
            raise ValueError(f"init is {self.init!r}; a batch starts from one of {', '.join(get_args(Init))}")


@dataclass(frozen=True, kw_only=True)
class TextureOptions(StyleLossOptions):
    """How to make a texture of a painting (Gatys, Ecker & Bethge, NeurIPS 2015, arXiv 1505.07376)."""

    operation: ClassVar[str] = "texture"

    size: tuple[int, int] = option(
        (512, 512),
        "Picture",
        "Width and height of the texture in pixels; one number for a square.",
        **EXTENT,
    )
    seamless: bool = option(False, "Picture", "Make it tile: its borders continue on the opposite side.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not sum(self.resolved_style_layers.values()):
            raise ValueError("all style layers weigh 0: there is nothing to optimise")


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions(StyleLossOptions):
    """How to reconstruct a picture from what layers know of it (figure 1 of Gatys et al. 2016)."""

    operation: ClassVar[str] = "reconstruct"

    size: int | None = option(256, "Picture", "Long side of the result in pixels, or 'original'.", **SIZE)
    iterations: int = option(200, "Time", "Evaluations at the last scale; smaller scales get more.", least=1)
    scales: int | None = option(
        1,
        "Time",
        "Sizes to go through, coarse to fine; 1 is the last only, auto from about 128 px.",
        **SCALES,
    )
    content_layer: Mapping[str, float] | None = option(
        None,
        "Objective",
        "Match the activations of this layer, or of several. By default relu4_2, unless there are style layers.",
        **LAYERS,
        metavar="LAYER",
    )
    style_layers: Mapping[str, float] | None = option(
        None,
        "Objective",
        "Match the statistics of these layers: what is left of the picture when positions are forgotten.",
        **LAYERS,
        metavar="LAYERS",
    )

    @property
    def resolved_content_layers(self) -> Mapping[str, float]:
        """The content layers, the default's where no layers at all were given."""
        if self.content_layer is not None:
            return self.content_layer
        return {} if self.style_layers else CONTENT_LAYERS

    @property
    def resolved_style_layers(self) -> Mapping[str, float]:
        """The style layers, none by default."""
        return self.style_layers or {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not sum(self.resolved_content_layers.values()) + sum(self.resolved_style_layers.values()):
            raise ValueError("all layers weigh 0: there is nothing to reconstruct from")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """How to train a network of the fast way."""

    operation: ClassVar[str] = "train"

    network: NetworkKind = option(
        "compact",
        "Network",
        "compact learns all of its million parameters, which wants a GPU; vgg sees through VGG-19 and learns only "
        "the way back, which two CPU cores do in two hours.",
    )
    steps: int = option(40_000, "Time", "Steps of the optimiser.", least=1, result_neutral=True)
    batch: int = option(8, "Time", "Crops per step.", least=1)
    crop: int = option(256, "Time", "Side of the crops in pixels, a multiple of 8.", least=32)
    sample_every: int = option(
        500,
        "Time",
        "Paint a contact sheet of held-out pictures every N steps.",
        least=1,
        metavar="N",
        result_neutral=True,
    )

    content_weight: float = option(1.0, "Objective", "Weight of the content.", least=0)
    style_weight: float = option(5.0, "Objective", "Weight of the Gram matrices.", least=0)
    moments_weight: float = option(2.0, "Objective", "Weight of means and deviations.", least=0)
    identity_weight: float = option(5.0, "Objective", "Weight of the pixels of photos in their own style.", least=0)
    range_weight: float = option(1.0, "Objective", "Weight of what lies beyond black and white.", least=0)
    total_variation: float = option(0.0, "Objective", "Weight of the total variation: smoothness.", least=0)
    steady_weight: float = option(
        50.0,
        "Objective",
        "Weight, in the last part, of what moving the photo a little changes but its place: for video.",
        least=0,
    )

    rate: float = option(1e-3, "Optimiser", "Adam's step at first; it falls to a hundredth.", above=0)
    seed: int = option(0, "Optimiser", "Seed of all randomness.", least=0)
    precision: Precision = option(
        "auto",
        "Machine",
        "What convolutions compute in: auto is bfloat16 where the processor multiplies it, else float32.",
        result_neutral=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop % 8:
            raise ValueError(f"crop is {self.crop}; needed is a multiple of 8, such as {self.crop // 8 * 8}")


@dataclass(frozen=True, kw_only=True)
class VideoOptions(StylizeOptions):
    """How to repaint a clip (Ruder, Dosovitskiy & Brox, arXiv 1604.08610)."""

    operation: ClassVar[str] = "video"

    size: int | None = option(384, "Picture", "Long side of the result in pixels, or 'original'.", **SIZE)
    fast: bool = option(False, "Video", "One pass of a network per frame: a hundred times as fast, fewer strokes.")
    later: int = option(20, "Video", "Evaluations of every frame after the first of a scene.", least=1)
    temporal_weight: float = option(
        200.0, "Video", "How strongly a frame is kept near the one before, where that can be followed.", least=0
    )
    long_term: int = option(
        1,
        "Video",
        "Compare with frames up to N before: 4 brings back what was hidden for a moment.",
        least=1,
        metavar="N",
    )
    passes: int = option(
        1,
        "Video",
        "Go through each scene N times, to and fro: steadier, for N times the time. Not with --fast.",
        least=1,
        metavar="N",
    )
    smoothing: float = option(
        0.8, "Video", "With --fast: the part of the frame before in each, where it can be followed, 0 to 1.", least=0
    )
    model: str | None = option(
        None, "Video", "With --fast: a model of 'impasto train'; by default the one that comes along.", metavar="FILE"
    )
    flow: str | None = option(
        None,
        "Video",
        "Take the optical flow from FOLDER, as forward_1_2.flo and backward_2_1.flo, instead of computing it.",
        metavar="FOLDER",
        per_run=True,
    )
    frame_rate: float | None = option(
        None, "Video", "Frames a second, of a folder of pictures; 25 by default.", above=0, per_run=True
    )
    crf: int = option(
        18, "Video", "The encoder's quality: 0 is the best, 51 the smallest file.", least=0, result_neutral=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smoothing > 1:
            raise ValueError(f"smoothing is {self.smoothing:g}; it must be at most 1")
        if self.crf > 63:
            raise ValueError(f"crf is {self.crf}; it must be at most 63")
        if self.fast and self.passes > 1:
            raise ValueError("passes go to and fro over optimised frames; with fast there is one")
        if self.color == "palette":
            raise ValueError("palette recolours single pictures; for a clip choose another color")


@dataclass(frozen=True, kw_only=True)
class SoundOptions(OptimizationOptions):
    """What every operation on sounds lets one decide."""

    iterations: int = option(250, "Time", "Evaluations.", least=1)
    statistic: SoundStatistic = option(
        "gram",
        "Style",
        "What of the features over time is matched.",
    )
    encoder: SoundEncoderName = option(
        "stacked",
        "Network",
        "What hears: stacked (random filters of four lengths, up to 3 seconds, which keep rhythm), wide (one layer "
        "of many, as Ulyanov and Lebedev have it).",
    )
    sample_rate: int = option(
        22050, "Sound", "Samples a second of the result; what is given is brought there.", least=4000, metavar="HZ"
    )


@dataclass(frozen=True, kw_only=True)
class AudioOptions(SoundOptions):
    """How to give a sound the texture of another (Ulyanov & Lebedev 2016)."""

    operation: ClassVar[str] = "audio"

    iterations: int = option(200, "Time", "Evaluations.", least=1)
    strength: float = option(
        1.0, "Sound", "How much style: 0 keeps the sound, 1 is a balance. The weight grows with its cube.", least=0
    )
    init: SoundInit = option("content", "Sound", "Start from: content, or noise.")
    content_weight: float = option(1.0, "Objective", "Weight of the content, alpha.", least=0)
    style_weight: float = option(4.0, "Objective", "Weight of the style at strength 1, beta.", least=0)

    @property
    def effective_style_weight(self) -> float:
        """beta, the dial included."""
        return self.style_weight * self.strength * self.strength * self.strength

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.content_weight and not self.effective_style_weight:
            raise ValueError("both content and style weigh nothing: there is nothing to optimise")


@dataclass(frozen=True, kw_only=True)
class SoundTextureOptions(SoundOptions):
    """How to make a texture of a sound."""

    operation: ClassVar[str] = "texture of sound"

    seconds: float | None = option(
        None, "Sound", "How long it is to be; as long as what it is made of by default.", above=0
    )
