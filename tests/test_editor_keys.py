"""The keyboard, the settings and where things land, in the browser against the real server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import violations
from real_server import Running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import EditorPage
from playwright.sync_api import Locator, expect


def inside(editor: EditorPage, node: Locator) -> bool:
    """Whether all of a node lies in the part of the window that shows the canvas."""
    editor.still()
    one, view = node.bounding_box(), editor.page.locator("main").bounding_box()
    assert one is not None
    assert view is not None
    return all(
        view[axis] <= one[axis] and one[axis] + one[side] <= view[axis] + view[side]
        for axis, side in (("x", "width"), ("y", "height"))
    )


def test_what_is_added_lies_wholly_in_view(editor: EditorPage) -> None:
    page = editor.page
    editor.new()
    for _ in range(4):  # each right of the one before
        editor.add("Sampler")
        assert inside(editor, page.locator(".svelte-flow__node:focus"))
    page.keyboard.press("Control+d")
    expect(page.locator(".svelte-flow__node.selected")).to_have_count(1)
    assert inside(editor, page.locator(".svelte-flow__node.selected"))

    editor.new()
    view = page.locator("main").bounding_box()
    assert view is not None
    before = editor.nodes()
    page.mouse.dblclick(view["x"] + view["width"] - 30, view["y"] + view["height"] - 20)
    editor.pick("Sampler")
    assert inside(editor, editor.new_node(before, "Sampler"))
    # A note that is written and a link that is dropped at the border do the same.
    before = editor.nodes()
    editor.drag(editor.port("sampler", "latent", "source"), (view["x"] + view["width"] - 5, view["y"] + 300))
    editor.choose("VAEDecode")
    assert inside(editor, editor.new_node(before, "VAEDecode"))


@pytest.mark.slow
def test_what_is_pasted_without_places_is_laid_out_in_view(editor: EditorPage) -> None:
    page = editor.page
    sampler = {"type": "Sampler", "links": {"latent": {"node": "blank", "output": "latent"}}}
    nodes = {"blank": {"type": "EmptyLatent"}, "sampler": sampler, "other": {"type": "EmptyLatent"}}
    editor.new()
    page.evaluate(
        """(text) => {
            const clipboardData = new DataTransfer();
            clipboardData.setData('text/plain', text);
            document.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
        }""",
        json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes}),
    )
    expect(page.locator(".svelte-flow__node")).to_have_count(3)
    boxes = [editor.node(name).bounding_box() for name in nodes if inside(editor, editor.node(name))]
    assert len(boxes) == 3
    for box in boxes:
        for other in boxes:
            assert box is other or (
                box["x"] + box["width"] <= other["x"]
                or other["x"] + other["width"] <= box["x"]
                or box["y"] + box["height"] <= other["y"]
                or other["y"] + other["height"] <= box["y"]
            ), "one lies on another"
    page.keyboard.press("Control+z")
    expect(page.locator(".svelte-flow__node")).to_have_count(0)


@pytest.mark.slow
def test_muting_has_a_key_that_a_mac_leaves_to_the_page(server: Running, chromium: Any) -> None:
    context = chromium.new_context(reduced_motion="reduce", locale="en-GB")
    context.add_init_script("Object.defineProperty(navigator, 'platform', { value: 'MacIntel' })")
    editor = EditorPage(context.new_page(), server.url)
    editor.open()
    node = editor.node("sampler")
    node.locator(".title").click()
    editor.page.keyboard.press("Meta+m")  # minimises the window: nothing of the page's
    expect(node.locator(".node.silent")).to_have_count(0)
    editor.page.keyboard.press("Alt+m")
    expect(node.locator(".node.silent")).to_have_count(1)
    editor.page.keyboard.press("?")
    expect(editor.page.get_by_role("button", name="Mute", exact=False).first).to_contain_text("⌥M")
    context.close()
    assert editor.errors == []


def change(editor: EditorPage, command: str, keys: str) -> None:
    """Give a command other keys, in the sheet of keys that is open."""
    editor.page.get_by_role("button", name=re.compile(f"^Change the key of {command}:")).click()
    editor.page.keyboard.press(keys)


def test_keys_are_changed_clashes_are_shown_and_all_goes_back(editor: EditorPage) -> None:
    page, keys = editor.page, editor.page.keyboard
    keys.press("Control+,")
    page.get_by_role("button", name="Change keys…").click()
    sheet = page.get_by_role("dialog", name="Keyboard and pointer")
    of = lambda command: sheet.locator("dt", has_text=re.compile(f"^{command}"))  # noqa: E731
    change(editor, "Add a note", "Control+b")
    expect(of("Add a note")).to_have_text("Add a note also Bypass")
    expect(of("Bypass")).to_contain_text("also Add a note")
    expect(sheet.get_by_role("status")).to_contain_text("more than one command")
    assert violations(page, "dialog") == []
    sheet.get_by_role("button", name="only here: Add a note").click()
    expect(of("Bypass")).to_have_text("Bypass")
    expect(sheet.locator(".clash em")).to_have_count(0)
    change(editor, "Save", "Control+w")
    expect(sheet.get_by_role("status")).to_contain_text("The browser keeps Ctrl+W")
    keys.press("Escape")
    expect(sheet).to_be_visible()  # Escape ended the question alone
    keys.press("Escape")
    expect(sheet).to_have_count(0)

    notes = page.locator(".svelte-flow__node-notes")
    keys.press("n")
    keys.press("Control+b")
    expect(notes).to_have_count(1)
    page.reload()
    page.locator(".node").first.wait_for()
    expect(notes).to_have_count(1)
    keys.press("Control+b")
    expect(notes).to_have_count(2)
    keys.press("Escape")  # out of the note's text

    keys.press("?")
    page.get_by_role("button", name="All keys as they were").click()
    keys.press("Escape")
    keys.press("n")
    expect(notes).to_have_count(3)


def test_a_key_alone_types_and_composed_text_runs_nothing(editor: EditorPage) -> None:
    page, keys = editor.page, editor.page.keyboard
    keys.press("?")
    change(editor, "Commands…", "j")  # works while typing, but for keys that type something
    change(editor, "Gallery", "x")
    keys.press("Escape")
    field = editor.field("prompt", "text")
    field.click()
    keys.type("xj")
    expect(field).to_have_value(re.compile("xj"))
    field.blur()
    for composed in ({"key": "x", "isComposing": True}, {"key": "Process", "code": "KeyX"}):
        page.evaluate(
            "(init) => document.body.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, ...init }))",
            composed,
        )
    expect(page.locator(".picker, .dock")).to_have_count(0)
    keys.press("x")
    expect(page.locator(".dock")).to_have_count(1)
    keys.press("j")
    expect(page.locator(".picker")).to_have_count(1)


def settings(editor: EditorPage) -> Locator:
    editor.page.keyboard.press("Control+,")
    return editor.page.get_by_role("dialog", name="Settings")


@pytest.mark.slow
def test_settings_go_out_to_a_file_and_come_back(editor: EditorPage, tmp_path: Path) -> None:
    page, root = editor.page, editor.page.locator("html")
    box = settings(editor)
    assert violations(page, "dialog") == []
    expect(root).to_have_attribute("data-motion", "reduced")  # as the system asks here
    box.get_by_label("Motion").select_option("full")
    expect(root).to_have_attribute("data-motion", "full")
    box.get_by_label("Theme").select_option("light")
    expect(root).to_have_attribute("data-theme", "light")
    box.get_by_label("Size of the interface").select_option("1.3")
    assert root.evaluate("(one) => getComputedStyle(one).fontSize") == "20.8px"
    with page.expect_download() as download:
        box.get_by_role("button", name="Export settings").click()
    file = tmp_path / "mine.json"
    file.write_bytes(download.value.path().read_bytes())
    kept = json.loads(file.read_text("utf-8"))
    assert (
        kept["settings"] | {"theme": "light", "motion": "full", "scale": 1.3, "language": "en"} == kept["settings"]
    )

    box.get_by_role("button", name="Everything as at first").click()
    expect(root).to_have_attribute("data-motion", "reduced")
    hostile = tmp_path / "theirs.json"
    hostile.write_text(
        json.dumps(
            kept | {"settings": {"theme": "<img src=x onerror=alert(1)>", "scale": 400, "keys": {"rm -rf": "S"}}}
        )
    )
    box = settings(editor)
    box.locator("input[type=file]").set_input_files(hostile)
    refused = box.get_by_role("alert")
    expect(refused).to_contain_text("theirs.json was refused, and nothing has changed")
    expect(refused.get_by_role("listitem")).to_have_count(3)
    expect(refused).to_contain_text('"theme" must be one of system, dark, light')
    expect(refused).to_contain_text('there is no command "rm -rf"')
    expect(root).to_have_attribute("data-motion", "reduced")
    assert violations(page, "dialog") == []
    kept["settings"]["language"] = "zh"
    file.write_text(json.dumps(kept))
    box.locator("input[type=file]").set_input_files(file)
    expect(box).to_have_count(0)
    expect(root).to_have_attribute("data-theme", "light")
    expect(root).to_have_attribute("lang", "zh")
    page.get_by_role("button", name="撤销").click()
    expect(root).to_have_attribute("lang", "en")
    expect(root).to_have_attribute("data-motion", "reduced")


@pytest.mark.slow
def test_whatever_keys_a_file_sets_there_is_a_way_back_by_keyboard(editor: EditorPage, tmp_path: Path) -> None:
    page, keys = editor.page, editor.page.keyboard
    file = tmp_path / "theirs.json"
    taken = {"settings": "", "keys": "Shift+Tab", "palette": "Tab", "undo": "Enter", "redo": "Space"}
    taken |= {"fit": "ArrowDown", "tidy": "ArrowRight", "note": "Escape", "gallery": "Home"}
    file.write_text(json.dumps({"format": "nodegraph settings", "version": 1, "settings": {"keys": taken}}))
    box = settings(editor)
    box.locator("input[type=file]").set_input_files(file)
    expect(box).to_have_count(0)
    page.reload()
    page.locator(".node").first.wait_for()
    keys.press("Control+,")
    expect(page.get_by_role("dialog")).to_have_count(0)
    keys.press("Tab")
    expect(page.get_by_role("button", name="File", exact=True)).to_be_focused()
    for _ in range(3):
        keys.press("ArrowRight")
    keys.press("Enter")
    item = page.get_by_role("menuitem", name="Settings")
    for _ in range(20):
        if item.evaluate("(one) => one === document.activeElement"):
            break
        keys.press("ArrowDown")
    keys.press("Enter")
    back = page.get_by_role("dialog", name="Settings").get_by_role("button", name="Everything as at first")
    back.focus()
    keys.press("Enter")
    expect(settings(editor)).to_be_visible()  # Ctrl+, opens it again
