"""Workflows as documents: stored ones, the trash, templates, import, checking and planning."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from typing import Annotated

from aiohttp import web
from pydantic import Field

from nodegraph import strict_json
from nodegraph.carried import RECEIPT_TEXT, carried, is_picture, text_among
from nodegraph.catalog import Catalog
from nodegraph.comfyui import Note, is_from_comfyui, translated
from nodegraph.comfyui.said import Said
from nodegraph.errors import CheckError, DocumentError, Problem
from nodegraph.export import for_comfyui
from nodegraph.grid import axis_of, grid_of
from nodegraph.node import NodeType
from nodegraph.serve.media import FOREVER
from nodegraph.serve.models import (
    CheckWorkflow,
    EmptiedTrash,
    ExportedToComfyui,
    ExportProblem,
    ExportWorkflow,
    ImportedNode,
    ImportedSentence,
    ImportedWorkflow,
    MadeGrid,
    MakeGrid,
    OpenedTemplate,
    OpenedWorkflow,
    PlannedWorkflow,
    PlanWorkflow,
    Problems,
    RenameWorkflow,
    SavedWorkflow,
    SaveWorkflow,
    StoredName,
    StoredWorkflows,
    Templates,
    Trash,
    TrashedWorkflow,
)
from nodegraph.serve.refuse import SHOWN_PROBLEMS, api_problems
from nodegraph.serve.routing import JSON, PICTURES, Content, Reply, Routes
from nodegraph.serve.server import Server
from nodegraph.workflow import Workflow, read_json

IMPORT_BYTES = 64 * 2**20
ORDER = {"kept": 0, "adjusted": 1, "translated": 2}  # what one has to know comes first
TrashId = Annotated[str, Field(pattern="^[0-9a-f]{24}$", description="The id of a deleted workflow.")]
TemplateName = Annotated[str, Field(max_length=200, description="The name of a template, such as theory/steps.")]
routes = Routes()


@routes.get("/api/workflows")
async def list_workflows(server: Server) -> StoredWorkflows:
    """The stored workflows, newest first."""
    return await asyncio.to_thread(server.workflows.listed)


@routes.get("/api/workflows/{name}", refuses=(404, 422))
async def read_workflow(server: Server, name: StoredName) -> OpenedWorkflow:
    """A stored workflow with its document and its revision."""
    return await asyncio.to_thread(server.workflows.read, name)


@routes.add("PUT", "/api/workflows/{name}", statuses=(200, 201), refuses=(409,))
async def save_workflow(server: Server, name: StoredName, body: SaveWorkflow) -> SavedWorkflow | Reply:
    """Save a workflow over the revision that was read, or under a new name."""
    workflow = await asyncio.to_thread(Workflow.from_data, body.workflow)
    saved, new = await asyncio.to_thread(server.workflows.save, name, workflow, body.revision)
    server.told_workflow(saved.name, saved.revision)
    return Reply(saved, 201) if new else saved


@routes.add("POST", "/api/workflows/{name}/rename", refuses=(404, 409))
async def rename_workflow(server: Server, name: StoredName, body: RenameWorkflow) -> SavedWorkflow:
    """Give a stored workflow another name."""
    saved = await asyncio.to_thread(server.workflows.rename, name, body.name)
    server.told_workflow(name, None)
    server.told_workflow(saved.name, saved.revision)
    return saved


@routes.add("DELETE", "/api/workflows/{name}", refuses=(404,))
async def delete_workflow(server: Server, name: StoredName) -> TrashedWorkflow:
    """Put a stored workflow into the trash."""
    trashed = await asyncio.to_thread(server.workflows.delete, name)
    server.told_workflow(trashed.name, None)
    return trashed


@routes.get("/api/trash")
async def list_trash(server: Server) -> Trash:
    """The deleted workflows, newest first, and how much the trash takes, with its artifacts."""
    workflows = await asyncio.to_thread(server.workflows.trash)
    artifacts = await server.service.gallery.trash()
    size = workflows.bytes + artifacts.bytes
    return Trash(workflows=workflows.workflows, artifacts=artifacts.files, bytes=size)


@routes.add("DELETE", "/api/trash")
async def empty_trash(server: Server) -> EmptiedTrash:
    """Remove for good every deleted workflow and artifact; nothing brings them back."""
    workflows = await asyncio.to_thread(server.workflows.empty_trash)
    artifacts = await server.service.gallery.empty_trash()
    return EmptiedTrash(
        workflows=workflows.files, artifacts=artifacts.files, bytes=workflows.bytes + artifacts.bytes
    )


@routes.add("POST", "/api/trash/{id}/restore", refuses=(404, 409))
async def restore_workflow(server: Server, id: TrashId) -> SavedWorkflow:
    """Take a workflow out of the trash, under its old name or the nearest free one."""
    saved = await asyncio.to_thread(server.workflows.restore, id)
    server.told_workflow(saved.name, saved.revision)
    return saved


@routes.add("POST", "/api/import", media=(JSON, *PICTURES), limit=IMPORT_BYTES)
async def import_workflow(content: Content) -> ImportedWorkflow:
    """The workflow that a JSON file or a picture carries; nothing is stored."""
    return await asyncio.to_thread(read_import, content.data)  # what is packed or shared in it is not in its size


@routes.add("POST", "/api/export/comfyui")
async def export_comfyui(server: Server, body: ExportWorkflow) -> ExportedToComfyui:
    """A workflow in ComfyUI's API format, and a problem for everything that ComfyUI has nothing like."""
    catalog = await server.catalog()
    return await asyncio.to_thread(_exported, body, catalog)


@routes.get("/api/templates")
async def list_templates(server: Server) -> Templates:
    """The workflows that ship with nodegraph."""
    return await asyncio.to_thread(server.templates.listed)


@routes.get("/api/templates/{name...}", refuses=(404,))
async def read_template(server: Server, name: TemplateName) -> OpenedTemplate:
    """A template with its document."""
    return await asyncio.to_thread(server.templates.read, name)


@routes.get("/api/template-pictures/{name...}", refuses=(404,), produces=("image/webp",))
async def template_picture(server: Server, name: TemplateName) -> web.FileResponse:
    """What a template makes."""
    path = await asyncio.to_thread(server.templates.picture, name)
    return web.FileResponse(path, headers={"Content-Type": "image/webp", "Cache-Control": FOREVER})


@routes.add("POST", "/api/check")
async def check_workflow(server: Server, body: CheckWorkflow) -> Problems:
    """Every problem of a workflow at once, those of its document included."""
    try:
        checked = await server.check(body.workflow, body.values)
    except DocumentError as error:
        return Problems(problems=api_problems([Problem(str(error))]))
    except CheckError as error:
        return Problems(problems=api_problems(error.problems))
    return Problems(problems=api_problems(checked.problems))


@routes.add("POST", "/api/plan")
async def plan_workflow(server: Server, body: PlanWorkflow) -> PlannedWorkflow:
    """The nodes that a run would need, in order, and whose results are there already."""
    return await server.plan(body.workflow, body.values, body.targets)


@routes.add("POST", "/api/grid")
async def make_grid(server: Server, body: MakeGrid) -> MadeGrid:
    """One workflow for every pair of values of two inputs, with a sheet of the pictures; shared nodes once."""
    catalog = await server.catalog()
    return await asyncio.to_thread(_grid, body, catalog.nodes)


def _grid(body: MakeGrid, types: Mapping[str, NodeType]) -> MadeGrid:
    try:
        workflow = Workflow.from_data(body.workflow)
        x = axis_of(body.x.input, body.x.values, workflow, types)
        y = axis_of(body.y.input, body.y.values, workflow, types) if body.y else None
        return MadeGrid(workflow=json.loads(grid_of(workflow, types, x, y, body.picture).dump()))
    except DocumentError as error:
        return MadeGrid(problems=api_problems([Problem(str(error))]))
    except CheckError as error:
        return MadeGrid(problems=api_problems(error.problems))


def read_import(data: bytes) -> ImportedWorkflow:
    """The workflow, and the receipt if there is one, in the bytes of a file. Raises DocumentError."""
    if not is_picture(data):
        return _imported(data)
    texts = carried(data)
    imported = _imported(text_among(texts))
    try:
        receipt = strict_json.loads(texts.get(RECEIPT_TEXT, ""))
    except ValueError:
        receipt = None
    return imported.model_copy(update={"receipt": receipt if isinstance(receipt, dict) else None})


def _imported(text: str | bytes) -> ImportedWorkflow:
    data = read_json(text)
    if not is_from_comfyui(data):
        return ImportedWorkflow(workflow=json.loads(Workflow.from_data(data).dump()))
    document, notes = translated(data)
    notes.sort(key=lambda note: ORDER[note.became])
    nodes = [_imported_node(note) for note in notes]
    more = len(nodes) - SHOWN_PROBLEMS
    if more > 0:
        last = ImportedNode(node=None, type="", became=nodes[-1].became, message=f"and {more:,} more nodes")
        nodes[SHOWN_PROBLEMS:] = [last]
    seeds = dict(note.seed for note in notes if note.seed)
    return ImportedWorkflow(workflow=json.loads(Workflow.from_data(document).dump()), nodes=nodes, seeds=seeds)


def _imported_node(note: Note) -> ImportedNode:
    said = [ImportedSentence(template=one.template, slots=one.slots) for one in note.said]
    return ImportedNode(node=note.node, type=note.type, became=note.became, message=note.message, said=said)


def _exported(body: ExportWorkflow, catalog: Catalog) -> ExportedToComfyui:
    workflow = Workflow.from_data(body.workflow).with_values(body.values)
    prompt, problems = for_comfyui(workflow, catalog)
    # The wire has only the first of very many, and then their number.
    said = [_sentence(one.message) for one in problems]
    told = itertools.zip_longest(api_problems(problems), said[:SHOWN_PROBLEMS])
    found = [ExportProblem(**one.model_dump(), said=sentence) for one, sentence in told]
    return ExportedToComfyui(prompt={**prompt}, problems=found)


def _sentence(message: str) -> ImportedSentence | None:
    if not isinstance(message, Said):
        return None
    return ImportedSentence(template=message.template, slots=message.slots)
