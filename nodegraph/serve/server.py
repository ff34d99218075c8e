"""What every handler is handed: the server's folders, stores and doors in one object."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from pydantic import JsonValue

from nodegraph import __version__
from nodegraph.cache import DiskTier, ResultCache
from nodegraph.catalog import Catalog
from nodegraph.check import Checked, check
from nodegraph.comfyui.names import comfyui_names
from nodegraph.home import Home
from nodegraph.plan import Plan, placement, plan
from nodegraph.serve.documents import WorkflowStore
from nodegraph.serve.editor import Editor
from nodegraph.serve.metrics import Labels, Metrics
from nodegraph.serve.models import (
    CacheState,
    DiskState,
    Health,
    Nodes,
    PlannedNode,
    PlannedWorkflow,
    PluginProblem,
    System,
)
from nodegraph.serve.refuse import Refused, encoded
from nodegraph.serve.security import Access
from nodegraph.serve.service import Service
from nodegraph.serve.templates import TemplateStore
from nodegraph.serve.thumbnails import Thumbnails
from nodegraph.serve.uploads import Uploads
from nodegraph.workflow import Workflow

CLOSE_SECONDS = 4.0
BODIES_BYTES = 512 * 2**20  # of all bodies together
SMALL_BODIES_BYTES = 64 * 2**20  # of these, what is kept for small ones
SMALL_BYTES = 2**20
CATALOG_SECONDS = 150.0


class Server:
    """One server of one home.

    Args:
        home: the folders that everything is kept in.
        access: who may talk to it.
        service: the queue, its workers and the events.
    """

    def __init__(self, home: Home, access: Access, service: Service) -> None:
        self.home = home
        self.access = access
        self.service = service
        self.clients: set[web.WebSocketResponse] = set()
        self.closing = False
        self._bodies = 0
        self.started = time.time()
        self.metrics = Metrics()
        self.files = home.files(output=service.outputs)
        self.workflows = WorkflowStore(home.folder / "workflows", home.folder / "trash")
        self.uploads = Uploads(home.folder / "inputs", self.files)
        self.thumbnails = Thumbnails()
        self.templates = TemplateStore()
        self.editor = Editor.installed()
        self._nodes: tuple[Catalog, bytes] | None = None
        self._disk: DiskTier | None = None
        self._disk_lock = threading.Lock()

    @contextmanager
    def room_for(self, announced: int) -> Iterator[Callable[[int], None]]:
        """Gives what takes part of the memory for a body as it arrives, until all is dealt with. Raises Refused.

        What was announced and does not come takes none, and small bodies have a part that large ones do not get: a
        few slow clients hold nobody up.
        """
        limit = BODIES_BYTES - (SMALL_BODIES_BYTES if announced > SMALL_BYTES else 0)
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self._bodies + size > limit:
                raise Refused("busy", "too many large requests at once; try again", headers={"Retry-After": "1"})
            self._bodies += size
            taken += size

        try:
            yield take
        finally:
            self._bodies -= taken

    async def start(self) -> None:
        """Open the queue; the workers come up behind it. Raises HomeTaken, DiskFull."""
        await self.service.start()

    async def close(self) -> None:
        """Let runs end or go back to the queue, and let go of everything."""
        self.closing = True
        await self.service.close(CLOSE_SECONDS)
        await self.thumbnails.close()
        if self._disk is not None:
            self._disk.close()

    async def catalog(self) -> Catalog:
        """The nodes. The first server of a home waits here until they are imported. Raises Refused."""
        try:
            async with asyncio.timeout(CATALOG_SECONDS):
                await self.service.catalog_loaded.wait()
        except TimeoutError:
            why = "; ".join(self.service.problems) or "the nodes are still being imported"
            raise Refused("unavailable", why, headers={"Retry-After": "5"}) from None
        return self.service.catalog

    def cache(self) -> DiskTier:
        """The results that are kept on disk. Blocking."""
        with self._disk_lock:
            if self._disk is None:
                self._disk = DiskTier(self.home.cache)
            else:
                self._disk.refresh()
            return self._disk

    async def check(self, document: dict[str, JsonValue], values: Mapping[str, JsonValue]) -> Checked:
        """A document with values put into it, checked. Raises DocumentError and CheckError."""
        catalog = await self.catalog()
        return await asyncio.to_thread(self._check, document, values, catalog)

    async def plan(
        self, document: dict[str, JsonValue], values: Mapping[str, JsonValue], targets: Sequence[str] | None
    ) -> PlannedWorkflow:
        """What would run, and which of it is cached. Raises CheckError where the workflow has problems."""
        checked = await self.check(document, values)
        return await asyncio.to_thread(self._plan, checked, targets)

    async def nodes(self) -> bytes:
        """The JSON of the catalog, made once for each catalog."""
        catalog = await self.catalog()
        if self._nodes is None or self._nodes[0] is not catalog:
            self._nodes = catalog, await asyncio.to_thread(_nodes_json, catalog)
        return self._nodes[1]

    def health(self) -> Health:
        """Whether runs can be taken."""
        problems = self.service.problems
        ready = self.service.catalog_loaded.is_set()
        return Health(
            status="degraded" if problems else "ok" if ready else "starting",
            version=__version__,
            problems=problems,
        )

    def system(self) -> System:
        """The server and its machine. Blocking."""
        self.home.folder.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self.home.folder)
        usage = self.cache().usage()
        return System(
            version=__version__,
            python=platform.python_version(),
            platform=platform.platform(),
            cpus=os.cpu_count() or 1,
            memory=_memory(),
            home=str(self.home.folder),
            started=self.started,
            disk=DiskState(free=disk.free, total=disk.total),
            cache=CacheState(results=usage.results, bytes=usage.bytes, budget=usage.budget),
            workers=self.service.workers(),
            clients=len(self.clients),
            editor=self.editor.problem,
        )

    async def gauges(self) -> list[tuple[str, str, Mapping[Labels, float]]]:
        """What Prometheus is told beside counters."""
        queue = await self.service.queue()
        workers = self.service.workers()
        states = Counter(worker.state for worker in workers)
        return [
            (
                "nodegraph_start_time_seconds",
                "When the server started, in seconds since 1970.",
                {(): self.started},
            ),
            ("nodegraph_runs_queued", "Runs that wait.", {(): len(queue.queued)}),
            ("nodegraph_runs_running", "Runs that run.", {(): len(queue.running)}),
            ("nodegraph_queue_paused", "1 where the queue is paused.", {(): float(queue.paused)}),
            ("nodegraph_workers", "Workers by state.", {(("state", name),): n for name, n in states.items()}),
            (
                "nodegraph_worker_memory_bytes",
                "Resident memory of each worker.",
                {(("worker", str(worker.id)),): float(worker.memory or 0) for worker in workers},
            ),
            (
                "nodegraph_worker_restarts",
                "How often each worker was started again.",
                {(("worker", str(worker.id)),): worker.restarts for worker in workers},
            ),
            ("nodegraph_clients", "Connected websockets.", {(): len(self.clients)}),
            ("nodegraph_event_number", "Number of the newest event.", {(): self.service.events.number}),
        ]

    def told_workflow(self, name: str, revision: str | None) -> None:
        """Tell every client that a stored workflow changed; without a revision it is gone."""
        event = {"event": "workflow", "name": name}
        self.service.events.publish(event if revision is None else {**event, "revision": revision})

    def _check(self, document: Any, values: Mapping[str, JsonValue], catalog: Catalog) -> Checked:
        workflow = Workflow.from_data(document)
        return check(workflow.with_values(values) if values else workflow, catalog, self.files)

    def _plan(self, checked: Checked, targets: Sequence[str] | None) -> PlannedWorkflow:
        device = next((worker.device for worker in self.service.workers() if worker.device), None) or "cpu"
        place = placement(device, compiled=self.service.compiled)
        planned: Plan = plan(checked, self.files, targets=targets, device=place)
        cache = ResultCache(disk=self.cache())
        return PlannedWorkflow(
            nodes=[
                PlannedNode(
                    node=step.id,
                    key=step.key,
                    cached=step.key in cache
                    if step.shape.type.effect == "none"
                    else step.shape.type.effect == "files"
                    and cache.written(step.key, self.files.output) is not None,
                )
                for step in planned.steps.values()
            ],
            targets=list(planned.targets),
        )


def _nodes_json(catalog: Catalog) -> bytes:
    digest = hashlib.blake2b(encoded(catalog), digest_size=16).hexdigest()
    problems = [PluginProblem(origin=one.origin, message=one.message) for one in catalog.problems]
    aliases = {type: list(names) for type, names in comfyui_names().items() if type in catalog.nodes}
    told = Nodes(digest=digest, nodes=catalog.nodes, problems=problems, comfyui=aliases)
    return encoded(told)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
