"""Export of models to ONNX, for programs without PyTorch and for browsers."""

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
from impasto.isolation import isolated

#: (height, width) of the photo and of the painting for each test of an exported graph.
TEST_SIZES = (((96, 144), (120, 88)), ((131, 77), (64, 64)), ((256, 320), (192, 256)))
#: Largest accepted difference between the outputs of ONNX Runtime and PyTorch.
TOLERANCE = 1e-4


class ExportableModel(nn.Module):
    """A model as one module: a photo and a painting, `(1, 3, h, w)`, sRGB in [0, 1], to the stylised photo, likewise.

    A model that was trained on one painting takes the photo only.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network, self.code = model.network, model.code

    def forward(self, photo: Tensor, painting: Tensor | None = None) -> Tensor:
        height, width = photo.shape[-2:]
        code = self.code
        if code is None:
            assert painting is not None
            code = self.network.code(self._padded(painting))
        return self.network.painted(self._padded(photo), code)[..., :height, :width].clamp(0, 1)

    def _padded(self, picture: Tensor) -> Tensor:
        """Replicate padding until both sides are multiples of what the network needs, traceable for any size."""
        multiple = self.network.multiple
        height, width = picture.shape[-2:]
        larger = F.pad(picture, (0, multiple - 1, 0, multiple - 1), mode="replicate")
        # Divided rounding up, without negative numbers, which ONNX rounds differently.
        height, width = ((side + multiple - 1) // multiple * multiple for side in (height, width))
        return larger[..., :height, :width]


@isolated
def export(model: Model, path: Path) -> float:
    """Write a model as an ONNX graph for pictures of any size, whole or not at all.

    Its inputs are `photo` and, unless the model was trained on one painting, `painting`; its output is `painted`.

    Returns:
        The largest difference between the outputs of ONNX Runtime and PyTorch, in [0, 1], on some test pictures.

    Raises:
        ExtraError: the extra `export` is not installed.
        ValueError: the name does not end in .onnx, or the outputs differ by more than `TOLERANCE`.
        WeightsError: the file cannot be written.
    """
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"cannot export to {path.name!r}: its suffix must be .onnx")
    check_writable(path, WeightsError)
    require_extra("export", "an ONNX graph")
    import onnxruntime

    module = ExportableModel(model).eval()
    names = ["photo"] if model.code is not None else ["photo", "painting"]

    def test_pictures(sizes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Tensor, ...]:
        pictures = (images.read(photos.load(name)) for name in ("chelsea", "coffee"))
        return tuple(picture.resized(*size).rgb[None] for picture, size, _ in zip(pictures, sizes, names, strict=False))

    dims = [{2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC} for _ in names]
    with atomic_write(path, WeightsError) as draft, torch.no_grad():
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)  # the exporter logs every pass
        try:
            with warnings.catch_warnings(action="ignore"):
                torch.onnx.export(
                    module,
                    test_pictures(TEST_SIZES[0]),
                    draft,
                    input_names=names,
                    output_names=["painted"],
                    dynamic_shapes=tuple(dims),
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
        finally:
            logging.disable(level)
        session = onnxruntime.InferenceSession(draft.read_bytes(), providers=["CPUExecutionProvider"])
        largest = 0.0
        for sizes in TEST_SIZES:
            inputs = test_pictures(sizes)
            (output,) = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
            largest = max(largest, (torch.from_numpy(output) - module(*inputs)).abs().max().item())
        if largest > TOLERANCE:
            raise ValueError(f"the graph differs from the model by {largest:.1e}, more than {TOLERANCE:.0e}")
    return largest
