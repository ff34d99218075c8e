"""Runs, the queue, what runs made, and uploads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nodegraph.serve.models.common import (
    ApiProblem,
    Asked,
    Document,
    Priority,
    RunId,
    RunStatus,
    Targets,
    Told,
    Values,
)


class SubmitRun(Asked):
    """A run to be queued."""

    workflow: Document
    values: Values = {}
    targets: Targets | None = None
    priority: Priority = 0


class Artifact(Told):
    """A file that a run made. `content` and `thumbnail` are paths on this server."""

    id: str
    name: str
    node: str | None
    run: str | None
    media_type: str = Field(description="image/png, image/jpeg, image/webp, video/mp4, else octet-stream.")
    width: int | None = None
    height: int | None = None
    bytes: int
    created: float
    content: str
    thumbnail: str | None = None


class Raised(Told):
    """What a node raised, for the one who wrote the node; files are named without their folders."""

    exception: str
    at: str = Field(description="The innermost line of the node's own code; empty where the message says enough.")
    traceback: str = Field(description="The way from the node's function on.")


class RunFailure(Told):
    """Why a run failed: `node` (a node raised), `worker` (the process died), `refused` (it could not begin)."""

    kind: Literal["node", "worker", "refused"]
    message: str
    node: str | None = None
    input: str | None = None
    problems: list[ApiProblem] = []
    raised: Raised | None = None


NodeState = Literal["running", "cached", "finished", "failed", "cancelled"]


class NodeProgress(Told):
    """How far a node of a run is."""

    state: NodeState
    step: int | None = None
    total: int | None = None
    note: str = ""
    seconds: float | None = None
    message: str | None = None
    input: str | None = None


class Run(Told):
    """One execution of a workflow. Times are seconds since 1970."""

    id: RunId
    status: RunStatus
    title: str
    priority: int
    position: int | None = Field(None, description="0 for the run that goes next; null unless queued.")
    created: float
    started: float | None = None
    finished: float | None = None
    seconds: float | None = Field(None, description="What the executor measured, without waiting.")
    attempts: int = 0
    cancelling: bool = False
    total: int | None = Field(None, description="How many nodes are planned.")
    node: str | None = Field(default=None, description="The node that computes.")
    share: float | None = Field(
        default=None,
        description="How much of the work of a running run is done, in [0, 1], by what its nodes took lately.",
    )
    left: float | None = Field(
        default=None, description="Seconds that a running run still takes; null where that is not known."
    )
    error: RunFailure | None = None
    artifacts: list[Artifact] = []


class RunDetails(Run):
    """A run with the state of each node that was touched so far, for an editor that comes back to it."""

    nodes: dict[str, NodeProgress] = {}
    event: int = Field(0, description="Number of the newest event that this state includes.")


class Runs(Told):
    """A page of runs: the running first, then the queued in order, then the others, newest first."""

    runs: list[Run]
    next: str | None = Field(None, description="Give as `before` to get the next page.")


class RunWorkflow(Told):
    """The workflow of a run, its values replaced as asked, and its targets."""

    workflow: Document
    targets: list[str] | None = None


class ChangeRun(Asked):
    """Give a queued run another priority."""

    priority: Priority


class MoveRun(Asked):
    """Move a queued run in front of another queued one; to the end where `before` is null."""

    before: RunId | None


class QueueState(Told):
    """The queue: ids of the running and of the queued runs, in order."""

    paused: bool
    running: list[str]
    queued: list[str]


class Cleared(Told):
    """How many runs were cancelled."""

    cancelled: int


class Gallery(Told):
    """A page of artifacts, newest first."""

    artifacts: list[Artifact]
    next: str | None = Field(None, description="Give as `before` to get the next page.")


class Upload(Told):
    """A stored picture. `name` is what the value of an image input says."""

    name: str
    width: int
    height: int
    bytes: int
    content: str = Field(description="Its path on this server.")
