"""What the editor tells of what was made, and of what could not be: the line of an error, what two pictures differ in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import violations
from real_server import Running, running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage, opened
from playwright.sync_api import expect

PLUGIN = '''
import torch
from nodegraph import Context, node, pictures

@node(category="test", effect="files")
def Paint(context: Context, seed: int = 0, width: int = 48, text: str = "") -> None:
    """Save a picture of noise."""
    tensor = torch.rand(3, 32, width, generator=torch.Generator().manual_seed(seed))
    context.save(f"paint {seed}", ".png", pictures.encode_png(tensor, context.metadata))

@node(category="test", effect="always")
def Divide(a: int = 1, b: int = 0) -> None:
    """Divide one number by another."""
    a / b
'''


@pytest.fixture(scope="module")
def server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("made")
    (home / "plugins").mkdir()
    (home / "plugins" / "odd.py").write_text(PLUGIN)
    with running(home) as started:
        yield started


@pytest.fixture
def editor(chromium: Any, server: Running) -> Iterator[EditorPage]:
    with opened(chromium, server.url, color_scheme="dark") as page:
        yield page


def test_the_line_of_a_plugin_that_failed_is_beside_its_error(editor: EditorPage) -> None:
    page = editor.page
    editor.new()
    editor.add("Divide")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".told.failed")).to_be_visible(timeout=2 * PATIENCE)
    told = editor.node("divide").locator(".messages")
    line = PLUGIN.split("\n").index("    a / b") + 1
    expect(told.locator(".said")).to_contain_text("division by zero")
    expect(told.locator(".raised")).to_have_text(f"ZeroDivisionError · odd.py, line {line}: a / b")
    page.keyboard.press("p")
    entry = page.locator(".problems li")
    expect(entry.locator(".raised")).to_contain_text(f"line {line}")
    expect(entry.locator("pre")).to_be_hidden()
    entry.get_by_text("How the code got there").click()
    expect(entry.locator("pre")).to_contain_text("Traceback (most recent call last)")
    assert violations(page, ".dock") == []
    page.keyboard.press("q")
    expect(page.locator(".queue .why code").first).to_contain_text(f"odd.py, line {line}")
    # What was wrong is gone with the value that was.
    editor.set("divide", "b", "2")
    expect(editor.node("divide").locator(".raised")).to_have_count(0)
