"""The keyboard, the settings and where things land, in the browser against the real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from real_server import Running, running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import EditorPage, opened
from playwright.sync_api import Locator, expect


@pytest.fixture(scope="module")
def server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("keys") / "home") as found:
        yield found


@pytest.fixture
def editor(server: Running, chromium: Any) -> Iterator[EditorPage]:
    with opened(chromium, server.url) as page:
        yield page


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
