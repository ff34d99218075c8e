"""The one size that a model of nodegraph's own paints, from what its file says of itself; imports no torch."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from nodegraph.diffusion.checkpoints.header import HEADER_LIMIT, TRAINED

OWN_FAMILIES = ("emoji", "trained")
_NAMED = f'"{TRAINED}":'.encode()


def only_side(path: Path) -> int | None:
    """Width and height in pixels of every picture that a model paints.

    None for models that paint several sizes, for those that paint none, and where the file cannot be read: who
    loads it says why.
    """
    place = path / "config.json" if path.is_dir() else path
    try:
        stat = place.stat()
        return _only_side(place, (stat.st_size, stat.st_mtime_ns))
    except (OSError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=64)
def _only_side(place: Path, _state: tuple[int, int]) -> int | None:
    """Of a file as it was, which its size and time tell apart."""
    config = json.loads(place.read_text("utf-8")) if place.suffix == ".json" else _trained(place)
    match config:
        case {"family": str(family), "size": int(side)} if family in OWN_FAMILIES:
            paints = family == "emoji" or config.get("network") is not None
            return side if paints else None
    return None


def _trained(place: Path) -> Any:
    """The configuration that a trained model carries; None where a file is something else."""
    with place.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:
            return None
        header = file.read(length)
    if _NAMED not in header:  # the headers of large models take long to parse
        return None
    return json.loads(json.loads(header)["__metadata__"][TRAINED])
