"""The aiohttp application: every route behind the same doors, every error in one shape, every answer logged."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import cache, partial

from aiohttp import web

from nodegraph.serve import api_documents, api_editor, api_files, api_runs, api_system, hub
from nodegraph.serve.openapi import document
from nodegraph.serve.refuse import Refused, of_exception
from nodegraph.serve.routing import JSON, Route, Routes
from nodegraph.serve.security import response_headers
from nodegraph.serve.server import Server

own = Routes()


@own.get("/api/openapi.json")
async def openapi() -> web.Response:
    """This description."""
    return web.Response(body=_description(), content_type=JSON)


@cache
def _description() -> bytes:
    return json.dumps(document(ROUTES)).encode()


ROUTES: list[Route] = [
    *api_editor.routes,
    *api_system.routes,
    *own,
    *api_documents.routes,
    *api_files.routes,
    *api_runs.routes,
    *hub.routes,
]
log = logging.getLogger("nodegraph.serve")
access_log = logging.getLogger("nodegraph.serve.access")
_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(server: Server) -> web.Application:
    """The application of a server; starting and closing it starts and closes the server."""
    observe, doors = web.middleware(partial(_observe, server)), web.middleware(partial(_doors, server))
    app = web.Application(middlewares=[observe, doors])
    for route in ROUTES:
        handler = partial(_answer, server, route)
        if route.method == "GET":
            app.router.add_get(route.pattern, handler)
        else:
            app.router.add_route(route.method, route.pattern, handler)
    for pattern in (r"/{name:[\w-]+\.\w+}", r"/{name:assets/[\w.-]+}"):
        app.router.add_get(pattern, partial(_editor_file, server))
    app.on_response_prepare.append(_prepare)
    app.on_startup.append(lambda _: server.start())
    app.on_shutdown.append(lambda _: server.close())
    return app


async def _answer(server: Server, route: Route, request: web.Request) -> web.StreamResponse:
    return await route.call(server, request)


async def _editor_file(server: Server, request: web.Request) -> web.StreamResponse:
    return server.editor.response(request.match_info["name"])


async def _doors(server: Server, request: web.Request, handler: _Next) -> web.StreamResponse:
    if server.closing:
        raise Refused("unavailable", "the server is closing", headers={"Retry-After": "5"})
    host = server.access.check_host(request)
    server.access.check_origin(request, host)
    handler_of = getattr(request.match_info.handler, "args", ())
    route = next((entry for entry in handler_of if isinstance(entry, Route)), None)
    guarded = route is not None or request.path.startswith("/api/")
    if guarded and not (route is not None and route.open):
        server.access.check_token(request)
    return await handler(request)


async def _observe(server: Server, request: web.Request, handler: _Next) -> web.StreamResponse:
    began = time.perf_counter()
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    response: web.StreamResponse
    try:
        response = await handler(request)
    except Exception as error:
        refused = of_exception(error)
        if refused is None:
            mark = secrets.token_hex(4)
            log.exception("request %s failed: %s %s", mark, request.method, route)
            refused = Refused("server_error", f"something went wrong here; the server's log knows it as {mark}")
        response = refused.response()
    seconds = time.perf_counter() - began
    method = request.method if resource is not None else "none"  # else it is any word that a client chose
    server.metrics.request(method, route, response.status, seconds)
    access_log.info(
        "%s %s %d",
        request.method,
        route,
        response.status,
        extra={"fields": {"method": request.method, "route": route, "path": request.path[:300],
                          "status": response.status, "ms": round(seconds * 1000, 1), "client": request.remote}},
    )  # fmt: skip
    return response


async def _prepare(_: web.Request, response: web.StreamResponse) -> None:
    response_headers(response)
