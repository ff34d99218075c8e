"""What nodes print, by Python or by C: into the log of their run, up to a limit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_LOG_BYTES = 8 * 2**20


@contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """Send everything that is printed, by Python or by C, to the end of a file; afterwards to where it went."""
    before = os.dup(1)
    _redirect(path)
    try:
        yield
    finally:
        flush()
        os.dup2(before, 1)
        os.dup2(before, 2)
        os.close(before)


def _redirect(path: Path) -> None:
    flush()
    # A disk that is too full for a log is no reason to stop.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)


def flush() -> None:
    """Write out what has been printed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def bound_log() -> None:
    """Cut a log that has grown too large, and let the rest go."""
    with suppress(OSError):
        if os.fstat(1).st_size > MAX_LOG_BYTES:
            os.ftruncate(1, MAX_LOG_BYTES)
            os.write(1, f"\n--- the log ends here: {MAX_LOG_BYTES:,} bytes are the limit ---\n".encode())
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            os.close(nowhere)
