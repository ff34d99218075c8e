"""Blobs: files named by the digest of their content, written whole or not at all, swept when nobody names them."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path

ORPHAN_SECONDS = 3600
_TEMPORARY = ".tmp-"


class Damaged(ValueError):
    """A blob is not what its name says."""


class Blobs:
    """The files under a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the blob of that digest is."""
        return self.folder / digest[:2] / f"{digest}.blob"

    def has(self, digest: str, size: int) -> bool:
        """Whether a file of that name and size is there, and may be read."""
        path = self.path(digest)
        with suppress(OSError):
            return path.is_file() and path.stat().st_size == size and os.access(path, os.R_OK)
        return False

    def read(self, digest: str, size: int) -> bytes:
        """The content. Raises Damaged where it is not what its name says, OSError where it cannot be read."""
        content = self.path(digest).read_bytes()
        if len(content) != size or digest_of_bytes(content) != digest:
            raise Damaged("its content is not what the index says")
        return content

    def stage(self, digest: str, content: bytes) -> Path:
        """Write content under a temporary name beside its place."""
        folder = self.path(digest).parent
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f"{_TEMPORARY}{_writer(os.getpid())}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return Path(temporary)

    def remove(self, digest: str) -> None:
        """Remove a blob, if it is there and can be removed."""
        with suppress(OSError):
            self.path(digest).unlink(missing_ok=True)

    def sweep(self, named: Collection[str]) -> None:
        """Remove what processes that died left: their temporary files, and old blobs that nobody names.

        A temporary file belongs to a process of this machine or of another one that shares the folder. The first
        is asked whether it lives; for the second only age can tell.
        """
        now = time.time()
        for path in self.folder.glob("*/*"):
            with suppress(OSError):
                old = now - path.stat().st_mtime > ORPHAN_SECONDS
                if path.name.startswith(_TEMPORARY):
                    if old or _is_dead(path.name.removeprefix(_TEMPORARY)):
                        path.unlink()
                elif old and path.stem not in named:
                    path.unlink()


def digest_of_bytes(content: bytes) -> str:
    """blake2b-160."""
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def _writer(pid: int) -> str:
    """Who writes: machine, process and its start, so that neither shared folders nor used numbers deceive."""
    return f"{_machine()}-{pid}-{_start_of(pid)}"


def _is_dead(name: str) -> bool:
    """Whether a temporary file's writer, a process of this machine, is gone."""
    machine, _, rest = name.partition("-")
    pid, _, rest = rest.partition("-")
    start = rest.partition("-")[0]
    if machine != _machine() or not pid.isdigit():
        return False
    if _start_of(int(pid)) != start:
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


@cache
def _machine() -> str:
    """This machine since it was started, as far as processes can see each other there."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii"))
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return digest_of_bytes("\n".join(parts).encode())[:12]


def _start_of(pid: int) -> str:
    """When a process started, in ticks since the machine did; 0 where nobody can tell."""
    try:
        # The name of the program, in parentheses, may itself hold spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"
