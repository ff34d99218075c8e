"""The page that a browser opens: the editor, or why there is none; and the session that a one-time link begins."""

from __future__ import annotations

import html

from aiohttp import web

from nodegraph.serve.editor import POLICY
from nodegraph.serve.routing import Routes
from nodegraph.serve.server import Server

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>nodegraph</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto; padding: 0 1rem;
color-scheme: light dark }} pre {{ white-space: pre-wrap }} code {{ font-size: 1.05em }}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""
routes = Routes()


@routes.get("/", open=True, produces=("text/html",), statuses=(200, 303))
async def open_editor(server: Server, token: str | None = None) -> web.StreamResponse:
    """The editor; with a one-time token the session cookie first."""
    if token is not None:
        return _enter(server, token)
    server.editor = server.editor.current()
    if "index.html" in server.editor.files:
        return server.editor.response("index.html")
    return page(
        "The editor is not built",
        "<p>The server runs and its API answers, but there is no editor to show.</p>"
        f"<pre>{html.escape(server.editor.problem or '')}</pre>"
        "<p>Build it with <code>nodegraph build-web</code> and load this page again.</p>"
        '<p>Meanwhile: <a href="/api/openapi.json">the API</a>, <a href="/health">health</a>.</p>',
    )


def page(title: str, body: str, status: int = 200) -> web.Response:
    """A plain page of this server. `body` is HTML of ours; what others said must be escaped in it."""
    text = _PAGE.format(title=html.escape(title), body=body)
    return web.Response(
        text=text, content_type="text/html", status=status, headers={"Content-Security-Policy": POLICY}
    )


def _enter(server: Server, token: str) -> web.StreamResponse:
    access = server.access
    headers = {"Location": "/"}
    if access.token is not None:
        if not access.spend_once(token):
            return page(
                "This link was used already",
                "<p>A link that the server prints opens the editor once. Open <a href='/'>the editor</a> and give "
                "it the server's token, or restart the server for a new link.</p>",
                status=401,
            )
        headers["Set-Cookie"] = access.new_session()[1]
    return web.Response(status=303, headers=headers)
