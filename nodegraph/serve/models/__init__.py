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
started     `run`, `total` nodes, `attempt`; or `run`, `node`: a node began to compute, and as with `progress`
            `share` of the run's work that is done (in [0, 1]) and seconds `left` (absent where not known).
cached      `run`, `node`: its result was there already.
progress    `run`, `node`, `step`, `total` (may be absent), `note`, `share`, `left` (may be absent).
finished    `run`, `node`, `seconds`, `artifacts` (a list of Artifact); or without `node`: the whole run.
failed      `run`, `node`, `message`, `input` (may be absent); or without `node`: the whole run,
            `message`, and `error` (a RunFailure).
cancelled   `run`; with `node` the node that was computing.
retrying    `run`, `attempt` that ended, `message`: the worker died; the run is queued again.
queue       `paused`, `queued`, `running` (counts), `changed`: `paused`, `resumed`, `order`.
worker      `worker` (a Worker): one changed its state.
nodes       The node types changed: fetch `/api/nodes` again.
workflow    `name`, `revision` (absent once it is gone): a stored workflow was saved, renamed or deleted.
artifact    `artifact` (an id), `deleted`: true when it left the gallery, false when it came back.
=========== ======================================================================================

Every numbered event has `number` and `time` (seconds since 1970). A run's own events have no `node`, as with
`nodegraph run --events`.

**Previews.** A binary frame is a picture of what a node is making: byte 0 is 1, byte 1 the length R of the run
id, bytes 2 and 3 the length N of the node id (big-endian), then R bytes of run id (ASCII), N bytes of node id
(UTF-8), then a JPEG. Previews are not numbered, and dropped, oldest first, for clients that read slowly.
"""

from nodegraph.serve.models.common import (
    ApiError,
    ApiProblem,
    ArtifactId,
    Document,
    ErrorCode,
    Priority,
    Revision,
    RunId,
    RunStatus,
    StoredName,
    Targets,
    Values,
    error,
)
from nodegraph.serve.models.documents import (
    CheckWorkflow,
    EmptiedTrash,
    ExportedToComfyui,
    ExportProblem,
    ExportWorkflow,
    FileEntry,
    FileKinds,
    GridAxis,
    ImportedNode,
    ImportedSentence,
    ImportedWorkflow,
    MadeGrid,
    MakeGrid,
    Nodes,
    OpenedTemplate,
    OpenedWorkflow,
    PlannedNode,
    PlannedWorkflow,
    PlanWorkflow,
    PluginProblem,
    Problems,
    RenameWorkflow,
    SavedWorkflow,
    SaveWorkflow,
    StoredWorkflow,
    StoredWorkflows,
    Template,
    Templates,
    Trash,
    TrashedWorkflow,
)
from nodegraph.serve.models.runs import (
    Artifact,
    ChangeRun,
    Cleared,
    Gallery,
    MoveRun,
    NodeProgress,
    NodeState,
    QueueState,
    Raised,
    Run,
    RunDetails,
    RunFailure,
    Runs,
    RunWorkflow,
    SubmitRun,
    Upload,
)
from nodegraph.serve.models.system import CacheState, DiskState, Health, Session, SessionOpened, System, Worker

__all__ = [
    "ApiError",
    "ApiProblem",
    "Artifact",
    "ArtifactId",
    "CacheState",
    "ChangeRun",
    "CheckWorkflow",
    "Cleared",
    "DiskState",
    "Document",
    "EmptiedTrash",
    "ErrorCode",
    "ExportProblem",
    "ExportWorkflow",
    "ExportedToComfyui",
    "FileEntry",
    "FileKinds",
    "Gallery",
    "GridAxis",
    "Health",
    "ImportedNode",
    "ImportedSentence",
    "ImportedWorkflow",
    "MadeGrid",
    "MakeGrid",
    "MoveRun",
    "NodeProgress",
    "NodeState",
    "Nodes",
    "OpenedTemplate",
    "OpenedWorkflow",
    "PlanWorkflow",
    "PlannedNode",
    "PlannedWorkflow",
    "PluginProblem",
    "Priority",
    "Problems",
    "QueueState",
    "Raised",
    "RenameWorkflow",
    "Revision",
    "Run",
    "RunDetails",
    "RunFailure",
    "RunId",
    "RunStatus",
    "RunWorkflow",
    "Runs",
    "SaveWorkflow",
    "SavedWorkflow",
    "Session",
    "SessionOpened",
    "StoredName",
    "StoredWorkflow",
    "StoredWorkflows",
    "SubmitRun",
    "System",
    "Targets",
    "Template",
    "Templates",
    "Trash",
    "TrashedWorkflow",
    "Upload",
    "Values",
    "Worker",
    "error",
]
