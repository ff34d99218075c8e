"""The editor in a real browser, served by a real `nodegraph serve`, used as a person would use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

SIZE = {"width": 1440, "height": 900}
PATIENCE = 60_000  # milliseconds, on a machine that others use too


# Remembers what was to be seen even for a moment: a slow test may look when it is over.
SEEN = """(wanted) => {
    window.seen ??= new Set();
    const look = () => {
        const there = wanted.startsWith('title ') ? document.title.includes(wanted.slice(6)) : document.querySelector(wanted);
        if (there) window.seen.add(wanted);
    };
    look();
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
}"""
STILL = """() => new Promise((done) => {
    const places = () => [...document.querySelectorAll('.svelte-flow__viewport, .svelte-flow__node')]
        .map((one) => Object.values(one.getBoundingClientRect().toJSON()).join()).join(' ')
        + document.getAnimations().filter((one) => one.playState === 'running').length;
    let last = '', same = 0;
    const look = () => {
        const now = places();
        same = now === last ? same + 1 : 0;
        last = now;
        if (same > 3) done(true);
        else requestAnimationFrame(look);
    };
    look();
})"""


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
        """Load the page and wait until a node, the empty canvas or the view for phones is there."""
        self.page.goto(self.url)
        self.page.locator(".node, .blank, .phone footer").first.wait_for(timeout=PATIENCE)

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
        expect(box).to_be_focused()
        self.page.keyboard.type(text)
        expect(box).to_have_value(text)
        expect(self.page.locator('.picker [aria-selected="true"]')).to_be_visible()
        self.page.keyboard.press("Enter")
        expect(self.page.locator(".picker")).to_have_count(0)

    def choose(self, name: str) -> None:
        """Click the entry of this name in the list that is open."""
        exact = self.page.locator(".name").filter(has_text=re.compile(f"^{name}$"))
        self.page.locator(".picker [role=option]").filter(has=exact).click()

    def nodes(self) -> list[str]:
        """The ids of the nodes that are drawn."""
        found: list[str] = self.page.locator(".svelte-flow__node-node").evaluate_all(
            "nodes => nodes.map((one) => one.dataset.id)"
        )
        return found

    def new_node(self, before: list[str], type_name: str) -> Locator:
        """The chosen node of this type that was not there before, once it is drawn."""
        others = "".join(f':not([data-id="{one}"])' for one in before)
        node = self.page.locator(f'.svelte-flow__node{others}:has(.node.selected[data-type="{type_name}"])')
        expect(node).to_have_count(1)
        expect(node).to_be_visible()
        return node

    def add(self, type_name: str) -> None:
        """Add a node with the keyboard; it has the focus afterwards."""
        before = self.nodes()
        self.page.keyboard.press("Space")
        self.pick(type_name)
        expect(self.new_node(before, type_name)).to_be_focused()

    def connect(self, text: str) -> None:
        """Link the node that has the focus with the keyboard."""
        node = self.page.evaluate("document.activeElement.dataset.id")
        links = self.page.locator(".svelte-flow__edge")
        before = links.count()
        self.page.keyboard.press("c")
        self.pick(text)
        expect(links).to_have_count(before + 1)
        expect(self.node(node)).to_be_focused()

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

    def link(self, output: str, entry: str) -> None:
        """Drag a link with the mouse from `node.output` to `node.input`."""
        links = self.page.locator(".svelte-flow__edge")
        before = links.count()
        (node, name), (other, port) = output.split("."), entry.split(".")
        self.drag(self.port(node, name, "source"), self.port(other, port))
        expect(links).to_have_count(before + 1)

    def edge(self, output: str, entry: str) -> tuple[float, float]:
        """The place on the page of the middle of a link from `node.output` to `node.input`."""
        name = " → ".join(end.replace(".", " ") for end in (output, entry))
        path = self.page.locator(f'.svelte-flow__edge[aria-label="{name}"] .svelte-flow__edge-path')
        x, y = path.evaluate(
            """(path) => {
                const at = path.getPointAtLength(path.getTotalLength() / 2).matrixTransform(path.getScreenCTM());
                return [at.x, at.y];
            }"""
        )
        return x, y

    def set(self, node: str, name: str, text: str) -> None:
        """Type a value into the field of an input."""
        field = self.field(node, name)
        field.click()
        field.fill(text)
        field.press("Tab")
        expect(field).to_have_value(text)

    def document(self) -> dict[str, Any]:
        """The workflow in view, by way of File > Export."""
        with self.page.expect_download() as download:
            self.page.keyboard.press("Control+e")
        found: dict[str, Any] = json.loads(Path(download.value.path()).read_text("utf-8"))
        return found

    def drop(self, path: Path, media_type: str) -> None:
        """Drop a file on the canvas, or on what a phone shows."""
        content = list(path.read_bytes())
        self.page.evaluate(
            """([bytes, name, type]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], name, { type }));
                const target = document.querySelector('.svelte-flow__pane, .phone');
                target.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
            }""",
            [content, path.name, media_type],
        )

    def watch(self, *wanted: str) -> None:
        """From now on, remember whether these are to be seen: selectors, or `title` and a part of the title."""
        for one in wanted:
            self.page.evaluate(SEEN, one)

    def saw(self, wanted: str) -> None:
        """Wait until what is watched for has been seen, if only for a moment."""
        self.page.wait_for_function("(wanted) => window.seen.has(wanted)", arg=wanted, timeout=PATIENCE)

    def still(self) -> None:
        """Wait until nothing on the canvas moves any more."""
        self.page.evaluate(STILL)

    def finished(self) -> None:
        """Wait until the run in view is done."""
        expect(self.page.locator(".told.succeeded")).to_be_visible(timeout=2 * PATIENCE)


def middle(what: Locator) -> tuple[float, float]:
    what.scroll_into_view_if_needed()
    box = what.bounding_box()
    assert box is not None, f"{what} is not to be seen"
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@contextmanager
def opened(chromium: Any, url: str, **options: Any) -> Iterator[EditorPage]:
    """The editor in a window of its own; afterwards its console may have reported no error."""
    context = chromium.new_context(**{"viewport": SIZE, "reduced_motion": "reduce", "locale": "en-GB", **options})
    editor = EditorPage(context.new_page(), url)
    editor.page.set_default_timeout(30_000)
    editor.open()
    yield editor
    context.close()
    assert editor.errors == [], editor.errors
