"""Large graphs in the editor: what is drawn from afar and from near, and what a pan changes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from real_server import workflow

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage
from playwright.sync_api import expect

COPIES = 14


def many() -> dict[str, Any]:
    """Text to image, many times one below the other, and two nodes whose type is not installed."""
    one = workflow()
    nodes: dict[str, Any] = {}
    layout: dict[str, Any] = {}
    for number in range(COPIES):
        for name, spec in one["nodes"].items():
            links = {entry: renamed(there, number) for entry, there in spec.get("links", {}).items()}
            nodes[f"{name}_{number}"] = copy.deepcopy({**spec, **({"links": links} if links else {})})
            place = one["layout"][name]
            layout[f"{name}_{number}"] = {**place, "y": place["y"] + 900 * number}
    nodes["odd"] = {
        "type": "NotInstalled",
        "values": {"a": 1},
        "links": {"b": {"node": "model_0", "output": "vae"}},
    }
    nodes["even"] = {"type": "NotInstalled", "links": {"b": {"node": "odd", "output": "c"}}}
    layout |= {"odd": {"x": 0, "y": -400}, "even": {"x": 400, "y": -400}}
    return {"format": "nodegraph", "version": 1, "title": "Large", "nodes": nodes, "layout": layout}


def renamed(there: Any, number: int) -> Any:
    if isinstance(there, list):
        return [renamed(one, number) for one in there]
    return {"node": f"{there['node']}_{number}", "output": there["output"]}


HEIGHTS = """() => Object.fromEntries([...document.querySelectorAll(".svelte-flow__node")]
    .map((node) => [node.dataset.id, node.offsetHeight]))"""

# For each link on the canvas, how far its ends are from the ports that it joins, in pixels on the screen.
GAPS = """() => [...document.querySelectorAll(".svelte-flow__edge")].flatMap((edge) => {
    const [source, output, target, input] = JSON.parse(edge.dataset.id);
    const path = edge.querySelector(".svelte-flow__edge-path");
    const at = (length) => path.getPointAtLength(length).matrixTransform(path.getScreenCTM());
    const gap = (node, side, name, point, edgeOf) => {
        const port = document.querySelector(`.svelte-flow__node[data-id="${node}"] .${side}[data-handleid="${name}"]`);
        const box = port.getBoundingClientRect();
        return Math.hypot(point.x - box[edgeOf], point.y - box.top - box.height / 2);
    };
    return [gap(source, "source", output, at(0), "right"), gap(target, "target", input, at(path.getTotalLength()), "left")];
})"""

# What a pan by a few pixels changes of the page: the names of the attributes, and of what has them.
CHANGES = """async () => {
    const found = new Set();
    const watch = new MutationObserver((records) => {
        for (const { type, target, attributeName } of records) found.add(`${type} ${attributeName} ${target.classList[0]}`);
    });
    watch.observe(document.querySelector(".canvas"), { subtree: true, childList: true, attributes: true });
    for (let step = 1; step <= 10; step += 1) {
        const place = { clientX: 40 + step, clientY: 450, buttons: 1, view: window, bubbles: true };
        window.dispatchEvent(new MouseEvent("mousemove", place));
        await new Promise(requestAnimationFrame);
    }
    return [...found].sort();
}"""


def test_a_large_graph_is_plain_from_afar_and_whole_from_near(editor: EditorPage, tmp_path: Path) -> None:
    document = many()
    file = tmp_path / "large.json"
    file.write_text(json.dumps(document))
    page = editor.page
    editor.drop(file, "application/json")
    count = len(document["nodes"])
    links = sum(len(spec.get("links", {})) for spec in document["nodes"].values())
    expect(page.locator(".plain-title")).to_have_count(count, timeout=PATIENCE)
    expect(page.locator(".svelte-flow__edge")).to_have_count(links)
    expect(page.locator(".pill")).to_have_count(0)
    assert max(page.evaluate(GAPS)) < 1
    guessed = page.evaluate(HEIGHTS)

    page.keyboard.press("Control+f")
    editor.pick("sampler 5")
    expect(editor.field("sampler_5", "seed")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".plain-title")).to_have_count(0)
    measured = page.evaluate(HEIGHTS)
    assert 1 < len(measured) < 40
    for name, height in measured.items():
        assert height == pytest.approx(guessed[name], abs=1), name
    page.wait_for_function(f"() => Math.max(...({GAPS})()) < 1.5")

    editor.field("sampler_5", "seed").fill("99")
    page.evaluate("document.activeElement.blur()")
    document["nodes"]["sampler_5"]["values"]["seed"] = 99
    assert editor.document() == document
    page.keyboard.press("f")
    expect(page.locator(".plain-title")).to_have_count(count, timeout=PATIENCE)
    assert max(page.evaluate(GAPS)) < 1


def test_a_pan_shifts_the_canvas_and_repaints_nothing_of_it(
    editor: EditorPage, chromium: Any, tmp_path: Path
) -> None:
    file = tmp_path / "large.json"
    file.write_text(json.dumps(many()))
    page = editor.page
    editor.drop(file, "application/json")
    expect(page.locator(".plain-title")).to_have_count(9 * COPIES + 2, timeout=PATIENCE)
    page.mouse.move(40, 450)
    page.mouse.down()
    page.mouse.move(44, 452)
    expect(page.locator(".canvas.moving")).to_be_visible()
    chromium.start_tracing(page=page, categories=["disabled-by-default-blink.invalidation", "blink"])
    assert page.evaluate(CHANGES) == ["attributes style frame-in", "attributes style svelte-flow__viewport"]
    events = json.loads(chromium.stop_tracing())["traceEvents"]
    # Not each of the thousand things on the canvas in each of ten frames.
    assert sum(event["name"] == "PaintInvalidator::InvalidatePaint()" for event in events) < 1000
    # Nor is it put into layers anew in each of them.
    assert sum(event["name"] == "PaintArtifactCompositor::Update" for event in events) < 5
    page.mouse.up()
    expect(page.locator(".canvas.moving")).to_have_count(0)
