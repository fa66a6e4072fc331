"""Export of models to ONNX, for programs without PyTorch and for browsers."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.errors import WeightsError
from impasto.extras import require_extra
from impasto.fast.models import Model
from impasto.fast.network import MARGIN, MULTIPLE, NOISE_SIDE, noise_tile
from impasto.files import atomic_write, check_writable
from impasto.inputs import photos
from impasto.isolation import isolated

#: (height, width) of the photo for each test of an exported graph.
TEST_SIZES = ((96, 144), (131, 77), (256, 320))
#: Largest accepted difference between the outputs of ONNX Runtime and PyTorch.
TOLERANCE = 1e-4


class ExportableModel(nn.Module):
    """A model as one module: a photo and a style to the painted photo, likewise.

    The style is given as shares of the gallery's styles, `(1, styles)`: what these lack to 1 is the photo as it is, so
    that 0.7 and 0.3 blend two styles, and 0.5 alone is half of the strength; to the vector that they make, another
    one is added, `(1, length)`, for paintings that were learnt.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.styles: Tensor
        self.noise: Tensor
        self.register_buffer("styles", torch.stack(list(model.styles.values())))
        self.register_buffer("noise", noise_tile())

    def forward(self, photo: Tensor, shares: Tensor, vector: Tensor) -> Tensor:
        """`(1, 3, h, w)`, sRGB in [0, 1], painted."""
        height, width = photo.shape[-2:]
        framed = F.pad(photo, (MARGIN, MARGIN + MULTIPLE - 1, MARGIN, MARGIN + MULTIPLE - 1), mode="reflect")
        # Divided rounding up, without negative numbers, which ONNX rounds differently.
        rows, columns = ((side + 2 * MARGIN + MULTIPLE - 1) // MULTIPLE * MULTIPLE for side in (height, width))
        framed = framed[..., :rows, :columns]
        across = torch.arange(columns, dtype=torch.int64, device="cpu") % NOISE_SIDE
        down = torch.arange(rows, dtype=torch.int64, device="cpu") % NOISE_SIDE
        grain = self.noise.index_select(0, down).index_select(1, across)
        painted: Tensor = self.network(framed + grain, shares @ self.styles + vector)
        return painted[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width]


@isolated
def export(model: Model, path: Path) -> float:
    """Write a model as an ONNX graph for pictures of any size, whole or not at all.

    Its inputs are those of `ExportableModel`: `photo`, `shares` and `vector`; its output is `painted`. The names of the
    gallery's styles, in the order of their shares, are its metadata `styles`, a list in JSON.

    Returns:
        The largest difference between the outputs of ONNX Runtime and PyTorch, in [0, 1], on some test pictures.

    Raises:
        ExtraError: the extra `export` is not installed.
        ValueError: the name does not end in .onnx, the model has no styles, or the outputs differ by more than
            `TOLERANCE`.
        WeightsError: the file cannot be written.
    """
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"cannot export to {path.name!r}: its suffix must be .onnx")
    check_writable(path, WeightsError)
    require_extra("export", "an ONNX graph")
    import onnx
    import onnxruntime

    if not model.styles:
        raise ValueError("the model has no gallery of styles to export")
    module = ExportableModel(model).eval()
    names = ["photo", "shares", "vector"]
    photo = images.read(photos.load("chelsea"))
    generator = torch.Generator().manual_seed(0)

    def test_inputs(size: tuple[int, int]) -> tuple[Tensor, ...]:
        shares = torch.rand(1, len(model.styles), generator=generator, **CPU_FLOAT)
        vector = 0.01 * torch.randn(1, model.network.length, generator=generator, **CPU_FLOAT)
        return photo.resized(*size).rgb[None], shares / shares.sum(), vector

    dims: tuple[dict[int, Any], ...] = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}, {}, {})
    with atomic_write(path, WeightsError) as draft, torch.no_grad():
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)  # the exporter logs every pass
        try:
            with warnings.catch_warnings(action="ignore"):
                torch.onnx.export(
                    module,
                    test_inputs(TEST_SIZES[0]),
                    draft,
                    input_names=names,
                    output_names=["painted"],
                    dynamic_shapes=dims,
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
        finally:
            logging.disable(level)
        graph = onnx.load(draft)
        onnx.helper.set_model_props(graph, {"styles": json.dumps(list(model.styles))})
        onnx.save(graph, draft)
        session = onnxruntime.InferenceSession(draft.read_bytes(), providers=["CPUExecutionProvider"])
        largest = 0.0
        for size in TEST_SIZES:
            inputs = test_inputs(size)
            (output,) = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
            largest = max(largest, (torch.from_numpy(output) - module(*inputs)).abs().max().item())
        if largest > TOLERANCE:
            raise ValueError(f"the graph differs from the model by {largest:.1e}, more than {TOLERANCE:.0e}")
    return largest
