"""A real browser on a real server: Chromium, found on this machine, and an editor that is built from these sources."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from real_server import Running, running

from nodegraph import bundle

if TYPE_CHECKING:
    from editor_page import EditorPage  # wants Playwright, which a test may lack

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped where there is none, or no Node.js to build the editor with.

    A module's own: while Playwright runs, its thread has an event loop, and other tests start one of theirs.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on PATH; on Debian: apt-get install chromium")
    try:
        bundle.build()
    except bundle.BuildFailed as error:
        pytest.skip(f"the editor cannot be built here: {error}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests of the editor that bear what others have left in its gallery and its folders.

    A module whose tests do not has a fixture of this name, which takes its place there.
    """
    with running(tmp_path_factory.mktemp("editor") / "home") as found:
        yield found


@pytest.fixture
def editor(chromium: Any, server: Running) -> Iterator[EditorPage]:
    """The editor in a dark window; afterwards its console may have reported no error."""
    from editor_page import opened

    with opened(chromium, server.url, color_scheme="dark") as page:
        yield page


def violations(page: Any, within: str = "body") -> list[str]:
    """Serious violations of accessibility rules in a part of what a page shows, by axe-core."""
    if not AXE.exists():
        node = bundle.find_node()
        assert node is not None  # it has built the editor
        bundle.install_packages(AXE.parents[2], node, dev=True)
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(
        "(part) => axe.run(part, {resultTypes: ['violations']}).then((result) => result.violations)", within
    )
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
