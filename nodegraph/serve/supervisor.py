"""Keeps one worker process alive and hands it one run at a time.

A worker is expected to die: at any moment, in any way. What becomes of its run is decided elsewhere (`Dispatch`);
this module finds out that it died and why, brings a new one up, and makes sure that the old one is gone with all
its children.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from nodegraph.serve import models
from nodegraph.serve.printing import shorten
from nodegraph.serve.process import WorkerProcess, WorkerSettings
from nodegraph.serve.running import Running
from nodegraph.serve.spawn import Spawner
from nodegraph.serve.store import Claim

log = logging.getLogger("nodegraph.serve")
TERMINATE_SECONDS, KILL_SECONDS = 2.0, 3.5  # after a cancel that the node does not hear
START_SECONDS = 300.0
SILENT_SECONDS = 60.0
TICK_SECONDS = 2.0
ENDS = frozenset({"succeeded", "failed", "cancelled"})
BACKOFF_SECONDS = (0.5, 2.0, 8.0, 30.0)


class Dispatch(Protocol):
    """What a supervisor needs to know, and whom it tells."""

    closing: bool

    @property
    def news(self) -> asyncio.Event:
        """Set when there may be something to claim, or the server closes; a new one each time."""
        ...

    @property
    def importable(self) -> list[str]:
        """The plugin folders that a worker may import, as far as is known."""
        ...

    async def plugins(self) -> list[str]:
        """The same, after a look at their sources."""
        ...

    async def claim(self, worker: int) -> Claim | None:
        """The run that goes next, now this worker's."""
        ...

    def began(self, running: Running) -> bool:
        """A claimed run is handed over. Whether it was cancelled meanwhile."""
        ...

    async def report(self, running: Running, report: dict[str, Any], payload: bytes) -> None:
        """The worker told something about its run."""
        ...

    async def ended(self, running: Running, end: dict[str, Any]) -> None:
        """The worker ended a run."""
        ...

    async def lost(self, running: Running, reason: str) -> None:
        """The worker died while it had a run."""
        ...

    async def released(self, running: Running) -> None:
        """A run was not carried through because the server closes, or was never begun."""
        ...

    def changed(self, worker: models.Worker) -> None:
        """The worker changed its state."""
        ...


class Supervisor:
    """One worker, and whatever process is it at the moment.

    Args:
        number: which of the workers it is, from 0.
        settings: what it is told.
        spawner: starts its processes.
        dispatch: gives it runs.
    """

    def __init__(self, number: int, settings: WorkerSettings, spawner: Spawner, dispatch: Dispatch) -> None:
        self._spawner = spawner
        self._number = number
        self._settings = settings
        self._dispatch = dispatch
        self._process: WorkerProcess | None = None
        self._running: Running | None = None
        self._watched = False
        self._timers: list[asyncio.TimerHandle] = []
        self.state = models.Worker(id=number, state="starting", memory=None)

    async def run(self) -> None:
        """Keep a worker up until the server closes."""
        failures = 0
        while not self._dispatch.closing:
            self._set("starting", pid=None, run=None, memory=None)
            try:
                ready, reason = await self._one_process()
            except Exception as error:  # no process to be had, or a fault of this program: the next may do better
                log.exception("worker %d", self._number)
                ready, reason = False, f"{type(error).__name__}: {error}"
            failures = 0 if ready else failures + 1
            if not self._dispatch.closing:
                restarts = self.state.restarts + 1
                self._set("dead", message=reason, restarts=restarts, pid=None, run=None, memory=None)
                if failures:
                    await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1])
        self._set("stopping", pid=None, run=None)

    def cancel(self, run: str) -> bool:
        """Stop a run that this worker has: ask, insist, then end the process. False where it has none such."""
        running, process = self._running, self._process
        if running is None or running.id != run or process is None:
            return False
        if not running.cancelling:
            running.cancelling = True
            loop = asyncio.get_running_loop()
            process.send({"do": "cancel", "run": run})
            self._timers = [
                loop.call_later(TERMINATE_SECONDS, process.terminate),
                loop.call_later(KILL_SECONDS, process.kill),
            ]
        return True

    def watch(self, watched: bool) -> None:
        """Whether anybody wants previews."""
        self._watched = watched
        if self._process is not None:
            self._process.send({"do": "watch", "on": watched})

    def kill(self) -> None:
        """End the process now; its run is released where the server closes, else lost."""
        if self._process is not None:
            self._process.kill()

    async def _one_process(self) -> tuple[bool, str]:
        """A process from its start to its end: whether it ever was ready, and why it ended."""
        await self._spawner.warm()  # torch is imported while the sources of the nodes are looked at
        plugins = await self._dispatch.plugins()
        process = self._process = await WorkerProcess.start(self._spawner, self._number, self._settings, plugins)
        process.send({"do": "watch", "on": self._watched})
        self.state = self.state.model_copy(update={"pid": process.pid})
        reading = asyncio.create_task(self._read(process))
        watching = asyncio.create_task(self._watch(process))
        try:
            await self._serve(process, reading, plugins)
        finally:
            watching.cancel()
            process.kill()
            self._process = None
            await reading
        return process.ready.is_set(), await process.reason()

    async def _serve(self, process: WorkerProcess, reading: asyncio.Task[None], plugins: list[str]) -> None:
        await _first(reading, process.ready.wait())
        while not reading.done() and not self._dispatch.closing:
            self._set("idle", run=None, message="", device=process.device)
            news = self._dispatch.news
            if plugins != self._dispatch.importable:
                process.end_for("other plugins than it knows can be imported now")
                return
            claim = await self._dispatch.claim(self._number)
            if claim is None:
                await _first(reading, news.wait())
                continue
            running = Running(claim, self._number)
            if reading.done() or self._dispatch.closing:
                await self._dispatch.released(running)
                return
            await self._carry_through(process, reading, running)

    async def _carry_through(self, process: WorkerProcess, reading: asyncio.Task[None], running: Running) -> None:
        claim = running.claim
        process.end = asyncio.get_running_loop().create_future()
        self._running = running
        self._set("busy", run=claim.id)
        process.send(
            {
                "do": "run",
                "run": claim.id,
                "attempt": claim.attempt,
                "workflow": claim.workflow,
                "targets": claim.targets,
                "timings": claim.timings,
            }
        )
        if self._dispatch.began(running):
            self.cancel(running.id)
        try:
            await _first(reading, process.end)
        finally:
            for timer in self._timers:
                timer.cancel()
            self._timers = []
            self._running = None
        if reading.done():
            process.kill()
            await asyncio.to_thread(shorten, self._settings.logs / f"{claim.id}.log")
        if process.end.done():
            try:
                await self._dispatch.ended(running, process.end.result())
            except Exception as error:
                log.exception("run %s", running.id)
                process.end_for(f"the end of its run cannot be taken in: {type(error).__name__}: {error}")
                await self._dispatch.lost(running, await process.reason())
        elif self._dispatch.closing:
            await self._dispatch.released(running)
        else:
            await self._dispatch.lost(running, await process.reason())

    async def _read(self, process: WorkerProcess) -> None:
        """Take in all that the process tells, until it is dead."""
        async for report, payload in process.reports():
            kind = report.get("report")
            if kind == "ready":
                process.device = self._device(str(report.get("device")))
                process.ready.set()
            elif kind == "beat":
                self.state = self.state.model_copy(update={"memory": report.get("memory")})
            elif kind == "end":
                self._end(process, report)
            elif self._running is not None:
                await self._dispatch.report(self._running, report, payload)

    def _end(self, process: WorkerProcess, report: dict[str, Any]) -> None:
        """Take the end of the run that the process has; what a node has written there itself ends the process."""
        if process.end is None or process.end.done() or self._running is None:
            return
        if report.get("run") == self._running.id and report.get("status") in ENDS:
            process.end.set_result(report)
        else:
            process.end_for("it told the end of a run that it does not have")

    async def _watch(self, process: WorkerProcess) -> None:
        """End a process that has said nothing for too long: stopped, or stuck beyond what a node may do."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            before = loop.time()
            await asyncio.sleep(TICK_SECONDS)
            if loop.time() - before > 2 * TICK_SECONDS or not process.listening:
                process.heard = loop.time()  # it is this process that was stopped, or is held up by a full disk
            elif loop.time() - process.heard > SILENT_SECONDS:
                process.end_for(f"it gave no sign of life for {SILENT_SECONDS:.0f} s")
            elif not process.ready.is_set() and loop.time() - begun > START_SECONDS:
                process.end_for(f"it did not come up within {START_SECONDS:.0f} s; is a plugin stuck at import?")

    def _device(self, device: str) -> str:
        chosen = self._settings.accelerators
        if device.startswith("cuda") and chosen:
            return f"cuda:{chosen[self._number % len(chosen)]}"
        return device

    def _set(self, state: str, **more: Any) -> None:
        before = self.state
        self.state = before.model_copy(update={"state": state, **more})
        if self.state != before:
            self._dispatch.changed(self.state)


async def _first(reading: asyncio.Task[None], other: Any) -> None:
    """Wait for either; neither is ended."""
    task = asyncio.ensure_future(other)
    await asyncio.wait({reading, task}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done() and not isinstance(other, asyncio.Future):
        task.cancel()
