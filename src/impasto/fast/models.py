"""Files of trained networks: safetensors in half precision, with the names of the styles and a card in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from impasto.devices import CPU_FLOAT
from impasto.errors import WeightsError
from impasto.fast.network import Network, StyleReader
from impasto.files import StrPath, atomic_write
from impasto.isolation import isolated
from impasto.settings.choices import Precision

#: Version of the file's layout.
FORMAT = "2"
#: The word that stands for the bundled model, with the vectors of paintings predicted instead of learnt.
ANY = "any"
#: The word for the bundled model, where none is the default.
THE_BUNDLED = "bundled"
#: Its file.
BUNDLED = Path(__file__).with_name("gallery.safetensors")


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network and its styles.

    Attributes:
        network: in evaluation mode, on the device to compute on.
        styles: the gallery: name -> vector, `(network.length,)`.
        reader: predicts the vectors of other paintings; None if the model has its gallery only.
        card: how it was trained.
        digest: of the file that it was read from, by which vectors that were learnt for it are known.
    """

    network: Network
    styles: Mapping[str, Tensor]
    reader: StyleReader | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


def save(path: StrPath, model: Model) -> None:
    """Write a model, whole or not at all.

    Raises:
        WeightsError: the file cannot be written.
    """
    tensors = {f"network.{name}": tensor for name, tensor in model.network.state_dict().items()}
    if model.reader is not None:
        tensors |= {f"reader.{name}": tensor for name, tensor in model.reader.state_dict().items()}
    if model.styles:
        tensors["styles"] = torch.stack(list(model.styles.values()))
    stored = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in tensors.items()}
    header = {"impasto": FORMAT, "styles": json.dumps(list(model.styles)), "card": json.dumps(dict(model.card))}
    with atomic_write(Path(path), WeightsError) as draft:
        draft.write_bytes(safetensors.torch.save(stored, header))


@isolated
def load(path: StrPath | None = None, device: torch.device | None = None) -> Model:
    """Read a model; by default, the bundled one. Nothing in the file is executed.

    Raises:
        WeightsError: the file does not exist, is damaged, or is no model of `impasto train`.
    """
    path, device = BUNDLED if path is None else Path(path), device or torch.device("cpu")
    if not path.is_file():
        raise WeightsError(f"no such model: {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
        if header.get("impasto") != FORMAT:
            raise WeightsError(f"{path} is not a model of 'impasto train', or it is one of another version")
        network = Network()
        reader = StyleReader(network.length)
        network.load_state_dict(_part(tensors, "network."))
        names = json.loads(header["styles"])
        vectors = tensors["styles"] if names else torch.empty(0, network.length, **CPU_FLOAT)
        if vectors.shape != (len(names), network.length):
            raise WeightsError(f"cannot read the model {path}: it has {len(vectors)} vectors for {len(names)} styles")
        known = _part(tensors, "reader.")
        if known:
            reader.load_state_dict(known)
        return Model(
            network.eval().requires_grad_(False).to(device),
            dict(zip(names, vectors.to(device), strict=True)),
            reader.eval().requires_grad_(False).to(device) if known else None,
            json.loads(header["card"]),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
    except (safetensors.SafetensorError, RuntimeError, KeyError, TypeError, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"cannot read the model {path}: damaged, or not a safetensors file ({reason})") from error


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """A block whose convolutions are computed in this dtype, float32 or a shorter one."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype that convolutions compute in; `auto` is bfloat16 where the device multiplies it."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return torch.bfloat16 if capabilities.get("avx512_bf16") is True else torch.float32
