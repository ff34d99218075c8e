"""Where nodes come from: the package, installed plugins and plugin folders, and digests of their sources."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from nodegraph.files import DIGEST_SIZE

ENTRY_POINTS = "nodegraph.nodes"
PACKAGE = Path(__file__).parent


def plugin_paths(folders: Sequence[Path]) -> list[Path]:
    """The plugins in plugin folders: every `name.py`, and every folder with an `__init__.py`."""
    found = []
    for folder in folders:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in entries:
            if path.name.startswith((".", "_")):
                continue
            if path.suffix == ".py" or (path / "__init__.py").is_file():
                found.append(path.resolve())
    return found


def source_digest(*paths: Path) -> str:
    """blake2b-160 over the Python sources of files and folders, by relative name and content.

    Left out are names that begin with a dot: no module has one, but the lock of an editor does. A link to
    nothing counts by its name alone.
    """
    whole = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for root in paths:
        files = sorted(root.rglob("[!.]*.py")) if root.is_dir() else [root]
        for path in files:
            whole.update(os.fsencode(path.relative_to(root.parent).as_posix()) + b"\0")
            if path.is_file():
                whole.update(path.read_bytes())
    return whole.hexdigest()


def all_sources(plugins: Sequence[Path]) -> str:
    """A digest of everything that a catalog is made from: the package, its nodes, and plugins of both kinds."""
    whole = hashlib.blake2b(digest_size=DIGEST_SIZE)
    nodes = Path(str(resources.files("nodegraph.nodes")))
    whole.update(source_digest(PACKAGE, nodes, *plugin_paths(plugins)).encode())
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda p: p.name):
        version = point.dist.version if point.dist else ""
        whole.update(f"{point.name}={point.value}=={version}\n".encode())
    return whole.hexdigest()
