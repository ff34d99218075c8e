"""What is for the eye alone, and kept in the document: points that links are led through, and places of the canvas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import violations
from real_server import Running

from nodegraph.workflow import Workflow

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import EditorPage, middle
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


@pytest.fixture
def editor(editor: EditorPage, tmp_path: Path) -> EditorPage:
    """With a workflow of three nodes in a row."""
    file = tmp_path / "shown.json"
    file.write_text(json.dumps(SHOWN))
    editor.drop(file, "application/json")
    expect(editor.node("show")).to_be_visible()
    editor.still()
    return editor


def points(editor: EditorPage) -> list[tuple[float, float]]:
    """The points of all links of the document, which the server can read."""
    document = editor.document()
    Workflow.from_data(document)
    return [(one["x"], one["y"]) for bend in document.get("bends", []) for one in bend["points"]]


def test_a_link_is_led_through_points_and_nothing_is_computed_again(editor: EditorPage, server: Running) -> None:
    page = editor.page
    dots = page.locator(".bend button")
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
    # No key depends on it: what was computed still stands.
    keys = [
        [node["key"] for node in server.ask("POST", "/api/plan", {"workflow": one}).json["nodes"]]
        for one in (SHOWN, editor.document())
    ]
    assert len(keys[0]) == 3
    assert keys[0] == keys[1]

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


def test_places_are_kept_under_digits_and_gone_back_to(editor: EditorPage) -> None:
    page = editor.page
    view = page.locator(".svelte-flow__viewport")

    def looks() -> list[float]:
        editor.still()
        found: list[float] = view.evaluate(
            "one => { const m = new DOMMatrix(getComputedStyle(one).transform); return [m.a, m.e, m.f] }"
        )
        return [round(one, 1) for one in found]

    page.keyboard.press("Shift+Digit1")  # whatever sign that types
    expect(page.locator(".toast").last).to_contain_text("The view is kept: 1 comes back to it")
    first = looks()
    for _ in range(3):
        page.keyboard.press("+")
        editor.still()
    page.keyboard.press("Control+k")
    editor.pick("Keep the view as place 4")
    fourth = looks()
    assert fourth != first
    kept = editor.document()["bookmarks"]
    assert list(kept) == ["1", "4"]
    assert Workflow.from_data(editor.document()).bookmarks["4"].zoom == kept["4"]["zoom"]
    page.keyboard.press("1")
    assert looks() == pytest.approx(first, abs=3)
    page.keyboard.press("Control+k")
    editor.pick("Go to place 4")
    assert looks() == pytest.approx(fourth, abs=3)
    before = looks()
    page.keyboard.press("7")  # nothing is kept there
    assert looks() == before

    # One that was kept in a subgraph leads back into it; a reload forgets none; and all of it can be undone.
    page.keyboard.press("1")
    editor.still()
    editor.node("picture").locator(".head").click()
    page.keyboard.press("Control+Shift+g")
    page.keyboard.press("Alt+ArrowDown")
    expect(page.locator(".trail")).to_be_visible()
    page.keyboard.press("Shift+Digit2")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator(".trail")).to_have_count(0)
    page.reload()
    expect(editor.node("shape")).to_be_visible()
    page.keyboard.press("2")
    expect(page.locator(".trail")).to_be_visible()
    expect(editor.node("picture")).to_be_visible()
    page.keyboard.press("1")
    expect(page.locator(".trail")).to_have_count(0)
    page.keyboard.press("Control+k")
    editor.pick("Forget all places")
    assert "bookmarks" not in editor.document()
    page.keyboard.press("Control+z")
    assert list(editor.document()["bookmarks"]) == ["1", "2", "4"]
    page.keyboard.press("?")
    expect(page.get_by_role("dialog").get_by_text("Go to place 9")).to_be_visible()
    assert violations(page, "dialog") == []


def test_a_link_is_bent_by_dragging_it_in_one_step(editor: EditorPage) -> None:
    page = editor.page
    dots = page.locator(".bend button")
    view = page.locator(".svelte-flow__viewport")
    x, y = editor.edge("shape.mask", "picture.mask")
    before = view.get_attribute("style")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 2, y + 1)  # as much as a hand trembles in a click
    expect(dots).to_have_count(0)
    page.mouse.move(x + 20, y + 90, steps=4)
    expect(dots).to_have_count(1)
    assert middle(dots) == pytest.approx((x + 20, y + 90), abs=1)
    assert points(editor) == []  # while it is dragged, the document rests
    page.mouse.up()
    expect(dots).to_have_count(1)
    assert middle(dots) == pytest.approx((x + 20, y + 90), abs=1)
    assert view.get_attribute("style") == before  # the canvas has not moved along
    [first] = points(editor)

    # Another one before it, dragged from where the link passes first; each is a step of its own.
    path = page.locator('.svelte-flow__edge[data-id*="shape"] .svelte-flow__edge-path')
    early = path.evaluate(
        """(one) => {
            const at = one.getPointAtLength(one.getTotalLength() / 4).matrixTransform(one.getScreenCTM());
            return [at.x, at.y];
        }"""
    )
    page.mouse.move(*early)
    page.mouse.down()
    page.mouse.move(early[0], early[1] - 60, steps=4)
    page.mouse.up()
    expect(dots).to_have_count(2)
    assert points(editor)[1] == first
    page.keyboard.press("Control+z")
    expect(dots).to_have_count(1)
    assert points(editor) == [first]
    page.keyboard.press("Control+z")
    expect(dots).to_have_count(0)
    assert "bends" not in editor.document()


def test_a_chosen_link_stands_out_in_the_colour_of_what_is_chosen(editor: EditorPage) -> None:
    page = editor.page
    path = page.locator('.svelte-flow__edge[data-id*="shape"] .svelte-flow__edge-path')

    def look() -> tuple[str, float]:
        style: tuple[str, str] = path.evaluate(
            "(one) => { const { stroke, strokeWidth } = getComputedStyle(one); return [stroke, strokeWidth]; }"
        )
        return style[0], float(style[1].removesuffix("px"))

    accent = page.locator(".canvas").evaluate(
        """(canvas) => {
            const one = canvas.appendChild(document.createElement("i"));
            one.style.color = "var(--accent)";
            const color = getComputedStyle(one).color;
            one.remove();
            return color;
        }"""
    )
    plain = look()
    assert plain[0] != accent
    page.mouse.click(*editor.edge("shape.mask", "picture.mask"))
    expect(page.locator(".svelte-flow__edge.selected")).to_have_count(1)
    page.mouse.move(10, 400)
    assert look()[0] == accent
    assert look()[1] >= 2 * plain[1]
    # It stays the chosen one when what was done to it is taken back and done again; not where it is gone itself.
    dots = page.locator(".bend button")
    page.keyboard.press("b")
    expect(dots).to_have_count(1)
    for keys, count in (("Control+z", 0), ("Control+Shift+z", 1)):
        page.keyboard.press(keys)
        expect(dots).to_have_count(count)
        expect(page.locator(".svelte-flow__edge.selected")).to_have_count(1)
    page.keyboard.press("Delete")
    expect(path).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(path).to_have_count(1)
    expect(page.locator(".svelte-flow__edge.selected")).to_have_count(0)


def test_a_port_under_the_link_of_a_chosen_node_is_what_the_pointer_takes(
    editor: EditorPage, tmp_path: Path
) -> None:
    document = json.loads(json.dumps(SHOWN))
    document["nodes"] |= {
        "between": {"type": "MaskFromShape", "values": {"width": 64, "height": 64}},
        "below": {"type": "MaskToImage"},
    }
    places = {"shape": (0, 0), "between": (300, 0), "picture": (700, 0), "show": (1000, 0), "below": (700, 300)}
    document["layout"] = {name: {"x": x, "y": y} for name, (x, y) in places.items()}
    file = tmp_path / "under.json"
    file.write_text(json.dumps(document))
    editor.drop(file, "application/json")
    expect(editor.node("below")).to_be_visible()
    editor.still()
    editor.node("picture").locator(".head").click()
    port = editor.port("between", "mask", "source")
    on_top = port.evaluate(
        """(port) => {
            const { x, y, width, height } = port.getBoundingClientRect();
            return document.elementFromPoint(x + width / 2, y + height / 2).getAttribute("class");
        }"""
    )
    assert "svelte-flow__edge-interaction" in on_top  # the link runs over the port
    editor.link("between.mask", "below.mask")
    made = editor.document()
    assert made["nodes"]["below"]["links"] == {"mask": {"node": "between", "output": "mask"}}
    assert made["nodes"]["picture"]["links"] == {"mask": MASK}
    assert "bends" not in made
