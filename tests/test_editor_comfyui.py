"""Workflows of ComfyUI in the editor: what became of them is read, pictures are asked about, and the way back."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from browser import violations
from comfyui_made import API
from PIL import Image, PngImagePlugin
from real_server import Running
from test_comfyui_export import shape

from nodegraph.workflow import Workflow

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage, opened
from playwright.sync_api import expect

FANCY = {"class_type": "FancyStyler", "inputs": {"power": 3, "image": ["8", 0]}}


def picture(path: Path) -> Path:
    """A picture as ComfyUI saves it: PNG with a text, WebP with a field of EXIF."""
    if path.suffix == ".png":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("prompt", json.dumps(API))
        Image.new("RGB", (32, 24), "tomato").save(path, pnginfo=texts)
    else:
        fields = Image.Exif()
        fields[0x0110] = f"prompt:{json.dumps(API)}"
        Image.new("RGB", (32, 24), "tomato").save(path, exif=fields)
    return path


def test_what_became_of_each_node_stays_until_it_is_closed_and_leads_to_it(
    editor: EditorPage, tmp_path: Path
) -> None:
    page = editor.page
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**API, "12": FANCY}))
    editor.drop(file, "application/json")
    report = page.get_by_role("dialog", name="From ComfyUI: mine.json")
    expect(report).to_be_focused()
    assert violations(page, ".report") == []
    expect(report.get_by_role("heading", name="Kept as they were (1)")).to_be_visible()
    kept = report.get_by_role("button", name="FancyStyler")
    expect(kept).to_contain_text("there is no counterpart here")
    expect(report.get_by_role("button", name="KSampler")).to_contain_text("modulo 2^53")
    for _ in range(3):  # past its title, which folds it, and Close
        page.keyboard.press("Tab")
    expect(kept).to_be_focused()
    page.keyboard.press("Enter")
    expect(editor.node("FancyStyler")).to_be_focused()
    assert editor.node("FancyStyler").evaluate("one => one.classList.contains('selected')")
    expect(report).to_be_visible()
    report.get_by_text("Translated (6)", exact=True).click()
    report.get_by_role("button", name="VAEDecode").click()
    expect(editor.node("decode")).to_be_focused()
    expect(report).to_be_visible()
    # A reload brings it back, until it is closed.
    page.reload()
    expect(report.get_by_role("heading", name="Kept as they were (1)")).to_be_visible()
    expect(kept).to_contain_text("there is no counterpart here")
    report.get_by_role("button", name="Close").focus()
    page.keyboard.press("Escape")
    expect(report).to_be_hidden()
    page.reload()
    expect(editor.node("decode")).to_be_visible()
    expect(report).to_be_hidden()


def test_what_became_of_the_nodes_is_shown_with_its_tab_and_goes_with_it(
    editor: EditorPage, tmp_path: Path
) -> None:
    page = editor.page
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(API))
    editor.drop(file, "application/json")
    report = page.get_by_role("dialog", name="From ComfyUI: mine.json")
    expect(report).to_be_focused(timeout=PATIENCE)
    editor.new()
    expect(report).to_have_count(0)
    tab = page.locator(".tab-name", has_text="mine")
    tab.click()
    expect(report).to_be_visible()
    expect(report).not_to_be_focused()
    page.keyboard.press("Alt+w")
    expect(tab).to_have_count(0)
    expect(report).to_have_count(0)


# Whether a panel is what one sees and touches all over.
UNCOVERED = """() => {
    const dock = document.querySelector('.dock'), { x, y, width, height } = dock.getBoundingClientRect();
    const shares = [0.02, 0.25, 0.5, 0.75, 0.98];
    return shares.every((a) => shares.every((b) => dock.contains(document.elementFromPoint(x + a * width, y + b * height))));
}"""


@pytest.mark.parametrize("width", [1440, 800, 700])
def test_what_became_of_the_nodes_covers_no_panel(editor: EditorPage, tmp_path: Path, width: int) -> None:
    page = editor.page
    page.set_viewport_size({"width": width, "height": 900})
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**API, "12": FANCY}))
    editor.drop(file, "application/json")
    report = page.get_by_role("dialog", name="From ComfyUI: mine.json")
    expect(report.get_by_role("button", name="FancyStyler")).to_be_visible()
    for panel in "Problems", "Queue":
        page.get_by_role("button", name="View").click()
        page.get_by_role("menuitem", name=panel).click()
        expect(page.locator(".dock h2")).to_have_text(panel)
        assert page.evaluate(UNCOVERED), panel
        page.locator(".dock > header button").click()
        expect(report).to_be_visible()


def test_on_a_phone_what_became_of_the_nodes_is_one_line_until_it_is_asked_for(
    chromium: Any, server: Running, tmp_path: Path
) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**API, "12": FANCY}))
    with opened(chromium, server.url, viewport={"width": 390, "height": 844}, has_touch=True) as editor:
        page = editor.page
        editor.drop(file, "application/json")
        report = page.get_by_role("dialog", name="From ComfyUI: mine.json")
        kept = report.get_by_role("button", name="FancyStyler")
        expect(report).to_be_visible()
        expect(kept).to_have_count(0)
        line, below = report.bounding_box(), page.locator(".phone main").bounding_box()
        assert line
        assert below
        assert line["height"] < 70
        assert line["y"] + line["height"] <= below["y"] + 1
        assert violations(page, ".report") == []
        report.get_by_role("button", name="From ComfyUI").tap()
        kept.tap()  # leads to the graph, where there is no room for more than the line either
        expect(editor.node("FancyStyler")).to_be_visible()
        expect(kept).to_have_count(0)
        report.get_by_role("button", name="Close").tap()
        expect(report).to_have_count(0)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_picture_of_comfyui_is_asked_about_by_keyboard(editor: EditorPage, tmp_path: Path, kind: str) -> None:
    page = editor.page
    editor.drop(picture(tmp_path / f"fox.{kind}"), f"image/{kind}")
    expect(page.get_by_role("dialog", name="This picture carries a workflow")).to_be_visible()
    expect(page.get_by_role("button", name="Open its workflow")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name=f"From ComfyUI: fox.{kind}")).to_be_visible()
    assert editor.document()["nodes"]["prompt"]["values"]["text"] == "a red heart"
    assert "LoadImage" not in {spec["type"] for spec in editor.document()["nodes"].values()}


@pytest.mark.slow
def test_a_picture_may_be_taken_as_both_or_as_a_picture_or_left(editor: EditorPage, tmp_path: Path) -> None:
    page = editor.page
    file = picture(tmp_path / "fox.png")
    before = editor.document()
    editor.drop(file, "image/png")
    expect(page.get_by_role("button", name="Open its workflow")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert editor.document() == before
    editor.drop(file, "image/png")
    page.get_by_role("button", name="Use it as a picture").click()
    expect(editor.node("image")).to_be_visible()
    assert set(editor.document()["nodes"]) == {*before["nodes"], "image"}
    editor.drop(file, "image/png")
    page.get_by_role("button", name="Both").click()
    expect(page.locator(".tab.active")).not_to_contain_text(before["title"])
    expect(editor.node("image")).to_be_visible()
    nodes = editor.document()["nodes"]
    assert set(nodes) == {*Workflow.from_data(API).nodes, "image"}
    assert nodes["image"]["type"] == "LoadImage"


def test_a_workflow_is_exported_for_comfyui(editor: EditorPage, tmp_path: Path) -> None:
    page = editor.page
    changed = json.loads(json.dumps(API).replace('"emoji"', '"mine.safetensors"'))
    changed["3"]["inputs"].update(seed=12, cfg=4, denoise=1)  # a browser writes no 4.0
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(changed))
    editor.drop(file, "application/json")
    page.get_by_role("dialog", name="From ComfyUI: mine.json").get_by_role("button", name="Close").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="File").click()
        page.get_by_role("menuitem", name="Export for ComfyUI").click()
    assert download.value.suggested_filename == "mine-comfyui.json"
    written = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert shape(written) == shape(changed)
    expect(page.locator(".toast")).to_contain_text("every node has a counterpart there")


@pytest.mark.slow
def test_what_comfyui_has_nothing_like_is_said_before_it_is_exported(editor: EditorPage) -> None:
    page = editor.page
    page.get_by_role("button", name="File").click()
    page.get_by_role("menuitem", name="Export for ComfyUI").click()
    report = page.get_by_role("dialog", name="For ComfyUI: Text to image")
    grid = report.get_by_role("button", name="GridImage")
    expect(grid).to_contain_text("ComfyUI has no node like GridImage")
    grid.click()
    expect(editor.node("grid")).to_be_focused()
    report.get_by_role("button", name="EmptyLatent").first.click()
    expect(editor.field("blank", "width")).to_be_focused()
    with page.expect_download() as download:
        report.get_by_role("button", name="Download all the same").click()
    assert download.value.suggested_filename == "Text_to_image-comfyui.json"
    written = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert "GridImage" in {node["class_type"] for node in written.values()}
    expect(report).to_be_hidden()


def test_a_node_is_found_by_what_comfyui_calls_it(editor: EditorPage) -> None:
    page = editor.page
    editor.new()
    page.keyboard.press("Space")
    entries = page.locator(".picker [role=option]")
    for there, here in {
        "ksampler": "Sampler", "cliptextencode": "Encode", "CLIP Text Encode": "Encode", "vaedecode": "VAEDecode",
        "checkpointloadersimple": "LoadModel", "load checkpoint": "LoadModel", "loraloader": "LoadLora",
        "emptylatentimage": "EmptyLatent", "basicscheduler": "Schedule", "unetloader": "LoadModel",
        "hires fix": "LatentScale", "sampler": "Sampler", "inpaint": "MaskInpaint",
    }.items():  # fmt: skip
        page.locator(".picker input").fill(there)
        expect(entries.first.locator(".name"), there).to_have_text(here)
    page.locator(".picker input").fill("ksampler")
    expect(entries.first).to_contain_text("KSampler in ComfyUI")
    expect(entries.nth(1).locator(".name")).to_have_text("Schedule")
    assert violations(page, ".picker") == []
    page.keyboard.press("Enter")
    expect(editor.node("sampler")).to_be_focused()


def crowded() -> dict[str, Any]:
    """A workflow as ComfyUI's editor saves it, laid out as closely as its smaller nodes allow."""
    places = {
        "4": ("CheckpointLoaderSimple", (26, 474), ["gone.safetensors"], []),
        "6": ("CLIPTextEncode", (415, 186), ["a red heart"], [("clip", 1)]),
        "7": ("CLIPTextEncode", (413, 389), ["text"], [("clip", 2)]),
        "5": ("EmptyLatentImage", (473, 609), [64, 64, 1], []),
        "3": (
            "KSampler",
            (863, 186),
            [5, "randomize", 4, 4.0, "euler", "normal", 1.0],
            [("model", 3), ("positive", 4), ("negative", 5), ("latent_image", 6)],
        ),
        "8": ("VAEDecode", (1209, 188), [], [("samples", 7), ("vae", 8)]),
        "9": ("SaveImage", (1451, 189), ["fox"], [("images", 9)]),
        "10": ("PreviewImage", (870, 480), [], [("images", 10)]),
    }
    nodes = [
        {
            "id": int(id), "type": type, "pos": list(place), "widgets_values": values,
            "inputs": [{"name": name, "link": link} for name, link in links],
        }
        for id, (type, place, values, links) in places.items()
    ]  # fmt: skip
    lines = [(4, 1), (4, 1), (4, 0), (6, 0), (7, 0), (5, 0), (3, 0), (4, 2), (8, 0), (8, 0)]
    links = [[number, node, slot, 0, 0, "*"] for number, (node, slot) in enumerate(lines, 1)]
    return {"last_node_id": 10, "nodes": nodes, "links": links}


def test_imported_nodes_lie_apart_in_a_tab_of_the_name_of_the_file(editor: EditorPage, tmp_path: Path) -> None:
    page = editor.page
    file = tmp_path / "Foxes at dawn.json"
    file.write_text(json.dumps(crowded()))
    editor.drop(file, "application/json")
    expect(editor.node("save")).to_be_visible()
    expect(page.locator(".tab.active .tab-name")).to_have_text("Foxes at dawn")
    # Its seed was a random one after each run there, and is here.
    expect(editor.node("sampler").get_by_role("button", name="A new seed is drawn for each run")).to_be_visible()
    # A file that is not there is told once, in the editor's words, and the node that grew by it covers no other.
    told = editor.node("model").locator('[data-input="checkpoint"] .messages')
    expect(told).to_contain_text("gone.safetensors is not on this server")
    expect(editor.node("model").get_by_text("gone.safetensors is not")).to_have_count(1)
    expect(page.get_by_text("NODEGRAPH_MODELS")).to_have_count(0)
    editor.still()
    boxes = {name: editor.node(name).bounding_box() or {} for name in editor.nodes()}
    assert len(boxes) == 9
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        apart = (
            a["x"] >= b["x"] + b["width"]
            or b["x"] >= a["x"] + a["width"]
            or a["y"] >= b["y"] + b["height"]
            or b["y"] >= a["y"] + a["height"]
        )
        assert apart, f"{one} and {other} overlap"
    # The arrangement is still theirs: columns from left to right, the prompts one above the other.
    assert (
        boxes["model"]["x"]
        < boxes["prompt"]["x"]
        < boxes["sampler"]["x"]
        < boxes["decode"]["x"]
        < boxes["save"]["x"]
    )
    assert boxes["prompt"]["y"] < boxes["negative"]["y"] < boxes["blank"]["y"]


def test_what_says_no_places_is_laid_out_as_it_is_opened_and_there_is_nothing_to_undo(
    editor: EditorPage, tmp_path: Path
) -> None:
    page = editor.page
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**API, "12": FANCY}))
    editor.drop(file, "application/json")
    expect(editor.node("FancyStyler")).to_be_visible()
    editor.still()
    before = editor.document()["layout"]
    boxes = [editor.node(name).bounding_box() or {} for name in editor.nodes()]
    for a, b in itertools.combinations(boxes, 2):
        beside = a["x"] >= b["x"] + b["width"] or b["x"] >= a["x"] + a["width"]
        assert beside or a["y"] >= b["y"] + b["height"] or b["y"] >= a["y"] + a["height"]
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_role("menuitem", name="Undo")).to_be_disabled()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    editor.still()
    assert editor.document()["layout"] == before


def test_the_list_of_an_import_is_read_in_chinese(chromium: Any, server: Running, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({**API, "12": FANCY}))
    with opened(chromium, server.url, locale="zh-CN") as editor:
        editor.drop(file, "application/json")
        report = editor.page.locator(".report")
        expect(report).to_be_visible(timeout=PATIENCE)
        expect(report.get_by_role("button", name="KSampler")).to_contain_text(
            "转换为 Sampler 和 Schedule；种子 11529"
        )
        expect(report.get_by_role("button", name="FancyStyler")).to_contain_text("这里没有对应的节点")
