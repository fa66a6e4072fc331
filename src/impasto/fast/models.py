"""Files of trained networks: safetensors in half precision, with kind and model card in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from impasto.errors import WeightsError
from impasto.fast.networks import Code, Network, network
from impasto.fast.transform import GaussianFit
from impasto.files import StrPath, atomic_write
from impasto.settings.choices import NetworkKind, Precision
from impasto.vgg import weights

#: Version of the file's layout.
FORMAT = "1"
#: The bundled model.
BUNDLED = Path(__file__).with_name("any.safetensors")


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network.

    Attributes:
        network: in evaluation mode, on the device to compute on.
        code: of the only painting that it was trained on; None if it takes any painting.
        card: how it was trained.
    """

    network: Network
    code: Code | None = None
    card: Mapping[str, Any] = field(default_factory=dict)


def save(path: StrPath, model: Model) -> None:
    """Write a model, whole or not at all.

    Raises:
        WeightsError: the file cannot be written.
    """
    tensors = {f"network.{name}": tensor for name, tensor in model.network.state_dict().items()}
    if model.code is not None:
        tensors["code.vector"] = model.code.vector
        for index, fit in enumerate(model.code.fits):
            tensors |= {f"code.{index}.mean": fit.mean, f"code.{index}.spread": fit.spread}
    # Covariances reach millions, which half precision cannot represent.
    stored = {
        name: tensor.detach().to("cpu", torch.float32 if name.startswith("code.") else torch.float16).contiguous()
        for name, tensor in tensors.items()
    }
    header = {"impasto": FORMAT, "kind": model.network.kind, "card": json.dumps(dict(model.card))}
    with atomic_write(Path(path), WeightsError) as draft:
        safetensors.torch.save_file(stored, draft, header)


def load(path: StrPath | None = None, device: torch.device | None = None) -> Model:
    """Read a model; by default, the bundled one. Nothing in the file is executed.

    Raises:
        WeightsError: the file does not exist, is damaged, or is no model of `impasto train`.
    """
    path = BUNDLED if path is None else Path(path)
    if not path.is_file():
        raise WeightsError(f"no such model: {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
        if header.get("impasto") != FORMAT or header.get("kind") not in get_args(NetworkKind):
            raise WeightsError(f"{path} is not a model of 'impasto train', or it is one of another version")
        loaded = untrained(header["kind"], device or torch.device("cpu"))
        loaded.load_state_dict({name[8:]: tensor for name, tensor in tensors.items() if name.startswith("network.")})
        return Model(loaded.eval().requires_grad_(False), _code(tensors, device), json.loads(header["card"]))
    except (safetensors.SafetensorError, RuntimeError, KeyError, json.JSONDecodeError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"cannot read the model {path}: damaged, or not a safetensors file ({reason})") from error


def untrained(kind: NetworkKind, device: torch.device, dtype: torch.dtype = torch.float32, seed: int = 0) -> Network:
    """A network to train, initialised from the seed; `dtype` is that of VGG-19, if the network reads its features."""
    encoder = weights.load("vgg19", padding="replicate").to(device, dtype) if kind == "vgg" else None
    with torch.random.fork_rng(devices=[]):  # PyTorch initialises its layers from the global generator
        torch.default_generator.manual_seed(seed)
        return network(kind, encoder).to(device)


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype that convolutions compute in; `auto` is bfloat16 where the device multiplies it."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return torch.bfloat16 if capabilities.get("avx512_bf16") is True else torch.float32


def _code(tensors: Mapping[str, Tensor], device: torch.device | None) -> Code | None:
    if "code.vector" not in tensors:
        return None
    count = sum(name.endswith(".mean") and name.startswith("code.") for name in tensors)
    found = {name: tensor.to(device or "cpu") for name, tensor in tensors.items() if name.startswith("code.")}
    fits = tuple(GaussianFit(found[f"code.{index}.mean"], found[f"code.{index}.spread"]) for index in range(count))
    return Code(fits, found["code.vector"])
