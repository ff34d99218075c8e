"""SQLite's own thread, and the way in from the event loop."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from nodegraph.serve.storefile import StoreFull

P = ParamSpec("P")
R = TypeVar("R")
RETRY_SECONDS = 1.0


class Database:
    """One thread in which everything that touches the store runs, one call after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self.problem: str | None = None

    async def __call__(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns, called in the thread; it is carried through even if nobody waits any more."""
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, call))

    async def durably(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, tried again until the store takes it: for what was promised already."""
        while True:
            try:
                found = await self(function, *args, **kwargs)
            except (StoreFull, sqlite3.OperationalError) as error:
                what = "the disk is full" if isinstance(error, StoreFull) else "the queue cannot be written"
                self.problem = f"{what}: {error}; what has ended is kept in memory until that changes"
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.problem = None
                return found

    def close(self) -> None:
        """Wait for the last call and end the thread."""
        self._thread.shutdown()
