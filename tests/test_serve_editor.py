"""The editor as it is served: the files of the build and nothing else, or a page that says why not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from nodegraph.home import Home
from nodegraph.serve.app import make_app
from nodegraph.serve.editor import Editor
from nodegraph.serve.security import Access
from nodegraph.serve.server import Server
from nodegraph.serve.service import Service

Ask = Callable[[str], Awaitable[tuple[int, str, str]]]


def ask(home: Home, editor: Editor, scenario: Callable[[Ask], Awaitable[None]]) -> None:
    """Serve an editor on a real port and ask for paths: status, content type and text."""

    async def serve() -> None:
        server = Server(home, Access(), Service(home, device="cpu"))
        server.editor = editor
        runner = web.AppRunner(make_app(server))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]
            async with aiohttp.ClientSession() as session:

                async def get(path: str) -> tuple[int, str, str]:
                    async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                        policy = response.headers["Content-Security-Policy"]
                        assert "unsafe-eval" not in policy
                        if response.content_type in ("text/html", "text/javascript"):
                            assert "script-src 'self';" in policy
                        return response.status, response.headers["Content-Type"], await response.text()

                await scenario(get)
        finally:
            await runner.cleanup()

    asyncio.run(serve())


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "editor"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><script type=module src=/assets/main-abc.js></script>")
    (folder / "assets" / "main-abc.js").write_text("console.log(1)")
    (folder / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / ".stamp").write_text("secret")
    (tmp_path / "outside.js").write_text("secret")
    (folder / "assets" / "linked.js").symlink_to(tmp_path / "outside.js")
    return folder


def test_the_files_of_the_build_are_served_and_nothing_else(home: Home, built: Path) -> None:
    async def scenario(get: Ask) -> None:
        assert (await get("/"))[:2] == (200, "text/html; charset=utf-8")
        assert (await get("/assets/main-abc.js")) == (200, "text/javascript; charset=utf-8", "console.log(1)")
        assert (await get("/favicon.svg"))[:2] == (200, "image/svg+xml")
        for path in ("/.stamp", "/assets/linked.js", "/assets/", "/assets/../.stamp", "/outside.js", "/index.htm"):
            status, _, text = await get(path)
            assert status == 404
            assert "secret" not in text

    ask(home, Editor(built), scenario)


def test_without_a_build_a_page_says_why(home: Home) -> None:
    async def scenario(get: Ask) -> None:
        status, kind, text = await get("/")
        assert (status, kind) == (200, "text/html; charset=utf-8")
        assert "nodegraph build-web" in text
        assert "npm was &lt;b&gt;not&lt;/b&gt; found" in text
        assert "<script" not in text
        assert (await get("/health"))[0] == 200

    ask(home, Editor(None, "npm was <b>not</b> found"), scenario)
