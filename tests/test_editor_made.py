"""What the editor tells of what was made, and of what could not be: the line of an error, what two pictures differ in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from browser import violations
from real_server import Running, running

from nodegraph.client import Client

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage, opened
from playwright.sync_api import expect

PLUGIN = '''
from typing import Literal

import torch
from nodegraph import Context, node, pictures

@node(category="test", effect="files")
def Paint(context: Context, seed: int = 0, width: int = 48, count: int = 1, text: str = "") -> None:
    """Save pictures of noise."""
    for tensor in torch.rand(count, 3, 32, width, generator=torch.Generator().manual_seed(seed)):
        context.save(f"paint {seed}", ".png", pictures.encode_png(tensor, context.metadata))

@node(category="test", effect="always")
def Divide(a: int = 1, b: int = 0) -> None:
    """Divide one number by another."""
    a / b

@node(category="test", effect="always")
def Wordy(kind: Literal["red", "green"] = "red") -> None:
    """Fail at length."""
    raise ValueError("this is told in many words, " * 60 + "the end")
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
    expect(told.locator(".said")).to_have_text("ZeroDivisionError: division by zero")
    expect(told.locator(".raised")).to_have_text(f"odd.py, line {line}: a / b")
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


def paint(server: Running, title: str, **values: Any) -> None:
    """Run a workflow of one node until its picture is there."""
    node = {"type": "Paint", "values": values}
    workflow = {"format": "nodegraph", "version": 1, "title": title, "nodes": {"it": node}}
    run = server.ask("POST", "/api/runs", {"workflow": workflow}).json["id"]
    with Client(server.url) as client:
        assert client.wait(run).status == "succeeded"


def test_two_pictures_are_compared_with_what_made_them(editor: EditorPage, server: Running) -> None:
    page = editor.page
    paint(server, "One", seed=1, text="a cat")
    paint(server, "Other", seed=2, width=60)
    page.keyboard.press("g")
    tiles = page.locator(".gallery .tile")
    expect(tiles).to_have_count(2)
    tiles.first.focus()
    page.keyboard.press("Enter")
    receipt = page.locator(".lightbox .receipt div")
    expect(receipt.filter(has_text="Computed on")).to_have_text(re.compile("the (processor|graphics).*precision"))
    expect(receipt.filter(has_text="Program")).to_contain_text("nodegraph ")
    expect(page.locator(".lightbox .verify code")).to_have_text("nodegraph verify 'paint 2-0001.png'")
    expect(page.locator(".lightbox")).to_contain_text("by it")
    page.keyboard.press("c")
    compared = page.locator("dialog.compare")
    rows = compared.locator("tr")
    expect(rows).to_have_text(
        [re.compile(one) for one in (r"a cat\s*it text\s*—", r"1\s*it seed\s*2", r"48\s*it width\s*60")]
    )
    compared.get_by_role("button", name="Swap the sides").click()
    expect(rows.nth(1)).to_have_text(re.compile(r"2\s*it seed\s*1"))
    assert violations(page, ".compare") == []
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    # Pictures of one run differ in nothing of that.
    paint(server, "Two", seed=3, count=2)
    expect(tiles).to_have_count(4)
    tiles.first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("c")
    expect(compared.locator("caption")).to_have_text("Made in the same way, with the same values")
    expect(rows).to_have_count(0)


def test_what_was_deleted_is_seen_and_put_back(editor: EditorPage, server: Running) -> None:
    page = editor.page
    server.ask("DELETE", "/api/trash")
    document = {"format": "nodegraph", "version": 1, "nodes": {"it": {"type": "Divide"}}}
    for name in ("keep me", "lose me"):
        assert server.ask("PUT", f"/api/workflows/{quote(name)}", {"workflow": document}).status == 201
    paint(server, "Lost", seed=4)
    # A workflow is deleted where it is opened; a tab that has it keeps it.
    page.keyboard.press("Control+o")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="lose me").first.click()
    editor.node("it").wait_for()
    page.keyboard.press("Control+o")
    dialog.get_by_role("button", name="Delete lose me").click()
    expect(dialog.locator(".stored strong")).to_have_text(["keep me"])
    assert violations(page, "dialog") == []
    dialog.get_by_role("button", name="Trash").click()
    expect(editor.node("it")).to_be_visible()
    # A picture that is deleted elsewhere shows up as it goes.
    rows = page.locator(".trash li")
    expect(rows).to_have_count(1)
    newest = server.get("/api/gallery").json["artifacts"][0]
    server.ask("DELETE", newest["content"])
    expect(rows).to_have_count(2)
    expect(page.locator(".trash .end")).to_contain_text("2 in the trash")
    picture = rows.filter(has_text=newest["name"])
    assert picture.locator("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 48
    assert violations(page, ".dock") == []
    picture.get_by_role("button").click()
    expect(rows).to_have_count(1)
    assert server.get(newest["content"]).status == 200
    rows.get_by_role("button", name="Put back lose me").click()
    expect(page.locator(".trash")).to_contain_text("The trash is empty.")
    names = {one["name"] for one in server.get("/api/workflows").json["workflows"]}
    assert names == {"keep me", "lose me"}
    page.keyboard.press("g")
    expect(page.locator(f'.gallery .tile[data-artifact="{newest["id"]}"]')).to_be_visible()
    # It is emptied only by who says so twice.
    page.locator(f'.gallery .tile[data-artifact="{newest["id"]}"]').focus()
    page.keyboard.press("Delete")
    page.locator(".dock").get_by_role("button", name="Trash").click()
    page.get_by_role("button", name="Empty the trash").click()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Remove it for good").click()
    expect(page.locator(".trash")).to_contain_text("The trash is empty.")
    assert server.get("/api/trash").json == {"workflows": [], "artifacts": 0, "bytes": 0}


def test_a_node_stays_low_whatever_is_wrong_with_it_and_all_of_it_can_be_read(
    editor: EditorPage, tmp_path: Path
) -> None:
    page = editor.page

    def height(name: str) -> float:
        box = editor.node(name).bounding_box()
        assert box is not None
        return box["height"] / page.locator(".svelte-flow__viewport").evaluate(
            "(one) => new DOMMatrix(getComputedStyle(one).transform).a"
        )

    nodes = {
        "wordy": {"type": "Wordy"},
        "right": {"type": "Wordy"},
        "wrong": {"type": "Wordy", "values": {"kind": "blue" * 200}},
    }
    layout = {name: {"x": 300 * place, "y": 0} for place, name in enumerate(nodes)}
    file = tmp_path / "wordy.json"
    file.write_text(json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes, "layout": layout}))
    editor.drop(file, "application/json")
    wrong = editor.node("wrong").locator(".message")
    expect(wrong).to_contain_text("is not one of red, green")
    assert 5 < height("wrong") - height("right") < 20

    # Under the pointer all of it is seen, over whatever lies below, and nothing is moved by that.
    low = height("wrong")
    words = wrong.locator("span").first
    one_line = words.bounding_box() or {}
    wrong.hover()
    expect(wrong.locator(".said")).to_be_in_viewport()
    assert (words.bounding_box() or {})["height"] > 8 * one_line["height"]
    assert height("wrong") == low
    page.keyboard.press("Escape")

    editor.field("wrong", "kind").click()
    editor.pick("red")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".told.failed")).to_be_visible(timeout=2 * PATIENCE)
    told = editor.node("wordy").locator(".message")
    expect(told).to_contain_text("the end")
    assert 20 < height("wordy") - height("right") < 80
    assert violations(page, ".canvas") == []
    told.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".problems .said")).to_contain_text("the end")


def test_all_that_is_wrong_with_a_plugin_is_told_and_what_is_right_works(chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "half.py").write_text(
        "from nodegraph import node\n\n"
        '@node(category="test")\ndef First(a) -> int:\n    """One."""\n    return 1\n\n'
        '@node(category="test")\ndef Second(b) -> int:\n    """Two."""\n    return 2\n\n'
        '@node(category="test")\ndef Third(c: int = 3) -> int:\n    """Three."""\n    return c\n'
    )
    with running(tmp_path) as server, opened(chromium, server.url) as editor:
        told = editor.page.get_by_role("alert")
        expect(told).to_have_count(2)
        for one, name in zip(told.all(), ("First", "Second"), strict=True):
            expect(one).to_contain_text("Not everything in the plugin")
            expect(one).to_contain_text(name)
        editor.new()
        editor.add("Third")
        told.first.get_by_role("button").click()
        expect(told).to_have_count(1)
        expect(told).to_contain_text("Second")
