"""Which results go where there are too many: those that save the fewest seconds for the room that they take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

DAY = 86400.0  # seconds


class Stored(NamedTuple):
    """A blob, its bytes, the seconds that its result cost, and when (of the clock) it was last asked for."""

    blob: str
    bytes: int
    seconds: float
    used: float


def going(stored: Iterable[Stored], bytes: float, now: float) -> list[str]:
    """The blobs that are worth least, as many as give back so many bytes; all where that is not enough."""
    gone = []
    for one in sorted(stored, key=lambda one: _worth(one, now)):
        if bytes <= 0:
            break
        gone.append(one.blob)
        bytes -= one.bytes
    return gone


def _worth(stored: Stored, now: float) -> float:
    """Seconds saved a byte, halved for each day that nobody asked; clocks are set back."""
    return float(stored.seconds / max(stored.bytes, 1) * 0.5 ** (max(0.0, now - stored.used) / DAY))
