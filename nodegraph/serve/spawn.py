"""Starting worker processes: forked from a nursery where the platform bears that, else from nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_LINE = 16 * 2**20


@dataclass(frozen=True)
class Child:
    """A worker process. `status` is its exit status, negative for a signal, None where nobody knows."""

    pid: int
    commands: asyncio.StreamWriter
    reports: asyncio.StreamReader
    status: asyncio.Future[int | None]


class Spawner:
    """Starts the workers of one server.

    Args:
        environment: variables that every worker gets.
        nursery: whether to fork from a process that has imported torch; by default on Linux alone.
    """

    def __init__(self, environment: Mapping[str, str], *, nursery: bool = sys.platform == "linux") -> None:
        self._environment = {**os.environ, **environment}
        self._with_nursery = nursery
        self._nursery: _Nursery | None = None
        self._lock = asyncio.Lock()

    async def warm(self) -> None:
        """Have the nursery started, where there is to be one; its imports go on behind it."""
        if self._with_nursery:
            async with self._lock:
                await self._started()

    async def spawn(self, environment: Mapping[str, str], log: Path) -> Child:
        """Start a worker, with further variables, that prints to a new file. Raises OSError."""
        log.parent.mkdir(parents=True, exist_ok=True)
        commands_out, commands_in = os.pipe()
        reports_out, reports_in = os.pipe()
        with log.open("wb") as printed:
            theirs = [commands_out, reports_in, printed.fileno()]
            try:
                pid, status = await self._start(environment, theirs)
            except BaseException:
                os.close(commands_in)
                os.close(reports_out)
                raise
            finally:
                os.close(commands_out)
                os.close(reports_in)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        await loop.connect_read_pipe(lambda: protocol, os.fdopen(reports_out, "rb", 0))
        transport, flow = await loop.connect_write_pipe(
            lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(commands_in, "wb", 0)
        )
        return Child(pid, asyncio.StreamWriter(transport, flow, None, loop), reader, status)

    async def close(self) -> None:
        """End the nursery, and with it whatever workers are left."""
        if self._nursery is not None:
            await self._nursery.close()

    async def _start(
        self, environment: Mapping[str, str], descriptors: list[int]
    ) -> tuple[int, asyncio.Future[int | None]]:
        if not self._with_nursery:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "nodegraph.serve.worker", stdin=descriptors[0], stdout=descriptors[1],
                stderr=descriptors[2], start_new_session=True, env={**self._environment, **environment},
            )  # fmt: skip
            return process.pid, asyncio.ensure_future(process.wait())
        async with self._lock:
            return await (await self._started()).fork(environment, descriptors)

    async def _started(self) -> _Nursery:
        if self._nursery is not None and self._nursery.gone:
            await self._nursery.close()
            self._nursery = None
        if self._nursery is None:
            self._nursery = await _Nursery.start(self._environment)
        return self._nursery


class _Nursery:
    """The server's side of `nursery`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        near: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._socket = near
        self._writer = writer
        self._forked: asyncio.Queue[int | None] = asyncio.Queue()
        self._children: dict[int, asyncio.Future[int | None]] = {}
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def start(cls, environment: Mapping[str, str]) -> _Nursery:
        """Start the process; its imports go on behind it."""
        near, far = socket.socketpair()
        with far:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "nodegraph.serve.nursery", stdin=far.fileno(), start_new_session=True,
                stdout=asyncio.subprocess.DEVNULL, env=environment,
            )  # fmt: skip
        # asyncio reads from one name of the socket; descriptors go over another.
        reader, writer = await asyncio.open_connection(sock=near.dup())
        return cls(process, near, reader, writer)

    @property
    def gone(self) -> bool:
        """Whether it has died."""
        return self._reading.done()

    async def fork(
        self, environment: Mapping[str, str], descriptors: list[int]
    ) -> tuple[int, asyncio.Future[int | None]]:
        """Have a worker forked; waits for the imports of a nursery that is new. Raises OSError where it dies."""
        socket.send_fds(self._socket, [json.dumps(dict(environment)).encode()], descriptors)
        pid = await self._forked.get()
        if pid is None:
            raise OSError("the process that workers are forked from ended; does torch import?")
        return pid, self._children[pid]

    async def close(self) -> None:
        """End it; it has nothing to lose."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading
        self._writer.close()
        self._socket.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if "status" not in message:
                    self._children[message["pid"]] = asyncio.get_running_loop().create_future()
                    self._forked.put_nowait(message["pid"])
                else:
                    self._children.pop(message["pid"]).set_result(message["status"])
        except OSError:
            pass
        finally:
            for status in self._children.values():
                status.set_result(None)
            self._forked.put_nowait(None)
