"""Files of trained networks: safetensors, in half precision, with what they are in the header."""

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
from impasto.settings.choices import NetworkKind
from impasto.vgg import weights

#: Of the layout of the file.
FORMAT = "1"
#: The one that comes along.
BUILT_IN = Path(__file__).with_name("any.safetensors")


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network.

    Attributes:
        network: on the device to compute on, not for training.
        code: of its only painting; None where it takes any.
        card: how it was trained.
    """

    network: Network
    code: Code | None = None
    card: Mapping[str, Any] = field(default_factory=dict)


def save(path: StrPath, model: Model) -> None:
    """Write a model: whole, or not at all.

    Raises:
        WeightsError: nothing can be written there.
    """
    tensors = {f"network.{name}": tensor for name, tensor in model.network.state_dict().items()}
    if model.code is not None:
        tensors["code.vector"] = model.code.vector
        for index, fit in enumerate(model.code.fits):
            tensors |= {f"code.{index}.mean": fit.mean, f"code.{index}.spread": fit.spread}
    # Covariances go into the millions, beyond what half precision holds.
    stored = {
        name: tensor.detach().to("cpu", torch.float32 if name.startswith("code.") else torch.float16).contiguous()
        for name, tensor in tensors.items()
    }
    header = {"impasto": FORMAT, "kind": model.network.kind, "card": json.dumps(dict(model.card))}
    with atomic_write(Path(path), WeightsError) as draft:
        safetensors.torch.save_file(stored, draft, header)


def load(path: StrPath | None = None, device: torch.device | None = None) -> Model:
    """A model from a file; the one that comes along by default. Nothing in the file is executed.

    Raises:
        WeightsError: no such file, a damaged one, or one that is no model of ours.
    """
    path = BUILT_IN if path is None else Path(path)
    if not path.is_file():
        raise WeightsError(f"no such model: {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
        if header.get("impasto") != FORMAT or header.get("kind") not in get_args(NetworkKind):
            raise WeightsError(f"{path} is not a network of 'impasto train' (or of another version's)")
        made = empty(header["kind"], device or torch.device("cpu"))
        made.load_state_dict({name[8:]: tensor for name, tensor in tensors.items() if name.startswith("network.")})
        return Model(made.eval().requires_grad_(False), _code(tensors, device), json.loads(header["card"]))
    except (safetensors.SafetensorError, RuntimeError, KeyError, json.JSONDecodeError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"cannot read the model {path}: damaged, or no safetensors file ({reason})") from error


def empty(kind: NetworkKind, device: torch.device, dtype: torch.dtype = torch.float32) -> Network:
    """An untrained network; if it sees through VGG-19, that computes in `dtype`."""
    encoder = weights.load("vgg19", padding="replicate").to(device, dtype) if kind == "vgg" else None
    return network(kind, encoder).to(device)


def _code(tensors: Mapping[str, Tensor], device: torch.device | None) -> Code | None:
    if "code.vector" not in tensors:
        return None
    numbers = range(sum(name.endswith(".mean") and name.startswith("code.") for name in tensors))
    there = {name: tensor.to(device or "cpu") for name, tensor in tensors.items() if name.startswith("code.")}
    fits = tuple(GaussianFit(there[f"code.{index}.mean"], there[f"code.{index}.spread"]) for index in numbers)
    return Code(fits, there["code.vector"])
