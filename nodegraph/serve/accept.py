"""Taking runs in: each is on disk before anybody is told, and a burst of them shares one write."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nodegraph.errors import DocumentError
from nodegraph.serve import models
from nodegraph.serve.database import Database
from nodegraph.serve.errors import DiskFull, QueueFull
from nodegraph.serve.listing import Listing
from nodegraph.serve.store import Store, Submission
from nodegraph.serve.storefile import StoreFull
from nodegraph.workflow import MAX_BYTES, Workflow

TOGETHER = 100  # runs in one transaction
MAX_WAITING = 2_000  # runs that wait to be written
RETRY_QUEUE_SECONDS, RETRY_WRITE_SECONDS = 10.0, 1.0


class _Waiting(NamedTuple):
    submission: Submission
    accepted: asyncio.Future[models.Run | None]


class Acceptor:
    """The way into the queue.

    Args:
        database: the store's thread.
        store: the queue.
        listing: tells what a run has become.
        folder: a folder on the disk that the queue is on.
        max_queued: how many runs may wait for a worker.
        reserve: bytes of the disk that are kept free for finishing what was accepted.
        accepted: called with every run that is on disk, whether its client still waits or has gone.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        listing: Listing,
        folder: Path,
        max_queued: int,
        reserve: int,
        accepted: Callable[[models.Run], None],
    ) -> None:
        self._database = database
        self._store = store
        self._listing = listing
        self._folder = folder
        self._max_queued = max_queued
        self._reserve = reserve
        self._accepted = accepted
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def submit(self, workflow: Workflow, targets: list[str] | None, priority: int) -> models.Run:
        """Queue a run; it is on disk when this returns. Raises QueueFull, DiskFull, DocumentError."""
        text = await asyncio.to_thread(workflow.dump)  # a second for a large one
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFull("too many runs are being taken in; try again in a moment", RETRY_WRITE_SECONDS)
        if len(text) > MAX_BYTES:  # written with its values and in lines it may be longer than it came
            raise DocumentError(f"the document comes to {len(text):,} bytes; {MAX_BYTES:,} is the limit")
        free = shutil.disk_usage(self._folder).free
        if free < self._reserve + 2 * len(text):
            raise DiskFull(
                f"the run was not accepted: the disk of {self._folder} has {free / 1e6:.1f} MB left; make room"
            )
        accepted: asyncio.Future[models.Run | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(Submission(text, workflow.title, targets, priority), accepted))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        # Whoever stops waiting stops nothing: the write may have begun.
        run = await asyncio.shield(accepted)
        if run is None:
            raise QueueFull(
                f"{self._max_queued:,} runs wait already; try again when some have ended", RETRY_QUEUE_SECONDS
            )
        return run

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            try:
                runs = await self._database(self._accept, [one.submission for one in batch])
            except StoreFull as error:
                full = DiskFull(
                    f"the run was not accepted: the disk of {self._folder} is full ({error}); make room"
                )
                self._answer(batch, full)
            except Exception as error:
                self._answer(batch, error)
            else:
                for one, run in zip(batch, runs, strict=True):
                    if run is not None:
                        self._accepted(run)
                    one.accepted.set_result(run)

    def _answer(self, batch: list[_Waiting], error: Exception) -> None:
        for one in batch:
            one.accepted.set_exception(error)

    def _accept(self, submissions: list[Submission]) -> list[models.Run | None]:
        accepted = self._store.submit(submissions, self._max_queued)
        return [None if run is None else self._listing.run(run) for run in accepted]
