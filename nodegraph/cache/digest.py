"""A digest of what a node gave, so that two runs can be told apart node by node."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any


def digest_of(value: Any) -> str | None:
    """blake2b-160 of a value's types, numbers, texts and tensors; None where it holds something else."""
    whole = hashlib.blake2b(digest_size=20)
    return whole.hexdigest() if _feed(whole, value) else None


def _feed(whole: hashlib.blake2b, value: Any) -> bool:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        whole.update(f"{kind.__name__} {json.dumps(value)}\n".encode())
        return True
    if hasattr(value, "untyped_storage"):
        return _feed_tensor(whole, value)
    if kind is dict:
        parts = list(value.items())
    elif kind in (list, tuple):
        parts = list(enumerate(value))
    elif is_dataclass(value):
        parts = [(field.name, getattr(value, field.name)) for field in fields(value)]
    else:
        return False
    whole.update(f"{kind.__qualname__} {len(parts)}\n".encode())
    return all(_feed(whole, name) and _feed(whole, part) for name, part in parts)


def _feed_tensor(whole: hashlib.blake2b, tensor: Any) -> bool:
    try:
        # Bytes, because numpy knows no bfloat16; flat first, because a tensor without dimensions has none to view.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        content = flat.view(flat[:0].byte().dtype).numpy()
    except Exception:  # sparse and meta tensors have no bytes to look at
        return False
    whole.update(f"tensor {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    whole.update(content)
    return True
