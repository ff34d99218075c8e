"""Nodes, files, stored workflows and templates, and what a check and a plan say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from nodegraph.node import NodeType
from nodegraph.serve.models.common import (
    Address,
    ApiProblem,
    Asked,
    Document,
    Revision,
    StoredName,
    Targets,
    Told,
    Values,
)


class PluginProblem(Told):
    """A plugin whose nodes are missing, and why."""

    origin: str
    message: str


class Nodes(Told):
    """The catalog: every node type by name, with inputs (JSON Schema), outputs and documentation.

    `comfyui` has, by type, the names of the node types of ComfyUI that do what it does.
    """

    digest: str
    nodes: dict[str, NodeType]
    problems: list[PluginProblem]
    comfyui: dict[str, list[str]] = {}


class FileEntry(Told):
    """A file that a value may name: `name` is what the value says."""

    name: str
    bytes: int | None = None
    modified: float | None = None
    builtin: bool = False


class FileKinds(Told):
    """For each kind (`checkpoints`, `images`, ...; `file` in an input's schema) the files that are there."""

    kinds: dict[str, list[FileEntry]]


class StoredWorkflow(Told):
    """A workflow in the list."""

    name: str
    title: str
    revision: str
    modified: float
    problem: str | None = None


class StoredWorkflows(Told):
    """The stored workflows, newest first."""

    workflows: list[StoredWorkflow]


class OpenedWorkflow(Told):
    """A stored workflow with its document."""

    name: str
    revision: str
    modified: float
    workflow: Document


class SaveWorkflow(Asked):
    """Save under the name in the path. `revision` is the one that was read; absent for a new name."""

    workflow: Document
    revision: Revision | None = None


class SavedWorkflow(Told):
    """What a save gave."""

    name: str
    revision: str
    modified: float


class RenameWorkflow(Asked):
    """Give a stored workflow another name, which must be free."""

    name: StoredName


class TrashedWorkflow(Told):
    """A deleted workflow; `id` restores it."""

    id: str
    name: str
    deleted: float


class Trash(Told):
    """The deleted workflows, newest first; how many artifacts are in the trash too, and the bytes of all."""

    workflows: list[TrashedWorkflow]
    artifacts: int = 0
    bytes: int = 0


class EmptiedTrash(Told):
    """How much was removed for good."""

    workflows: int
    artifacts: int
    bytes: int


class Template(Told):
    """A workflow that ships with the package, or with a plugin; read-only."""

    name: str
    title: str
    description: str
    picture: str | None = Field(None, description="Path of its picture on this server.")


class Templates(Told):
    """The templates."""

    templates: list[Template]


class OpenedTemplate(Told):
    """A template with its document."""

    name: str
    workflow: Document


class ImportedSentence(Told):
    """A sentence with `{name}` for each slot, by which other languages know it, and what fills the slots."""

    template: str
    slots: dict[str, str]


class ImportedNode(Told):
    """What became of a node of ComfyUI. `adjusted` is translated with something said, `kept` is as it was."""

    node: str | None = Field(description="The node of the workflow; null where a line stands for more nodes.")
    type: str = Field(description="Its type in ComfyUI.")
    became: Literal["kept", "adjusted", "translated"]
    message: str = Field(description="What is said of it, in English.")
    said: list[ImportedSentence] = Field(
        default=[], description="The same, sentence by sentence, to be put otherwise."
    )


class ImportedWorkflow(Told):
    """The workflow that a JSON file or a picture carries, and the receipt where the picture has one.

    Where it was one of ComfyUI, `nodes` says what became of each: first what was kept, then what was adjusted;
    and `seeds` which seeds, by `node.input`, are others in each run.
    """

    workflow: Document
    receipt: dict[str, JsonValue] | None = None
    nodes: list[ImportedNode] = []
    seeds: dict[str, Literal["random", "increment"]] = {}


class ExportWorkflow(Asked):
    """What to write for another program."""

    workflow: Document
    values: Values = {}


class ExportProblem(ApiProblem):
    """One thing that ComfyUI is not told of a workflow."""

    said: ImportedSentence | None = Field(
        default=None, description="The message once more, to be put otherwise; null where it is the check's."
    )


class ExportedToComfyui(Told):
    """A workflow in ComfyUI's API format, and everything that it cannot say there."""

    prompt: dict[str, JsonValue]
    problems: list[ExportProblem]


class CheckWorkflow(Asked):
    """What to check."""

    workflow: Document
    values: Values = {}


class Problems(Told):
    """Everything that is wrong with a workflow; empty where it can run."""

    problems: list[ApiProblem]


class PlanWorkflow(Asked):
    """What to plan."""

    workflow: Document
    values: Values = {}
    targets: Targets | None = None


class GridAxis(Asked):
    """An input and the values that a grid gives it."""

    input: Address = Field(description="`node.input`, or `use/inner.input` in a subgraph.")
    values: str = Field(
        max_length=100_000, description="As `nodegraph grid` takes them: 1,3,5 or 1..5 or a JSON list."
    )


class MakeGrid(Asked):
    """What to make a grid of."""

    workflow: Document
    x: GridAxis
    y: GridAxis | None = None
    picture: Address | None = Field(None, description="The node whose picture is shown.")


class MadeGrid(Told):
    """The workflow that makes the picture of every pair of values, and a sheet of them; or why there is none."""

    workflow: Document | None = None
    problems: list[ApiProblem] = []


class PlannedNode(Told):
    """One node of a plan: its key, and whether its result is there already."""

    node: str
    key: str
    cached: bool


class PlannedWorkflow(Told):
    """The needed nodes in the order in which they would run."""

    nodes: list[PlannedNode]
    targets: list[str]
