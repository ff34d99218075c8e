"""The server itself: health, figures, node types, the session, and the description of all of it."""

from __future__ import annotations

import asyncio

from aiohttp import web

from nodegraph.serve.metrics import CONTENT_TYPE
from nodegraph.serve.models import Health, Nodes, Session, SessionOpened, System
from nodegraph.serve.refuse import Refused
from nodegraph.serve.routing import JSON, Reply, Routes
from nodegraph.serve.server import Server
from nodegraph.workflow import document_schema

routes = Routes()


@routes.get("/health", open=True)
async def health(server: Server) -> Health:
    """Whether the server answers, and whether it can take runs."""
    return server.health()


@routes.get("/metrics", produces=("text/plain",))
async def metrics(server: Server) -> web.Response:
    """Figures for Prometheus."""
    return web.Response(text=server.metrics.text(await server.gauges()), headers={"Content-Type": CONTENT_TYPE})


@routes.add("POST", "/api/session", limit=4096, refuses=(401, 409), open=True)
async def open_session(server: Server, request: web.Request, body: Session) -> SessionOpened | Reply:
    """Swap the server's token for a session cookie."""
    if server.access.token is None:
        raise Refused("conflict", "this server asks for no token, so there is no session to open")
    if not server.access.is_token(body.token, request.remote):
        raise Refused("not_authenticated", "this is not the token of this server")
    expires, cookie = server.access.new_session()
    return Reply(SessionOpened(expires=expires), 200, {"Set-Cookie": cookie})


@routes.get("/api/workflow-schema")
async def workflow_schema() -> web.Response:
    """The JSON Schema of the workflow document."""
    return web.json_response(document_schema())


@routes.get("/api/nodes")
async def nodes(server: Server) -> Nodes | web.Response:
    """The node types: inputs with their JSON Schemas, outputs, documentation; and what could not be imported."""
    return web.Response(body=await server.nodes(), content_type=JSON)


@routes.get("/api/system")
async def system(server: Server) -> System:
    """The server and its machine."""
    return await asyncio.to_thread(server.system)
