"""Processes that do not outlive the one that started them, nor others where memory runs out."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
WORST = "1000"


def die_with_parent() -> None:
    """Be killed when the parent process ends, however it ends. Linux alone can do that."""
    parent = os.getppid()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def die_first() -> None:
    """Be the one, and all that this process starts, that Linux kills where the machine runs out of memory.

    A worker has nothing to lose; else it might be the server, or what somebody else works with.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(WORST, "ascii")
