"""`nodegraph serve`: binds, prints its one URL, runs until it is asked to stop, and closes in good order."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from nodegraph.connection import SERVER_FILE
from nodegraph.errors import NodegraphError
from nodegraph.home import Home
from nodegraph.serve.app import make_app
from nodegraph.serve.logs import set_up
from nodegraph.serve.refuse import Refused
from nodegraph.serve.security import Access, hide_version, own_names, refuse_open_door
from nodegraph.serve.server import Server
from nodegraph.serve.service import Service
from nodegraph.serve.trash import TRASH_BYTES

SHUTDOWN_SECONDS = 5.0
HEAD_SECONDS = 30.0
log = logging.getLogger("nodegraph.serve")


@dataclass(frozen=True)
class Options:
    """What the command line says. Port 0 picks a free one; the token `auto` makes one."""

    home: Home
    host: str = "127.0.0.1"
    port: int = 8187
    token: str | None = None
    allow_hosts: tuple[str, ...] = ()
    workers: int | None = None
    plugins: tuple[Path, ...] = ()
    compiled: bool = False
    open_browser: bool = False
    trash_bytes: int = TRASH_BYTES


class CannotServe(NodegraphError):
    """The server cannot start: why, and what to do."""


def serve(options: Options) -> None:
    """Serve until SIGINT or SIGTERM. Raises CannotServe."""
    try:
        set_up(options.home.folder / "logs")
    except OSError as error:
        raise CannotServe(
            f"cannot write to the home folder {options.home.folder}: {error.strerror or error}; "
            "choose another with --home"
        ) from None
    asyncio.run(_serve(options))


async def _serve(options: Options) -> None:
    token = secrets.token_urlsafe(24) if options.token == "auto" else options.token
    try:
        refuse_open_door(options.host, token)
        access = Access(token, own_names(options.host, options.allow_hosts))
    except (Refused, ValueError) as error:
        raise CannotServe(str(error)) from None
    service = Service(
        options.home,
        workers=options.workers,
        plugins=options.plugins,
        compiled=options.compiled,
        trash_bytes=options.trash_bytes,
    )
    server = Server(options.home, access, service)
    runner = make_runner(server)
    try:
        await runner.setup()
        access.port = await _bind(runner, options)
        stop = _stop_signal()
        _tell_home(options, access)
        if server.editor.problem is not None:
            log.warning("%s", server.editor.problem)
        url = _url(options.host, access, once=True)
        print(url, flush=True)
        if token is not None and options.token == "auto":
            print(f"token: {token}", flush=True)
        if options.open_browser:
            await asyncio.to_thread(webbrowser.open, url)
        await stop.wait()
    finally:
        if access.port:
            (options.home.folder / SERVER_FILE).unlink(missing_ok=True)
        await runner.cleanup()


def make_runner(server: Server, head_seconds: float = HEAD_SECONDS) -> web.AppRunner:
    """What speaks HTTP for a server.

    A connection on which no request's head is complete within `head_seconds` is closed, whether it is idle or
    sends a byte now and then; `routing` bounds the time that a body takes.
    """
    hide_version()
    return web.AppRunner(
        make_app(server), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, keepalive_timeout=head_seconds
    )


async def _bind(runner: web.AppRunner, options: Options) -> int:
    try:
        await web.TCPSite(runner, options.host, options.port).start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CannotServe(
            f"cannot listen on {options.host}:{options.port}: {reason}; choose another with --host and --port"
        ) from None
    port: int = runner.addresses[0][1]
    return port


def _stop_signal() -> asyncio.Event:
    """An event that the first SIGINT or SIGTERM sets; the second ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def ask(which: signal.Signals) -> None:
        loop.remove_signal_handler(which)
        stop.set()

    for which in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(which, ask, which)
    return stop


def _tell_home(options: Options, access: Access) -> None:
    """Leave the address, and the token, where commands of the same user find them and nobody else may look."""
    path = options.home.folder / SERVER_FILE
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"url": _url(options.host, access, once=False), "token": access.token}, file)


def _url(host: str, access: Access, *, once: bool) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    query = f"/?token={access.new_once()}" if once and access.token is not None else ""
    return f"http://{name}:{access.port}{query}"
