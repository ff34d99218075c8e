"""The editor in a real browser, served by a real `nodegraph serve`, used as a person would use it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

SIZE = {"width": 1440, "height": 900}
PATIENCE = 60_000  # milliseconds, on a machine that others use too


class EditorPage:
    """A page with the editor in it. What its console reports as an error is kept in `errors`."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def open(self) -> None:
        """Load the page and wait until a node, or the empty canvas, is there to be used."""
        self.page.goto(self.url)
        self.page.locator(".node, .blank").first.wait_for(timeout=PATIENCE)

    def new(self) -> None:
        """An empty workflow in a new tab."""
        self.page.keyboard.press("Alt+n")
        self.page.locator(".blank").wait_for()

    def node(self, name: str) -> Locator:
        return self.page.locator(f'.svelte-flow__node[data-id="{name}"]')

    def port(self, node: str, name: str, side: str = "target") -> Locator:
        return self.node(node).locator(f'.port.{side}[data-handleid="{name}"]')

    def field(self, node: str, name: str) -> Locator:
        return (
            self.node(node)
            .locator(f'[data-input="{name}"]')
            .locator("input[type=text], textarea, button.pill")
            .first
        )

    def pick(self, text: str) -> None:
        """Type into the list that is open, and take its first entry."""
        box = self.page.locator(".picker input")
        box.wait_for()
        self.page.keyboard.type(text)
        expect(self.page.locator('.picker [aria-selected="true"]')).to_be_visible()
        self.page.keyboard.press("Enter")
        expect(self.page.locator(".picker")).to_have_count(0)

    def choose(self, name: str) -> None:
        """Click the entry of this name in the list that is open."""
        exact = self.page.locator(".name").filter(has_text=re.compile(f"^{name}$"))
        self.page.locator(".picker [role=option]").filter(has=exact).click()

    def add(self, type_name: str) -> None:
        """Add a node with the keyboard; it has the focus afterwards."""
        self.page.keyboard.press("Space")
        self.pick(type_name)
        expect(self.page.locator(f'.node.selected[data-type="{type_name}"]')).to_be_visible()
        expect(self.page.locator(".svelte-flow__node:focus")).to_have_count(1)

    def connect(self, text: str) -> None:
        """Link the node that has the focus with the keyboard."""
        self.page.keyboard.press("c")
        self.pick(text)
        expect(self.page.locator(".svelte-flow__node:focus")).to_have_count(1)

    def tab_to(self, label: str) -> None:
        """Press Tab until the input of this label has the focus."""
        for _ in range(30):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("document.activeElement.getAttribute('aria-label')") == label:
                return
        raise AssertionError(f"Tab does not lead to {label!r}")

    def drag(self, start: Locator, end: Locator | tuple[float, float]) -> None:
        """Drag with the mouse from the middle of one thing to another, or to a place on the page."""
        self.page.mouse.move(*middle(start))
        self.page.mouse.down()
        x, y = end if isinstance(end, tuple) else middle(end)
        self.page.mouse.move(x - 12, y - 7, steps=3)
        self.page.mouse.move(x, y, steps=3)
        self.page.mouse.up()

    def document(self) -> dict[str, Any]:
        """The workflow in view, by way of File > Export."""
        with self.page.expect_download() as download:
            self.page.keyboard.press("Control+e")
        found: dict[str, Any] = json.loads(Path(download.value.path()).read_text("utf-8"))
        return found

    def drop(self, path: Path, media_type: str) -> None:
        """Drop a file on the canvas."""
        content = list(path.read_bytes())
        self.page.evaluate(
            """([bytes, name, type]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], name, { type }));
                const target = document.querySelector('.svelte-flow__pane');
                target.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
            }""",
            [content, path.name, media_type],
        )

    def finished(self) -> None:
        """Wait until the run in view is done."""
        expect(self.page.locator(".told.succeeded")).to_be_visible(timeout=2 * PATIENCE)


def middle(what: Locator) -> tuple[float, float]:
    what.scroll_into_view_if_needed()
    box = what.bounding_box()
    assert box is not None, f"{what} is not to be seen"
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
