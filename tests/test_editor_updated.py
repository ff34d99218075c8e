"""A page that was open before its server was replaced by a newer one is told so, once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from real_server import running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, SIZE, EditorPage
from playwright.sync_api import expect

# The command as it is, but for the version that it says it has.
NEWER = "import sys, runpy, nodegraph; nodegraph.__version__ = '99.0'; runpy.run_module('nodegraph', run_name='__main__')"


@contextmanager
def newer(home: Path, port: int) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", NEWER, "serve", "--port", str(port), "--home", str(home)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("http://")
        yield
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_a_page_is_told_once_that_its_server_was_updated(chromium: Any, tmp_path: Path) -> None:
    context = chromium.new_context(viewport=SIZE, reduced_motion="reduce", locale="en-GB")
    page = context.new_page()
    told = page.locator(".toast").filter(has_text="The server was updated to version 99.0. Reload the page")
    lost = page.locator(".banner").filter(has_text="connection to the server is lost")
    with running(tmp_path / "home") as old:
        editor = EditorPage(page, old.url)
        editor.open()
        editor.new()
        editor.add("Text")
        assert old.stop() == 0
    expect(lost).to_be_visible(timeout=PATIENCE)
    with newer(tmp_path / "home", old.port):
        expect(told).to_be_visible(timeout=PATIENCE)
        expect(told.get_by_role("button", name="Reload")).to_be_visible()
        told.get_by_role("button", name="Dismiss").click()
    expect(lost).to_be_visible(timeout=PATIENCE)
    with newer(tmp_path / "home", old.port):
        expect(lost).to_have_count(0, timeout=PATIENCE)
        expect(told).to_have_count(0)
        assert editor.nodes() == ["text"]
        context.close()
