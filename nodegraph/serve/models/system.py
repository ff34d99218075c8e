"""The server, its workers and its machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nodegraph.serve.models.common import Asked, Told


class Session(Asked):
    """The server's token, to be swapped for a session cookie."""

    token: Annotated[str, Field(max_length=500)]


class SessionOpened(Told):
    """The cookie is set."""

    expires: float


class Worker(Told):
    """A worker process."""

    id: int
    state: Literal["starting", "idle", "busy", "stopping", "dead"]
    device: str | None = None
    pid: int | None = None
    run: str | None = None
    restarts: int = 0
    memory: int | None = Field(None, description="Bytes of resident memory.")
    message: str = ""


class DiskState(Told):
    """The disk that the home folder is on, in bytes."""

    free: int
    total: int


class CacheState(Told):
    """The results that are kept on disk."""

    results: int
    bytes: int
    budget: int


class System(Told):
    """The server and its machine."""

    version: str
    python: str
    platform: str
    cpus: int
    memory: int | None
    home: str
    started: float
    disk: DiskState
    cache: CacheState | None
    workers: list[Worker]
    clients: int
    editor: str | None = Field(None, description="What is wrong with the browser editor: that it is an old one.")


class Health(Told):
    """Whether the server answers, and whether it can take runs."""

    status: Literal["ok", "starting", "degraded"]
    version: str
    problems: list[str] = []
