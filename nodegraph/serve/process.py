"""A worker process as the server holds it: pipes, signals, and why it ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nodegraph.serve.supervisor import WorkerSettings

MAX_LINE = 16 * 2**20
MAX_PAYLOAD = 4 * 2**20
YIELD_EVERY = 64  # reports that are taken in before others get a turn


class WorkerProcess:
    """One process, from its start to its end. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._why: str | None = None
        self.pid = process.pid
        self.heard = asyncio.get_running_loop().time()
        self.listening = True  # false while what it told is being dealt with
        self.ready = asyncio.Event()
        self.end: asyncio.Future[dict[str, Any]] | None = None  # of the run that it has
        self.device = ""

    @classmethod
    async def start(cls, number: int, settings: WorkerSettings, plugins: list[str]) -> WorkerProcess:
        """Start worker `number` in a process group of its own."""
        settings.logs.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ}
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        environment.setdefault("OMP_NUM_THREADS", str(settings.threads))
        if settings.accelerators:
            device = settings.accelerators[number % len(settings.accelerators)]
            environment["CUDA_VISIBLE_DEVICES"] = device
        with (settings.logs / f"worker-{number}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "nodegraph.serve.worker",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                start_new_session=True, limit=MAX_LINE, env=environment,
            )  # fmt: skip
        worker = cls(process)
        worker.send(
            {
                "do": "begin",
                "home": str(settings.home),
                "cache": str(settings.cache),
                "cache_bytes": settings.cache_bytes,
                "output": str(settings.output),
                "inputs": [str(folder) for folder in settings.inputs],
                "logs": str(settings.logs),
                "plugins": plugins,
                "device": settings.device,
            }
        )
        return worker

    def send(self, command: dict[str, Any]) -> None:
        """Tell it something; lost where it is dead."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def reports(self) -> AsyncIterator[tuple[dict[str, Any], bytes]]:
        """What it tells, each with the bytes that follow, until its end. A process that babbles is ended."""
        stream = self._process.stdout
        assert stream is not None
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
            self._process.terminate()

    def kill(self) -> None:
        """End it, and all that it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def reason(self) -> str:
        """Why it ended, in words; waits for the end."""
        status = await self._process.wait()
        if self._why is not None:
            return f"the worker was ended: {self._why}"
        if status >= 0:
            return f"the worker process ended with exit status {status}"
        name = signal.Signals(-status).name
        hint = {
            signal.SIGKILL: "; the system does that when memory runs out",
            signal.SIGSEGV: ", a fault in compiled code",
            signal.SIGBUS: ", a fault in compiled code, or a full disk behind mapped memory",
            signal.SIGABRT: "; compiled code gave up",
        }.get(signal.Signals(-status), "")
        return f"the worker process was ended by {name}{hint}"
