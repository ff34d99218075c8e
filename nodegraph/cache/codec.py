"""Values to bytes and back: JSON for the shape, safetensors for the tensors, never pickle.

Anything built from primitives, lists, tuples, dictionaries with text keys, tensors and wire types can be stored.
A stored value names the types that it is made of; it is made again only from types that some node declares, so a
blob can neither cause an import nor build anything else.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from nodegraph.wire import WireTypes

_SHAPE = "nodegraph"
_BUILTIN = "nodegraph.diffusion.values"
Source = Callable[[str], WireTypes | None]


class NotStorable(ValueError):
    """A value holds something that has no stored form."""


class UnknownType(ValueError):
    """A stored value is of a type that no node here declares."""


def builtin_types(module: str) -> WireTypes | None:
    """The types of `nodegraph.diffusion.values`, which need no registry to be known; None for another module."""
    return _builtin() if module == _BUILTIN else None


@cache
def _builtin() -> WireTypes:
    values = importlib.import_module(_BUILTIN)
    own = (kind for kind in vars(values).values() if isinstance(kind, type) and kind.__module__ == values.__name__)
    return WireTypes(kind for kind in own if is_dataclass(kind))


def encode(value: Any, sources: Sequence[Source] = (builtin_types,)) -> bytes:
    """The bytes of a value. Raises NotStorable.

    Args:
        value: what to store.
        sources: give the types that may be stored for the module of a value; asked in turn, where there is one.
    """
    tensors: dict[str, Any] = {}
    shape = json.dumps(_shape(value, tensors, sources), separators=(",", ":"))
    if not tensors:
        return shape.encode()
    from safetensors.torch import save

    return save(tensors, metadata={_SHAPE: shape})


def decode(content: bytes, sources: Sequence[Source] = (builtin_types,)) -> Any:
    """The value that `encode` made bytes of. Raises ValueError where they are damaged or of an unknown type."""
    if content[:1] in (b"[", b"{"):
        return _value(json.loads(content), {}, sources)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    from safetensors.torch import load

    return _value(json.loads(header["__metadata__"][_SHAPE]), load(content), sources)


def _shape(value: Any, tensors: dict[str, Any], sources: Sequence[Source]) -> list[Any]:
    if value is None or type(value) in (bool, int, float, str):
        return ["value", value]
    if hasattr(value, "untyped_storage"):
        name = str(len(tensors))
        # Cloned: safetensors refuses tensors that share memory, and a view would drag its whole storage along.
        tensors[name] = value.detach().cpu().clone().contiguous()
        return ["tensor", name]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return ["dict", {key: _shape(entry, tensors, sources) for key, entry in value.items()}]
    kind = type(value)
    if kind in (list, tuple):
        return [kind.__name__, [_shape(entry, tensors, sources) for entry in value]]
    types = next((found for source in sources if (found := source(kind.__module__)) and kind in found), None)
    if types is None:
        raise NotStorable(f"{kind.__name__} has no stored form: no node declares it, or it is no plain data")
    codec = types.codec(kind)
    if codec is not None:
        return ["coded", kind.__module__, kind.__qualname__, _shape(codec.store(value), tensors, sources)]
    if not all(field.init for field in fields(value)):
        raise NotStorable(f"{kind.__qualname__} could not be made again from its fields")
    parts = {field.name: _shape(getattr(value, field.name), tensors, sources) for field in fields(value)}
    return ["dataclass", kind.__module__, kind.__qualname__, parts]


def _value(shape: Any, tensors: dict[str, Any], sources: Sequence[Source]) -> Any:
    match shape:
        case ["value", None | bool() | int() | float() | str()]:
            return shape[1]
        case ["tensor", str(name)]:
            return tensors[name]
        case ["dict", dict(parts)]:
            return {key: _value(part, tensors, sources) for key, part in parts.items()}
        case ["list", list(parts)]:
            return [_value(part, tensors, sources) for part in parts]
        case ["tuple", list(parts)]:
            return tuple(_value(part, tensors, sources) for part in parts)
        case ["dataclass", str(module), str(name), dict(parts)]:
            kind, types = _known(module, name, sources)
            if types.codec(kind) is None:
                return kind(**{key: _value(part, tensors, sources) for key, part in parts.items()})
        case ["coded", str(module), str(name), stored]:
            kind, types = _known(module, name, sources)
            codec = types.codec(kind)
            if codec is not None:
                return codec.restore(_value(stored, tensors, sources))
    raise ValueError(f"not a stored value: {str(shape)[:80]}")


def _known(module: str, name: str, sources: Sequence[Source]) -> tuple[type[Any], WireTypes]:
    for source in sources:
        types = source(module)
        kind = types.find(module, name) if types is not None else None
        if types is not None and kind is not None:
            return kind, types
    raise UnknownType(f"no node declares a type {name} of {module}")
