"""The machine: devices to compute on, cores, and free memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import psutil
import torch

#: What new tensors are: nothing may depend on the defaults that a host program has set.
CPU_FLOAT: dict[str, Any] = {"dtype": torch.float32, "device": torch.device("cpu")}
CPU_DOUBLE: dict[str, Any] = {"dtype": torch.float64, "device": torch.device("cpu")}
CPU_BYTE: dict[str, Any] = {"dtype": torch.uint8, "device": torch.device("cpu")}
CPU_INDEX: dict[str, Any] = {"dtype": torch.int64, "device": torch.device("cpu")}


def choose_device(name: str) -> torch.device:
    """The device of this name, such as `cuda:1`; `auto` is CUDA if available, else MPS, else the CPU.

    Raises:
        ValueError: this machine or this build of PyTorch does not have the device.
    """
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        return torch.device(next(kind for kind, count in counts.items() if count))
    kind, _, index = name.partition(":")
    if int(index or 0) >= counts[kind]:
        built = kind == "cpu" or getattr(torch.backends, kind).is_built()
        reason = "" if built else f": this PyTorch was built without {kind.upper()}"
        known = [other if n == 1 else f"{other}:0 to {other}:{n - 1}" for other, n in counts.items() if n]
        raise ValueError(f"device {name} is not available here{reason}; choose from auto, {', '.join(known)}")
    return torch.device(name)


def cores() -> int:
    """How many cores this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return count or 1


def used() -> int:
    """The bytes of main memory that this process takes."""
    rss: int = psutil.Process().memory_info().rss
    return rss


def available(device: torch.device | None = None) -> int:
    """The bytes of memory that are free for this process: on the GPU, on the machine, or in its container if less."""
    if device is not None and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch uses it again
        return int(free + cached)
    return max(0, min([psutil.virtual_memory().available, *_container_limits()]))


def ran_out(error: BaseException) -> bool:
    """Whether an error means out of memory, on any device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _container_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """The bytes that each control group of this process has left (Linux, cgroups version 1 and 2)."""
    version2 = (("memory.max", "memory.high"), "memory.current", "inactive_file")
    version1 = (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
    groups = {"": "/", "memory": "/"}  # controllers -> the group of this process; version 2 names none
    with contextlib.suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            groups |= dict.fromkeys(controllers.split(","), path)
    free = []
    mounts = (
        (root, groups[""], version2),
        (root / "unified", groups[""], version2),  # hybrid: version 1, and this beside it
        (root / "memory", groups["memory"], version1),
    )
    for mount, group, files in mounts:
        below = Path(group.lstrip("/"))
        for folder in dict.fromkeys(mount / path for path in (below, *below.parents)):
            free += _left(folder, *files)
    return free


def _left(folder: Path, limits: tuple[str, ...], usage: str, cached: str) -> list[int]:
    """The bytes that a control group has left; nothing if it has no limit."""
    try:
        texts = [(folder / name).read_text().strip() for name in limits if (folder / name).exists()]
        limit = min(int(text) for text in texts if text != "max")
        if limit >= 1 << 60:
            return []
        taken = int((folder / usage).read_text())
        # Inactive file pages count as usage, but are reclaimed on demand.
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return [limit - taken + int(stat.get(cached, 0))]
    except (OSError, ValueError):
        return []
