"""A second name for a file, on file systems with hard links and on those without."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

TEMPORARY = (".nodegraph-", ".tmp")  # how a file is called while it is written


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
