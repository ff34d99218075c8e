"""Which types travel on wires, and how those are stored that are not plain data.

A dataclass of primitives, tensors, lists, tuples, dictionaries and further such dataclasses needs nothing. For
any other type a module of nodes has a `Codec` at its top level, and the registry finds it there as it finds the
nodes::

    FIELD = Codec(Field, store=lambda field: field.to_arrays(), restore=Field.from_arrays)
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args


@dataclass(frozen=True)
class Codec:
    """How values of a type are kept on disk.

    Args:
        type: whose values are meant.
        store: gives what can be stored: primitives, tensors, lists, tuples, dictionaries, wire types.
        restore: makes the value from that again. It must stand anything: files may be damaged or forged.
    """

    type: type[Any]
    store: Callable[[Any], Any]
    restore: Callable[[Any], Any]


class WireTypes:
    """The types that may be made from stored data, by the name of their module and their own."""

    def __init__(self, types: Iterable[type[Any]] = (), codecs: Iterable[Codec] = ()) -> None:
        self._codecs = {codec.type: codec for codec in codecs}
        self._types = {
            (kind.__module__, kind.__qualname__): kind
            for kind in (*types, *self._codecs)
            if "." not in kind.__qualname__
        }

    def find(self, module: str, name: str) -> type[Any] | None:
        """The type of that name, or None where no node declares it."""
        return self._types.get((module, name))

    def __contains__(self, kind: type[Any]) -> bool:
        return self._types.get((kind.__module__, kind.__qualname__)) is kind

    def codec(self, kind: type[Any]) -> Codec | None:
        """What stores the values of a type, where it is not a dataclass of storable parts."""
        return self._codecs.get(kind)


def wire_types_of(function: Callable[..., Any]) -> set[type[Any]]:
    """Every dataclass that a node's signature reaches: of its inputs, its outputs, and their fields."""
    found: set[type[Any]] = set()
    pending = list(_hints(function))
    while pending:
        hint = pending.pop()
        pending.extend(get_args(hint))
        if not isinstance(hint, type) or hint in found:
            continue
        if is_dataclass(hint):
            found.add(hint)
            pending.extend((*_hints(hint), *hint.__subclasses__()))
        elif issubclass(hint, tuple) and hasattr(hint, "_fields"):
            pending.extend(_hints(hint))
    return found


def _hints(annotated: Any) -> Iterable[Any]:
    try:
        return typing.get_type_hints(annotated).values()
    except Exception:  # a name that cannot be resolved: its type is not stored
        return ()
