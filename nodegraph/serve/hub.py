"""The websocket: every event once and in order to each client, and nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Annotated

from aiohttp import WSCloseCode, web
from pydantic import Field

from nodegraph import __version__
from nodegraph.serve.events import Subscription
from nodegraph.serve.refuse import Refused
from nodegraph.serve.routing import Routes
from nodegraph.serve.server import Server

MAX_CLIENTS = 1000
MAX_MESSAGE = 4096  # clients have nothing to say
SEND_SECONDS = 30.0
HEARTBEAT_SECONDS = 30.0
Number = Annotated[int, Field(ge=0, le=2**53, description="The number of the last event that was seen.")]
routes = Routes()


@routes.get("/api/events", statuses=(101,), refuses=(429, 503))
async def stream_events(
    server: Server, request: web.Request, after: Number | None = None, previews: bool = False
) -> web.StreamResponse:
    """The websocket of events; see the top of the package of messages."""
    if request.headers.get("Upgrade", "").casefold() != "websocket":
        raise Refused(
            "bad_request", "this address speaks the websocket protocol alone", headers={"Upgrade": "websocket"}
        )
    if len(server.clients) >= MAX_CLIENTS:
        raise Refused("busy", f"{MAX_CLIENTS} clients are connected already", headers={"Retry-After": "5"})
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_MESSAGE, compress=False)
    await socket.prepare(request)
    events = server.service.events
    hello = {"event": "hello", "number": events.number, "version": __version__}
    subscription = events.subscribe(after, previews=previews)
    server.clients.add(socket)
    sending = asyncio.create_task(_send(socket, json.dumps([hello]), subscription, request.transport))
    try:
        async for _ in socket:
            pass  # what a client says is read, so that its close and its pongs are seen, and means nothing
    finally:
        server.clients.discard(socket)
        subscription.close()
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
    return socket


async def _send(
    socket: web.WebSocketResponse, hello: str, subscription: Subscription, transport: asyncio.Transport | None
) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await socket.send_str(hello)
        async for batch in subscription:
            async with asyncio.timeout(SEND_SECONDS):
                if batch.reset:
                    await socket.send_str(json.dumps([{"event": "reset", "number": batch.number}]))
                if batch.text != "[]":
                    await socket.send_str(batch.text)
                for frame in batch.previews:
                    await socket.send_bytes(frame)
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server is closing")
    except TimeoutError:
        # Nothing was read for long, so nothing that is said will be either.
        if transport is not None:
            transport.abort()
    except ConnectionError:
        return
