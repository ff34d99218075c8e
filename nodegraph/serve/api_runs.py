"""Runs, the queue that they wait in, and the artifacts that they made."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

from aiohttp import web
from pydantic import Field

from nodegraph.errors import DocumentError
from nodegraph.plan import wanted_nodes
from nodegraph.serve.api_documents import read_import
from nodegraph.serve.api_files import Size
from nodegraph.serve.artifacts import StoredArtifact
from nodegraph.serve.media import FOREVER, OCTETS, file_response
from nodegraph.serve.models import (
    Artifact,
    ArtifactId,
    ChangeRun,
    Cleared,
    Gallery,
    ImportedWorkflow,
    MoveRun,
    QueueState,
    Run,
    RunDetails,
    RunId,
    Runs,
    RunStatus,
    RunWorkflow,
    SubmitRun,
)
from nodegraph.serve.refuse import Refused
from nodegraph.serve.routing import JSON, PICTURES, Reply, Routes
from nodegraph.serve.server import Server

Limit = Annotated[int, Field(ge=1, le=1000, description="How many at most.")]
THUMBNAIL = 256
SHOWN = (*PICTURES, "video/mp4", OCTETS)
routes = Routes()


@routes.add("POST", "/api/runs", statuses=(201,), refuses=(429, 507))
async def submit_run(server: Server, body: SubmitRun) -> Run:
    """Queue a run; it is on disk when this is answered."""
    checked = await server.check(body.workflow, body.values)
    checked.raise_problems()
    await asyncio.to_thread(wanted_nodes, checked, body.targets)
    return await server.service.submit(checked.workflow, targets=body.targets, priority=body.priority)


@routes.get("/api/runs", refuses=(404,))
async def list_runs(
    server: Server, status: RunStatus | None = None, limit: Limit = 100, before: RunId | None = None
) -> Runs:
    """A page of runs: the running first, then the queued in order, then the others, newest first."""
    return await server.service.runs(status, limit, before)


@routes.get("/api/runs/{id}", refuses=(404,))
async def read_run(server: Server, id: RunId) -> RunDetails:
    """A run and the state of its nodes."""
    return await server.service.run(id)


@routes.get("/api/runs/{id}/workflow", refuses=(404,))
async def run_workflow(server: Server, id: RunId) -> Annotated[web.Response, RunWorkflow]:
    """The workflow that a run executes, its values replaced as asked."""
    workflow, targets = await server.service.workflow_of(id)
    # As it is stored: a large one takes a second to be read and checked again, in which nobody else is answered.
    text = f'{{"workflow":{workflow},"targets":{json.dumps(targets)}}}'
    return web.Response(text=text, content_type=JSON)


@routes.get("/api/runs/{id}/log", refuses=(404,), produces=("text/plain",))
async def run_log(server: Server, id: RunId) -> web.Response:
    """What a run and its nodes printed."""
    return web.Response(text=await server.service.log_of(id))


@routes.add("POST", "/api/runs/{id}/cancel", statuses=(200, 202), refuses=(404,))
async def cancel_run(server: Server, id: RunId) -> Run | Reply:
    """Cancel a run: at once where it waits, within seconds where it runs."""
    run = await server.service.cancel(id)
    return Reply(run, 202) if run.status == "running" else run


@routes.add("PATCH", "/api/runs/{id}", refuses=(404, 409))
async def change_run(server: Server, id: RunId, body: ChangeRun) -> Run:
    """Give a queued run another priority."""
    return await server.service.prioritise(id, body.priority)


@routes.add("POST", "/api/runs/{id}/move", refuses=(404, 409))
async def move_run(server: Server, id: RunId, body: MoveRun) -> Run:
    """Move a queued run in front of another, or to the end."""
    return await server.service.move(id, body.before)


@routes.get("/api/queue")
async def read_queue(server: Server) -> QueueState:
    """What runs and what waits, in order."""
    return await server.service.queue()


@routes.add("POST", "/api/queue/pause")
async def pause_queue(server: Server) -> QueueState:
    """Begin no further run until the queue is resumed."""
    return await server.service.pause()


@routes.add("POST", "/api/queue/resume")
async def resume_queue(server: Server) -> QueueState:
    """Go on with the queue."""
    return await server.service.resume()


@routes.add("POST", "/api/queue/clear")
async def clear_queue(server: Server) -> Cleared:
    """Cancel every queued run; those that run go on."""
    return Cleared(cancelled=await server.service.clear())


@routes.get("/api/gallery", refuses=(404,))
async def list_artifacts(server: Server, limit: Limit = 100, before: ArtifactId | None = None) -> Gallery:
    """A page of artifacts, newest first."""
    return await server.service.gallery.page(limit, before)


@routes.get("/api/artifacts/{id}", refuses=(404,), produces=SHOWN)
async def read_artifact(server: Server, id: ArtifactId) -> web.FileResponse:
    """The file: shown where it is a picture or a video by its content, else only to be stored."""
    stored = await server.service.gallery.artifact(id)
    return file_response(stored.path, stored.artifact.name, {"Cache-Control": FOREVER})


@routes.add("DELETE", "/api/artifacts/{id}", refuses=(404,))
async def delete_artifact(server: Server, id: ArtifactId) -> Artifact:
    """Take an artifact out of the gallery; its file goes to the trash folder."""
    return await server.service.gallery.delete(id)


@routes.add("POST", "/api/artifacts/{id}/restore", refuses=(404,))
async def restore_artifact(server: Server, id: ArtifactId) -> Artifact:
    """Take an artifact out of the trash folder, back to its place in the gallery."""
    return await server.service.gallery.restore(id)


@routes.get("/api/trash/artifacts", refuses=(404,))
async def list_deleted_artifacts(server: Server, limit: Limit = 100, before: ArtifactId | None = None) -> Gallery:
    """A page of the artifacts in the trash, what was deleted last first; `restore` brings one back."""
    return await server.service.gallery.deleted(limit, before)


@routes.get("/api/artifacts/{id}/thumbnail", refuses=(404, 415), produces=("image/webp",))
async def artifact_thumbnail(server: Server, id: ArtifactId, size: Size = THUMBNAIL) -> web.Response:
    """A small WebP of a picture, also of one in the trash."""
    return await server.thumbnails.response(await server.service.gallery.shown(id), size)


@routes.get("/api/artifacts/{id}/workflow", refuses=(404,))
async def artifact_workflow(server: Server, id: ArtifactId) -> ImportedWorkflow:
    """The workflow that made an artifact, and its receipt."""
    stored = await server.service.gallery.artifact(id)
    try:
        return await asyncio.to_thread(_carried, stored)
    except (DocumentError, OSError):
        run = stored.artifact.run
        if run is None:
            raise Refused(
                "not_found", "this file carries no workflow, and no run is known to have made it"
            ) from None
        workflow, _ = await server.service.workflow_of(run)
        return ImportedWorkflow(workflow=json.loads(workflow), receipt=json.loads(stored.receipt or "null"))


def _carried(stored: StoredArtifact) -> ImportedWorkflow:
    if stored.artifact.media_type != "image/png":
        raise DocumentError("only a PNG carries its workflow")
    return read_import(stored.path.read_bytes())
