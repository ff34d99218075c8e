"""What the index remembers of runs beside their results: files that effects wrote, and what determined each node.

Each function is given what asks the index; see `DiskTier`, which keeps trouble with the folder away from them.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nodegraph.cache.blobs import digest_of_bytes

RUNS_REMEMBERED = 100
Query = Callable[..., list[Any]]  # an SQL statement and its values -> rows


def written(query: Query, key: str, folder: Path) -> list[list[Any]] | None:
    """What `wrote` stored for a key and an output folder."""
    for (text,) in query("SELECT files FROM written WHERE key = ? AND folder = ?", key, _text(folder)):
        found: list[list[Any]] = json.loads(text)
        return found
    return None


def wrote(query: Query, key: str, folder: Path, files: list[list[Any]]) -> None:
    """Remember the files that an effect wrote to an output folder, each as [path, size, time]."""
    query("INSERT OR REPLACE INTO written VALUES (?, ?, ?)", key, _text(folder), json.dumps(files))


def remember(query: Query, causes: Iterable[tuple[str, str, str]]) -> None:
    """Remember what determined the results of a run: (node, type, cause) of each node.

    Of runs with the same nodes the last one is remembered.
    """
    found = {node: [type, cause] for node, type, cause in causes}
    shape = digest_of_bytes(json.dumps(sorted((node, type) for node, (type, _) in found.items())).encode())
    packed = zlib.compress(json.dumps(found).encode(), 1)
    # After all that are remembered, also those from before a clock was set back.
    last = "MAX(?, (SELECT COALESCE(MAX(used), 0) + 0.001 FROM runs))"
    query(f"INSERT OR REPLACE INTO runs VALUES (?, {last}, ?)", shape, time.time(), packed)
    query(
        "DELETE FROM runs WHERE shape NOT IN (SELECT shape FROM runs ORDER BY used DESC LIMIT ?)", RUNS_REMEMBERED
    )


def remembered(query: Query, types: Mapping[str, str]) -> dict[str, str]:
    """What determined each node's result in the remembered run that is most like a workflow.

    Args:
        query: asks the index.
        types: the type of each of its nodes. Most alike is the run that shares most nodes, of these the one with
            the fewest others, of these the last.
    """
    best: dict[str, str] = {}
    likeness = (0, 0)
    for (packed,) in query("SELECT causes FROM runs ORDER BY used DESC"):
        run = json.loads(zlib.decompress(packed))
        shared = {node: cause for node, (type, cause) in run.items() if types.get(node) == type}
        if (len(shared), -len(run)) > likeness and shared:
            best, likeness = shared, (len(shared), -len(run))
    return best


def forget(query: Query) -> None:
    """Remember nothing of any run."""
    query("DELETE FROM written")
    query("DELETE FROM runs")


def _text(folder: Path) -> str:
    """A folder as text that SQLite takes, also where its name is no text, as one of bytes of another encoding."""
    return str(folder).encode("utf-8", "backslashreplace").decode()
