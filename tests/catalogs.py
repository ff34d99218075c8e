"""Catalogs of nodes that one test has had made serve the next: making one imports every node in a new process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KNOWN = Path(tempfile.mkdtemp(prefix="catalogs-"))
atexit.register(shutil.rmtree, KNOWN, ignore_errors=True)


@contextmanager
def known_catalogs(home: Path) -> Iterator[None]:
    """A new home has the catalogs that others had made until now, named by the digest of their sources.

    When the block ends, those that were made in it are known too.
    """
    cache = home / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for one in KNOWN.glob("catalog-*.json"):
        shutil.copy(one, cache)
    try:
        yield
    finally:
        for one in cache.glob("catalog-*.json"):
            if not (KNOWN / one.name).exists():
                with suppress(FileNotFoundError):  # a process of the test goes on, and drops old ones
                    shutil.copy(one, KNOWN)
