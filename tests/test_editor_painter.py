"""The mask painter without a pointer: every tool by keys, told in words, and the mask taken up again."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browser import violations
from PIL import Image
from real_server import Running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage
from playwright.sync_api import Page, expect

REPAINT = {
    "format": "nodegraph",
    "version": 1,
    "title": "Repaint",
    "nodes": {
        "sketch": {"type": "LoadImage", "values": {"image": "images/sketch.png"}},
        "inpaint": {"type": "MaskInpaint", "links": {"image": {"node": "sketch", "output": "image"}}},
    },
    "layout": {"sketch": {"x": 0, "y": 0}, "inpaint": {"x": 620, "y": 200}},
}
MASK = """() => {
    const canvas = document.querySelector('.painter canvas');
    const { width, height } = canvas;
    const pixels = canvas.getContext('2d', { willReadFrequently: true }).getImageData(0, 0, width, height).data;
    return [width, height, Array.from({ length: width * height }, (_, at) => pixels[4 * at + 3])];
}"""


@pytest.fixture
def editor(editor: EditorPage, server: Running) -> Iterator[EditorPage]:
    """The editor of a server that has a workflow to paint a mask in."""
    server.ask("PUT", "/api/workflows/repaint", {"workflow": REPAINT})
    yield editor
    # Reading the mask from the screen is what a test does, not the editor.
    editor.errors = [error for error in editor.errors if "willReadFrequently" not in error]


def painted(page: Page) -> np.ndarray[Any, Any]:
    """Where the mask rather repaints than keeps."""
    width, height, alphas = page.evaluate(MASK)
    return np.array(alphas).reshape(height, width) >= 79  # half of 255, under a tint of 0.62


def paint(editor: EditorPage) -> None:
    """Open the painter on the chosen node and wait until it holds a picture."""
    editor.page.keyboard.press("Control+f")
    editor.pick("inpaint")
    expect(editor.node("inpaint")).to_be_focused()
    editor.page.keyboard.press("m")
    expect(editor.page.locator(".painter [role=application]")).to_be_focused()


def told(page: Page, words: str) -> None:
    expect(page.locator(".painter [role=status]")).to_have_text(words)


def test_a_mask_is_painted_by_keys_alone(editor: EditorPage, server: Running) -> None:
    page = editor.page
    keys = page.keyboard
    page.keyboard.press("Control+o")
    page.get_by_role("dialog").get_by_role("button", name="repaint").first.press("Enter")
    editor.node("inpaint").wait_for()
    paint(editor)
    assert violations(page, ".painter") == []
    assert not painted(page).any()
    height, width = painted(page).shape

    # The brush begins in the middle and stops at the rim.
    keys.press("ArrowRight")
    expect(page.locator(".brush.keyed")).to_be_visible()
    for _ in range(40):
        keys.press("Shift+ArrowLeft")
    told(page, f"0, {height // 2}: kept")
    keys.press("ArrowRight")
    step = int(page.locator(".painter [role=status]").inner_text().split(",")[0])
    assert step == round(int(page.locator(".painter output").first.inner_text()) / 4)
    keys.press("Shift+ArrowRight")
    told(page, f"{5 * step}, {height // 2}: kept")

    # One press is a dot, Space held with an arrow a stroke; each is one step of undo.
    for _ in range(8):
        keys.press("{")
    assert page.locator(".painter output").nth(1).inner_text() == "0%"
    keys.press(" ")
    dot = painted(page)
    middle = [round(float(place.mean())) for place in np.nonzero(dot)]
    assert middle == [height // 2, 5 * step]
    keys.down(" ")
    for _ in range(4):
        keys.press("ArrowDown")
    keys.up(" ")
    stroke = painted(page)
    expect(page.locator(".painter [role=status]")).to_have_text(
        re.compile(r"^\d+% of the picture is painted anew$")
    )
    share = int(page.locator(".painter [role=status]").inner_text().split("%")[0])
    assert share == pytest.approx(100 * stroke.mean(), abs=0.6)
    assert stroke[height // 2 + 4 * step, 5 * step]
    assert stroke.sum() > 1.5 * dot.sum()
    keys.press("Control+z")
    assert np.array_equal(painted(page), dot)
    keys.press("Control+y")
    assert np.array_equal(painted(page), stroke)
    keys.press("ArrowUp")
    told(page, f"{5 * step}, {height // 2 + 3 * step}: painted anew")

    # The eraser takes a smaller dot out of it, and the whole is filled, inverted and cleared.
    keys.press("x")
    told(page, "Eraser")
    before = int(page.locator(".painter output").first.inner_text())
    for _ in range(4):
        keys.press("[")
    told(page, f"Size {page.locator('.painter output').first.inner_text()}")
    assert int(page.locator(".painter output").first.inner_text()) < before
    keys.press(" ")
    holed = painted(page)
    assert not holed[height // 2 + 3 * step, 5 * step]
    assert stroke.sum() * 0.4 < holed.sum() < stroke.sum()
    keys.press("i")
    assert (painted(page) == holed).mean() < 0.01  # the half-covered rim stays half covered
    keys.press("i")
    keys.press("a")
    told(page, "100% of the picture is painted anew")
    keys.press("Delete")
    told(page, "0% of the picture is painted anew")
    keys.press("Control+z")
    keys.press("Control+z")
    assert np.array_equal(painted(page), holed)

    # Zoomed in, the brush stays in view.
    for _ in range(6):
        keys.press("+")
    for _ in range(20):
        keys.press("Shift+ArrowRight")
    brush = page.locator(".brush.keyed").bounding_box()
    table = page.locator(".painter [role=application]").bounding_box()
    assert brush is not None
    assert table is not None
    assert table["x"] < brush["x"] + brush["width"] / 2 < table["x"] + table["width"]

    # Saved, and taken up again as it was.
    keys.press("Control+Enter")
    expect(page.locator(".painter")).to_have_count(0)
    stored = Image.open(io.BytesIO(server.get("/api/uploads/sketch-mask.png").body)).convert("L")
    assert stored.size == (width, height)
    assert ((np.asarray(stored) >= 128) != holed).mean() < 0.01
    paint(editor)
    assert np.array_equal(painted(page), holed)
    keys.press("ArrowRight")
    keys.press(" ")
    assert painted(page).sum() > holed.sum()
    keys.press("Control+Enter")
    expect(page.locator(".painter")).to_have_count(0)
    nodes = editor.document()["nodes"]
    assert nodes["inpaint"]["links"]["mask"] == {"node": "mask", "output": "mask"}
    assert [one["type"] for one in nodes.values()].count("LoadImage") == 2


SIZES = """() => {
    const [image, canvas] = [document.querySelector('.painter img'), document.querySelector('.painter canvas')];
    return [image.naturalWidth, image.naturalHeight, canvas.width, canvas.height];
}"""


def test_a_mask_is_painted_on_what_comes_of_the_picture_on_the_way(editor: EditorPage, server: Running) -> None:
    """A node that gets a picture resized has its mask painted on the resized one, though nothing has run yet."""
    page = editor.page
    wide = io.BytesIO()
    Image.fromarray(np.linspace(0, 255, 808 * 208 * 3).reshape(208, 808, 3).astype(np.uint8)).save(wide, "PNG")
    answer = server.ask(
        "POST", "/api/uploads?name=wide.png", content=wide.getvalue(), headers={"Content-Type": "image/png"}
    )
    link = {"node": "wide", "output": "image"}
    resized: dict[str, Any] = {
        **REPAINT,
        "title": "Resized",
        "nodes": {
            "wide": {"type": "LoadImage", "values": {"image": answer.json["name"]}},
            "small": {"type": "ResizeImage", "values": {"width": 64, "height": 64}, "links": {"image": link}},
            "inpaint": {"type": "MaskInpaint", "links": {"image": {**link, "node": "small"}}},
        },
        "layout": {"wide": {"x": 0, "y": 0}, "small": {"x": 300, "y": 0}, "inpaint": {"x": 620, "y": 0}},
    }
    server.ask("PUT", "/api/workflows/resized", {"workflow": resized})
    page.keyboard.press("Control+o")
    page.get_by_role("dialog").get_by_role("button", name="resized").first.press("Enter")
    editor.node("inpaint").wait_for()
    paint(editor)
    assert page.evaluate(SIZES) == [64, 64, 64, 64]
    page.keyboard.press("a")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".painter")).to_have_count(0)
    # What is there already is not made again, and the picture that was saved for this is found.
    runs = len(server.get("/api/gallery").json["artifacts"])
    paint(editor)
    assert page.evaluate(SIZES) == [64, 64, 64, 64]
    assert painted(page).all()
    assert len(server.get("/api/gallery").json["artifacts"]) == runs


def test_the_template_for_inpainting_can_be_painted_in(editor: EditorPage) -> None:
    """Picture, paint, run: the picture is made for the painter, and the new mask is everywhere that the old one was."""
    page = editor.page
    page.keyboard.press("Control+o")
    page.get_by_role("dialog").get_by_role("button", name="Inpaint").first.click()
    editor.node("inpaint").wait_for()
    page.keyboard.press("Control+f")
    editor.pick("first sampler")
    mode = editor.node("first_sampler").locator(".tool.mode")
    mode.click()
    expect(mode).to_have_text("new")
    page.keyboard.press("Control+f")
    editor.pick("inpaint")
    # The run that makes the picture is seen on the nodes and above them, as long as it takes.
    running = ['[data-id="first_sampler"] .node.running', ".told.running"]
    editor.watch(*running)
    page.keyboard.press("m")
    for one in running:
        editor.saw(one)
    expect(page.locator(".painter [role=application]")).to_be_focused(timeout=2 * PATIENCE)
    expect(page.locator(".told")).to_have_text("")
    assert page.evaluate(SIZES) == [64, 64, 64, 64]
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    assert 0 < painted(page).mean() < 0.5
    page.keyboard.press("Control+Enter")
    expect(page.locator(".painter")).to_have_count(0)
    # It is said that it is there, and what made the mask before is not left behind.
    saved = "inpaint has the mask; what made the one before went with it: mask"
    expect(page.locator("[role=status]").filter(has_text=saved).first).to_be_attached()
    # The next run is to make the picture that was painted on.
    expect(page.locator(".toast", has_text="first_sampler.seed")).to_be_visible()
    expect(mode).not_to_have_text("new")
    document = editor.document()
    made = document["nodes"]["inpaint"]["links"]["mask"]
    assert "MaskFromShape" not in [node["type"] for node in document["nodes"].values()]
    assert document["nodes"][made["node"]]["type"] == "MaskFromImage"
    for other in ("composite", "mask_picture"):
        assert document["nodes"][other]["links"]["mask"] == made
    # The new nodes lie on no other.
    editor.still()
    boxes = page.locator(".svelte-flow__node-node").evaluate_all(
        "all => all.map((one) => [one.dataset.id, one.getBoundingClientRect().toJSON()])"
    )
    for new in (made["node"], document["nodes"][made["node"]]["links"]["image"]["node"]):
        box = dict(boxes)[new]
        for name, other in boxes:
            apart = (
                box["right"] <= other["left"]
                or other["right"] <= box["left"]
                or box["bottom"] <= other["top"]
                or other["bottom"] <= box["top"]
            )
            assert name == new or apart, (name, new)
