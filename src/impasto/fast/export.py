"""Export of models to ONNX, for programs without PyTorch and for browsers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.errors import WeightsError
from impasto.extras import require_extra
from impasto.fast.models import Model
from impasto.fast.network import EPSILON, MARGIN, MULTIPLE, NOISE_SIDE, noise_tile
from impasto.files import atomic_write, check_writable
from impasto.inputs import photos
from impasto.isolation import isolated, no_warnings

#: (height, width) of the photo for each test of an exported graph.
TEST_SIZES = ((96, 144), (131, 77), (256, 320))
#: Largest accepted difference between the outputs of ONNX Runtime and PyTorch.
TOLERANCE = 1e-4
#: Tensors that one operation may read: WebGPU in browsers binds 8 to 10 buffers.
MOST_BUFFERS = 6


class ExportableModel(nn.Module):
    """A model as one module: a photo and a style to the painted photo, likewise.

    The style is given as shares of the gallery's styles, `(1, styles)`: what these lack to 1 is the photo as it is, so
    that 0.7 and 0.3 blend two styles, and 0.5 alone is half of the strength; to the vector that they make, another
    one is added, `(1, length)`, for paintings that were learnt.

    A picture that is too large for the memory can be painted in tiles, all with the same statistics of features: those
    that a smaller copy of the picture, or a sample of it, had.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.styles: Tensor
        self.noise: Tensor
        self.register_buffer("styles", torch.stack(list(model.styles.values())))
        self.register_buffer("noise", noise_tile())

    @property
    def statistics_length(self) -> int:
        """Means and variances of all channels that are normalised."""
        return 2 * sum(layer.outputs for layer in self.network.convolutions if layer.normalize)

    def forward(
        self,
        photo: Tensor,
        shares: Tensor,
        vector: Tensor,
        statistics: Tensor | None = None,
        share: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """`(1, 3, h, w)`, sRGB in [0, 1], painted; with statistics also those that were used.

        Args:
            statistics: given, `(1, statistics_length)`.
            share: `(1,)`, of these in the statistics that are used; the rest are the picture's own.
        """
        height, width = photo.shape[-2:]
        # Divided rounding up, without negative numbers, which ONNX rounds differently.
        rows, columns = ((side + 2 * MARGIN + MULTIPLE - 1) // MULTIPLE * MULTIPLE for side in (height, width))
        framed = photo.index_select(2, _mirrored(height, rows)).index_select(3, _mirrored(width, columns))
        across = torch.arange(columns, dtype=torch.int64, device="cpu") % NOISE_SIDE
        down = torch.arange(rows, dtype=torch.int64, device="cpu") % NOISE_SIDE
        framed = framed + self.noise.index_select(0, down).index_select(1, across)
        inner = (..., slice(MARGIN, MARGIN + height), slice(MARGIN, MARGIN + width))
        style = shares @ self.styles + vector
        if statistics is None or share is None:
            painted: Tensor = self.network(framed, style)
            return painted[inner]
        painted, used = self._paint(framed, style, statistics, share)
        return painted[inner], used

    def _paint(self, photo: Tensor, vector: Tensor, statistics: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        convolutions = self.network.convolutions
        given = _parts(statistics, [layer.outputs for layer in convolutions if layer.normalize for _ in range(2)])
        style = _parts(vector, [layer.outputs for layer in convolutions for _ in range(2)])
        affine = {layer: (1 + next(style), next(style)) for layer in convolutions}
        layers = self.network.walk(photo)
        used: list[Tensor] = []
        y: Any = None  # which starts the generator
        try:
            while True:
                layer, x = layers.send(y)
                y = layer.convolve(x)
                scale, shift = affine[layer]
                if layer.normalize:
                    own = y.mean((2, 3))
                    mean = own + share * (next(given) - own)
                    variance = (y * y).mean((2, 3)) - own * own
                    variance = (variance + share * (next(given) - variance)).clamp(min=0)
                    used += [mean, variance]
                    scale = scale / (variance + EPSILON).sqrt()
                    shift = shift - mean * scale
                y = y * scale[..., None, None] + shift[..., None, None]
                y = y.relu() if layer.rectify else y
        except StopIteration as end:
            painted: Tensor = end.value
            return painted, _joined(used)


def _mirrored(side: int, length: int) -> Tensor:
    """For `length` positions from `MARGIN` before a side on, those that they mirror: padding mirrors only once."""
    last = torch.full((1,), side - 1, dtype=torch.int64, device="cpu")
    position = (torch.arange(length, dtype=torch.int64, device="cpu") - MARGIN).abs()
    return last - (position % (2 * last).clamp(min=1) - last).abs()


def _parts(values: Tensor, sizes: Sequence[int]) -> Iterator[Tensor]:
    """`(1, n)`, cut into parts of these sizes, one at a time: browsers cannot cut it into many parts at once."""
    start = 0
    for size in sizes:
        yield values[:, start : start + size]
        start += size


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Parts `(1, …)`, concatenated, no more than `MOST_BUFFERS` at a time."""
    while len(parts) > 1:
        parts = [torch.cat(list(parts[i : i + MOST_BUFFERS]), -1) for i in range(0, len(parts), MOST_BUFFERS)]
    return parts[0]


@isolated
def export(model: Model, path: Path, tiles: bool = False) -> float:
    """Write a model as an ONNX graph for pictures of any size, whole or not at all.

    Its inputs are those of `ExportableModel`: `photo`, `shares` and `vector`; its output is `painted`. The names of the
    gallery's styles, in the order of their shares, are its metadata `styles`, a list in JSON; `model` is the digest of
    the model, which the styles that were learnt for it name. Weights that half precision holds exactly are stored so.

    Args:
        tiles: the graph also has the inputs `statistics` and `share`, and the output `used`.

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
    names = ["photo", "shares", "vector", *(["statistics", "share"] if tiles else [])]
    outputs = ["painted", *(["used"] if tiles else [])]
    photo = images.read(photos.load("chelsea"))
    generator = torch.Generator().manual_seed(0)

    def test_inputs(size: tuple[int, int]) -> tuple[Tensor, ...]:
        shares = torch.rand(1, len(model.styles), generator=generator, **CPU_FLOAT)
        vector = 0.01 * torch.randn(1, model.network.length, generator=generator, **CPU_FLOAT)
        inputs = photo.resized(*size).rgb[None], shares / shares.sum(), vector
        if not tiles:
            return inputs
        return *inputs, torch.zeros(1, module.statistics_length, **CPU_FLOAT), torch.zeros(1, **CPU_FLOAT)

    dims: tuple[dict[int, Any], ...] = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    dims += ({},) * (len(names) - 1)
    with atomic_write(path, WeightsError) as draft, torch.no_grad():
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)  # the exporter logs every pass
        try:
            with no_warnings():
                torch.onnx.export(
                    module,
                    test_inputs(TEST_SIZES[0]),
                    draft,
                    input_names=names,
                    output_names=outputs,
                    dynamic_shapes=dims,
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
        finally:
            logging.disable(level)
        graph = onnx.load(draft)
        onnx.helper.set_model_props(graph, {"styles": json.dumps(list(model.styles)), "model": model.digest})
        _store_halves(graph)
        onnx.save(graph, draft)
        session = onnxruntime.InferenceSession(draft.read_bytes(), providers=["CPUExecutionProvider"])
        largest = 0.0
        for size in TEST_SIZES:
            inputs = test_inputs(size)
            given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
            output, *used = session.run(None, given)
            wanted = module(*inputs[:3])
            largest = max(largest, (torch.from_numpy(output) - wanted).abs().max().item())
            if tiles:  # the same picture with the same statistics, now given
                output, _ = session.run(None, given | {"statistics": used[0], "share": np.ones(1, np.float32)})
                largest = max(largest, (torch.from_numpy(output) - wanted).abs().max().item())
        if largest > TOLERANCE:
            raise ValueError(f"the graph differs from the model by {largest:.1e}, more than {TOLERANCE:.0e}")
    return largest


def _store_halves(model: Any) -> None:
    """Store the float32 constants of an ONNX graph that float16 holds exactly as such, to be cast when it is loaded."""
    import onnx

    graph, casts = model.graph, []
    for constant in graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        if values.dtype == np.float32 and values.size > 256 and (values == values.astype(np.float16)).all():
            name = constant.name
            constant.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
