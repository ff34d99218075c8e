"""The memory tier: least recently used results within a byte budget, each tensor counted once."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from threading import Lock
from typing import Any, NamedTuple

Outputs = dict[str, Any]

DEFAULT_BYTES = 2 * 2**30
_PLAIN = (str, int, float, bytes, type(None))  # most of what is stored, and none of it holds anything


class _Entry(NamedTuple):
    outputs: Outputs
    storages: dict[int, int]  # memory address of each tensor storage -> its bytes
    other: int
    digest: str | None


class MemoryTier:
    """Results of this process by key. Thread-safe.

    Args:
        budget: bytes that the results may take; a result larger than that is not kept.
    """

    def __init__(self, budget: int = DEFAULT_BYTES) -> None:
        self.budget = budget
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._owners: Counter[int] = Counter()  # how many entries hold a storage
        self._used = 0
        self._lock = Lock()

    @property
    def used(self) -> int:
        """Bytes held now."""
        return self._used

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def get(self, key: str) -> Outputs | None:
        """The result under a key, made the most recently used, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry.outputs

    def digest(self, key: str) -> str | None:
        """The digest that `put` was given for a key."""
        entry = self._entries.get(key)
        return None if entry is None else entry.digest

    def put(self, key: str, outputs: Outputs, digest: str | None = None) -> None:
        """Keep a result; the least recently used make room for it."""
        storages, other = footprint(outputs)
        with self._lock:
            self._remove(key)
            if sum(storages.values()) + other > self.budget:
                return
            self._entries[key] = _Entry(outputs, storages, other, digest)
            self._used += other
            for address, size in storages.items():
                if not self._owners[address]:
                    self._used += size
                self._owners[address] += 1
            while self._used > self.budget:
                self._remove(next(iter(self._entries)))

    def free(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()
            self._owners.clear()
            self._used = 0

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._used -= entry.other
        for address, size in entry.storages.items():
            self._owners[address] -= 1
            if not self._owners[address]:
                del self._owners[address]
                self._used -= size


def footprint(value: Any) -> tuple[dict[int, int], int]:
    """The tensor storages that a value holds (address -> bytes), and the bytes of the rest."""
    storages: dict[int, int] = {}
    other = 0
    for part in parts(value):
        if isinstance(part, _PLAIN):
            other += sys.getsizeof(part)
            continue
        storage = getattr(part, "untyped_storage", None)
        try:
            held = storage() if storage is not None else None
        except Exception:  # sparse and meta tensors have no storage to count
            held = None
        if held is not None:
            storages[held.data_ptr()] = held.nbytes()
        else:
            other += sys.getsizeof(part)
    return storages, other


def parts(value: Any) -> Iterator[Any]:
    """A value and all that it holds: values of mappings, items of lists and tuples, fields of dataclasses."""
    pending = [value]
    while pending:
        part = pending.pop()
        yield part
        if isinstance(part, _PLAIN):
            continue
        if isinstance(part, dict | Mapping):
            pending.extend(part.values())
        elif isinstance(part, list | tuple):
            pending.extend(part)
        elif is_dataclass(part) and not isinstance(part, type):
            pending.extend(getattr(part, field.name) for field in fields(part))
