"""A grid of values from the editor: two inputs and their values, one run, one sheet."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from browser import violations
from real_server import Running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import EditorPage
from playwright.sync_api import expect

SIDES = (("x", "width"), ("y", "height"))


def test_a_grid_is_asked_for_refused_in_words_and_run(editor: EditorPage, server: Running) -> None:
    page = editor.page
    before = len(server.get("/api/gallery").json["artifacts"])
    editor.set("schedule", "steps", "2")
    page.keyboard.press("Control+k")
    editor.pick("grid of values")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert violations(page, "dialog") == []
    dialog.get_by_label("Input of From left to right").select_option("sampler.guidance_scale")
    dialog.get_by_label("Values of From left to right").fill("1,,3")
    dialog.get_by_label("Input of From top to bottom").select_option("sampler.sampler")
    down = dialog.get_by_role("group", name="Values of From top to bottom")
    down.get_by_label("euler", exact=True).check()
    down.get_by_label("heun", exact=True).check()
    assert violations(page, "dialog") == []
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("is no list of values; write 1,3,5")
    dialog.get_by_label("Values of From left to right").fill("1, 3")
    expect(dialog.get_by_role("status")).to_have_text("4 pictures will be made, and one sheet of them.")
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog).to_have_count(0)
    editor.finished()
    nodes = editor.document()["nodes"]
    kinds = Counter(node["type"] for node in nodes.values())
    assert (kinds["LoadModel"], kinds["Schedule"], kinds["Sampler"], kinds["ContactSheet"]) == (1, 1, 4, 1)
    assert nodes["sheet"]["values"] == {"across": "guidance scale 1\nguidance scale 3", "down": "euler\nheun"}
    editor.still()
    boxes = [box for one in page.locator(".svelte-flow__node").all() if (box := one.bounding_box())]
    assert len(boxes) == len(nodes)
    for one, other in combinations(boxes, 2):
        apart = [abs(2 * (one[at] - other[at]) + one[size] - other[size]) for at, size in SIDES]
        sizes = [one[size] + other[size] for _, size in SIDES]
        assert apart[0] > sizes[0] or apart[1] > sizes[1], (one, other)
    made = server.get("/api/gallery").json["artifacts"]
    assert len(made) == before + 5
    # The workflow that it came from is as it was, in its own tab.
    page.locator(".tab-name").first.click()
    assert "sheet" not in editor.document()["nodes"]
