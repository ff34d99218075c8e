"""The memory of the machine, as the system tells of it: None where nobody can tell. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def total() -> int | None:
    """Bytes that this process could ever have, of the machine, its control group and its limit of addresses."""
    group = _read(Path("/sys/fs/cgroup/memory.max"))
    return _least([_read(Path("/proc/meminfo"), "MemTotal:", 1024), group, _limit_of_addresses()])


def available() -> int | None:
    """Bytes that the system can still give without swapping, within the same bounds."""
    return _least([_read(Path("/proc/meminfo"), "MemAvailable:", 1024), _left_in_group(), _left_of_addresses()])


def gigabytes(size: int | None) -> str:
    """A size in words."""
    if size is None:
        return "an unknown amount"
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _least(sizes: Iterable[int | None]) -> int | None:
    return min((size for size in sizes if size is not None), default=None)


def _read(path: Path, name: str = "", unit: int = 1) -> int | None:
    """The number after a name at the start of a line, or a file's only number."""
    try:
        for line in path.read_text("ascii").splitlines():
            if line.startswith(name):
                return max(0, int(line.removeprefix(name).split()[0])) * unit
    except (OSError, ValueError, IndexError):
        return None
    return None


def _left_in_group() -> int | None:
    group = Path("/sys/fs/cgroup")
    limit, used = _read(group / "memory.max"), _read(group / "memory.current")
    if limit is None or used is None:
        return None
    # Pages of files count as used and are given back when they are needed.
    return max(0, limit - used + (_read(group / "memory.stat", "file ") or 0))


def _limit_of_addresses() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _left_of_addresses() -> int | None:
    limit, pages = _limit_of_addresses(), _read(Path("/proc/self/statm"))
    if limit is None or pages is None:
        return None
    return max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))
