"""What a person can decide, as frozen dataclasses: the one place where options are declared.

The command line, forms, presets and the settings stored in pictures are all made from these fields: a field's
metadata holds its help text and group. Importing this module imports no torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from impasto.encoders import Padding, Pooling
    from impasto.objective import ContentNorm, StyleNorm
    from impasto.optimize import Method
    from impasto.statistics import StatisticName

Init = Literal["content", "noise", "mixed", "style"]
Device = Literal["auto", "cpu", "cuda", "mps"]

#: The layers that Gatys et al. 2016 read, for VGG-16 and VGG-19 alike.
CONTENT_LAYERS = {"relu4_2": 1.0}
STYLE_LAYERS = {f"relu{block}_1": 0.2 for block in range(1, 6)}


def option(default: Any, group: str, about: str, **extra: Any) -> Any:
    """A dataclass field with what a person needs to know about it."""
    metadata = {"group": group, "help": about, **extra}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def parse_size(text: str) -> int | None:
    """`512` -> 512, `original` -> None."""
    if text == "original":
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"size is {text!r}; needed is a number of pixels, or 'original'") from None


def parse_layers(text: str) -> dict[str, float]:
    """`relu3_1,relu4_1=0.5` -> {"relu3_1": 1.0, "relu4_1": 0.5}."""
    layers: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        try:
            layers[name] = float(weight) if weight else 1.0
        except ValueError:
            raise ValueError(f"the weight of layer {name!r} is {weight!r}; needed is a number") from None
    return layers


def format_layers(layers: Mapping[str, float]) -> str:
    """The inverse of `parse_layers`."""
    return ",".join(name if weight == 1 else f"{name}={weight!r}" for name, weight in layers.items())


@dataclass(frozen=True, kw_only=True)
class StylizeOptions:
    """How to repaint a photo. The defaults are ours; `preset` gives those of the papers."""

    size: int | None = option(512, "Picture", "Long side of the result in pixels, or 'original'.", parse=parse_size)
    strength: float = option(
        1.0,
        "Picture",
        "How much style: 0 keeps the photo, 1 is a balance, 2 leaves little of it. "
        "The style's weight grows with its cube, since the eye answers to ratios.",
    )
    init: str = option(
        "content",
        "Picture",
        "Start from: content, noise, mixed (the photo under noise), style, or a picture's FILE "
        "(which starts at full size, unless --scales says otherwise).",
    )
    match_colors: bool = option(
        True, "Picture", "Start with the photo's colours matched to the style's (for content and mixed)."
    )
    seed: int = option(0, "Picture", "Seed of all randomness: the same seed makes the same file.")

    iterations: int = option(50, "Time", "Evaluations at the last scale; smaller scales get more.")
    scales: int | None = option(
        None, "Time", "Sizes to go through, coarse to fine; 1 is the last only. By default from about 128 px."
    )
    time_budget: float | None = option(
        None, "Time", "Seconds to take at most; the iterations are shared out to fit.", metavar="SECONDS"
    )

    statistic: StatisticName = option(
        "gram",
        "Objective",
        "What of the style's features is matched.",
        choices=("gram", "mean", "moments", "gaussian", "covariance", "wasserstein"),
    )
    content_weight: float = option(1.0, "Objective", "Weight of the content, alpha.")
    style_weight: float = option(20.0, "Objective", "Weight of the style at strength 1, beta.")
    total_variation: float = option(0.0, "Objective", "Weight of the total variation: smoothness.")
    content_layers: Mapping[str, float] = option(
        CONTENT_LAYERS, "Objective", "Content layers, as name or name=weight.", parse=parse_layers
    )
    style_layers: Mapping[str, float] = option(
        STYLE_LAYERS, "Objective", "Style layers, as name or name=weight.", parse=parse_layers
    )
    content_norm: ContentNorm = option(
        "relative",
        "Objective",
        "Scale of the content loss: half (Gatys's 1/2 Σ), course (1/(4HWC) Σ), relative (to the target).",
        choices=("half", "course", "relative"),
    )
    style_norm: StyleNorm = option(
        "relative",
        "Objective",
        "Scale of each style loss: gatys (1/(4N²)), relative (to the target).",
        choices=("gatys", "relative"),
    )

    weights: str = option(
        "vgg19", "Network", "Weights: a name of 'impasto weights list', or a file.", metavar="NAME|FILE"
    )
    preprocessing: str | None = option(
        None,
        "Network",
        "For a file of weights: the pixels it was trained on.",
        choices=("caffe-bgr", "caffe-rgb", "torchvision"),
    )
    pooling: Pooling = option("max", "Network", "Pooling of the network.", choices=("max", "average"))
    padding: Padding = option(
        "replicate",
        "Network",
        "What the network sees beyond the border: its last pixels again, or zeros, which paint a frame.",
        choices=("replicate", "zeros"),
    )

    optimizer: Method = option("lbfgs", "Optimiser", "Method.", choices=("lbfgs", "adam"))
    history: int = option(10, "Optimiser", "Steps that L-BFGS remembers, each as large as the picture.")
    rate: float = option(0.02, "Optimiser", "Adam's step, as a part of the range from black to white.")
    device: Device = option("auto", "Optimiser", "Where to compute.", choices=get_args(Device))

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), field.metadata.get("choices")
            if choices and value is not None and value not in choices:
                raise ValueError(f"unknown {field.name} {value!r}; choose from {', '.join(choices)}")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} is {value}; needed is a finite number")
        for name, least in {"size": 1, "iterations": 1, "scales": 1, "history": 1}.items():
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{name} is {value}; needed is a whole number of at least {least}")
        for name in ("strength", "content_weight", "style_weight", "total_variation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        for name in ("time_budget", "rate"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be above 0")
        for name in ("content_layers", "style_layers"):
            for layer, weight in getattr(self, name).items():
                if not (math.isfinite(weight) and weight >= 0):
                    raise ValueError(f"{name}: the weight of {layer!r} is {weight}; it must not be negative")
        if not self.content_weight * sum(self.content_layers.values()) and not (
            self.style_weight * self.strength * sum(self.style_layers.values())
        ):
            raise ValueError("both content and style weigh nothing: there is nothing to optimise")


#: Name -> what it sets, over the defaults of `StylizeOptions`.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # Gatys, Ecker & Bethge, CVPR 2016, alpha/beta = 1e-3. The paper also scales VGG's filters so that each
    # has a mean activation of 1 over ImageNet; our weights are not scaled so, which changes what the layers'
    # weights mean, not the method. It resizes the style to the size of the content; we keep the painting's
    # shape and give it as many pixels.
    "gatys2016": {
        "content_weight": 1e-3,
        "style_weight": 1.0,
        "content_norm": "half",
        "style_norm": "gatys",
        "pooling": "average",
        "padding": "zeros",
        "init": "noise",
        "match_colors": False,
        "scales": 1,
        "iterations": 500,
    },
    # The form taught in the deep learning course: alpha = 10, beta = 40, Adam from the photo under noise.
    "course": {
        "size": 400,
        "content_weight": 10.0,
        "style_weight": 40.0,
        "content_norm": "course",
        "style_norm": "gatys",
        "padding": "zeros",
        "init": "mixed",
        "match_colors": False,
        "scales": 1,
        "iterations": 500,
        "optimizer": "adam",
    },
}


def preset(name: str, **changes: Any) -> StylizeOptions:
    """The options of a preset, with changes: `preset("gatys2016", size=400)`.

    Raises:
        ValueError: an unknown preset or option; the nearest known one is named.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose from {', '.join(PRESETS)}")
    known = {field.name for field in dataclasses.fields(StylizeOptions)}
    for key in changes:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise ValueError(f"unknown option {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return StylizeOptions(**{**PRESETS[name], **changes})


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a field, made afresh where it is a mapping."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def to_arguments(options: StylizeOptions) -> list[str]:
    """The command-line arguments that make these options from the defaults."""
    arguments: list[str] = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value == default_of(field):
            continue
        flag = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            arguments += [flag, _format(value)]
    return arguments


def _format(value: Any) -> str:
    if value is None:  # of all options, only the size has a default that is not None and may be set to it
        return "original"
    return format_layers(value) if isinstance(value, Mapping) else str(value)
