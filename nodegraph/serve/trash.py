"""The trash: files that were deleted and may come back, until newer ones need the room.

Its bound is one of bytes and none of age: a clock that jumps ahead must not empty it.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nodegraph.named import name_also

TRASH_BYTES = 4 * 10**9
WORKFLOWS_BYTES = 256 * 2**20
LONGEST = 255  # bytes of a file name
log = logging.getLogger("nodegraph.serve")


class Held(NamedTuple):
    """How many files, and of how many bytes together."""

    files: int
    bytes: int


def held(folder: Path) -> Held:
    """What a folder of the trash has."""
    sizes = [stat.st_size for _, stat in _files(folder)]
    return Held(len(sizes), sum(sizes))


def emptied(folder: Path) -> Held:
    """Remove for good every file of a folder of the trash. Returns what went."""
    gone, _ = bounded(folder, 0)
    return Held(len(gone), sum(gone.values()))


def latest(folder: Path) -> dict[Path, int]:
    """The files of a folder and their bytes, those that were put there last first."""
    # Renaming a file changes its ctime, and so does another name for it.
    found = sorted(((stat.st_ctime_ns, path, stat.st_size) for path, stat in _files(folder)), reverse=True)
    return {path: size for _, path, size in found}


def bounded(folder: Path, budget: int) -> tuple[dict[Path, int], int]:
    """Remove for good the files of a folder that were put there first, until the others come to at most `budget`.

    What was put there last stays, however large it is, but where nothing is to be kept.

    Returns what went, each with its bytes, and the bytes that stay.
    """
    gone, kept = {}, 0
    for newer, (path, size) in enumerate(latest(folder).items()):
        if budget > 0 and (newer == 0 or kept + size <= budget):
            kept += size
            continue
        budget = min(budget, kept)  # those that were deleted before it go as well
        with suppress(OSError):
            path.unlink()
            gone[path] = size
    if gone:
        log.info("%d files left the trash in %s for good, which keeps %d bytes", len(gone), folder, kept)
    return gone, kept


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                stat = path.lstat()
                if not path.is_dir():
                    found.append((path, stat))
    return found


def linked(source: Path, wish: Path) -> Path:
    """Give a file another name: the wished one, or where that is taken the nearest with a number. Returns it."""
    path, number = wish, 2
    while True:
        try:
            name_also(source, path)
        except FileExistsError:
            path = wish.with_stem(f"{wish.stem}-{number}")
            number += 1
        else:
            return path
