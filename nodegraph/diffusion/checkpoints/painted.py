"""The one size that a model of nodegraph's own paints, from what its file says of itself; imports no torch."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any

from nodegraph.diffusion.checkpoints.header import HEADER_LIMIT, TRAINED

CONFIG_LIMIT = 16 * 2**20  # bytes
_NAMED = f'"{TRAINED}":'.encode()


def only_side(path: Path) -> int | None:
    """Width and height in pixels of every picture that a model paints.

    None for models that paint several sizes, for those that paint none, and where the file cannot be read: who
    loads it says why.
    """
    place = path / "config.json" if path.is_dir() else path
    try:
        state = place.stat()
        if not S_ISREG(state.st_mode):  # a pipe would be waited for without end
            return None
        return _only_side(place, (state.st_size, state.st_mtime_ns))
    except (OSError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=64)
def _only_side(place: Path, state: tuple[int, int]) -> int | None:
    """Of a file as it was, which its size and time tell apart."""
    config = _config(place, state[0]) if place.suffix == ".json" else _trained(place)
    match config:
        case {"family": "emoji", "size": int(side)} | {"family": "trained", "size": int(side), "network": {}}:
            return side if type(side) is int else None
    return None


def _config(place: Path, size: int) -> Any:
    return json.loads(place.read_text("utf-8")) if size <= CONFIG_LIMIT else None


def _trained(place: Path) -> Any:
    """The configuration that a trained model carries; None where a file is something else."""
    with place.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:
            return None
        header = file.read(length)
    if _NAMED not in header:  # the headers of large models take long to parse
        return None
    match json.loads(header):
        case {"__metadata__": {"nodegraph": str(text)}}:
            return json.loads(text)
    return None
