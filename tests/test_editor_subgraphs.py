"""Subgraphs in the editor: made, opened, given ports, run, mended and taken apart, and all of it undone."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage
from playwright.sync_api import Locator, expect


def head(editor: EditorPage, node: str) -> Locator:
    return editor.node(node).locator(".head .type")


def test_a_subgraph_from_beginning_to_end(editor: EditorPage) -> None:
    page = editor.page
    before = editor.document()
    for number, name in enumerate(["blank", "schedule", "sampler"]):
        head(editor, name).click(modifiers=["Shift"] if number else [])
        expect(page.locator(".node.selected")).to_have_count(number + 1)
    page.keyboard.press("Control+Shift+G")
    use = editor.node("subgraph")
    expect(use).to_be_visible()
    expect(page.locator(".node")).to_have_count(7)
    assert set(editor.document()["subgraphs"]["Subgraph"]["nodes"]) == {"blank", "schedule", "sampler"}

    # Opened by a double click; a pin puts a value on the outside.
    head(editor, "subgraph").dblclick()
    trail = page.get_by_role("navigation", name="What is in view")
    expect(trail.get_by_role("button")).to_have_text(["Text to image", "subgraph"])
    expect(page.locator(".node")).to_have_count(3)
    name = trail.get_by_role("textbox", name="Name of the subgraph")
    name.fill("Paint")
    name.press("Enter")
    expect(name).not_to_be_focused()
    for node, entry in (("sampler", "seed"), ("schedule", "steps")):
        pin = editor.node(node).locator(f'[data-input="{entry}"] .pin')
        pin.click()
        expect(pin).to_have_attribute("aria-pressed", "true")
    trail.get_by_role("button", name="Text to image").click()
    expect(editor.field("subgraph", "steps")).to_have_value("25")
    editor.field("subgraph", "steps").fill("3")
    editor.field("subgraph", "steps").press("Enter")
    document = editor.document()
    assert document["nodes"]["subgraph"]["values"] == {"steps": 3}
    assert document["subgraphs"]["Paint"]["nodes"]["schedule"]["values"]["steps"] == 25

    # What runs inside is seen on the outside, and inside on the very node.
    page.keyboard.press("Control+Enter")
    expect(use.locator(".node")).to_have_class(re.compile(r"\brunning\b"), timeout=PATIENCE)
    editor.finished()
    expect(use.locator(".node")).to_have_class(re.compile(r"\b(finished|cached)\b"))
    expect(editor.node("save").locator(".picture img")).to_be_visible()
    use.get_by_role("button", name="Open subgraph").click()
    expect(editor.node("sampler").locator(".node.finished")).to_be_visible()

    # A problem in it is shown on the outside, and leads inside.
    head(editor, "schedule").click()
    page.keyboard.press("Delete")
    expect(editor.node("schedule")).to_have_count(0)
    expect(editor.node("sampler").locator(".node.wrong")).to_be_visible()
    page.keyboard.press("Alt+ArrowUp")
    expect(use.locator(".messages").first).to_contain_text("sampler", timeout=PATIENCE)
    assert "steps" not in editor.document()["subgraphs"]["Paint"]["inputs"]
    assert "values" not in editor.document()["nodes"]["subgraph"]
    page.keyboard.press("F8")
    expect(trail).to_be_visible()
    expect(editor.node("sampler").locator(".node.selected")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(editor.node("schedule")).to_be_visible()

    # Unpacked, every node is where it was; undo brings back the rest.
    page.keyboard.press("Alt+ArrowUp")
    head(editor, "subgraph").click()
    page.keyboard.press("Control+Shift+U")
    expect(page.locator(".node")).to_have_count(9)
    unpacked = editor.document()
    assert unpacked["layout"] == before["layout"]
    unpacked["nodes"]["schedule"]["values"]["steps"] = 25
    assert unpacked["nodes"] == before["nodes"]
    for _ in range(30):
        page.keyboard.press("Control+z")
    expect(page.locator(".node")).to_have_count(9)
    assert editor.document() == before


@pytest.mark.slow
def test_a_subgraph_is_a_node_of_the_search_and_of_the_clipboard(editor: EditorPage) -> None:
    page = editor.page
    head(editor, "prompt").click()
    page.keyboard.press("Control+Shift+G")
    expect(editor.node("subgraph")).to_be_visible()
    page.keyboard.press("Space")
    editor.pick("Subgraph")
    expect(editor.node("subgraph_2")).to_be_visible()
    assert [*editor.document()["subgraphs"]] == ["Subgraph"]
    # In itself it is not offered.
    editor.node("subgraph").get_by_role("button", name="Open subgraph").click()
    expect(page.locator(".trail")).to_be_visible()
    page.locator(".svelte-flow__pane").click(position={"x": 40, "y": 700})
    page.keyboard.press("Space")
    page.locator(".picker input").wait_for()
    page.keyboard.type("Subgraph")
    expect(page.locator(".picker .name").filter(has_text=re.compile("^Subgraph$"))).to_have_count(0)
    page.keyboard.press("Escape")


@pytest.mark.slow
def test_links_can_be_hidden_but_for_those_of_what_is_chosen(editor: EditorPage) -> None:
    page = editor.page
    links = page.locator(".svelte-flow__edge")
    expect(links).to_have_count(13)
    page.keyboard.press("Alt+l")
    expect(links).to_have_count(0)
    head(editor, "decode").click()
    expect(links).to_have_count(3)
    page.keyboard.press("Alt+l")
    expect(links).to_have_count(13)
