"""Values to bytes and back: JSON for the shape, safetensors for the tensors, never pickle.

Anything built from primitives, lists, tuples, dictionaries with text keys, tensors and dataclasses of these can be
stored. A dataclass is made again only from a module that this process has imported: data cannot cause an import.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import fields, is_dataclass
from typing import Any

WIRE_TYPES = "nodegraph.diffusion.values"
_SHAPE = "nodegraph"


class NotStorable(ValueError):
    """A value holds something that has no stored form."""


class UnknownType(ValueError):
    """A stored dataclass is of a module that this process has not imported."""


def encode(value: Any) -> bytes:
    """The bytes of a value. Raises NotStorable."""
    tensors: dict[str, Any] = {}
    shape = json.dumps(_shape(value, tensors), separators=(",", ":"))
    if not tensors:
        return shape.encode()
    from safetensors.torch import save

    return save(tensors, metadata={_SHAPE: shape})


def decode(content: bytes) -> Any:
    """The value that `encode` made bytes of. Raises ValueError where they are damaged or of an unknown type."""
    if content[:1] in (b"[", b"{"):
        return _value(json.loads(content), {})
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    from safetensors.torch import load

    return _value(json.loads(header["__metadata__"][_SHAPE]), load(content))


def _shape(value: Any, tensors: dict[str, Any]) -> list[Any]:
    if value is None or type(value) in (bool, int, float, str):
        return ["value", value]
    if hasattr(value, "untyped_storage"):
        name = str(len(tensors))
        # Cloned: safetensors refuses tensors that share memory, and a view would drag its whole storage along.
        tensors[name] = value.detach().cpu().clone().contiguous()
        return ["tensor", name]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return ["dict", {key: _shape(entry, tensors) for key, entry in value.items()}]
    if type(value) in (list, tuple):
        return [type(value).__name__, [_shape(entry, tensors) for entry in value]]
    if is_dataclass(value) and not isinstance(value, type):
        if "." in type(value).__qualname__ or not all(field.init for field in fields(value)):
            raise NotStorable(f"{type(value).__qualname__} could not be made again from its fields")
        parts = {field.name: _shape(getattr(value, field.name), tensors) for field in fields(value)}
        return ["dataclass", type(value).__module__, type(value).__qualname__, parts]
    raise NotStorable(f"{type(value).__name__} has no stored form")


def _value(shape: Any, tensors: dict[str, Any]) -> Any:
    match shape:
        case ["value", value]:
            return value
        case ["tensor", str(name)]:
            return tensors[name]
        case ["dict", dict(parts)]:
            return {key: _value(part, tensors) for key, part in parts.items()}
        case ["list", list(parts)]:
            return [_value(part, tensors) for part in parts]
        case ["tuple", list(parts)]:
            return tuple(_value(part, tensors) for part in parts)
        case ["dataclass", str(module), str(name), dict(parts)]:
            return _known(module, name)(**{key: _value(part, tensors) for key, part in parts.items()})
    raise ValueError(f"not a stored value: {str(shape)[:80]}")


def _known(module: str, name: str) -> type[Any]:
    source = importlib.import_module(WIRE_TYPES) if module == WIRE_TYPES else sys.modules.get(module)
    kind = getattr(source, name, None)
    if not isinstance(kind, type) or not is_dataclass(kind):
        raise UnknownType(f"no dataclass {name} is known in {module}")
    return kind
