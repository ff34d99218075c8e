"""What nodes print, by Python or by C: into the log of their run, up to a limit."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_LOG_BYTES = 8 * 2**20
_CLOSING_BYTES = 200  # more than the line takes that closes a log
_cutting = threading.Lock()
_logging = False  # whether what is printed goes to the log of a run


@contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """Send everything that is printed, by Python or by C, to the end of a file; afterwards to where it went.

    The file is cut to the limit at the end, whatever was printed since `bound_log` looked last.
    """
    global _logging
    before = os.dup(1)
    _logging = _redirect(path)
    try:
        yield
    finally:
        flush()
        with _cutting:
            if _logging:
                _cut()
            _logging = False
            os.dup2(before, 1)
            os.dup2(before, 2)
        os.close(before)


def _redirect(path: Path) -> bool:
    flush()
    # A disk that is too full for a log is no reason to stop.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        return True
    return False


def flush() -> None:
    """Write out what has been printed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def bound_log() -> None:
    """Cut the log of the run, where there is one, if it has grown too large, and let the rest go."""
    with _cutting:
        if _logging:  # else what is printed goes where the server's own words go, which are not ours to cut
            _cut()


def _cut() -> None:
    with suppress(OSError):
        if os.fstat(1).st_size > MAX_LOG_BYTES:
            os.ftruncate(1, MAX_LOG_BYTES)
            os.write(1, f"\n--- the log ends here: {MAX_LOG_BYTES:,} bytes are the limit ---\n".encode())
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            os.close(nowhere)


def read_log(path: Path) -> str:
    """What a run printed, "" where there is no log; of one that is too long still, its end."""
    try:
        with path.open("rb") as file:
            before = max(0, os.fstat(file.fileno()).st_size - MAX_LOG_BYTES - _CLOSING_BYTES)
            file.seek(before)
            text = file.read(MAX_LOG_BYTES + _CLOSING_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return _left_out(before) + text if before else text


def shorten(path: Path) -> None:
    """Keep of a log that a dead worker left too long its end: half of the limit, so that an attempt has room."""
    with suppress(OSError), path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_LOG_BYTES + _CLOSING_BYTES:
            before = size - MAX_LOG_BYTES // 2
            file.seek(before)
            end = file.read(MAX_LOG_BYTES // 2)
            file.seek(0)
            file.truncate()
            file.write(_left_out(before).encode() + end)


def shorten_all(folder: Path) -> None:
    """Shorten the logs that workers left whose server was killed with them; the server's own has its own bound."""
    for path in folder.glob("*.log"):
        if path.name != "server.log":
            shorten(path)


def _left_out(before: int) -> str:
    return f"--- {before:,} bytes before this are left out ---\n"
