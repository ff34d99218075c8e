"""The editor in a browser that keeps nothing, has no more room, or kept what this editor cannot read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from real_server import Running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, SIZE, EditorPage
from playwright.sync_api import Page, expect

SOUND: dict[str, Any] = {
    "format": "nodegraph",
    "version": 1,
    "title": "Sound",
    "nodes": {"words": {"type": "Text", "values": {"text": "kept"}, "links": {}}},
}
LATER = {**SOUND, "version": 2, "title": "Later", "nodes": {"words": {"kind": "Text"}}}
DAMAGED = {**SOUND, "title": "Damaged", "nodes": None, "layout": []}
PUT = """(drafts) => new Promise((done, failed) => {
    const request = indexedDB.open('nodegraph', 1);
    request.onupgradeneeded = () => {
        request.result.createObjectStore('drafts', { keyPath: 'id' });
        request.result.createObjectStore('sessions');
    };
    request.onerror = () => failed(request.error);
    request.onsuccess = () => {
        const all = request.result.transaction(['drafts', 'sessions'], 'readwrite');
        for (const draft of drafts) all.objectStore('drafts').put(draft);
        all.objectStore('sessions').put({ tabs: drafts.map((one) => one.id), active: drafts[0].id }, 0);
        all.oncomplete = () => (request.result.close(), done());
    };
})"""
FILL = """() => {
    let number = 0;
    for (const size of [2 ** 20, 2 ** 10, 1]) {
        try { for (;;) localStorage.setItem(`full ${number++}`, 'x'.repeat(size)); } catch { /* full */ }
    }
}"""


def draft(name: str, workflow: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "revision": None,
        "workflow": workflow,
        "saved": None,
        "seeds": {},
        "lastSeeds": {},
        "run": None,
        "view": None,
    }


def kept(page: Page, url: str, *drafts: dict[str, Any]) -> None:
    """Have the browser keep these drafts, before the editor is opened."""
    page.route("**/*", lambda route: route.fulfill(body="<html></html>", content_type="text/html"))
    page.goto(url)
    page.evaluate(PUT, list(drafts))
    page.unroute("**/*")


@pytest.mark.parametrize("others", [(), (draft("sound", SOUND),)], ids=["alone", "beside a sound one"])
def test_a_draft_that_cannot_be_read_stops_nobody_and_is_kept(
    others: tuple[dict[str, Any], ...], chromium: Any, server: Running, tmp_path: Path
) -> None:
    context = chromium.new_context(viewport=SIZE, reduced_motion="reduce", locale="en-GB")
    editor = EditorPage(context.new_page(), server.url)
    kept(editor.page, server.url, draft("later", LATER), draft("damaged", DAMAGED), *others)
    for _ in range(2):  # the second time, after what was open has been kept anew
        editor.open()
        expect(editor.page.locator(".svelte-flow__node-node").first).to_be_visible(timeout=PATIENCE)
        told = editor.page.locator(".toast.error")
        expect(told.filter(has_text="this editor reads version 1")).to_contain_text(
            "The draft of later was not opened"
        )
        expect(told.filter(has_text="The draft of damaged was not opened")).to_be_visible()
        if others:
            assert editor.nodes() == ["words"]
        editor.page.wait_for_timeout(600)  # longer than an editor waits before it keeps what is open
    with editor.page.expect_download() as download:
        told.filter(has_text="later").get_by_role("button", name="Save it as a file").click()
    download.value.save_as(tmp_path / "later.json")
    assert json.loads((tmp_path / "later.json").read_text("utf-8")) == LATER
    assert editor.errors == []
    context.close()


def test_a_browser_that_may_keep_nothing_has_an_editor(chromium: Any, server: Running, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    (profile / "Default").mkdir(parents=True)
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}  # as its settings do it
    (profile / "Default" / "Preferences").write_text(json.dumps(blocked))
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    context = chromium.browser_type.launch_persistent_context(
        profile,
        executable_path=program,
        args=["--no-sandbox"],
        viewport=SIZE,
        reduced_motion="reduce",
        locale="en-GB",
    )
    editor = EditorPage(context.new_page(), server.url)
    editor.open()
    assert editor.page.evaluate("() => { try { return !localStorage } catch { return true } }"), (
        "nothing is blocked"
    )
    editor.new()
    editor.add("Text")
    assert len(editor.nodes()) == 1
    expect(editor.page.locator(".toast.error")).to_contain_text("Drafts cannot be kept in this browser")
    assert [error for error in editor.errors if "denied" in error] == []
    context.close()


def test_where_the_browser_has_no_more_room_nodes_are_added_and_settings_hold(editor: EditorPage) -> None:
    editor.page.evaluate(FILL)
    editor.new()
    editor.add("Text")
    assert len(editor.nodes()) == 1  # and no error in the console, which the end of the test looks at
    editor.page.evaluate("() => localStorage.clear()")
