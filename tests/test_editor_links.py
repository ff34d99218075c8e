"""Points that links are led through: added, moved, taken away and kept, without anything being computed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import violations
from real_server import Running, running

from nodegraph.workflow import Workflow

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage, middle, opened
from playwright.sync_api import expect

MASK = {"node": "shape", "output": "mask"}
SHOWN = {
    "format": "nodegraph",
    "version": 1,
    "title": "Shown",
    "nodes": {
        "shape": {"type": "MaskFromShape", "values": {"width": 64, "height": 64}},
        "picture": {"type": "MaskToImage", "links": {"mask": MASK}},
        "show": {"type": "PreviewImage", "links": {"image": {"node": "picture", "output": "image"}}},
    },
    "layout": {"shape": {"x": 0, "y": 0}, "picture": {"x": 500, "y": 0}, "show": {"x": 900, "y": 0}},
}


@pytest.fixture(scope="module")
def server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("editor") / "home") as found:
        yield found


@pytest.fixture
def editor(server: Running, chromium: Any, tmp_path: Path) -> Iterator[EditorPage]:
    with opened(chromium, server.url, color_scheme="dark") as page:
        file = tmp_path / "shown.json"
        file.write_text(json.dumps(SHOWN))
        page.drop(file, "application/json")
        expect(page.node("show")).to_be_visible()
        page.still()
        yield page


def points(editor: EditorPage) -> list[tuple[float, float]]:
    """The points of all links of the document, which the server can read."""
    document = editor.document()
    Workflow.from_data(document)
    return [(one["x"], one["y"]) for bend in document.get("bends", []) for one in bend["points"]]


def test_a_link_is_led_through_points_and_nothing_is_computed_again(editor: EditorPage) -> None:
    page = editor.page
    dots = page.locator(".bend button")
    page.keyboard.press("Control+Enter")
    editor.finished()
    page.mouse.dblclick(*editor.edge("shape.mask", "picture.mask"))
    expect(dots).to_have_count(1)
    expect(page.locator(".picker")).to_have_count(0)
    assert violations(page, ".canvas") == []
    x, y = middle(dots)
    [(left, top)] = points(editor)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 80, steps=4)
    page.mouse.up()
    editor.still()
    x2, y2 = middle(dots)
    assert (round(x2 - x), round(y2 - y)) == (30, 80)
    [(left2, top2)] = points(editor)
    zoom = page.locator(".svelte-flow__viewport").evaluate(
        "one => new DOMMatrix(getComputedStyle(one).transform).a"
    )
    assert abs((left2 - left) * zoom - 30) < 2
    assert abs((top2 - top) * zoom - 80) < 2
    # What was computed still stands: a further run computes none of it.
    page.keyboard.press("Control+Enter")
    for name in ("shape", "picture"):
        expect(editor.node(name).locator(".ready")).to_be_visible(timeout=PATIENCE)
    editor.finished()

    # A second point, from the menu of the link; then by keyboard, and back.
    place = editor.edge("shape.mask", "picture.mask")
    page.mouse.click(*place, button="right")
    page.get_by_role("menuitem", name="Lead the link through a point").click()
    expect(dots).to_have_count(2)
    before = points(editor)
    dots.last.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    after = points(editor)
    assert after == [before[0], (before[1][0] + 40, before[1][1] + 10)]
    page.keyboard.press("Delete")
    expect(dots).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(dots).to_have_count(2)
    assert points(editor) == after
    page.keyboard.press("Control+z")
    assert points(editor) == before

    # A reload brings them back, a copy has them too, and they go with their link.
    page.reload()
    expect(dots).to_have_count(2)
    editor.still()
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+d")
    expect(dots).to_have_count(4)
    assert points(editor)[2:] == [(x + 40, y + 40) for x, y in before]
    page.keyboard.press("Delete")
    expect(dots).to_have_count(2)
    page.mouse.click(*editor.edge("shape.mask", "picture.mask"), button="right")
    page.get_by_role("menuitem", name="Take its points away").click()
    expect(dots).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(dots).to_have_count(2)
    page.mouse.click(*editor.edge("shape.mask", "picture.mask"), button="right")
    page.get_by_role("menuitem", name="Delete").click()
    expect(dots).to_have_count(0)
    assert "bends" not in editor.document()
