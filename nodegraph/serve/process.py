"""A worker process as the server holds it: pipes, signals, and why it ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodegraph.home import Home
from nodegraph.serve.spawn import Child, Spawner

MAX_PAYLOAD = 4 * 2**20
YIELD_EVERY = 64  # reports that are taken in before others get a turn


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a server is told; all plain data.

    `accelerators` are the devices that the workers share out, by number.
    """

    home: Home
    cache_bytes: int
    output: Path
    inputs: Sequence[Path]
    logs: Path
    device: str | None
    accelerators: Sequence[str]
    compiled: bool = False


class WorkerProcess:
    """One process, from its start to its end. Made by `start`."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._why: str | None = None
        self.pid = child.pid
        self.heard = asyncio.get_running_loop().time()
        self.listening = True  # false while what it told is being dealt with
        self.ready = asyncio.Event()
        self.end: asyncio.Future[dict[str, Any]] | None = None  # of the run that it has
        self.device = ""

    @classmethod
    async def start(
        cls, spawner: Spawner, number: int, settings: WorkerSettings, plugins: list[str]
    ) -> WorkerProcess:
        """Start worker `number` in a process group of its own."""
        environment = {}
        if settings.accelerators:
            device = settings.accelerators[number % len(settings.accelerators)]
            environment["CUDA_VISIBLE_DEVICES"] = device
        worker = cls(await spawner.spawn(environment, settings.logs / f"worker-{number}.log"))
        worker.send(
            {
                "do": "begin",
                "home": str(settings.home.folder),
                "cache": str(settings.home.cache),
                "models": [str(folder) for folder in settings.home.further],
                "cache_bytes": settings.cache_bytes,
                "output": str(settings.output),
                "inputs": [str(folder) for folder in settings.inputs],
                "logs": str(settings.logs),
                "plugins": plugins,
                "device": settings.device,
                "compiled": settings.compiled,
            }
        )
        return worker

    def send(self, command: dict[str, Any]) -> None:
        """Tell it something; lost where it is dead."""
        if not self._child.commands.is_closing():
            self._child.commands.write(json.dumps(command).encode() + b"\n")

    async def reports(self) -> AsyncIterator[tuple[dict[str, Any], bytes]]:
        """What it tells, each with the bytes that follow, until its end. A process that babbles is ended."""
        stream = self._child.reports
        loop = asyncio.get_running_loop()
        count = 0
        try:
            while line := await stream.readline():
                self.heard = loop.time()
                report = json.loads(line)
                payload = b""
                if report.get("event") == "preview":
                    size = int(report["bytes"])
                    if not 0 <= size <= MAX_PAYLOAD:
                        raise ValueError(f"a preview of {size} bytes")
                    payload = await stream.readexactly(size)
                self.listening = False
                yield report, payload
                self.listening = True
                count += 1
                if count % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            return
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.end_for(f"it told something that makes no sense: {error}")

    def end_for(self, why: str) -> None:
        """Kill it for a reason that its end will be explained with."""
        self._why = self._why or why
        self.kill()

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it, and all that it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def reason(self) -> str:
        """Why it ended, in words; waits for the end."""
        status = await asyncio.shield(self._child.status)
        self._child.commands.close()
        if self._why is not None:
            return f"the worker was ended: {self._why}"
        if status is None:
            return "the worker process ended, together with the one that it was forked from"
        if status >= 0:
            return f"the worker process ended with exit status {status}"
        hints: dict[int, str] = {
            signal.SIGKILL: "; the system does that when memory runs out",
            signal.SIGSEGV: ", a fault in compiled code",
            signal.SIGBUS: ", a fault in compiled code, or a full disk behind mapped memory",
            signal.SIGABRT: "; compiled code gave up",
        }
        return f"the worker process was ended by {_name_of(-status)}{hints.get(-status, '')}"


def _name_of(number: int) -> str:
    """What a signal is called; a number alone where it has no name, as most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
