"""What happens to runs: handed out, told about, ended, tried again. All is on disk before it is told."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

from nodegraph.serve import models
from nodegraph.serve.artifacts import Artifacts
from nodegraph.serve.database import RETRY_SECONDS, Database
from nodegraph.serve.events import Events
from nodegraph.serve.nodetypes import NodeTypes
from nodegraph.serve.running import Running
from nodegraph.serve.store import Claim, Store
from nodegraph.serve.storefile import StoreFull

HISTORY = 10_000  # ended runs that are kept
HISTORY_BYTES, LOGS_BYTES = 2**30, 2**30  # at most, of their workflows and of what they printed
FORGET_EVERY = 100
log = logging.getLogger("nodegraph.serve")


class Dispatcher:
    """Hands runs from the store to the workers; see `supervisor.Dispatch`.

    Args:
        database: the store's thread.
        store: the queue.
        artifacts: the gallery.
        events: what clients are told.
        types: knows which plugin folders may be imported.
        logs: the folder of the runs' logs.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        artifacts: Artifacts,
        events: Events,
        types: NodeTypes,
        logs: Path,
    ) -> None:
        self._database = database
        self._store = store
        self._artifacts = artifacts
        self._events = events
        self._types = types
        self._logs = logs
        self._ended = 0
        self.closing = False
        self.running: dict[str, Running] = {}
        self.cancelled: set[str] = set()  # runs that were cancelled while they were being claimed
        self._news = asyncio.Event()

    @property
    def importable(self) -> list[str]:
        """The plugin folders that a worker may import, as far as is known."""
        return self._types.importable

    async def plugins(self) -> list[str]:
        """The plugin folders that a worker may import, after a look at their sources."""
        await self._types.refresh()
        return self.importable

    @property
    def news(self) -> asyncio.Event:
        """Set at the next `announce`."""
        return self._news

    def announce(self) -> None:
        """There may be something to claim."""
        self._news.set()
        self._news = asyncio.Event()

    async def claim(self, worker: int) -> Claim | None:
        """The run that goes next, now this worker's; None where there is none."""
        try:
            return await self._database(self._store.claim, f"worker-{worker}")
        except StoreFull as error:
            self._database.problem = f"the disk is full: {error}; queued runs wait until there is room"
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self.announce)
            return None

    def began(self, running: Running) -> bool:
        """A claimed run is handed over. Whether it was cancelled meanwhile."""
        self.running[running.id] = running
        log.info("run %s: attempt %d on worker %d", running.id, running.claim.attempt, running.worker)
        return running.id in self.cancelled

    async def report(self, running: Running, report: dict[str, Any], payload: bytes) -> None:
        """The worker told something about its run."""
        if report.get("event") == "preview":
            self._events.preview(running.id, str(report.get("node")), payload)
            return
        files = report.get("artifacts") or []
        found = await self._keep(running, report.get("node"), files) if files else []
        event = running.apply(report, found)
        if event is not None:
            running.event = self._events.publish(event)

    async def ended(self, running: Running, end: dict[str, Any]) -> None:
        """The worker ended a run, one way or another."""
        status = end["status"]
        if end.get("artifacts"):
            await self._keep(running, None, end["artifacts"])
        error = None
        if status == "failed":
            error = models.RunFailure.model_validate(end["error"])
            error.input = running.nodes.get(error.node or "", {}).get("input")
        event: dict[str, Any] = {"event": {"succeeded": "finished"}.get(status, status), "run": running.id}
        if status == "succeeded":
            event |= {"seconds": end["seconds"]}
        await self._finish(running, status, event, error, end.get("seconds"))

    async def lost(self, running: Running, reason: str) -> None:
        """The worker died while it had a run: again from the start, finished nodes cached; or given up."""
        node = running.busy
        message = f"{reason}, while the node {node!r} ran" if node is not None else reason
        become = await self._database.durably(self._store.lose, running.claim)
        if become == "cancelled":
            await self.ended(running, {"status": "cancelled"})
            return
        if become == "queued":
            self._forget(running)
            self._events.publish(
                {"event": "retrying", "run": running.id, "attempt": running.claim.attempt, "message": message}
            )
            log.warning("run %s: %s; it is tried again", running.id, message)
            self.announce()
            return
        attempts = running.claim.attempt
        error = models.RunFailure(
            kind="worker",
            message=f"{message}; the run was tried {attempts} times and is given up. Its log may say more",
            node=node,
        )
        running.stop("failed", error.message)
        await self._finish(running, "failed", {"event": "failed", "run": running.id}, error)

    async def released(self, running: Running) -> None:
        """A run goes back to its place: the server closes, or its worker died before it had it."""
        if await self._database.durably(self._store.release, running.claim):
            self._forget(running)
            self.announce()
        else:
            await self.ended(running, {"status": "cancelled"})

    def changed(self, worker: models.Worker) -> None:
        """A worker changed its state."""
        self._events.publish({"event": "worker", "worker": worker.model_dump(mode="json")})
        if worker.state == "dead":
            log.warning("worker %d: %s", worker.id, worker.message)

    async def _finish(
        self,
        running: Running,
        status: str,
        event: dict[str, Any],
        error: models.RunFailure | None = None,
        seconds: float | None = None,
    ) -> None:
        running.stop("cancelled")
        if error is not None:
            event |= {"message": error.message, "error": error.model_dump(mode="json")}
        ended = await self._database.durably(
            self._store.finish,
            running.claim,
            status,
            seconds=seconds,
            total=running.total,
            error=None if error is None else json.dumps(error.model_dump(mode="json")),
            nodes=running.dumped,
        )
        self._forget(running)
        if ended:
            self._events.publish(event)
            log.info("run %s: %s", running.id, status)
        if self._ended % FORGET_EVERY == 0:
            try:
                await self._database(self._forget_old)
            except (StoreFull, sqlite3.Error, OSError) as error:  # the run has ended all the same
                log.warning("the oldest runs are still kept: %s", error)
        self._ended += 1

    def _forget_old(self) -> None:
        for run in self._store.forget(HISTORY, HISTORY_BYTES):
            (self._logs / f"{run}.log").unlink(missing_ok=True)
        logs = [(path.stat(), path) for path in self._logs.glob("[0-9a-f]" * 20 + ".log")]
        kept = 0
        for stat, path in sorted(logs, key=lambda log: -log[0].st_mtime_ns):
            kept += stat.st_size
            if kept > LOGS_BYTES and path.stem not in self.running:
                path.unlink()

    def _forget(self, running: Running) -> None:
        self.running.pop(running.id, None)
        self.cancelled.discard(running.id)

    async def _keep(
        self, running: Running, node: str | None, files: list[dict[str, Any]]
    ) -> list[models.Artifact]:
        return await self._database.durably(self._artifacts.add, running.id, node, files)
