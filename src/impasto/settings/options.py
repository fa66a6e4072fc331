"""The options of every operation, one frozen dataclass each: the only place where they are declared.

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
    Init,
    Optimizer,
    Pooling,
    Precision,
    Preprocessing,
    SoundEncoderName,
    SoundInit,
    SoundStatistic,
    StatisticName,
    StyleName,
    StyleNorm,
)
from impasto.settings.fields import (
    BYTES,
    DEVICE,
    EXTENT,
    LAYERS,
    MASKS,
    NUMBERS,
    SCALES,
    SECONDS,
    SIZE,
    WEIGHT,
    check,
    format_numbers,
    option,
)

#: The layers of Gatys et al. 2016, for VGG-16 and VGG-19 alike.
CONTENT_LAYERS = {"relu4_2": 1.0}
STYLE_LAYERS = {f"relu{block}_1": 0.2 for block in range(1, 6)}
#: Without the finest layer, which has three quarters of all positions to find neighbours for.
NEAREST_LAYERS = {"relu2_1": 0.25, "relu3_1": 0.25, "relu4_1": 0.25, "relu5_1": 0.25}


#: The style weight that calibration begins with, and which stands for it where there is nothing to calibrate by.
USUAL_STYLE_WEIGHT = 8.0


# What several classes declare: the default, the group and the help text of a field.
CONTENT_NORM: tuple[Any, str, str] = (
    "relative",
    "Objective",
    "Normalisation of the content loss: half (Gatys's 1/2 Σ), course (1/(4HWC) Σ), relative (to the target).",
)
STYLE_NORM: tuple[Any, str, str] = (
    "relative",
    "Objective",
    "Normalisation of each style loss: gatys (1/(4N²)), relative (to the target).",
)
TOTAL_VARIATION: tuple[Any, str, str] = (0.0, "Objective", "Weight of the total variation loss.")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of every operation."""

    operation: ClassVar[str]

    device: str = option(
        "auto",
        "Machine",
        "Device to compute on; auto is CUDA if available, else MPS, else the CPU.",
        result_neutral=True,
        **DEVICE,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class PictureOptions(Options):
    """The options of every operation that makes a picture or a sound."""

    memory: int | None = option(
        None,
        "Machine",
        "Memory limit, such as 4GB; large pictures are computed in tiles. By default most of the free memory.",
        **BYTES,
    )


@dataclass(frozen=True, kw_only=True)
class OptimizationOptions(PictureOptions):
    """The options of every operation that optimises."""

    iterations: int = option(50, "Time", "Evaluations of the loss at the last scale; coarser scales get more.", least=1)
    time_budget: float | None = option(None, "Time", "Time limit in seconds, divided among the scales.", **SECONDS)

    optimizer: Optimizer = option("lbfgs", "Optimiser", "Optimisation method.")
    history: int = option(
        10, "Optimiser", "Steps in the history of L-BFGS; each takes the memory of two pictures.", least=1
    )
    rate: float = option(0.02, "Optimiser", "Learning rate of Adam, for pixel values from 0 to 1.", above=0)
    seed: int = option(0, "Optimiser", "Random seed; the same seed gives the same file.", least=0)


@dataclass(frozen=True, kw_only=True)
class VGGOptions(OptimizationOptions):
    """The options of every operation that optimises a picture."""

    scales: int | None = option(
        None,
        "Time",
        "Number of scales, from coarse to fine; 1 optimises at the final size only, auto starts at about 128 px.",
        **SCALES,
    )

    total_variation: float = option(*TOTAL_VARIATION, least=0)

    weights: str = option(
        "vgg19", "Network", "Weights of VGG: a name from 'impasto weights list', or a file.", metavar="NAME|FILE"
    )
    preprocessing: Preprocessing | None = option(
        None,
        "Network",
        "For a file of weights: the preprocessing that they were trained with.",
    )
    pooling: Pooling = option("max", "Network", "Kind of the pooling layers.")
    padding: BorderPadding = option(
        "replicate",
        "Network",
        "Padding of the convolutions: replicate repeats the border, zeros may leave a visible frame.",
    )


@dataclass(frozen=True, kw_only=True)
class PaintingOptions(PictureOptions):
    """The options of paintings."""

    style_weights: tuple[float, ...] = option(
        (),
        "Style",
        "Weights of several styles, in their order, such as 0.7,0.3. Equal by default.",
        **NUMBERS,
        metavar="A,B,…",
        per_run=True,
    )
    style_scale: tuple[float, ...] = option(
        (1.0,),
        "Style",
        "Size of the brush strokes: 2 doubles it; several, such as 0.5,1,2, are blended.",
        **NUMBERS,
        metavar="X[,Y…]",
    )
    style_mask: Mapping[str, Any] = option(
        {},
        "Regions",
        "Use a painting only where the mask is white: STYLE=FILE, the style by number or name. May be repeated. "
        "Transparent parts of a painting are never used.",
        **MASKS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.style_scale or min(self.style_scale) <= 0:
            raise ValueError(f"style_scale is {format_numbers(self.style_scale)!r}; every scale must be above 0")
        if self.style_weights and not sum(self.style_weights):
            raise ValueError("style_weights are all 0; at least one must be positive")


@dataclass(frozen=True, kw_only=True)
class StyleLossOptions(PaintingOptions, VGGOptions):
    """The options of every operation with a style loss."""

    statistic: StyleName = option(
        "gram",
        "Style",
        "What the style loss matches: a statistic of the features over all positions, or with nearest, at each "
        "position the nearest feature of the style.",
    )
    style_layers: Mapping[str, float] | None = option(
        None,
        "Objective",
        "Style layers, as name or name=weight. By default relu1_1 to relu5_1, for nearest without the first.",
        **LAYERS,
    )
    style_norm: StyleNorm = option(*STYLE_NORM)

    @property
    def resolved_style_layers(self) -> Mapping[str, float]:
        """Layer -> weight; the default depends on the statistic."""
        if self.style_layers is not None:
            return self.style_layers
        return NEAREST_LAYERS if self.statistic == "nearest" else STYLE_LAYERS


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(PictureOptions):
    """The options of repainting a photo, by optimisation or by a feed-forward network."""

    size: int | None = option(512, "Picture", "Long side of the result in pixels, or 'original'.", **SIZE)
    color: ColorMode = option(
        "style",
        "Picture",
        "Colours of the result: the style's; or the photo's, by repainting its luminance only (luminance), by "
        "recolouring the style first (match), or by both; palette transfers only the style's colours.",
    )
    color_match: ColorMatch = option(
        "covariance",
        "Picture",
        "How colours are matched: mean and covariance, or the histogram of each channel.",
    )
    content_mask: Mapping[str, Any] = option(
        {},
        "Regions",
        "Apply a style only where the mask is white: STYLE=FILE, the style by number or name, or 'keep' to leave "
        "the photo unchanged there. May be repeated. FILE may be 'alpha': the photo's own transparency. Styles "
        "without a mask share the area that no mask covers.",
        **MASKS,
    )


@dataclass(frozen=True, kw_only=True)
class FastOptions(PhotoOptions, PaintingOptions):
    """The options of repainting a photo with a feed-forward network."""

    operation: ClassVar[str] = "fast"

    memory: int | None = option(
        None,
        "Machine",
        "Memory limit, such as 4GB; a picture that needs more is refused. By default most of the free memory.",
        **BYTES,
    )
    strength: float = option(
        1.0,
        "Picture",
        "Style strength: 0 gives the photo, 1 the network's output, 2 extrapolates as far again.",
        least=0,
    )
    model: str | None = option(
        None,
        "Network",
        "A model from 'impasto train'; by default the bundled one. With any, paintings that are not in the gallery are "
        "painted at once, without learning them first, and less like the painting.",
        metavar="FILE|any",
    )
    learn_seconds: float = option(
        120.0, "Time", "Time to learn a painting that is not known yet, in seconds; it is then kept.", above=0
    )


@dataclass(frozen=True, kw_only=True)
class StylizeOptions(PhotoOptions, StyleLossOptions):
    """The options of repainting a photo by optimisation; for those of the papers see `preset`."""

    operation: ClassVar[str] = "stylize"

    strength: float = option(
        1.0,
        "Picture",
        "Style strength: 0 keeps the photo, 1 is balanced, 2 leaves little of the photo.",
        least=0,
    )
    init: str = option(
        "content",
        "Picture",
        "Start from: content, noise, mixed (the photo plus noise), style, fast (the result of 'impasto fast'), or a "
        "picture FILE. The last two are optimised at full size only, unless --scales is given.",
        aliases=("--start",),
    )
    match_colors: bool = option(
        True, "Picture", "Match the colours of the start to the style's (for content and mixed)."
    )

    # With 50 the loss ends 3 to 8 % lower; nobody sees that.
    iterations: int = option(35, "Time", "Evaluations of the loss at the last scale; coarser scales get more.", least=1)

    content_weight: float = option(1.0, "Objective", "Content weight, alpha.", least=0)
    style_weight: float | None = option(
        None,
        "Objective",
        "Style weight at strength 1, beta; it grows with the cube of the strength. By default it is calibrated: found "
        "for the pair, so that a strength leaves the same share of every photo.",
        **WEIGHT,
    )
    content_layers: Mapping[str, float] = option(
        CONTENT_LAYERS, "Objective", "Content layers, as name or name=weight.", **LAYERS
    )
    content_norm: ContentNorm = option(*CONTENT_NORM)
    saliency: float = option(
        0.5,
        "Objective",
        "Share of the content weight that goes to faces, animals and things, where VGG detects any; 0 spreads it "
        "evenly.",
        least=0,
    )

    @property
    def effective_style_weight(self) -> float:
        """beta times the cube of the strength."""
        beta = USUAL_STYLE_WEIGHT if self.style_weight is None else self.style_weight
        return beta * self.strength * self.strength * self.strength

    @property
    def stylize_options(self) -> "StylizeOptions":
        """The same options without those of subclasses."""
        return StylizeOptions(**{field.name: getattr(self, field.name) for field in fields(StylizeOptions)})

    @property
    def fast_options(self) -> FastOptions:
        """The options that feed-forward networks have too."""
        shared = {field.name for field in fields(FastOptions)} & {field.name for field in fields(self)}
        return FastOptions(**{name: getattr(self, name) for name in shared})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.saliency > 1:
            raise ValueError(f"saliency is {self.saliency:g}; it is a share of the content weight, at most 1")
        if not math.isfinite(self.effective_style_weight):
            raise ValueError(f"strength is {self.strength:g}; style_weight times its cube is not a finite number")
        if not self.content_weight * sum(self.content_layers.values()) and not (
            self.effective_style_weight * sum(self.resolved_style_layers.values())
        ):
            raise ValueError("the weights of both content and style are 0: there is nothing to optimise")


@dataclass(frozen=True, kw_only=True)
class BatchOptions(StylizeOptions):
    """The options of repainting many photos."""

    operation: ClassVar[str] = "batch"

    memory: int | None = option(
        None,
        "Machine",
        "Memory limit of each worker, such as 4GB. By default the workers share most of the free memory.",
        **BYTES,
    )
    time_budget: float | None = option(
        None, "Time", "Time limit for each picture, in seconds, divided among the scales.", **SECONDS
    )
    fast: bool = option(False, "Picture", "Use a feed-forward network: hundreds of times faster.")
    model: str | None = option(
        None,
        "Network",
        "With --fast: a model from 'impasto train', by default the bundled one; or any, see 'impasto fast --help'.",
        metavar="FILE|any",
    )
    workers: int | None = option(
        None,
        "Machine",
        "Pictures to paint in parallel. By default as many as cores and memory allow.",
        least=1,
        result_neutral=True,
    )
    threads: int | None = option(
        None,
        "Machine",
        "Threads per picture; by default the cores are divided among the workers.",
        least=1,
        result_neutral=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        masks = [f"content_mask {name}" for name, mask in self.content_mask.items() if mask != "alpha"]
        masks += [f"style_mask {name}" for name in self.style_mask]
        if masks:
            raise ValueError(f"{masks[0]} belongs to one picture; a batch takes no mask but the photos' own alpha")
        if self.style_weights:
            raise ValueError("style_weights mix styles in one picture; a batch applies each style on its own")
        if self.init not in get_args(Init):
            raise ValueError(f"init is {self.init!r}; for a batch choose from {', '.join(get_args(Init))}")


@dataclass(frozen=True, kw_only=True)
class TextureOptions(StyleLossOptions):
    """The options of texture synthesis (Gatys, Ecker & Bethge, NeurIPS 2015, arXiv 1505.07376)."""

    operation: ClassVar[str] = "texture"

    size: tuple[int, int] = option(
        (512, 512),
        "Picture",
        "Width and height of the texture in pixels; one number for a square.",
        **EXTENT,
    )
    seamless: bool = option(False, "Picture", "Make it tileable: its borders continue on the opposite side.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not sum(self.resolved_style_layers.values()):
            raise ValueError("all style layers have weight 0: there is nothing to optimise")


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions(StyleLossOptions):
    """The options of reconstructing a picture from its features (figure 1 of Gatys et al. 2016)."""

    operation: ClassVar[str] = "reconstruct"

    size: int | None = option(256, "Picture", "Long side of the result in pixels, or 'original'.", **SIZE)
    iterations: int = option(
        200, "Time", "Evaluations of the loss at the last scale; coarser scales get more.", least=1
    )
    scales: int | None = option(
        1,
        "Time",
        "Number of scales, from coarse to fine; 1 optimises at the final size only, auto starts at about 128 px.",
        **SCALES,
    )
    content_layer: Mapping[str, float] | None = option(
        None,
        "Objective",
        "Match the activations of this layer, or of several. By default relu4_2, unless style layers are given.",
        **LAYERS,
        metavar="LAYER",
    )
    style_layers: Mapping[str, float] | None = option(
        None,
        "Objective",
        "Match the style statistics of these layers, which do not depend on positions.",
        **LAYERS,
        metavar="LAYERS",
    )

    @property
    def resolved_content_layers(self) -> Mapping[str, float]:
        """Layer -> weight; empty by default if style layers are given."""
        if self.content_layer is not None:
            return self.content_layer
        return {} if self.style_layers else CONTENT_LAYERS

    @property
    def resolved_style_layers(self) -> Mapping[str, float]:
        """Layer -> weight; empty by default."""
        return self.style_layers or {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not sum(self.resolved_content_layers.values()) + sum(self.resolved_style_layers.values()):
            raise ValueError("all layers have weight 0: there is nothing to reconstruct from")


@dataclass(frozen=True, kw_only=True)
class FeedForwardObjective(Options):
    """The options of what a feed-forward network is trained on: the objective of `StylizeOptions`, on crops."""

    batch: int = option(4, "Time", "Batch size: crops per step.", least=1)
    crop: int = option(160, "Time", "Side length of the crops in pixels, a multiple of 16.", least=32)

    style_scale: float = option(
        1.0, "Style", "Size of the brush strokes: 1 reads a painting at 512×512 pixels, 2 doubles that.", above=0
    )
    statistic: StatisticName = option(
        "gram", "Style", "What the style loss matches: a statistic of the features over all positions."
    )
    content_weight: float = option(1.0, "Objective", "Content weight, alpha.", least=0)
    style_weight: float = option(5.0, "Objective", "Style weight, beta.", least=0)
    content_layers: Mapping[str, float] = option(
        CONTENT_LAYERS, "Objective", "Content layers, as name or name=weight.", **LAYERS
    )
    style_layers: Mapping[str, float] = option(
        STYLE_LAYERS, "Objective", "Style layers, as name or name=weight.", **LAYERS
    )
    content_norm: ContentNorm = option(*CONTENT_NORM)
    style_norm: StyleNorm = option(*STYLE_NORM)
    total_variation: float = option(*TOTAL_VARIATION, least=0)

    seed: int = option(0, "Optimiser", "Random seed.", least=0)
    precision: Precision = option(
        "auto",
        "Machine",
        "Precision of the network's convolutions in training; auto is bfloat16 if the hardware supports it natively, "
        "else float32.",
        result_neutral=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop % 16:
            raise ValueError(f"crop is {self.crop}; expected a multiple of 16, such as {self.crop // 16 * 16}")
        if not self.style_weight * sum(self.style_layers.values()):
            raise ValueError("the style weighs nothing: there is nothing to learn")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(FeedForwardObjective):
    """The options of training a feed-forward network."""

    operation: ClassVar[str] = "train"

    steps: int = option(10_000, "Time", "Training steps.", least=1, result_neutral=True)
    model: str | None = option(
        None,
        "Network",
        "Start from a model of 'impasto train', or with bundled from the bundled one; by default from random "
        "parameters. Styles of the same names keep their vectors.",
        metavar="FILE|bundled",
    )
    sample_every: int = option(
        250,
        "Time",
        "Paint a contact sheet of held-out photos every N steps.",
        least=1,
        metavar="N",
        result_neutral=True,
    )
    any_share: float = option(
        0.25, "Objective", "Share of the crops that are painted after a random painting of --paintings.", least=0
    )
    strength_share: float = option(
        0.15, "Objective", "Share of the crops that are painted at a random strength below 1.", least=0
    )
    identity_share: float = option(
        0.04, "Objective", "Share of the crops that should come out as they are: strength 0.", least=0
    )
    steady_weight: float = option(
        20.0,
        "Objective",
        "Weight of the stability loss late in the training, for video: a moved photo must give a moved result.",
        least=0,
    )
    rate: float = option(2e-3, "Optimiser", "Initial learning rate of Adam; it decays to a fiftieth.", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.any_share + self.strength_share + self.identity_share > 1:
            raise ValueError("any_share, strength_share and identity_share are shares of a whole: at most 1 together")


@dataclass(frozen=True, kw_only=True)
class LearnOptions(FeedForwardObjective):
    """The options of learning a painting: its vector alone, for a network that stays as it is."""

    operation: ClassVar[str] = "learn"

    seconds: float = option(120.0, "Time", "Time limit in seconds.", above=0, result_neutral=True)
    batch: int = option(2, "Time", "Batch size: crops per step.", least=1)
    rate: float = option(2e-2, "Optimiser", "Initial learning rate of Adam; it decays to a fiftieth.", above=0)
    model: str | None = option(
        None, "Network", "A model from 'impasto train'; by default the bundled one.", metavar="FILE"
    )


@dataclass(frozen=True, kw_only=True)
class VideoOptions(StylizeOptions):
    """The options of repainting a clip (Ruder, Dosovitskiy & Brox, arXiv 1604.08610)."""

    operation: ClassVar[str] = "video"

    size: int | None = option(384, "Picture", "Long side of the result in pixels, or 'original'.", **SIZE)
    time_budget: float | None = option(
        None, "Time", "Time limit for each frame, in seconds, divided among the scales.", **SECONDS
    )
    fast: bool = option(False, "Video", "Use a feed-forward network: hundreds of times faster.")
    later: int = option(20, "Video", "Evaluations of the loss for every frame but the first of a scene.", least=1)
    temporal_weight: float = option(
        200.0, "Video", "Weight of the temporal loss, which keeps a frame close to the previous one, warped.", least=0
    )
    long_term: int = option(
        1,
        "Video",
        "Compare with frames up to N before; with 4, what was hidden for a moment is painted as before.",
        least=1,
        metavar="N",
    )
    passes: int = option(
        1,
        "Video",
        "Passes through each scene, forward and backward in turn: steadier, and N times as slow. Not with --fast.",
        least=1,
        metavar="N",
    )
    smoothing: float = option(
        0.85, "Video", "With --fast: share of the previous frame, warped, in the result, 0 to 1.", least=0
    )
    model: str | None = option(
        None,
        "Video",
        "With --fast: a model from 'impasto train', by default the bundled one; or any, see 'impasto fast --help'.",
        metavar="FILE|any",
    )
    flow: str | None = option(
        None,
        "Video",
        "Read the optical flow from FOLDER, as forward_1_2.flo and backward_2_1.flo, instead of computing it.",
        metavar="FOLDER",
        per_run=True,
    )
    frame_rate: float | None = option(
        None, "Video", "Frame rate of a folder of pictures, 25 by default.", above=0, per_run=True
    )
    crf: int = option(
        18,
        "Video",
        "Quality of the video encoder: 0 is the best; 51, for .webm 63, gives the smallest file.",
        least=0,
        result_neutral=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smoothing > 1:
            raise ValueError(f"smoothing is {self.smoothing:g}; it must be at most 1")
        if self.crf > 63:
            raise ValueError(f"crf is {self.crf}; it must be at most 63")
        if self.fast and self.passes > 1:
            raise ValueError("several passes need optimised frames; with fast there is one pass")
        if self.color == "palette":
            raise ValueError("palette recolours single pictures; choose another color for a clip")


@dataclass(frozen=True, kw_only=True)
class SoundOptions(OptimizationOptions):
    """The options of every operation on sounds."""

    memory: int | None = option(
        None,
        "Machine",
        "Memory limit, such as 4GB; long sounds are computed in chunks. By default most of the free memory.",
        **BYTES,
    )
    iterations: int = option(250, "Time", "Evaluations of the loss.", least=1)
    time_budget: float | None = option(None, "Time", "Time limit in seconds.", **SECONDS)
    history: int = option(
        10, "Optimiser", "Steps in the history of L-BFGS; each takes the memory of two sounds.", least=1
    )
    rate: float = option(0.02, "Optimiser", "Learning rate of Adam, for samples from -1 to 1.", above=0)
    statistic: SoundStatistic = option(
        "gram",
        "Style",
        "Statistic of the features over time that the style loss matches.",
    )
    encoder: SoundEncoderName = option(
        "stacked",
        "Network",
        "Feature extractor: stacked (random filters of four lengths, up to 3 seconds, which capture rhythm), wide "
        "(one layer of many filters, as in Ulyanov and Lebedev).",
    )
    sample_rate: int = option(
        22050, "Sound", "Sample rate of the result; inputs are resampled to it.", least=4000, metavar="HZ"
    )


@dataclass(frozen=True, kw_only=True)
class AudioOptions(SoundOptions):
    """The options of giving a sound the texture of another (Ulyanov & Lebedev 2016)."""

    operation: ClassVar[str] = "audio"

    iterations: int = option(200, "Time", "Evaluations of the loss.", least=1)
    strength: float = option(
        1.0, "Sound", "Style strength: 0 keeps the sound, 1 is balanced. The style weight grows with its cube.", least=0
    )
    init: SoundInit = option("content", "Sound", "Start from: content, or noise.")
    content_weight: float = option(1.0, "Objective", "Content weight, alpha.", least=0)
    style_weight: float = option(4.0, "Objective", "Style weight at strength 1, beta.", least=0)

    @property
    def effective_style_weight(self) -> float:
        """beta times the cube of the strength."""
        return self.style_weight * self.strength * self.strength * self.strength

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.content_weight and not self.effective_style_weight:
            raise ValueError("the weights of both content and style are 0: there is nothing to optimise")


@dataclass(frozen=True, kw_only=True)
class SoundTextureOptions(SoundOptions):
    """The options of synthesising a texture of a sound."""

    operation: ClassVar[str] = "texture of sound"

    seconds: float | None = option(
        None, "Sound", "Length of the result; by default that of the input, rounded up so that it loops.", above=0
    )
