"""The browser editor in a real Chromium on a real server: `python bench/editor.py`, or as a part of `all.py`.

Measured: from the first request to a canvas that can be used; what the browser downloads; the import of a large
graph, from the dropped file to its last node on the screen; and the time of a frame while the canvas is panned,
with every node in view and a move of the pointer in every frame. No graphics card and no display is needed.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from nodegraph import bundle

WINDOW = {"width": 1440, "height": 900}
VISITS = 3
PAN_SECONDS = 3

# Drops a file, and resolves with the milliseconds until the last node of its graph is on the screen.
IMPORT = """async ([text, last]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], "large.json", { type: "application/json" }));
    const start = performance.now();
    const pane = document.querySelector(".svelte-flow__pane");
    pane.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    for (;;) {
        await new Promise(requestAnimationFrame);
        const node = document.querySelector(`.svelte-flow__node[data-id="${last}"]`);
        if (node && getComputedStyle(node).visibility === "visible") break;
    }
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""

# Resolves when the page has drawn frames without a hitch for a second.
REST = """async () => {
    let last = performance.now();
    for (let calm = last; last - calm < 1000;) {
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        if (now - last > 60) calm = now;
        last = now;
    }
}"""

# Moves the pointer, whose button is down, in every frame; resolves with the milliseconds of each frame.
PAN = """async (seconds) => {
    const times = [];
    const start = performance.now();
    for (let last = start, step = 0; last - start < 1000 * seconds; step += 1) {
        const by = Math.abs(60 - (step % 120));
        const place = { clientX: 40 + 4 * by, clientY: 450 + 2 * by, buttons: 1, view: window, bubbles: true };
        window.dispatchEvent(new MouseEvent("mousemove", place));
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        times.push(now - last);
        last = now;
    }
    return times;
}"""


class Skipped(Exception):
    """The editor cannot be measured here; the text says why."""


class Figure(NamedTuple):
    """What was measured, its values, their unit, and what their median may be at most."""

    what: str
    values: list[float]
    unit: str
    budget: float


def large(count: int) -> dict[str, Any]:
    """A workflow of `count` nodes in columns, all but the first linked."""
    nodes: dict[str, Any] = {}
    layout = {}
    for index in range(count):
        links = {"a": {"node": f"n{index // 2}", "output": "value"}} if index else {}
        nodes[f"n{index}"] = {
            "type": "Calculate",
            "values": {"b": 2, **({} if links else {"a": 1})},
            "links": links,
        }
        layout[f"n{index}"] = {"x": 280 * (index // 25), "y": 190 * (index % 25)}
    return {"format": "nodegraph", "version": 1, "title": f"{count} nodes", "nodes": nodes, "layout": layout}


def figures() -> Iterator[Figure]:
    """Every figure. Raises Skipped where there is no Chromium, no Playwright or no built editor."""
    if importlib.util.find_spec("playwright") is None:
        raise Skipped("Playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if program is None:
        raise Skipped("no Chromium on PATH; on Debian: apt-get install chromium")
    built = bundle.editor()
    if built.folder is None or built.problem is not None:
        raise Skipped(built.problem or "the editor has not been built")
    assets = [path for path in (built.folder / "assets").iterdir() if path.suffix in (".js", ".css")]
    size = sum(len(gzip.compress(path.read_bytes(), 9)) for path in assets) / 1000
    yield Figure("editor, what the browser downloads, compressed", [size], "kB", 250)
    from playwright.sync_api import sync_playwright

    with _served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield Figure(
            "editor, first visit, from the request to usable",
            [_visit(browser, url) for _ in range(VISITS)],
            "s",
            1.5,
        )
        for count, seconds, frame in ((500, 2, 33), (2000, 4, 50)):
            took, frames = _large_graph(browser, url, count)
            yield Figure(f"editor, {count:,} nodes imported and all in view", [took], "s", seconds)
            yield Figure(
                f"editor, {count:,} nodes in view, panned, a frame (mean)",
                [sum(frames) / len(frames)],
                "ms",
                frame,
            )
        browser.close()


@contextmanager
def _served() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "nodegraph", "serve", "--port", "0", "--home", home]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as server:
            assert server.stdout is not None
            try:
                yield server.stdout.readline().strip()
            finally:
                server.terminate()


def _visit(browser: Any, url: str) -> float:
    context = browser.new_context(viewport=WINDOW)
    page = context.new_page()
    page.goto(url)
    page.locator(".node").first.wait_for(timeout=60_000)
    seconds = page.evaluate("performance.now()") / 1000
    context.close()
    return float(seconds)


def _large_graph(browser: Any, url: str, count: int) -> tuple[float, list[float]]:
    """Seconds of an import, and milliseconds of each frame of a pan."""
    context = browser.new_context(viewport=WINDOW, reduced_motion="reduce")
    page = context.new_page()
    page.goto(url)
    page.locator(".node").first.wait_for(timeout=60_000)
    page.evaluate(REST)
    took = page.evaluate(IMPORT, [json.dumps(large(count)), f"n{count - 1}"]) / 1000
    page.evaluate(REST)
    page.mouse.move(40, 450)
    page.mouse.down()
    frames = page.evaluate(PAN, PAN_SECONDS)
    page.mouse.up()
    context.close()
    return took, frames


def main() -> None:
    """Print each figure, or why there is none."""
    try:
        for what, values, unit, budget in figures():
            print(f"{what}: {sorted(values)[len(values) // 2]:.3g} {unit} (at most {budget:g})", flush=True)
    except Skipped as reason:
        print(f"skipped: {reason}")


if __name__ == "__main__":
    main()
