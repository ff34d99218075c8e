"""Files that are written whole or not at all, and second names for them, with hard links and without."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = (".nodegraph-", ".tmp")  # how a file is called while it is written


def write_whole(path: Path, content: bytes) -> None:
    """Write a file to the disk, whole or not at all; one that it replaces hands down its mode.

    Raises OSError where the disk refuses, and leaves what was there.
    """
    mode = None
    with suppress(OSError):  # there is none
        mode = stat.S_IMODE(path.stat().st_mode)
    with written(path.parent, content, mode) as fresh:
        fresh.replace(path)


@contextmanager
def written(folder: Path, content: bytes, mode: int | None = None) -> Iterator[Path]:
    """A file that is whole on the disk, under a passing name in a folder: to be given another, for it goes."""
    fresh = folder / secrets.token_hex(8).join(TEMPORARY)
    try:
        with fresh.open("xb") as file:  # with the mode of any new file, where tempfile's are for nobody else
            if mode is not None:
                with suppress(OSError):  # the file system knows no modes
                    fresh.chmod(mode)  # before there is anything to read
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)


def name_also(source: Path, target: Path) -> None:
    """Give a file another name, never one that is taken; who sees the name sees the whole file, or an empty one.

    It is a hard link. FAT, Android and many network drives have none, and Linux gives none of a file of somebody
    else: there it is a copy.

    Raises:
        FileExistsError: the name is taken.
        OSError: the file can neither be linked nor copied.
    """
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # taken from here on
    whole = target.with_name(secrets.token_hex(8).join(TEMPORARY))
    try:
        shutil.copyfile(source, whole)
        with whole.open("rb+") as file:
            os.fsync(file.fileno())
        whole.replace(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        whole.unlink(missing_ok=True)
