"""A small client of `nodegraph serve`, for programs and for the command line.

::

    from nodegraph.client import Client

    with Client() as client:
        run = client.submit(Workflow.load("text_to_image.json"), values={"prompt.text": "a blue car"})
        done = client.wait(run.id)
        picture = client.artifact(done.artifacts[0].id)

Calls block. The answers are the models of `nodegraph.serve.models`.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, JsonValue, ValidationError

from nodegraph.errors import NodegraphError
from nodegraph.home import Home
from nodegraph.serve import models
from nodegraph.workflow import Workflow

DEFAULT_URL = "http://127.0.0.1:8187"
SERVER_FILE = "server.json"  # in the home of a running server: its address, and its token where it asks for one
CALL_SECONDS = 180.0
RECONNECT_SECONDS = 60.0
ENDS = ("finished", "failed", "cancelled")

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


class Client:
    """Talks to one server.

    Args:
        url: where it is; by default `$NODEGRAPH_SERVER`, else the server that runs on the user's home, else port
            8187 of this machine.
        token: what it asks for; by default `$NODEGRAPH_TOKEN`, or what the home knows of its server.
        home: the user's folders.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, home: Home | None = None) -> None:
        known = _known_server(home or Home.of_user())
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._wait(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # The server

    def health(self) -> models.Health:
        """Whether it answers, and whether it can take runs."""
        return self._ask("GET", "/health", models.Health)

    def system(self) -> models.System:
        """The server and its machine."""
        return self._ask("GET", "/api/system", models.System)

    def nodes(self) -> models.Nodes:
        """The node types."""
        return self._ask("GET", "/api/nodes", models.Nodes)

    # Runs

    def check(self, workflow: Workflow, values: Mapping[str, JsonValue] | None = None) -> list[models.ApiProblem]:
        """Every problem of a workflow."""
        body = {"workflow": _document(workflow), "values": dict(values or {})}
        return self._ask("POST", "/api/check", models.Problems, body=body).problems

    def submit(
        self,
        workflow: Workflow,
        *,
        values: Mapping[str, JsonValue] | None = None,
        targets: Sequence[str] | None = None,
        priority: int = 0,
        patience: float = 0.0,
    ) -> models.Run:
        """Queue a run. Once this returns, the run survives whatever happens to the server.

        Args:
            workflow: the document.
            values: replaces values, by `node.input`.
            targets: ids of the wanted nodes; by default every effect and every unused output.
            priority: runs of higher priority go first.
            patience: for how many seconds to try again where the queue is full.

        Raises:
            ApiRefused: the workflow has problems, or the queue stays full.
        """
        body = {"workflow": _document(workflow), "values": dict(values or {}), "priority": priority}
        if targets is not None:
            body["targets"] = list(targets)
        deadline = time.monotonic() + patience
        while True:
            try:
                return self._ask("POST", "/api/runs", models.Run, body=body)
            except ApiRefused as refused:
                pause = refused.retry_after or 1.0
                if refused.code != "busy" or time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)

    def run(self, run: str) -> models.RunDetails:
        """A run and the state of its nodes."""
        return self._ask("GET", f"/api/runs/{quote(run, safe='')}", models.RunDetails)

    def runs(
        self, status: models.RunStatus | None = None, *, limit: int = 100, before: str | None = None
    ) -> models.Runs:
        """A page of runs: the running, the queued in order, then the others, newest first."""
        asked = {"status": status, "limit": limit, "before": before}
        return self._ask("GET", "/api/runs", models.Runs, query=asked)

    def log(self, run: str) -> str:
        """What a run and its nodes printed."""
        return self._bytes("GET", f"/api/runs/{quote(run, safe='')}/log").decode(errors="replace")

    def cancel(self, run: str) -> models.Run:
        """Cancel a run."""
        return self._ask("POST", f"/api/runs/{quote(run, safe='')}/cancel", models.Run)

    def follow(self, run: str) -> Iterator[Event]:
        """The events of a run, from what has happened so far in short to its end."""
        start = self.run(run)
        if start.status in ("queued", "running"):
            for event in self.events(start.event):
                if event["event"] == "reset" and self.run(run).status not in ("queued", "running"):
                    return
                if event.get("run") == run:
                    yield event
                    if event["event"] in ENDS and "node" not in event:
                        return

    def wait(self, run: str) -> models.RunDetails:
        """A run once it has ended."""
        for _ in self.follow(run):
            pass
        return self.run(run)

    # The queue

    def queue(self) -> models.QueueState:
        """What runs and what waits, in order."""
        return self._ask("GET", "/api/queue", models.QueueState)

    def pause(self) -> models.QueueState:
        """Begin no further run until `resume`."""
        return self._ask("POST", "/api/queue/pause", models.QueueState)

    def resume(self) -> models.QueueState:
        """Go on with the queue."""
        return self._ask("POST", "/api/queue/resume", models.QueueState)

    def clear(self) -> int:
        """Cancel every queued run. Returns how many."""
        return self._ask("POST", "/api/queue/clear", models.Cleared).cancelled

    # Files

    def gallery(self, *, limit: int = 100, before: str | None = None) -> models.Gallery:
        """A page of artifacts, newest first."""
        return self._ask("GET", "/api/gallery", models.Gallery, query={"limit": limit, "before": before})

    def artifact(self, artifact: str) -> bytes:
        """The content of an artifact."""
        return self._bytes("GET", f"/api/artifacts/{quote(artifact, safe='')}")

    def upload(self, picture: Path) -> models.Upload:
        """Store an input picture; the answer's `name` is what a value says."""
        kinds = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
        headers = {"Content-Type": kinds.get(picture.suffix.lower(), "application/octet-stream")}
        query = {"name": picture.name}
        data = self._bytes("POST", "/api/uploads", query=query, content=picture.read_bytes(), headers=headers)
        return models.Upload.model_validate_json(data)

    # Events

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
                    async for message in socket:
                        if message.type is not aiohttp.WSMsgType.TEXT:
                            continue
                        events: list[Event] = json.loads(message.data)
                        for event in events:
                            if event["event"] == "hello" and after is not None:
                                continue  # what was missed comes first, under its own numbers
                            after = event.get("number", after)
                        lost = time.monotonic()
                        yield [event for event in events if event["event"] != "hello"]
            except aiohttp.WSServerHandshakeError as error:
                if error.status < 500 and error.status != 429:
                    raise ServerUnreachable(f"{self.url} refuses its events: {error.status}") from None
            except (aiohttp.ClientError, OSError):
                if time.monotonic() - lost > RECONNECT_SECONDS:
                    raise ServerUnreachable(f"the connection to {self.url} was lost") from None
            await asyncio.sleep(0.5)

    def _ask(
        self,
        method: str,
        path: str,
        answer: type[Model],
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Model:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        return answer.model_validate_json(self._bytes(method, path, query=query, content=content, headers=headers))

    def _bytes(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
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


def _document(workflow: Workflow) -> Any:
    return json.loads(workflow.dump())


def _known_server(home: Home) -> dict[str, str | None]:
    try:
        data = json.loads((home.folder / SERVER_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
