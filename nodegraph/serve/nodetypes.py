"""The catalog of node types, kept up to date while plugins change on disk. Nothing is imported here."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from nodegraph.catalog import AGAIN_SECONDS as LEFT_OUT_SECONDS
from nodegraph.catalog import Catalog, load_catalog
from nodegraph.sources import plugin_paths

LOOK_SECONDS = 2.0
AGAIN_SECONDS = 60.0
log = logging.getLogger("nodegraph.serve")
_Stamps = dict[str, tuple[int, int]]


class NodeTypes:
    """What nodes there are.

    Args:
        folder: where catalogs are kept.
        plugins: plugin folders.
        changed: called whenever the catalog has become another.
    """

    def __init__(self, folder: Path, plugins: Sequence[Path], changed: Callable[[], None]) -> None:
        self._folder = folder
        self._plugins = tuple(plugins)
        self._changed = changed
        self._lock = asyncio.Lock()
        self._stamps: _Stamps | None = None
        self._again = 0.0  # when to try once more, although nothing has changed, where nodes are missing
        self.catalog = Catalog()
        self.loaded = asyncio.Event()
        self.problem: str | None = None

    @property
    def importable(self) -> list[str]:
        """The plugin folders that a worker may import: none, where some plugin takes a process down."""
        return [] if self.catalog.plugins_left_out else [str(folder) for folder in self._plugins]

    async def refresh(self) -> None:
        """Have the catalog made anew where sources changed."""
        async with self._lock:
            self._stamps = await asyncio.to_thread(_stamps, self._plugins)
            try:
                catalog = await _aside(lambda: load_catalog(self._folder, self._plugins))
            except (RuntimeError, OSError, ValueError) as error:
                self.problem = f"there is no catalog of nodes: {error}"
                self._again = time.monotonic() + AGAIN_SECONDS
                log.error("%s", self.problem)
                return
            self.problem = None
            self._again = time.monotonic() + LEFT_OUT_SECONDS
            if catalog != self.catalog:
                self.catalog = catalog
                self._changed()
            self.loaded.set()

    async def watch(self) -> None:
        """Look for changes, for ever. No platform-independent notice of them is to be had, so by the clock."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            changed = self._stamps != await asyncio.to_thread(_stamps, self._plugins)
            lacking = self.problem is not None or self.catalog.plugins_left_out
            if changed or (lacking and time.monotonic() > self._again):
                await self.refresh()


def _stamps(folders: Sequence[Path]) -> _Stamps:
    """What tells whether sources have changed; nothing of a folder that went, or came, in this moment."""
    found: _Stamps = {}
    with suppress(OSError):
        for root in plugin_paths(folders):
            for path in root.rglob("*.py") if root.is_dir() else [root]:
                with suppress(OSError):
                    stat = path.stat()
                    found[str(path)] = (stat.st_mtime_ns, stat.st_size)
    return found


async def _aside(make: Callable[[], Catalog]) -> Catalog:
    """Call something that may take minutes, in a thread that nobody waits for when the server ends."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Catalog] = loop.create_future()

    def call() -> None:
        try:
            found = make()
        except Exception as error:
            answer(made.set_exception, error)
        else:
            answer(made.set_result, found)

    def answer(set_it: Callable[..., None], value: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: None if made.done() else set_it(value))

    threading.Thread(target=call, name="catalog", daemon=True).start()
    return await made
