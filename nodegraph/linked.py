"""Folders that are links to folders elsewhere: users of several programs keep their models once.

Such a folder is looked into, but neither a link to a folder inside it nor one that leads back: walks end.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

MOST = 100_000  # files and folders behind one link that are looked at


def walked(root: Path) -> Iterator[Path]:
    """What lies in a folder and behind the links to folders in it that are followed, in order."""
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        yield path
        if is_folder_link(path) and not refused(path, root):
            yield from sorted(islice(path.rglob("*"), MOST))


def is_folder_link(path: Path) -> bool:
    """Whether a path is a link to a folder that is there."""
    return path.is_symlink() and path.is_dir()


def on_the_way(path: Path, root: Path) -> Path | None:
    """The first folder between a root and a path in it that is a link; None where there is none."""
    return next((root / one for one in path.relative_to(root).parents[-2::-1] if (root / one).is_symlink()), None)


def refused(link: Path, root: Path) -> str:
    """Why a folder that is a link is not looked into; "" where it is."""
    target, top = link.resolve(), root.resolve()
    if target.is_relative_to(top):
        return "it is a link to a folder that is looked into under its own name"
    if top.is_relative_to(target):
        return "it is a link to a folder that holds this one; link the folders of models alone"
    if on_the_way(link, root) is not None:
        return "it is a link in a folder that is a link itself; link it beside that one"
    return ""
