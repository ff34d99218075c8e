"""The connection of a client to `nodegraph serve`: requests, the event stream, and what goes wrong with either.

Calls block, from any thread: the connection has an event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from nodegraph.errors import NodegraphError
from nodegraph.home import Home
from nodegraph.serve import models

DEFAULT_URL = "http://127.0.0.1:8187"
SERVER_FILE = "server.json"  # in the home of a running server: its address, and its token where it asks for one
CALL_SECONDS = 180.0
RECONNECT_SECONDS = 60.0

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")
Event = dict[str, Any]


class ServerUnreachable(NodegraphError):
    """No server answers at the address."""


class ApiRefused(NodegraphError):
    """The server refused: `status` of HTTP, `code` for programs, `problems` with node and input."""

    def __init__(self, status: int, error: models.ApiError, retry_after: float | None) -> None:
        self.status = status
        self.code = error.code
        self.problems = error.problems
        self.retry_after = retry_after
        lines = [error.message]
        for problem in error.problems:
            where = ".".join(part for part in (problem.node, problem.input) if part) or "workflow"
            if problem.message != error.message:
                lines.append(f"  {where}: {problem.message}")
        super().__init__("\n".join(lines))


class Connection:
    """Speaks HTTP with one server; `url`, `token` and `home` are those of `Client`."""

    def __init__(self, url: str | None, token: str | None, home: Home) -> None:
        known = _known_server(home)
        self.url = (url or os.environ.get("NODEGRAPH_SERVER") or known.get("url") or DEFAULT_URL).rstrip("/")
        if token is None:
            token = os.environ.get("NODEGRAPH_TOKEN")
        if token is None and known.get("url") == self.url:
            token = known.get("token")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nodegraph-client", daemon=True)
        self._thread.start()
        self._session = self._wait(self._open())

    def close(self) -> None:
        """Let go of the server."""
        self._wait(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(
        self,
        method: str,
        path: str,
        answer: type[Model],
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Model:
        """The answer to a request, as a model. Raises as `read` does."""
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        return answer.model_validate_json(self.read(method, path, query=query, content=content, headers=headers))

    def read(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The bytes of an answer.

        Raises:
            ApiRefused: the server refuses.
            ServerUnreachable: none answers.
        """

        async def call() -> bytes:
            asked = {key: str(value) for key, value in (query or {}).items() if value is not None}
            try:
                async with self._session.request(
                    method, self.url + path, params=asked, data=content, headers=headers
                ) as response:
                    data = await response.read()
                    if response.status >= 400:
                        raise _refused(response.status, data, response.headers.get("Retry-After"))
                    return data
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ServerUnreachable(
                    f"no server answers at {self.url} ({_why(error)}); "
                    "start one with nodegraph serve, or give --server"
                ) from None

        return self._wait(call())

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Every event since number `after`, else from now on; a lost connection is taken up where it broke.

        Raises:
            ServerUnreachable: nothing answered for a minute.
        """
        stream = self._events(after)

        async def more() -> list[Event]:
            return await anext(stream)

        try:
            while True:
                yield from self._wait(more())
        finally:
            self._wait(stream.aclose())

    async def _events(self, after: int | None) -> AsyncGenerator[list[Event], None]:
        lost = time.monotonic()
        while True:
            query = {} if after is None else {"after": str(after)}
            try:
                async with self._session.ws_connect(
                    f"{self.url}/api/events", params=query, heartbeat=20
                ) as socket:
                    try:
                        async for message in socket:
                            if message.type is not aiohttp.WSMsgType.TEXT:
                                continue
                            events: list[Event] = json.loads(message.data)
                            for event in events:
                                if event["event"] == "hello" and after is not None:
                                    continue  # what was missed comes first, under its own numbers
                                after = event.get("number", after)
                            yield [event for event in events if event["event"] != "hello"]
                    finally:
                        lost = time.monotonic()
            except (aiohttp.ClientError, OSError) as error:
                status = error.status if isinstance(error, aiohttp.WSServerHandshakeError) else None
                passing = status is None or status >= 500 or status == 429
                if not passing or time.monotonic() - lost > RECONNECT_SECONDS:
                    what = "the connection to {} was lost" if status is None else "{} refuses its events: {}"
                    raise ServerUnreachable(what.format(self.url, status)) from None
            await asyncio.sleep(0.5)

    async def _open(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=CALL_SECONDS)
        return aiohttp.ClientSession(headers=self._headers, timeout=timeout)

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _why(error: Exception) -> str:
    """Why there is no answer, in the words of the system and not of the library."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number).lower() if number else "it cannot be reached"
    return "it took too long" if isinstance(error, TimeoutError) else str(error)


def _refused(status: int, data: bytes, retry_after: str | None) -> ApiRefused:
    try:
        error = models.ApiError.model_validate_json(data)
    except ValidationError:
        error = models.ApiError(code="server_error", message=f"{status}: {data[:300].decode(errors='replace')}")
    seconds = None
    with suppress(ValueError):
        seconds = None if retry_after is None else float(retry_after)
    return ApiRefused(status, error, seconds)


def _known_server(home: Home) -> dict[str, str | None]:
    try:
        data = json.loads((home.folder / SERVER_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
