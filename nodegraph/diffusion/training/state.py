"""The file in which a training is kept while it runs: whole on the disk or not there, and known by its digest.

Bytes that a failing disk changed still make numbers, and a training that went on with them would end in weights
that nobody could tell from true ones. So the file carries a digest of all that is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_TEXTS = ("settings", "notes")


class StateDamaged(ValueError):
    """What was kept of a training is not what was written, or fits another network."""


@dataclass(frozen=True)
class Kept:
    """What is kept: the settings and notes are plain JSON, the tensors are on the CPU."""

    settings: dict[str, Any]
    notes: dict[str, Any]
    tensors: dict[str, Tensor]


def write(path: Path, kept: Kept) -> None:
    """Write the file to the disk, whole or not at all.

    Raises:
        OSError: the disk has no room for it, or refuses.
    """
    texts = {"settings": json.dumps(kept.settings), "notes": json.dumps(kept.notes)}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        save_file(kept.tensors, temporary, metadata={**texts, "digest": _digest(texts, kept.tensors)})
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> Kept | None:
    """What was written to a file; None where there is no file.

    Raises:
        StateDamaged: the file cannot be read, or is not what was written.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        texts = {name: found[name] for name in _TEXTS}
        if found["digest"] != _digest(texts, tensors):
            raise StateDamaged("its digest is another than that of what is in it")
        settings, notes = (json.loads(text) for text in texts.values())
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        if isinstance(error, StateDamaged):
            raise
        raise StateDamaged(f"it cannot be read ({type(error).__name__}: {str(error)[:200]})") from error
    if not isinstance(settings, dict) or not isinstance(notes, dict):
        raise StateDamaged("it says nothing of a training")
    return Kept(settings, notes, tensors)


def _digest(texts: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """blake2b-160 of the texts, and of each tensor's name, dtype, shape and bytes."""
    whole = hashlib.blake2b(digest_size=20)
    for name in _TEXTS:
        whole.update(f"{name} {len(texts[name])} {texts[name]}\n".encode())
    for key, value in sorted(tensors.items()):
        whole.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        whole.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()
