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

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from pydantic import JsonValue

from nodegraph.connection import ApiRefused, Connection, Event, ServerUnreachable
from nodegraph.home import Home
from nodegraph.serve import models
from nodegraph.workflow import Workflow

__all__ = ["ApiRefused", "Client", "ServerUnreachable"]
ENDS = ("finished", "failed", "cancelled")


class Client:
    """Talks to one server.

    Args:
        url: where it is; by default `$NODEGRAPH_SERVER`, else the server that runs on the user's home, else port
            8187 of this machine.
        token: what it asks for; by default `$NODEGRAPH_TOKEN`, or what the home knows of its server.
        home: the user's folders.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, home: Home | None = None) -> None:
        self._server = Connection(url, token, home or Home.of_user())

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._server.close()

    # The server

    def health(self) -> models.Health:
        """Whether it answers, and whether it can take runs."""
        return self._server.ask("GET", "/health", models.Health)

    def system(self) -> models.System:
        """The server and its machine."""
        return self._server.ask("GET", "/api/system", models.System)

    def nodes(self) -> models.Nodes:
        """The node types."""
        return self._server.ask("GET", "/api/nodes", models.Nodes)

    # Runs

    def check(self, workflow: Workflow, values: Mapping[str, JsonValue] | None = None) -> list[models.ApiProblem]:
        """Every problem of a workflow."""
        body = {"workflow": _document(workflow), "values": dict(values or {})}
        return self._server.ask("POST", "/api/check", models.Problems, body=body).problems

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
                return self._server.ask("POST", "/api/runs", models.Run, body=body)
            except ApiRefused as refused:
                pause = refused.retry_after or 1.0
                if refused.code != "busy" or time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)

    def run(self, run: str) -> models.RunDetails:
        """A run and the state of its nodes."""
        return self._server.ask("GET", f"/api/runs/{quote(run, safe='')}", models.RunDetails)

    def runs(
        self, status: models.RunStatus | None = None, *, limit: int = 100, before: str | None = None
    ) -> models.Runs:
        """A page of runs: the running, the queued in order, then the others, newest first."""
        asked = {"status": status, "limit": limit, "before": before}
        return self._server.ask("GET", "/api/runs", models.Runs, query=asked)

    def log(self, run: str) -> str:
        """What a run and its nodes printed."""
        return self._server.read("GET", f"/api/runs/{quote(run, safe='')}/log").decode(errors="replace")

    def cancel(self, run: str) -> models.Run:
        """Cancel a run."""
        return self._server.ask("POST", f"/api/runs/{quote(run, safe='')}/cancel", models.Run)

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
        return self._server.ask("GET", "/api/queue", models.QueueState)

    def pause(self) -> models.QueueState:
        """Begin no further run until `resume`."""
        return self._server.ask("POST", "/api/queue/pause", models.QueueState)

    def resume(self) -> models.QueueState:
        """Go on with the queue."""
        return self._server.ask("POST", "/api/queue/resume", models.QueueState)

    def clear(self) -> int:
        """Cancel every queued run. Returns how many."""
        return self._server.ask("POST", "/api/queue/clear", models.Cleared).cancelled

    # Files

    def trash(self) -> models.Trash:
        """The deleted workflows, newest first, and how much the trash takes, with its artifacts."""
        return self._server.ask("GET", "/api/trash", models.Trash)

    def empty_trash(self) -> models.EmptiedTrash:
        """Remove for good every deleted workflow and artifact."""
        return self._server.ask("DELETE", "/api/trash", models.EmptiedTrash)

    def gallery(self, *, limit: int = 100, before: str | None = None) -> models.Gallery:
        """A page of artifacts, newest first."""
        return self._server.ask("GET", "/api/gallery", models.Gallery, query={"limit": limit, "before": before})

    def artifact(self, artifact: str) -> bytes:
        """The content of an artifact."""
        return self._server.read("GET", f"/api/artifacts/{quote(artifact, safe='')}")

    def upload(self, picture: Path) -> models.Upload:
        """Store an input picture; the answer's `name` is what a value says."""
        kinds = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
        headers = {"Content-Type": kinds.get(picture.suffix.lower(), "application/octet-stream")}
        query = {"name": picture.name}
        data = self._server.read(
            "POST", "/api/uploads", query=query, content=picture.read_bytes(), headers=headers
        )
        return models.Upload.model_validate_json(data)

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Every event since number `after`, else from now on; a lost connection is taken up where it broke.

        Raises:
            ServerUnreachable: nothing answered for a minute.
        """
        return self._server.events(after)


def _document(workflow: Workflow) -> Any:
    return json.loads(workflow.dump())
