"""The machine: devices to compute on, cores, and free memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import torch

#: What new tensors are: nothing may depend on the defaults that a host program has set.
CPU_FLOAT: dict[str, Any] = {"dtype": torch.float32, "device": torch.device("cpu")}
CPU_DOUBLE: dict[str, Any] = {"dtype": torch.float64, "device": torch.device("cpu")}
CPU_INDEX: dict[str, Any] = {"dtype": torch.int64, "device": torch.device("cpu")}


def choose_device(name: str) -> torch.device:
    """The device of this name; `auto` is CUDA if available, else MPS, else the CPU.

    Raises:
        ValueError: this machine or this build of PyTorch does not have the device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if available[device]))
    if not available[name]:
        known = ", ".join(device for device, is_available in available.items() if is_available)
        raise ValueError(f"device {name} is not available here; choose from auto, {known}")
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
        return int(free)
    return max(0, min([psutil.virtual_memory().available, *_container_limits()]))


def ran_out(error: BaseException) -> bool:
    """Whether an error means out of memory, on any device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _container_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """The bytes that each control group of this process has left (Linux, cgroups version 1 and 2)."""
    try:
        group = Path(next(line for line in own.read_text().splitlines() if line.startswith("0::"))[4:])
    except (OSError, StopIteration):
        group = Path()
    version2 = ("memory.max", "memory.current", "inactive_file")
    version1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    free = []
    for folder, (limit, usage, cached) in [
        *((root / path, version2) for path in (group, *group.parents)),
        (root / "memory", version1),
    ]:
        try:
            text = (folder / limit).read_text().strip()
            if text == "max" or int(text) >= 1 << 60:
                continue
            taken = int((folder / usage).read_text())
            # Inactive file pages count as usage, but are reclaimed on demand.
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            free.append(int(text) - taken + int(stat.get(cached, 0)))
        except (OSError, ValueError):
            continue
    return free
