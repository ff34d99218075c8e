"""Thumbnails: small WebP pictures of picture files, made in processes of their own and kept in memory.

A picture that crashes its decoder, hangs it or swallows memory takes such a process down and not the server.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from nodegraph.serve.media import FOREVER
from nodegraph.serve.refuse import Refused

SIZES = (64, 128, 256, 512, 1024)
AT_ONCE = 2
SECONDS = 20.0
PROGRAM = Path(__file__).with_name("thumbnailer.py")
_BUDGET = 64 * 2**20
_LARGEST = 16 * 2**20
REFUSALS = 10_000  # files that are known to have no thumbnail
AGAIN_SECONDS = 3600.0  # a decoder that was ended may have met a busy machine

_File = tuple[Path, int, int]  # with its time of change and its size


class _TooMuch(Refused):
    """A decoder did not get through."""


class Thumbnails:
    """The thumbnails of one server, the last used of them kept in memory, and which files have none.

    A file that is no picture is not decoded again until it changes; one that its decoder did not get through, an
    hour later at the soonest.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: OrderedDict[_File, tuple[str, float]] = OrderedDict()
        self._kept: OrderedDict[tuple[_File, int], bytes] = OrderedDict()
        self._bytes = 0
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._idle: list[_Decoder] = []

    async def get(self, path: Path, size: int) -> bytes:
        """A WebP of at most `size` pixels a side, rounded up to one of five. Raises Refused for no picture."""
        size = next(one for one in SIZES if one >= size)
        stat = path.stat()
        file = (path, stat.st_mtime_ns, stat.st_size)
        data = self._known(file, size)
        if data is None:
            async with self._turns:
                # Those who asked for the same at once have waited for the first of them.
                data = self._known(file, size) or await self._made(file, size)
        return data

    async def response(self, path: Path, size: int) -> web.Response:
        """The same as an answer."""
        return web.Response(
            body=await self.get(path, size), content_type="image/webp", headers={"Cache-Control": FOREVER}
        )

    async def close(self) -> None:
        """End the decoders."""
        while self._idle:
            await self._idle.pop().end()

    async def _decoder(self) -> _Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.alive:
                return decoder
        return await _Decoder.start()

    def _known(self, file: _File, size: int) -> bytes | None:
        """A thumbnail that is kept. Raises Refused where it is known that there is none."""
        message, until = self._refused.get(file, ("", 0.0))
        if self._clock() < until:
            raise Refused("unsupported_type", message)
        data = self._kept.get((file, size))
        if data is not None:
            self._kept.move_to_end((file, size))
        return data

    async def _made(self, file: _File, size: int) -> bytes:
        try:
            data = await self._shrunk(file[0], size)
        except Refused as error:
            again = AGAIN_SECONDS if isinstance(error, _TooMuch) else math.inf
            self._refused[file] = str(error), self._clock() + again
            if len(self._refused) > REFUSALS:
                self._refused.popitem(last=False)
            raise
        self._bytes += len(data) - len(self._kept.get((file, size), b""))
        self._kept[file, size] = data
        while self._bytes > _BUDGET:
            _, old = self._kept.popitem(last=False)
            self._bytes -= len(old)
        return data

    async def _shrunk(self, path: Path, size: int) -> bytes:
        decoder = await self._decoder()
        try:
            picture = await decoder.shrink(path, size)
        except Refused:
            self._idle.append(decoder)
            raise
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            await decoder.end()
            raise _TooMuch(
                "unsupported_type", "there is no thumbnail of this file: decoding it takes too much"
            ) from None
        except BaseException:
            await decoder.end()  # its answer would be taken for that of the next question
            raise
        self._idle.append(decoder)
        return picture


class _Decoder:
    """One process that decodes."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._child, self._stdin, self._stdout = child, child.stdin, child.stdout

    @classmethod
    async def start(cls) -> _Decoder:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", str(PROGRAM)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        )

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known."""
        return self._child.returncode is None

    async def shrink(self, path: Path, size: int) -> bytes:
        """A thumbnail. Raises Refused for no picture, and what a process raises that died or babbles."""
        async with asyncio.timeout(SECONDS):
            self._stdin.write(json.dumps([str(path), size]).encode() + b"\n")
            await self._stdin.drain()
            word, length = (await self._stdout.readuntil()).split()
            if word not in (b"ok", b"no") or not 0 <= int(length) <= _LARGEST:
                raise ValueError(f"the decoder says {word!r}")
            answer = await self._stdout.readexactly(int(length))
        if word == b"no":
            why = answer.decode("utf-8", "replace").replace(str(path), path.name)
            raise Refused("unsupported_type", f"there is no thumbnail of this file: {why}")
        return answer

    async def end(self) -> None:
        """Be gone."""
        with suppress(ProcessLookupError):
            self._child.kill()
        await self._child.wait()
