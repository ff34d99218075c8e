"""How much memory there is, how much is asked for, and what to say when it is not enough."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch

from nodegraph.diffusion.checkpoints.header import Entry, ModelRefused, read
from nodegraph.diffusion.checkpoints.parts import APART, weight_files
from nodegraph.diffusion.checkpoints.weights import DTYPES
from nodegraph.diffusion.models import host
from nodegraph.diffusion.models.host import gigabytes

HOST = "cpu"
ALWAYS_THERE = 64 << 20  # bytes that are not worth a look at what is free
_ASKED = re.compile(r"tried to allocate ([\d.]+) ?(bytes|KiB|MiB|GiB|TiB)", re.IGNORECASE)
_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


class OutOfMemory(MemoryError):
    """Weights do not fit beside what is in use; the text says what was needed, free, and held by whom."""


def total(device: str) -> int | None:
    """Bytes of memory that a device has; None where nobody can tell."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return host.total() if device.startswith(HOST) else None


def available(device: str) -> int | None:
    """Bytes that could still be allocated on a device; None where nobody can tell."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return host.available() if device.startswith(HOST) else None


def afford(what: str, *shape: int, times: int = 2) -> None:
    """Refuse a float32 tensor that a few small numbers ask for and the host has no room for, before it is made.

    Linux gives memory that it does not have, and kills the process, or another one, when it is written to.

    Args:
        what: what is made, for the message.
        shape: its sides.
        times: how many of its size there are at once until it is of use.

    Raises:
        OutOfMemory: that many do not fit into what is free.
    """
    size = 4 * math.prod(shape)
    free = available(HOST) if size >= ALWAYS_THERE else None
    if free is not None and times * size > free:
        sides = " x ".join(map(str, shape))
        raise OutOfMemory(
            f"{what} of {sides} numbers takes {gigabytes(size)}, {times} times as much while it is worked on, "
            f"and {gigabytes(free)} are free"
        )


def asked(error: BaseException) -> int | None:
    """Bytes that an allocation asked for when it failed, as torch's message says; None where it does not."""
    found = _ASKED.search(str(error))
    return None if found is None else int(float(found[1]) * _UNITS[found[2].lower()])


def loading_bytes(path: Path | None, dtype: str, part: str = "") -> int:
    """Bytes that loading takes at its peak: all weights, and the largest that is converted as the file has it.

    From headers alone; a file that cannot be read counts nothing: who loads it says what is wrong with it. Of a
    diffusers folder some networks are loaded by themselves, see `Checkpoint.part`, the rest together.
    """
    kind = getattr(torch, dtype)
    files = [file for file in _files(path) if path == file or _part(file) == part]
    entries = [entry for file in files for entry in _entries(file)]
    converted = (entry.bytes for entry in entries if DTYPES.get(entry.dtype) != kind)
    held = sum(math.prod(entry.shape) * kind.itemsize for entry in entries)
    return held + max(converted, default=0)


def _files(path: Path | None) -> list[Path]:
    if path is None or not path.is_dir():
        return [path] if path is not None and path.suffix == ".safetensors" else []
    folders = sorted({file.parent for file in path.rglob("*.safetensors")})
    return [file for folder in folders for file in weight_files(folder) if file.suffix == ".safetensors"]


def _part(file: Path) -> str:
    return file.parent.name if file.parent.name in APART else ""


def _entries(file: Path) -> list[Entry]:
    try:
        return list(read(file).tensors.values())
    except (OSError, ModelRefused):
        return []
