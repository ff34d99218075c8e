"""Everything that goes over the wire as JSON, and the layout of the one binary frame.

**Errors.** Every answer of 400 and above is an `ApiError`: a code for programs, words for people, and one
`ApiProblem` for each thing that is wrong, with its node and input where it has one.

**Events.** `GET /api/events?after=NUMBER&previews=true` is a websocket. Every text frame is a JSON *array* of
events, in order; every event is an object with `event`. Numbered events carry `number`, which grows by one from
event to event while a server runs (and jumps ahead when it restarts, never back). A client that reconnects
with the number of the last event it has seen gets everything since, once and in order. Without `after` the
stream begins now. Events:

=========== ======================================================================================
hello       First on every connection, not numbered: `number` of the newest event, `version`.
reset       Not numbered: what followed `after` is no longer kept. Fetch the state again (runs, queue,
            workflows), then go on from `number`.
queued      `run`, `title`, `priority`: a run was accepted.
started     `run`, `total` nodes, `attempt`; or `run`, `node`: a node began to compute.
cached      `run`, `node`: its result was there already.
progress    `run`, `node`, `step`, `total` (may be absent), `note`.
finished    `run`, `node`, `seconds`, `artifacts` (a list of Artifact); or without `node`: the whole run.
failed      `run`, `node`, `message`, `input` (may be absent); or without `node`: the whole run,
            `message`, and `error` (a RunFailure).
cancelled   `run`; with `node` the node that was computing.
retrying    `run`, `attempt` that ended, `message`: the worker died; the run is queued again.
queue       `paused`, `queued`, `running` (counts), `changed`: `paused`, `resumed`, `order`.
worker      `worker` (a Worker): one changed its state.
nodes       The node types changed: fetch `/api/nodes` again.
workflow    `name`, `revision` (absent once it is gone): a stored workflow was saved, renamed or deleted.
artifact    `artifact` (an id), `deleted` true: it left the gallery.
=========== ======================================================================================

Every numbered event has `number` and `time` (seconds since 1970). A run's own events have no `node`, as with
`nodegraph run --events`.

**Previews.** A binary frame is a picture of what a node is making: byte 0 is 1, byte 1 the length R of the run
id, bytes 2 and 3 the length N of the node id (big-endian), then R bytes of run id (ASCII), N bytes of node id
(UTF-8), then a JPEG. Previews are not numbered, and dropped, oldest first, for clients that read slowly.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from nodegraph.node import NodeType

RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
RunId = Annotated[str, Field(pattern=r"^[0-9a-z]{8,40}$", description="The id of a run.")]
ArtifactId = Annotated[str, Field(pattern=r"^[0-9a-z]{8,40}$", description="The id of an artifact.")]
StoredName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        pattern=r"^[\w(][\w ().,+'-]*$",
        description="The name of a stored workflow: letters, digits, spaces and ().,+'-_; no path.",
    ),
]
Revision = Annotated[str, Field(max_length=64, description="Digest of the stored text; changes with every save.")]
Priority = Annotated[int, Field(ge=-1000, le=1000, description="Runs of higher priority go first.")]
Values = Annotated[
    dict[Annotated[str, Field(max_length=400)], JsonValue],
    Field(max_length=10_000, description='Replaces values before the run, by "node.input".'),
]
Targets = Annotated[
    list[Annotated[str, Field(max_length=100)]],
    Field(max_length=10_000, description="Ids of the wanted nodes; absent: every effect and every unused output."),
]
Document = Annotated[
    dict[str, JsonValue],
    Field(description="A workflow document; its schema is at /api/workflow-schema."),
]


class _Asked(BaseModel):
    """A body that a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Told(BaseModel):
    """A body that the server sends."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


# Errors


class ApiProblem(_Told):
    """One thing that is wrong, and where."""

    message: str
    node: str | None = None
    input: str | None = None


ErrorCode = Literal[
    "bad_request",
    "not_authenticated",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "conflict",
    "gone",
    "too_large",
    "unsupported_type",
    "workflow_refused",
    "invalid",
    "busy",
    "timeout",
    "server_error",
    "unavailable",
    "disk_full",
]


class ApiError(_Told):
    """The one shape of every error."""

    code: ErrorCode
    message: str
    problems: list[ApiProblem] = []


# Nodes and files


class PluginProblem(_Told):
    """A plugin whose nodes are missing, and why."""

    origin: str
    message: str


class Nodes(_Told):
    """The catalog: every node type by name, with inputs (JSON Schema), outputs and documentation."""

    digest: str
    nodes: dict[str, NodeType]
    problems: list[PluginProblem]


class FileEntry(_Told):
    """A file that a value may name: `name` is what the value says."""

    name: str
    bytes: int | None = None
    modified: float | None = None
    builtin: bool = False


class FileKinds(_Told):
    """For each kind (`checkpoints`, `images`, ...; `file` in an input's schema) the files that are there."""

    kinds: dict[str, list[FileEntry]]


# Workflows


class StoredWorkflow(_Told):
    """A workflow in the list."""

    name: str
    title: str
    revision: str
    modified: float
    problem: str | None = None


class StoredWorkflows(_Told):
    """The stored workflows, newest first."""

    workflows: list[StoredWorkflow]


class OpenedWorkflow(_Told):
    """A stored workflow with its document."""

    name: str
    revision: str
    modified: float
    workflow: Document


class SaveWorkflow(_Asked):
    """Save under the name in the path. `revision` is the one that was read; absent for a new name."""

    workflow: Document
    revision: Revision | None = None


class SavedWorkflow(_Told):
    """What a save gave."""

    name: str
    revision: str
    modified: float


class RenameWorkflow(_Asked):
    """Give a stored workflow another name, which must be free."""

    name: StoredName


class TrashedWorkflow(_Told):
    """A deleted workflow; `id` restores it."""

    id: str
    name: str
    deleted: float


class Trash(_Told):
    """The deleted workflows, newest first."""

    workflows: list[TrashedWorkflow]


class Template(_Told):
    """A workflow that ships with the package, or with a plugin; read-only."""

    name: str
    title: str
    description: str
    picture: str | None = Field(None, description="Path of its picture on this server.")


class Templates(_Told):
    """The templates."""

    templates: list[Template]


class OpenedTemplate(_Told):
    """A template with its document."""

    name: str
    workflow: Document


class ImportedWorkflow(_Told):
    """The workflow that a JSON file or a picture carries, and the receipt where the picture has one."""

    workflow: Document
    receipt: dict[str, JsonValue] | None = None


# Checking


class CheckWorkflow(_Asked):
    """What to check."""

    workflow: Document
    values: Values = {}


class Problems(_Told):
    """Everything that is wrong with a workflow; empty where it can run."""

    problems: list[ApiProblem]


class PlanWorkflow(_Asked):
    """What to plan."""

    workflow: Document
    values: Values = {}
    targets: Targets | None = None


class PlannedNode(_Told):
    """One node of a plan: its key, and whether its result is there already."""

    node: str
    key: str
    cached: bool


class PlannedWorkflow(_Told):
    """The needed nodes in the order in which they would run."""

    nodes: list[PlannedNode]
    targets: list[str]


# Runs


class SubmitRun(_Asked):
    """A run to be queued."""

    workflow: Document
    values: Values = {}
    targets: Targets | None = None
    priority: Priority = 0


class Artifact(_Told):
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


class RunFailure(_Told):
    """Why a run failed: `node` (a node raised), `worker` (the process died), `refused` (it could not begin)."""

    kind: Literal["node", "worker", "refused"]
    message: str
    node: str | None = None
    input: str | None = None
    problems: list[ApiProblem] = []


NodeState = Literal["running", "cached", "finished", "failed", "cancelled"]


class NodeProgress(_Told):
    """How far a node of a run is."""

    state: NodeState
    step: int | None = None
    total: int | None = None
    note: str = ""
    seconds: float | None = None
    message: str | None = None
    input: str | None = None


class Run(_Told):
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
    error: RunFailure | None = None
    artifacts: list[Artifact] = []


class RunDetails(Run):
    """A run with the state of each node that was touched so far, for an editor that comes back to it."""

    nodes: dict[str, NodeProgress] = {}
    event: int = Field(0, description="Number of the newest event that this state includes.")


class Runs(_Told):
    """A page of runs: the running first, then the queued in order, then the others, newest first."""

    runs: list[Run]
    next: str | None = Field(None, description="Give as `before` to get the next page.")


class RunWorkflow(_Told):
    """The workflow of a run, its values replaced as asked, and its targets."""

    workflow: Document
    targets: list[str] | None = None


class ChangeRun(_Asked):
    """Give a queued run another priority."""

    priority: Priority


class MoveRun(_Asked):
    """Move a queued run in front of another queued one; to the end where `before` is null."""

    before: RunId | None


class QueueState(_Told):
    """The queue: ids of the running and of the queued runs, in order."""

    paused: bool
    running: list[str]
    queued: list[str]


class Cleared(_Told):
    """How many runs were cancelled."""

    cancelled: int


# Artifacts and uploads


class Gallery(_Told):
    """A page of artifacts, newest first."""

    artifacts: list[Artifact]
    next: str | None = Field(None, description="Give as `before` to get the next page.")


class Upload(_Told):
    """A stored picture. `name` is what the value of an image input says."""

    name: str
    width: int
    height: int
    bytes: int
    content: str = Field(description="Its path on this server.")


# The server


class Session(_Asked):
    """The server's token, to be swapped for a session cookie."""

    token: Annotated[str, Field(max_length=500)]


class SessionOpened(_Told):
    """The cookie is set."""

    expires: float


class Worker(_Told):
    """A worker process."""

    id: int
    state: Literal["starting", "idle", "busy", "stopping", "dead"]
    device: str | None = None
    pid: int | None = None
    run: str | None = None
    restarts: int = 0
    memory: int | None = Field(None, description="Bytes of resident memory.")
    message: str = ""


class DiskState(_Told):
    """The disk that the home folder is on, in bytes."""

    free: int
    total: int


class CacheState(_Told):
    """The results that are kept on disk."""

    results: int
    bytes: int
    budget: int


class System(_Told):
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


class Health(_Told):
    """Whether the server answers, and whether it can take runs."""

    status: Literal["ok", "starting", "degraded"]
    version: str
    problems: list[str] = []


def error(code: ErrorCode, message: str, problems: list[ApiProblem] | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    return ApiError(code=code, message=message, problems=problems or []).model_dump(mode="json")
