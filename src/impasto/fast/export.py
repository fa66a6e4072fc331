"""Models as ONNX graphs, for programs without PyTorch and for browsers."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto import images
from impasto.errors import WeightsError
from impasto.extras import require_extra
from impasto.fast.models import Model
from impasto.files import atomic_write, check_writable
from impasto.inputs import photos

#: Height and width of the photo and of the painting that a graph is tried with.
TRIALS = (((96, 144), (120, 88)), ((131, 77), (64, 64)), ((256, 320), (192, 256)))
#: By how much what it gives may differ from what PyTorch gives.
TOLERANCE = 1e-4


class Graph(nn.Module):
    """What is exported: of a photo and a painting, `(1, 3, h, w)`, sRGB in [0, 1], the painted photo, likewise."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network, self.code = model.network, model.code

    def forward(self, photo: Tensor, painting: Tensor | None = None) -> Tensor:
        """Of the photo's size."""
        height, width = photo.shape[-2:]
        code = self.code
        if code is None:
            assert painting is not None
            code = self.network.code(self._filled(painting))
        return self.network.painted(self._filled(photo), code)[..., :height, :width].clamp(0, 1)

    def _filled(self, picture: Tensor) -> Tensor:
        """With the last row and column again until both sides are multiples of what the network needs."""
        multiple = self.network.multiple
        height, width = picture.shape[-2:]
        larger = F.pad(picture, (0, multiple - 1, 0, multiple - 1), mode="replicate")
        # Of positive numbers: ONNX divides negative ones otherwise.
        height, width = ((side + multiple - 1) // multiple * multiple for side in (height, width))
        return larger[..., :height, :width]


def export(model: Model, path: Path) -> float:
    """Write a model as an ONNX graph of dynamic sizes: whole, or not at all.

    Its inputs are `photo` and, unless the model knows its own, `painting`; its output is `painted`.

    Returns:
        The largest difference, in [0, 1], between what onnxruntime and PyTorch make of some pictures.

    Raises:
        ExtraError: the extra is not installed.
        ValueError: a name that does not end in .onnx; or what the graph gives is not what the model does.
        WeightsError: nothing can be written there.
    """
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"cannot export to {path.name!r}: its suffix must be .onnx")
    check_writable(path, WeightsError)
    require_extra("export", "an ONNX graph")
    import onnxruntime

    graph = Graph(model).eval()
    names = ["photo"] if model.code is not None else ["photo", "painting"]

    def pictures(trial: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Tensor, ...]:
        given = (images.read(photos.load(name)) for name in ("chelsea", "coffee"))
        return tuple(picture.resized(*size).rgb[None] for picture, size, _ in zip(given, trial, names, strict=False))

    dims = [{2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC} for _ in names]
    with atomic_write(path, WeightsError) as draft, torch.no_grad():
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # the exporter thinks aloud
        try:
            with warnings.catch_warnings(action="ignore"):
                torch.onnx.export(
                    graph,
                    pictures(TRIALS[0]),
                    draft,
                    input_names=names,
                    output_names=["painted"],
                    dynamic_shapes=tuple(dims),
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
        finally:
            logging.disable(before)
        session = onnxruntime.InferenceSession(draft.read_bytes(), providers=["CPUExecutionProvider"])
        largest = 0.0
        for trial in TRIALS:
            given = pictures(trial)
            (found,) = session.run(None, {name: x.numpy() for name, x in zip(names, given, strict=True)})
            largest = max(largest, (torch.from_numpy(found) - graph(*given)).abs().max().item())
        if largest > TOLERANCE:
            raise ValueError(f"the graph differs from the model by {largest:.1e}, more than {TOLERANCE:.0e}")
    return largest
