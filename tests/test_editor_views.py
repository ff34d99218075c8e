"""What of a workflow is in view: as it is opened, and when a result comes where nobody looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from real_server import Running, running

from nodegraph import bundle

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import EditorPage, opened
from playwright.sync_api import expect

# The nodes that lie wholly in view, each with how high the letters of its title are, in pixels on the screen.
READ = """() => {
    const view = document.querySelector('.canvas').getBoundingClientRect();
    const zoom = new DOMMatrix(getComputedStyle(document.querySelector('.svelte-flow__viewport')).transform).a;
    const found = {};
    for (const node of document.querySelectorAll('.svelte-flow__node')) {
        const box = node.getBoundingClientRect();
        if (box.left < view.left || box.top < view.top || box.right > view.right || box.bottom > view.bottom) continue;
        found[node.dataset.id] = zoom * parseFloat(getComputedStyle(node.querySelector('.title')).fontSize);
    }
    return found;
}"""

TRANSFORM = "(one) => { const at = new DOMMatrix(getComputedStyle(one).transform); return [at.e, at.f, at.a]; }"


@pytest.mark.parametrize(
    ("title", "wanted"),
    [
        ("Text to image", {"model", "prompt", "sampler", "save"}),
        ("Inpaint", {"model", "first_prompt", "new_prompt", "mask", "inpaint"}),
        ("Compare samplers", {"model", "prompt", "blank", "schedule", "negative", "deis", "save"}),
        ("Blend two styles", {"model", "blank", "schedule", "negative", "mix_2", "sampler_2", "save"}),
    ],
)
def test_a_template_opens_so_that_it_can_be_read(
    server: Running, chromium: Any, title: str, wanted: set[str]
) -> None:
    with opened(chromium, server.url, viewport={"width": 1280, "height": 800}) as editor:
        page = editor.page
        page.keyboard.press("Control+o")
        page.locator(".shipped input[type=search]").fill(title)
        page.locator(".shipped li button").filter(has_text=title).first.click()
        expect(page.locator(".shipped")).to_have_count(0)
        editor.still()
        read = page.evaluate(READ)
        assert wanted <= read.keys()
        assert min(read.values()) > 7
        expect(page.locator(".canvas.far")).to_have_count(0)
        # A pan goes on from there.
        view = page.locator(".svelte-flow__viewport")
        before = view.evaluate(TRANSFORM)
        x, y = 640, 60  # between nodes and links of each
        page.mouse.move(x, y)
        page.mouse.down(button="middle")
        page.mouse.move(x + 30, y + 40, steps=4)
        page.mouse.up(button="middle")
        editor.still()
        after = view.evaluate(TRANSFORM)
        assert after == pytest.approx([before[0] + 30, before[1] + 40, before[2]], abs=0.5)
        # "Show everything" does, however small it is.
        page.keyboard.press("f")
        editor.still()
        assert len(page.evaluate(READ)) == page.locator(".svelte-flow__node").count()


def test_a_result_out_of_view_is_told_and_led_to(editor: EditorPage, tmp_path: Path) -> None:
    page = editor.page
    layout = {"sketch": {"x": 0, "y": 0}, "save": {"x": 6000, "y": 0}}
    nodes = {
        "sketch": {"type": "LoadImage", "values": {"image": "images/sketch.png"}},
        "save": {"type": "SaveImage", "links": {"image": {"node": "sketch", "output": "image"}}},
    }
    file = tmp_path / "far.json"
    file.write_text(json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes, "layout": layout}))
    editor.drop(file, "application/json")
    editor.node("sketch").wait_for()
    editor.still()
    assert page.evaluate(READ).keys() == {"sketch"}
    page.keyboard.press("Control+Enter")
    editor.finished()
    told = page.locator(".toast").filter(has_text="The result is on “save”, which is out of view")
    told.get_by_role("button", name="Show it").click()
    expect(told).to_have_count(0)
    expect(editor.node("save").locator(".picture img")).to_be_in_viewport()
    # Where it is in view nothing is told.
    editor.watch(".told.queued, .told.running")
    page.keyboard.press("Control+Enter")
    editor.saw(".told.queued, .told.running")
    editor.finished()
    expect(told).to_have_count(0)


def test_an_editor_that_is_older_than_its_sources_says_so(chromium: Any, tmp_path: Path) -> None:
    problem = "The browser editor is older than its sources under web/. Run: nodegraph build-web"
    bundle.leave_problem(bundle.ROOT, problem)
    try:
        with running(tmp_path / "home") as server:
            assert server.get("/api/system").json["editor"] == problem
            with opened(chromium, server.url) as editor:
                banner = editor.page.locator(".banner")
                expect(banner).to_contain_text(problem)
                banner.get_by_role("button", name="Dismiss").click()
                expect(banner).to_have_count(0)
    finally:
        bundle.clear_problem(bundle.ROOT)
