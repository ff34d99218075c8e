"""Results by key: the one cache that the executor talks to, memory first, then disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nodegraph.cache.codec import Source, builtin_types
from nodegraph.cache.disk import DiskTier
from nodegraph.cache.memory import MemoryTier, Outputs

WRITTEN_KNOWN = 10_000  # effects whose files are remembered in this process; the disk tier knows of others
_END_MISSING: list[Any] = ["", 0, 0]  # the stamp of no file, before those of an effect that has not ended


class ResultCache:
    """Results of nodes, and the files of effects, kept for as long as there is room.

    Args:
        memory: the tier in this process.
        disk: the tier that outlives it; None keeps results in memory alone.
    """

    def __init__(self, memory: MemoryTier | None = None, disk: DiskTier | None = None) -> None:
        self.memory = MemoryTier() if memory is None else memory
        self.disk = disk
        self._written: dict[tuple[str, Path], list[list[Any]]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.memory or (self.disk is not None and key in self.disk)

    def refresh(self) -> None:
        """See what other processes have stored since."""
        if self.disk is not None:
            self.disk.refresh()

    def get(self, key: str) -> Outputs | None:
        """The outputs stored under a key, or None."""
        outputs = self.memory.get(key)
        if outputs is None and self.disk is not None:
            outputs = self.disk.get(key)
            if outputs is not None:
                self.memory.put(key, outputs, self.disk.digest(key))
        return outputs

    def put(self, key: str, outputs: Outputs, seconds: float, digest: str | None = None) -> None:
        """Keep the outputs, which cost `seconds` to compute; `digest` is what they are told apart by."""
        self.memory.put(key, outputs, digest)
        if self.disk is not None:
            self.disk.put(key, outputs, seconds, digest)

    def digest(self, key: str) -> str | None:
        """The digest of the outputs under a key, where it is known."""
        found = self.memory.digest(key)
        return self.disk.digest(key) if found is None and self.disk is not None else found

    def know(self, source: Source) -> None:
        """Where to find the types that stored results may hold, besides the built-in ones."""
        if self.disk is not None:
            self.disk.sources = (builtin_types, source)

    def written(self, key: str, folder: Path) -> tuple[Path, ...] | None:
        """The files that an effect wrote to a folder under this key, where all still stand unaltered."""
        stamps = self._stamps(key, folder.absolute())
        if not stamps or any(_stamp(Path(stamp[0])) != stamp for stamp in stamps):
            return None
        return tuple(Path(stamp[0]) for stamp in stamps)

    def begun(self, key: str, folder: Path) -> list[Path]:
        """The files, of those that still stand unaltered, of an effect that did not come to its end."""
        first, *stamps = self._stamps(key, folder.absolute()) or [_END_MISSING]
        return [Path(stamp[0]) for stamp in stamps if first == _END_MISSING and _stamp(Path(stamp[0])) == stamp]

    def wrote(self, key: str, folder: Path, files: tuple[Path, ...], *, all: bool = True) -> None:
        """Remember the files that an effect wrote, or has written so far where those are not `all`."""
        folder = folder.absolute()
        stamps = [] if all else [_END_MISSING]
        stamps += [stamp for path in files if (stamp := _stamp(path.absolute())) is not None]
        self._written.pop((key, folder), None)
        self._written[key, folder] = stamps
        if len(self._written) > WRITTEN_KNOWN:
            del self._written[next(iter(self._written))]
        if self.disk is not None:
            self.disk.wrote(key, folder, stamps)

    def _stamps(self, key: str, folder: Path) -> list[list[Any]] | None:
        stamps = self._written.get((key, folder))
        return self.disk.written(key, folder) if stamps is None and self.disk is not None else stamps

    def remember(self, causes: Iterable[tuple[str, str, str]]) -> None:
        """Remember what determined the results of a run: (node, type, cause) of each node."""
        if self.disk is not None:
            self.disk.remember(causes)

    def remembered(self, types: Mapping[str, str]) -> dict[str, str]:
        """What determined each node's result in the remembered run that is most like a workflow."""
        return {} if self.disk is None else self.disk.remembered(types)

    def free(self) -> None:
        """Give memory back."""
        self.memory.free()


def _stamp(path: Path) -> list[Any] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [str(path), stat.st_size, stat.st_mtime_ns]
