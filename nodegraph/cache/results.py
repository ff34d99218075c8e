"""Results by key: the one cache that the executor talks to."""

from __future__ import annotations

from pathlib import Path

from nodegraph.cache.memory import MemoryTier, Outputs

_Stamp = tuple[Path, int, int]


class ResultCache:
    """Results of nodes, and the files of effects, kept for as long as there is room.

    Args:
        memory: the tier in this process.
    """

    def __init__(self, memory: MemoryTier | None = None) -> None:
        self.memory = MemoryTier() if memory is None else memory
        self._written: dict[tuple[str, Path], tuple[_Stamp, ...]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.memory

    def get(self, key: str) -> Outputs | None:
        """The outputs stored under a key, or None."""
        return self.memory.get(key)

    def put(self, key: str, outputs: Outputs, seconds: float) -> None:  # noqa: ARG002
        """Keep the outputs, which cost `seconds` to compute."""
        self.memory.put(key, outputs)

    def written(self, key: str, folder: Path) -> tuple[Path, ...] | None:
        """The files that an effect wrote to a folder under this key, where all still stand unaltered."""
        stamps = self._written.get((key, folder.absolute()))
        if not stamps or any(_stamp(path) != (path, *rest) for path, *rest in stamps):
            return None
        return tuple(path for path, *_ in stamps)

    def wrote(self, key: str, folder: Path, files: tuple[Path, ...]) -> None:
        """Remember the files that an effect wrote."""
        stamps = [_stamp(path) for path in files]
        self._written[key, folder.absolute()] = tuple(stamp for stamp in stamps if stamp is not None)

    def free(self) -> None:
        """Give memory back."""
        self.memory.free()


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return path, stat.st_size, stat.st_mtime_ns
