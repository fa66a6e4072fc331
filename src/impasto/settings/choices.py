"""Every named choice, as one `Literal` each, from which validation, help and error messages are made."""

from typing import Literal

Optimizer = Literal["lbfgs", "adam"]

#: What the network reads beyond the border: its last pixels again, zeros, or the opposite border.
Padding = Literal["replicate", "zeros", "circular"]
#: Those that an option may name; `circular` belongs to seamless textures.
BorderPadding = Literal["replicate", "zeros"]
Pooling = Literal["max", "average"]
#: Pixels that a file of weights was trained on; see `vgg.weights.PREPROCESSING`.
Preprocessing = Literal["caffe-bgr", "caffe-rgb", "torchvision"]

#: Additive statistics of features; see `losses.statistics.STATISTICS`.
StatisticName = Literal["gram", "mean", "moments", "gaussian", "covariance", "wasserstein"]
#: What of a style is matched: a statistic, or at each position the nearest of the style's features.
StyleName = Literal["gram", "mean", "moments", "gaussian", "covariance", "wasserstein", "nearest"]
SoundStatistic = Literal["gram", "mean", "moments", "covariance"]
ContentNorm = Literal["half", "course", "relative"]
StyleNorm = Literal["gatys", "relative"]

#: What a picture is optimised from; a file may take the place of these names.
Init = Literal["content", "noise", "mixed", "style", "fast"]
SoundInit = Literal["content", "noise"]
ColorMode = Literal["style", "luminance", "match", "both", "palette"]
ColorMatch = Literal["covariance", "histogram"]

Precision = Literal["auto", "float32", "bfloat16"]
SoundEncoderName = Literal["stacked", "wide"]
