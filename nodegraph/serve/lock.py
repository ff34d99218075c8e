"""One server for one home: a lock that ends with its process, however that ends."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nodegraph.serve.errors import HomeTaken, HomeUnusable


class HomeLock:
    """Held by the one server of a home folder.

    Raises:
        HomeTaken: another process holds it.
        HomeUnusable: there can be no lock.
    """

    def __init__(self, folder: Path) -> None:
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 100).decode(errors="replace").strip()
            os.close(self._file)
            if not isinstance(error, BlockingIOError):  # as on network drives that know no locks
                raise HomeUnusable(f"cannot lock {folder}: {error.strerror}; give another with --home") from None
            raise HomeTaken(
                f"another server{f' (process {holder})' if holder else ''} runs on {folder}; stop it, or give "
                "this one another folder with --home"
            ) from None
        with suppress(OSError):  # on a full disk the number is missing, the lock holds
            os.truncate(self._file, 0)
            os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let another server begin."""
        os.close(self._file)
