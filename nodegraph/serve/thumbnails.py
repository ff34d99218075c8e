"""Thumbnails: small WebP pictures of picture files, made in processes of their own and kept in memory.

A picture that crashes its decoder, hangs it or swallows memory takes such a process down and not the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import OrderedDict
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


class Thumbnails:
    """The thumbnails of one server, the last used of them kept in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._idle: list[_Decoder] = []

    async def get(self, path: Path, size: int) -> bytes:
        """A WebP of at most `size` pixels a side, rounded up to one of five. Raises Refused for no picture."""
        size = next(one for one in SIZES if one >= size)
        key = (path, path.stat().st_mtime_ns, size)
        async with self._turns:
            data = self._kept.get(key)
            if data is None:
                data = await self._shrunk(path, size)
                self._kept[key] = data
                self._bytes += len(data)
        self._kept.move_to_end(key)
        while self._bytes > _BUDGET:
            _, old = self._kept.popitem(last=False)
            self._bytes -= len(old)
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

    async def _shrunk(self, path: Path, size: int) -> bytes:
        decoder = await self._decoder()
        try:
            picture = await decoder.shrink(path, size)
        except Refused:
            self._idle.append(decoder)
            raise
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            await decoder.end()
            raise Refused(
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
