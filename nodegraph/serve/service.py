"""Everything behind the HTTP surface, as one object: the queue, its workers, the events, the gallery.

The server's event loop owns it. SQLite runs in a thread of its own, nodes run in worker processes, and neither
torch nor a plugin is imported here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec

from nodegraph.cache.disk import DEFAULT_BYTES
from nodegraph.catalog import Catalog
from nodegraph.home import Home
from nodegraph.serve import models
from nodegraph.serve.accept import Acceptor
from nodegraph.serve.artifacts import Artifacts
from nodegraph.serve.database import Database
from nodegraph.serve.dispatch import Dispatcher
from nodegraph.serve.errors import DiskFull, HomeUnusable, NotQueued, QueueDamaged
from nodegraph.serve.events import BLOCK, Events
from nodegraph.serve.gallery import Gallery
from nodegraph.serve.listing import Listing
from nodegraph.serve.lock import HomeLock
from nodegraph.serve.nodetypes import NodeTypes
from nodegraph.serve.printing import read_log, shorten_all
from nodegraph.serve.process import WorkerSettings
from nodegraph.serve.refusals import refusals
from nodegraph.serve.spawn import Spawner
from nodegraph.serve.store import Store
from nodegraph.serve.storefile import StoreFile, StoreFull
from nodegraph.serve.supervisor import Supervisor
from nodegraph.serve.trash import TRASH_BYTES
from nodegraph.workflow import Workflow

log = logging.getLogger("nodegraph.serve")
MAX_QUEUED = 10_000
P = ParamSpec("P")
RESERVE_BYTES = 8 * 2**20


class Service:
    """The queue of one home.

    Args:
        home: the user's folders; everything is kept in them.
        workers: how many worker processes; by default one for each accelerator, or one.
        cache: the folder of results; by default the home's.
        cache_bytes: how many bytes of results are kept.
        plugins: plugin folders besides the home's own.
        inputs: folders of input pictures besides the home's own.
        device: such as `cpu`; by default an accelerator where there is one.
        compiled: whether workers compile networks, see `Engine`.
        max_queued: how many runs may wait.
        reserve: bytes of the disk that are kept free for finishing what was accepted.
        trash_bytes: how many bytes of deleted artifacts are kept.
    """

    def __init__(
        self,
        home: Home,
        *,
        workers: int | None = None,
        cache: Path | None = None,
        cache_bytes: int = DEFAULT_BYTES,
        plugins: Sequence[Path] = (),
        inputs: Sequence[Path] = (),
        device: str | None = None,
        compiled: bool = False,
        max_queued: int = MAX_QUEUED,
        reserve: int = RESERVE_BYTES,
        trash_bytes: int = TRASH_BYTES,
    ) -> None:
        self.home = home
        self.events: Events
        self.gallery: Gallery
        self._types = NodeTypes(home.cache, (home.plugins, *plugins), self._types_changed)
        self._max_queued = max_queued
        self._reserve_bytes = reserve
        self._trash_bytes = trash_bytes
        accelerators = [] if device == "cpu" else _accelerators()
        self._count = workers or max(1, len(accelerators))
        self._settings = WorkerSettings(
            home=replace(home, cache=cache or home.cache),
            cache_bytes=cache_bytes,
            output=self.outputs,
            inputs=inputs,
            logs=home.folder / "logs",
            device=device,
            compiled=compiled,
            accelerators=accelerators,
        )
        self._supervisors: list[Supervisor] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def compiled(self) -> bool:
        """Whether workers compile networks."""
        return self._settings.compiled

    @property
    def outputs(self) -> Path:
        """The folder that runs write to."""
        return self.home.folder / "outputs"

    @property
    def catalog(self) -> Catalog:
        """What nodes there are; empty until `catalog_loaded` is set."""
        return self._types.catalog

    @property
    def catalog_loaded(self) -> asyncio.Event:
        """Set once the catalog is there."""
        return self._types.loaded

    async def start(self) -> None:
        """Open the queue; returns at once, the workers come up behind it.

        Raises:
            HomeTaken: another server runs on this home.
            DiskFull: there is no room for a queue.
            QueueDamaged: there is a queue that cannot be read.
            HomeUnusable: there is one that cannot be opened now, or the home cannot be locked.
        """
        self._lock = HomeLock(self.home.folder)
        self._database = Database()
        try:
            number = await self._open()
        except BaseException:
            self._database.close()
            self._lock.release()
            raise
        trash = self.home.folder / "trash" / "artifacts"
        artifacts = Artifacts(self._file, self.outputs, trash, self._trash_bytes)
        await self._database(artifacts.bound_trash)
        await asyncio.to_thread(shorten_all, self._settings.logs)
        self._listing = Listing(self._store, artifacts)
        self._acceptor = Acceptor(
            self._database,
            self._store,
            self._listing,
            self.home.folder,
            self._max_queued,
            self._reserve_bytes,
            self._accepted,
        )
        self.events = Events(number, self._reserve)
        self.gallery = Gallery(self.home.folder, self._database, self._listing, artifacts, self.events)
        self._dispatch = Dispatcher(
            self._database, self._store, artifacts, self.events, self._types, self._settings.logs
        )
        # Read when torch is imported: threads that spin while they wait slow a busy machine down many times over.
        threads = max(1, (os.cpu_count() or 1) // self._count)
        defaults = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
        self._spawner = Spawner({name: os.environ.get(name, value) for name, value in defaults.items()})
        self._supervisors = [
            Supervisor(n, self._settings, self._spawner, self._dispatch) for n in range(self._count)
        ]
        self._tasks = [asyncio.create_task(supervisor.run()) for supervisor in self._supervisors]
        self.events.watched_changed = self._watch
        self._watching = asyncio.create_task(self._types.watch())

    async def _open(self) -> int:
        """Open the store and take up what an earlier server left; returns the number of its last event at most."""
        path = self.home.folder / "queue.sqlite"
        try:
            self._file = await self._database(StoreFile, path)
            self._store = Store(self._file)
            number = await self._database(self._file.setting, "events")
            await self._database(self._file.set, "events", number + BLOCK)
            await self._database(self._store.recover)
        except StoreFull as error:
            raise DiskFull(f"there is no room for the queue in {self.home.folder}: {error}") from None
        except sqlite3.DatabaseError as error:
            # Of the whole code the last byte says what kind of trouble it is.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise HomeUnusable(
                    f"cannot use the queue in {path}: {error}; leave the file where it is"
                ) from None
            raise QueueDamaged(
                f"cannot read the queue in {path}: {error}. Move the file away to begin with an empty queue"
            ) from None
        return number

    async def close(self, grace: float = 5.0) -> None:
        """Stop: what runs has `grace` seconds to end, and otherwise goes back to its place in the queue."""
        self._watching.cancel()
        self._dispatch.closing = True
        self._dispatch.announce()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace if self._dispatch.running else min(grace, 0.3))
            for supervisor in self._supervisors:
                supervisor.kill()
            if late:
                _, late = await asyncio.wait(late, timeout=1)
            for task in late:  # no process yet, and so no run: it waits for imports
                task.cancel()
            await asyncio.wait(self._tasks)
        await self._spawner.close()
        self.events.close()
        await self._database(self._file.close)
        self._database.close()
        self._lock.release()

    # Runs

    async def submit(
        self, workflow: Workflow, *, targets: list[str] | None = None, priority: int = 0
    ) -> models.Run:
        """Queue a run; it is on disk when this returns.

        Raises:
            QueueFull: too many runs wait.
            DiskFull: there is no room.
            DocumentError: the workflow is too long to be read again.
        """
        return await self._acceptor.submit(workflow, targets, priority)

    async def runs(
        self, status: models.RunStatus | None = None, limit: int = 100, before: str | None = None
    ) -> models.Runs:
        """A page of runs. Raises NoSuchRun where `before` is none."""
        with refusals(self.home.folder):
            page = await self._database(self._listing.page, status, limit, before)
        for run in page.runs:
            if (running := self._dispatch.running.get(run.id)) is not None:
                running.overlay(run)
        return page

    async def run(self, run: str) -> models.RunDetails:
        """A run and what its nodes do or did. Raises NoSuchRun."""
        # What is told later may be in the state already; what was told before must be.
        number = self.events.number
        with refusals(self.home.folder):
            details = await self._database(self._listing.details, run)
        running = self._dispatch.running.get(run)
        if running is not None:
            details.nodes = {name: models.NodeProgress(**state) for name, state in running.nodes.items()}
            running.overlay(details)
        details.event = number
        return details

    async def workflow_of(self, run: str) -> tuple[str, list[str] | None]:
        """The workflow of a run as JSON text, and its targets. Raises NoSuchRun."""
        with refusals(self.home.folder):
            return await self._database(self._store.document, run)

    async def log_of(self, run: str) -> str:
        """What a run and its nodes printed, up to a limit. Raises NoSuchRun."""
        return await asyncio.to_thread(read_log, self._settings.logs / f"{(await self._run(run)).id}.log")

    async def cancel(self, run: str) -> models.Run:
        """Cancel a run: at once where it is queued, else within seconds. Raises NoSuchRun, DiskFull."""
        with refusals(self.home.folder):
            before = await self._database(self._store.cancel, run)
        if before == "running":
            # One that is just being claimed has no supervisor yet.
            if not any(supervisor.cancel(run) for supervisor in self._supervisors):
                self._dispatch.cancelled.add(run)
        elif before == "queued":
            self.events.publish({"event": "cancelled", "run": run})
        return await self._run(run)

    async def prioritise(self, run: str, priority: int) -> models.Run:
        """Give a queued run another priority. Raises NoSuchRun, NotQueued, DiskFull."""
        await self._reorder(run, self._store.prioritise, run, priority)
        return await self._run(run)

    async def move(self, run: str, before: str | None) -> models.Run:
        """Move a queued run in front of another, or to the end. Raises NoSuchRun, NotQueued, DiskFull."""
        if before is not None:
            await self._run(before)
        await self._reorder(run, self._store.move, run, before)
        return await self._run(run)

    # The queue

    async def queue(self) -> models.QueueState:
        """What runs and what waits, in order."""
        return await self._database(self._listing.queue)

    async def pause(self) -> models.QueueState:
        """Begin no further run until `resume`; kept over restarts. Raises DiskFull."""
        return await self._set_paused(True)

    async def resume(self) -> models.QueueState:
        """Go on. Raises DiskFull."""
        return await self._set_paused(False)

    async def clear(self) -> int:
        """Cancel every queued run; those that run go on. Returns how many. Raises DiskFull."""
        with refusals(self.home.folder):
            cancelled = await self._database(self._store.clear)
        for run in cancelled:
            self.events.publish({"event": "cancelled", "run": run})
        return len(cancelled)

    @property
    def problems(self) -> list[str]:
        """What is wrong at the moment, for the one who runs the server."""
        return [problem for problem in (self._types.problem, self._database.problem) if problem is not None]

    def workers(self) -> list[models.Worker]:
        """The workers as they are now."""
        return [supervisor.state for supervisor in self._supervisors]

    async def _run(self, run: str) -> models.Run:
        with refusals(self.home.folder):
            return await self._database(self._listing.run, run)

    async def _reorder(self, run: str, change: Callable[P, bool], *args: P.args, **kwargs: P.kwargs) -> None:
        with refusals(self.home.folder):
            changed = await self._database(change, *args, **kwargs)
        if not changed:
            found = await self._run(run)
            raise NotQueued(f"the run {run} is {found.status}; only runs that both wait can change places")
        await self._tell_queue("order")

    async def _set_paused(self, paused: bool) -> models.QueueState:
        with refusals(self.home.folder):
            await self._database(self._file.set, "paused", int(paused))
        if not paused:
            self._dispatch.announce()
        return await self._tell_queue("paused" if paused else "resumed")

    async def _tell_queue(self, changed: str) -> models.QueueState:
        state = await self.queue()
        event = {"event": "queue", "paused": state.paused, "changed": changed}
        self.events.publish({**event, "queued": len(state.queued), "running": len(state.running)})
        return state

    def _reserve(self, number: int) -> None:
        task = asyncio.create_task(self._database.durably(self._file.set, "events", number))
        self._reserving = task

    def _accepted(self, run: models.Run) -> None:
        self.events.publish({"event": "queued", "run": run.id, "title": run.title, "priority": run.priority})
        self._dispatch.announce()

    def _watch(self, watched: bool) -> None:
        for supervisor in self._supervisors:
            supervisor.watch(watched)

    def _types_changed(self) -> None:
        self.events.publish({"event": "nodes"})
        self._dispatch.announce()  # a worker without the plugins makes way for one with them, or the reverse


def _accelerators() -> list[str]:
    """The graphics processors that workers may share out, by number, without asking torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    return sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
