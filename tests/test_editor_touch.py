"""The editor under fingers: menus, links and zoom without a mouse, and the view that a phone gets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import violations
from real_server import Running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage, middle, opened
from playwright.sync_api import CDPSession, Locator, expect

TOUCH = {"has_touch": True, "is_mobile": True}
TABLET = {"viewport": {"width": 1024, "height": 768}, **TOUCH}
PHONE = {"viewport": {"width": 390, "height": 844}, **TOUCH}
# What can be pressed outside the canvas, where the zoom says how large a thing is, and is smaller than a finger.
SMALL = """() => [...document.querySelectorAll('button, summary, select, input:not([type=range])')]
    .filter((one) => !one.closest('.svelte-flow') && one.checkVisibility() && one.getBoundingClientRect().width)
    .map((one) => (one.type === 'checkbox' ? one.closest('label') : one))
    .filter((one) => { const { width, height } = one.getBoundingClientRect(); return width < 43.9 || height < 43.9; })
    .map((one) => `${one.className} ${one.ariaLabel ?? one.textContent} ${JSON.stringify(one.getBoundingClientRect())}`)"""


class Fingers:
    """Touches as a screen reports them."""

    def __init__(self, editor: EditorPage) -> None:
        self.page = editor.page
        self.screen: CDPSession = editor.page.context.new_cdp_session(editor.page)

    def put(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        self.screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def hold(self, what: Locator | tuple[float, float]) -> None:
        """Hold a finger still until a menu is there, then lift it."""
        self.put("touchStart", what if isinstance(what, tuple) else middle(what))
        expect(self.page.locator(".context")).to_be_visible()
        self.put("touchEnd")
        expect(self.page.locator(".context")).to_be_visible()

    def slide(self, *ways: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Move a finger for each way from its start to its end."""
        self.put("touchStart", *(start for start, _ in ways))
        for step in range(1, 9):
            share = step / 8
            places = [(a + (c - a) * share, b + (d - b) * share) for (a, b), (c, d) in ways]
            self.put("touchMove", *places)
        self.put("touchEnd")


def item(editor: EditorPage, name: str) -> Locator:
    return editor.page.get_by_role("menuitem", name=name)


def view(editor: EditorPage) -> tuple[float, float, float]:
    """Where the canvas is: x, y and zoom."""
    x, y, zoom = editor.page.locator(".svelte-flow__viewport").evaluate(
        "(one) => { const at = new DOMMatrix(getComputedStyle(one).transform); return [at.e, at.f, at.a]; }"
    )
    return x, y, zoom


@pytest.fixture
def tablet(chromium: Any, server: Running) -> Iterator[EditorPage]:
    with opened(chromium, server.url, **TABLET) as editor:
        yield editor


@pytest.fixture
def phone(chromium: Any, server: Running) -> Iterator[EditorPage]:
    with opened(chromium, server.url, **PHONE) as editor:
        yield editor


def test_a_finger_held_still_opens_the_menu_of_what_lies_under_it(tablet: EditorPage) -> None:
    fingers = Fingers(tablet)
    tablet.new()
    fingers.hold((700, 500))
    item(tablet, "Add a node").tap()
    tablet.pick("Encode")
    node = tablet.page.locator(".svelte-flow__node-node")
    expect(node).to_have_count(1)
    fingers.hold(node.locator(".title"))
    item(tablet, "Duplicate").tap()
    expect(node).to_have_count(2)
    fingers.hold(tablet.port("encode_2", "conditioning", "source"))
    expect(item(tablet, "Take its links away")).to_be_disabled()
    item(tablet, "Add a node here").tap()
    tablet.pick("Sampler")
    links = tablet.page.locator(".svelte-flow__edge")
    expect(links).to_have_count(1)
    tablet.still()
    fingers.hold(tablet.port("sampler", "positive"))
    item(tablet, "Take its links away").tap()
    expect(links).to_have_count(0)
    fingers.hold(tablet.port("sampler", "negative"))
    item(tablet, "Link to").tap()
    tablet.pick("encode.conditioning")
    assert tablet.document()["nodes"]["sampler"]["links"] == {
        "negative": {"node": "encode", "output": "conditioning"}
    }


@pytest.mark.slow
def test_a_finger_that_moves_opens_no_menu_and_drags(tablet: EditorPage) -> None:
    fingers = Fingers(tablet)
    x, y, zoom = view(tablet)
    fingers.slide(((500, 700), (560, 660)))
    tablet.still()
    assert view(tablet) == pytest.approx((x + 60, y - 40, zoom), abs=0.5)
    tablet.page.wait_for_timeout(700)
    expect(tablet.page.locator(".context")).to_have_count(0)


def test_links_are_made_by_tapping_a_port_and_then_another(tablet: EditorPage) -> None:
    tablet.new()
    tablet.add("LoadModel")
    tablet.add("Encode")
    tablet.page.keyboard.press("f")
    tablet.still()
    links = tablet.page.locator(".svelte-flow__edge")
    hint = tablet.page.locator(".tap-hint")
    tablet.port("load_model", "text_encoder", "source").tap()
    expect(hint).to_contain_text("text encoder: tap an input that fits")
    expect(tablet.page.locator(".port.fit")).to_have_count(1)
    tablet.port("encode", "text").tap()
    expect(tablet.page.locator(".toast")).to_contain_text("Takes str; this gives TextEncoder")
    tablet.port("encode", "text_encoder").tap()
    expect(links).to_have_count(1)
    expect(hint).to_have_count(0)
    # Begun and let go: by the same port again, by the canvas, by the cross. Nothing is linked by the next tap.
    for let_go in ("port", "canvas", "cross"):
        tablet.port("load_model", "vae", "source").tap()
        expect(hint).to_be_visible()
        if let_go == "port":
            tablet.port("load_model", "vae", "source").tap()
        elif let_go == "canvas":
            tablet.page.touchscreen.tap(500, 700)
        else:
            hint.get_by_role("button").tap()
        expect(hint).to_have_count(0)
    # From an input to an output, which takes the place of the link that was there.
    tablet.port("encode", "text_encoder").tap()
    expect(hint).to_contain_text("tap an output that fits")
    tablet.port("load_model", "text_encoder", "source").tap()
    expect(hint).to_have_count(0)
    expect(links).to_have_count(1)


@pytest.mark.slow
def test_two_fingers_zoom_also_where_one_lies_on_a_node(tablet: EditorPage) -> None:
    fingers = Fingers(tablet)
    tablet.still()
    x, y = middle(tablet.node("sampler").locator(".title"))
    before = tablet.document()["layout"]
    _, _, zoom = view(tablet)
    fingers.slide(((x, y), (x - 40, y)), ((x + 60, 700), (x + 200, 740)))
    tablet.still()
    first = view(tablet)
    assert first[2] > 1.1 * zoom
    assert tablet.document()["layout"] == before
    # What comes after is a new gesture: one finger on the canvas moves it and zooms nothing.
    fingers.slide(((500, 740), (540, 710)))
    tablet.still()
    assert view(tablet) == pytest.approx((first[0] + 40, first[1] - 30, first[2]), abs=0.5)
    tablet.node("sampler").locator(".title").tap()
    expect(tablet.node("sampler").locator(".node.selected")).to_be_visible()


@pytest.mark.slow
def test_all_that_is_pressed_is_as_large_as_a_finger(tablet: EditorPage) -> None:
    page = tablet.page
    assert page.evaluate(SMALL) == []
    page.get_by_role("button", name="Node", exact=True).tap()
    expect(page.locator(".menu")).to_be_visible()
    assert page.evaluate(SMALL) == []
    page.keyboard.press("Escape")
    for panel in ("Queue", "Gallery"):
        page.get_by_role("button", name=panel).tap()
        expect(page.locator(".dock")).to_be_visible()
        assert page.evaluate(SMALL) == []
    for keys in ("Control+o", "?", "Control+,"):
        page.keyboard.press(keys)
        expect(page.locator("dialog")).to_be_visible()
        assert page.evaluate(SMALL) == []
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)


def test_a_phone_shows_the_picture_and_the_values_and_runs(phone: EditorPage, server: Running) -> None:
    page = phone.page
    before = len(server.get("/api/gallery").json["artifacts"])
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(SMALL) == []
    assert violations(page) == []
    labels = page.locator(".phone main > .entries legend")
    assert labels.all_inner_texts() == ["prompt", "negative", "sampler"]
    text = page.locator(".phone textarea").first
    text.fill("a green apple")
    page.get_by_label("seed", exact=True).fill("11")
    page.locator("summary").tap()
    page.get_by_label("steps", exact=True).fill("4")
    phone.watch('.phone [role="progressbar"]', ".phone .result img")
    page.locator(".run").tap()
    phone.saw('.phone [role="progressbar"]')
    expect(page.locator(".phone .told.succeeded")).to_be_visible(timeout=2 * PATIENCE)
    expect(page.locator(".phone .result button img")).to_be_visible()
    expect(page.locator(".gallery .tile")).to_have_count(before + 1)
    page.locator(".phone .result button").tap()
    expect(page.locator("dialog img").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    # The graph is the same workflow, a step away and back.
    page.get_by_role("button", name="Graph").tap()
    phone.node("sampler").wait_for()
    assert page.evaluate(SMALL) == []
    nodes = phone.document()["nodes"]
    assert nodes["prompt"]["values"]["text"] == "a green apple"
    assert nodes["sampler"]["values"]["seed"] == 11
    assert nodes["schedule"]["values"]["steps"] == 4
    page.get_by_role("button", name="Pictures and values").tap()
    expect(text).to_have_value("a green apple")


def test_a_phone_says_of_an_earlier_picture_what_it_is(phone: EditorPage, server: Running) -> None:
    document = {
        "format": "nodegraph",
        "version": 1,
        "title": "A sketch",
        "nodes": {
            "sketch": {"type": "LoadImage", "values": {"image": "images/sketch.png"}},
            "save": {
                "type": "SaveImage",
                "values": {"name": "drawn"},
                "links": {"image": {"node": "sketch", "output": "image"}},
            },
        },
    }
    assert server.ask("POST", "/api/runs", {"workflow": document}).status == 201
    page = phone.page
    earlier = page.locator(".phone .earlier")
    expect(earlier).to_contain_text("Made before: drawn", timeout=PATIENCE)
    assert page.evaluate(SMALL) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    earlier.get_by_role("button", name="Open what made it").tap()
    expect(page.locator(".phone select option").filter(has_text="A sketch")).to_have_count(1)
    expect(earlier).to_have_count(0)


def test_a_phone_is_no_wider_for_long_names(phone: EditorPage, tmp_path: Path) -> None:
    long = "<img-src=x-onerror=hurt>" * 8
    nodes = {
        "words": {"type": "Text", "title": long, "values": {"text": long}},
        long[1:60].replace("<", "").replace(">", "").replace("=", ""): {"type": long},
    }
    document = {"format": "nodegraph", "version": 1, "title": long, "nodes": nodes}
    (tmp_path / "long.json").write_text(json.dumps(document))
    phone.drop(tmp_path / "long.json", "application/json")
    expect(phone.page.locator(".phone select option").filter(has_text="onerror")).to_have_count(1)
    expect(phone.page.locator(".phone textarea").first).to_have_value(long)
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 390
    expect(phone.page.locator(".run")).to_be_in_viewport()


@pytest.mark.slow
def test_a_phone_says_what_is_wrong_and_leads_there(phone: EditorPage) -> None:
    page = phone.page
    page.locator("summary").tap()
    page.get_by_label("steps", exact=True).fill("0")
    page.get_by_label("steps", exact=True).press("Enter")
    expect(page.locator(".phone .messages")).to_contain_text("1 is the least")
    page.locator(".run").tap()
    expect(phone.node("schedule").locator(".messages")).to_contain_text("1 is the least")


def test_a_finger_beside_a_small_target_means_it(tablet: EditorPage) -> None:
    page = tablet.page
    tablet.still()
    zoom = view(tablet)[2]
    pills = tablet.node("schedule").locator(".pill")
    boxes = [pills.nth(at).bounding_box() or {} for at in range(pills.count())]
    # They look as they do under a mouse, and no place between two of them means neither.
    assert all(round(box["height"] / zoom) == 26 for box in boxes)
    gap = boxes[2]["y"] - boxes[1]["y"] - boxes[1]["height"]
    assert round(gap / zoom) == 4
    steps = tablet.field("schedule", "steps")
    box = steps.bounding_box() or {}
    x = box["x"] + box["width"] / 2
    page.touchscreen.tap(x, boxes[1]["y"] + boxes[1]["height"] + 0.3 * gap)
    expect(steps).to_be_focused()
    page.keyboard.press("Escape")
    # The button that folds a node reaches above it.
    fold = tablet.node("schedule").locator(".fold").first
    x, y = middle(fold)
    page.touchscreen.tap(x, y - 16 * zoom)
    expect(tablet.node("schedule").locator(".node")).to_have_class(re.compile("collapsed"))


def test_a_finger_bends_the_link_that_it_has_chosen_and_by_any_other_moves_the_canvas(tablet: EditorPage) -> None:
    fingers = Fingers(tablet)
    page = tablet.page
    dots = page.locator(".bend button")
    x, y = tablet.edge("sampler.latent", "decode.latent")
    before = view(tablet)
    fingers.slide(((x, y), (x + 5, y + 60)))
    tablet.still()
    expect(dots).to_have_count(0)
    assert view(tablet)[1] == pytest.approx(before[1] + 60, abs=15)

    x, y = tablet.edge("sampler.latent", "decode.latent")
    page.touchscreen.tap(x, y)
    expect(page.locator(".svelte-flow__edge.selected")).to_have_count(1)
    before = view(tablet)
    fingers.slide(((x, y), (x + 5, y + 60)))
    expect(dots).to_have_count(1)
    assert middle(dots) == pytest.approx((x + 5, y + 60), abs=1)
    assert view(tablet) == before
    page.keyboard.press("Control+z")
    expect(dots).to_have_count(0)

    # A second finger takes over: the link is as it was, and the canvas is zoomed.
    page.touchscreen.tap(x, y)
    expect(page.locator(".svelte-flow__edge.selected")).to_have_count(1)
    fingers.put("touchStart", (x, y))
    fingers.put("touchMove", (x, y + 30))
    expect(dots).to_have_count(1)
    fingers.put("touchStart", (x, y + 30), (x + 200, y + 30))
    expect(dots).to_have_count(0)
    fingers.put("touchMove", (x, y + 30), (x + 300, y + 30))
    fingers.put("touchEnd")
    tablet.still()
    assert view(tablet)[2] > 1.2 * before[2]
    assert "bends" not in tablet.document()


def test_a_finger_on_a_port_under_the_link_of_a_chosen_node_means_the_port(
    tablet: EditorPage, tmp_path: Path
) -> None:
    nodes = {
        name: {"type": "MaskFromShape", "values": {"width": 64, "height": 64}} for name in ("shape", "between")
    }
    mask = {"mask": {"node": "shape", "output": "mask"}}
    nodes |= {"picture": {"type": "MaskToImage", "links": mask}, "below": {"type": "MaskToImage"}}
    places = {"shape": (0, 0), "between": (300, 0), "picture": (700, 0), "below": (700, 300)}
    layout = {name: {"x": x, "y": y} for name, (x, y) in places.items()}
    file = tmp_path / "under.json"
    file.write_text(json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes, "layout": layout}))
    fingers = Fingers(tablet)
    page = tablet.page
    tablet.drop(file, "application/json")
    expect(tablet.node("below")).to_be_visible()
    tablet.still()
    tablet.node("picture").locator(".head").tap()
    port, entry = tablet.port("between", "mask", "source"), tablet.port("below", "mask")
    at = middle(port)
    on_top = page.evaluate("([x, y]) => document.elementFromPoint(x, y).getAttribute('class')", at)
    assert "svelte-flow__edge-interaction" in on_top  # the link runs over the port
    links = page.locator(".svelte-flow__edge")

    # Drawn from there, tapped, and held, each time the port is meant and the link is left as it is.
    fingers.slide((at, middle(entry)))
    expect(links).to_have_count(2)
    page.keyboard.press("Control+z")
    expect(links).to_have_count(1)
    tablet.node("picture").locator(".head").tap()
    page.touchscreen.tap(*at)
    expect(page.locator(".tap-hint")).to_contain_text("mask: tap an input that fits")
    entry.tap()
    expect(links).to_have_count(2)
    page.keyboard.press("Control+z")
    expect(links).to_have_count(1)
    tablet.node("picture").locator(".head").tap()
    fingers.hold(at)
    expect(item(tablet, "Take its links away")).to_be_disabled()
    page.keyboard.press("Escape")
    made = tablet.document()
    assert made["nodes"]["picture"]["links"] == mask
    assert "bends" not in made
    # Beside it the link is met as ever.
    x, y = tablet.edge("shape.mask", "picture.mask")
    page.touchscreen.tap(x + 60, y)
    expect(page.locator(".svelte-flow__edge.selected")).to_have_count(1)
