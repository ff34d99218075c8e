"""The panels of the editor in a real browser, on a real server with a real worker and the embedded model."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import violations
from PIL import Image
from real_server import Running, running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage, opened
from playwright.sync_api import expect

PLUGIN = '''
import time
import torch
from nodegraph import Context, node, pictures

@node(category="test", effect="files")
def Paint(context: Context, seed: int = 0, width: int = 48) -> None:
    """Save a picture of noise."""
    tensor = torch.rand(3, 32, width, generator=torch.Generator().manual_seed(seed))
    context.save(f"paint {seed}", ".png", pictures.encode_png(tensor, context.metadata))

@node(category="test", effect="always")
def Train(context: Context, steps: int = 6, seconds: float = 0.2) -> None:
    """Take some time and tell numbers."""
    for step in range(steps):
        time.sleep(seconds)
        context.progress(step + 1, steps, f"loss {1 / (step + 1):.4f}, 12 images/s")
'''
INPAINT = {
    "format": "nodegraph",
    "version": 1,
    "title": "Repaint",
    "nodes": {
        "model": {"type": "LoadModel", "values": {"checkpoint": "emoji"}},
        "prompt": {
            "type": "Encode",
            "values": {"text": "a green apple", "style": "3d"},
            "links": {"text_encoder": {"node": "model", "output": "text_encoder"}},
        },
        "sketch": {"type": "LoadImage", "values": {"image": "images/sketch.png"}},
        "schedule": {
            "type": "Schedule",
            "values": {"steps": 4},
            "links": {"model": {"node": "model", "output": "model"}},
        },
        "inpaint": {
            "type": "MaskInpaint",
            "links": {
                "vae": {"node": "model", "output": "vae"},
                "image": {"node": "sketch", "output": "image"},
            },
        },
        "sampler": {
            "type": "Sampler",
            "values": {"seed": 3, "guidance_scale": 1.0},
            "links": {
                "model": {"node": "model", "output": "model"},
                "positive": {"node": "prompt", "output": "conditioning"},
                "latent": {"node": "inpaint", "output": "latent"},
                "sigmas": {"node": "schedule", "output": "sigmas"},
            },
        },
        "decode": {
            "type": "VAEDecode",
            "links": {
                "vae": {"node": "model", "output": "vae"},
                "latent": {"node": "sampler", "output": "latent"},
            },
        },
        "composite": {
            "type": "CompositeImage",
            "links": {
                "below": {"node": "sketch", "output": "image"},
                "above": {"node": "decode", "output": "image"},
            },
        },
        "save": {
            "type": "SaveImage",
            "values": {"name": "repainted"},
            "links": {"image": {"node": "composite", "output": "image"}},
        },
    },
    "layout": {
        "model": {"x": 0, "y": 0},
        "prompt": {"x": 260, "y": 0},
        "sketch": {"x": 0, "y": 200},
        "schedule": {"x": 260, "y": 260},
        "inpaint": {"x": 620, "y": 420},
        "sampler": {"x": 880, "y": 0},
        "decode": {"x": 1140, "y": 0},
        "composite": {"x": 1140, "y": 200},
        "save": {"x": 1400, "y": 200},
    },
}


def single(type: str, title: str, **values: Any) -> dict[str, Any]:
    return {"format": "nodegraph", "version": 1, "title": title, "nodes": {"it": {"type": type, "values": values}}}


@pytest.fixture(scope="module")
def server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    (home / "plugins").mkdir()
    (home / "plugins" / "paint.py").write_text(PLUGIN)
    with running(home) as started:
        assert started.ask("PUT", "/api/workflows/repaint", {"workflow": INPAINT}).status == 201
        yield started


@pytest.fixture
def page(chromium: Any, server: Running) -> Iterator[Any]:
    """The editor, open; afterwards nothing may have been logged as an error."""
    permissions = ["clipboard-read", "clipboard-write"]
    with opened(chromium, server.url, viewport={"width": 1400, "height": 900}, permissions=permissions) as editor:
        yield editor.page
        server.ask("POST", "/api/queue/resume")
        # Tests pull the plug, and read the mask from the screen; what the browser says to that is no surprise.
        own = ("ERR_INTERNET_DISCONNECTED", "willReadFrequently")
        editor.errors = [error for error in editor.errors if not any(one in error for one in own)]


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
    return found


def submit(server: Running, workflow: dict[str, Any]) -> str:
    answer = server.ask("POST", "/api/runs", {"workflow": workflow})
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def over(server: Running, run: str) -> dict[str, Any]:
    """The run, once it has ended well."""

    def ended() -> Any:
        found = server.get(f"/api/runs/{run}").json
        return found if found["status"] not in ("queued", "running") else None

    found: dict[str, Any] = until(ended)
    assert found["status"] == "succeeded", found
    return found


def picture(server: Running, path: str) -> np.ndarray[Any, Any]:
    answer = server.get(path)
    assert answer.status == 200
    return np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB")).astype(int)


def open_stored(page: Any, name: str) -> None:
    page.keyboard.press("Control+o")
    page.get_by_role("dialog").get_by_role("button", name=name).first.click()
    page.wait_for_selector(".svelte-flow__node[data-id=inpaint]")
    EditorPage(page, "").still()


def spot(page: Any, x: float, y: float) -> tuple[float, float]:
    """A place on the screen, as a share of the painted picture's width and height."""
    box = page.locator(".painter canvas").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page: Any, *places: tuple[float, float]) -> None:
    page.mouse.move(*spot(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*spot(page, *place), steps=6)
    page.mouse.up()


def painted(page: Any) -> np.ndarray[Any, Any]:
    """How opaque the mask is drawn, 0 to 255."""
    width, height, alphas = page.evaluate(
        """() => { const canvas = document.querySelector('.painter canvas');
            const {width, height} = canvas;
            const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
            return [width, height, Array.from({length: width * height}, (_, at) => pixels[4 * at + 3])]; }"""
    )
    return np.array(alphas).reshape(height, width)


def test_a_mask_is_painted_and_what_it_covers_is_repainted(page: Any, server: Running) -> None:
    open_stored(page, "repaint")
    page.locator(".svelte-flow__node[data-id=inpaint] .paint").click()
    page.wait_for_selector(".painter canvas")
    until(lambda: page.locator(".painter canvas").evaluate("(canvas) => canvas.width") != 300)
    assert painted(page).max() == 0

    drag(page, (0.15, 0.2), (0.4, 0.2), (0.4, 0.35))
    drawn = painted(page)
    height, width = drawn.shape
    assert drawn[int(0.2 * height), int(0.3 * width)] > 100
    assert drawn[int(0.8 * height), int(0.8 * width)] == 0

    drag(page, (0.7, 0.7), (0.8, 0.8))
    assert painted(page)[int(0.75 * height), int(0.75 * width)] > 100
    page.keyboard.press("Control+z")
    assert np.array_equal(painted(page), drawn)
    page.keyboard.press("i")
    assert painted(page)[int(0.8 * height), int(0.8 * width)] > 100
    page.keyboard.press("i")
    assert np.array_equal(painted(page), drawn)
    size = int(page.locator(".painter output").first.inner_text())
    page.keyboard.press("]")
    page.keyboard.press("]")
    assert int(page.locator(".painter output").first.inner_text()) > size
    page.keyboard.press("e")
    drag(page, (0.4, 0.35), (0.4, 0.35))
    assert painted(page)[int(0.35 * height), int(0.4 * width)] == 0
    page.keyboard.press("Control+z")

    before = page.locator(".painter canvas").bounding_box()["width"]
    page.mouse.move(*spot(page, 0.5, 0.5))
    page.mouse.wheel(0, -300)
    until(lambda: page.locator(".painter canvas").bounding_box()["width"] > before * 1.2)
    page.keyboard.down(" ")
    left = page.locator(".painter canvas").bounding_box()["x"]
    start = spot(page, 0.5, 0.5)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 60, start[1], steps=3)
    page.mouse.up()
    page.keyboard.up(" ")
    until(lambda: page.locator(".painter canvas").bounding_box()["x"] == pytest.approx(left + 60, abs=2))
    assert np.array_equal(painted(page), drawn), "dragging the picture painted"
    assert violations(page, ".painter") == []

    page.get_by_role("button", name="Use this mask").click()
    page.wait_for_selector(".svelte-flow__node[data-id=mask_picture]")
    assert not page.locator(".painter").count()
    stored = picture(server, "/api/uploads/sketch-mask.png")
    assert stored.shape == (height, width, 3)
    assert stored[int(0.2 * height), int(0.3 * width)].tolist() == [255, 255, 255]
    assert stored[int(0.8 * height), int(0.8 * width)].tolist() == [0, 0, 0]

    # The painted mask also decides where the result is laid over the picture.
    page.locator("[aria-label^='Output mask of mask,']").drag_to(
        page.locator("[aria-label^='Input mask of composite,']")
    )
    page.keyboard.press("Control+Enter")
    run = until(
        lambda: next((one for one in server.get("/api/runs").json["runs"] if one["title"] == "Repaint"), None)
    )
    artifact = over(server, run["id"])["artifacts"][0]
    result = picture(server, artifact["content"])
    source = picture(server, "/api/uploads/images%2Fsketch.png")
    assert result.shape == source.shape
    change = np.abs(result - source).max(axis=2)
    covered = stored[:, :, 0]
    assert change[covered == 0].max() <= 1, "what is kept was changed"
    assert change[covered == 255].mean() > 8, "what is covered was not repainted"

    page.locator(".svelte-flow__node[data-id=inpaint] .head").click()
    page.keyboard.press("m")
    page.wait_for_selector(".painter canvas")
    until(lambda: painted(page).max() > 0)
    again = painted(page)
    assert np.abs(again.astype(int) - drawn).max() <= 1, "the saved mask is not the one that is gone on with"
    page.keyboard.press("Escape")
    page.wait_for_selector(".painter", state="detached")


def touch(page: Any, kind: str, *places: tuple[float, float]) -> None:
    points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(places)]
    page.touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})


@pytest.mark.slow
def test_a_pen_presses_and_two_fingers_move_the_picture(page: Any) -> None:
    open_stored(page, "repaint")
    page.locator(".svelte-flow__node[data-id=inpaint] .paint").click()
    page.wait_for_selector(".painter canvas")
    until(lambda: page.locator(".painter canvas").evaluate("(canvas) => canvas.width") != 300)
    page.touch = page.context.new_cdp_session(page)

    def press(x: float, y: float, force: float) -> int:
        before = int((painted(page) > 60).sum())
        across, down = spot(page, x, y)
        pen = {"x": across, "y": down, "button": "left", "pointerType": "pen", "force": force, "clickCount": 1}
        page.touch.send("Input.dispatchMouseEvent", {"type": "mousePressed", **pen})
        page.touch.send("Input.dispatchMouseEvent", {"type": "mouseReleased", **pen})
        return int((painted(page) > 60).sum()) - before

    light, firm = press(0.2, 0.5, 0.2), press(0.8, 0.5, 1.0)
    assert 0 < light < firm / 4

    drawn = painted(page)
    box = page.locator(".painter canvas").bounding_box()
    left, right = spot(page, 0.4, 0.4), spot(page, 0.6, 0.4)
    touch(page, "Start", left)
    touch(page, "Start", left, right)
    touch(page, "Move", (left[0] - 60, left[1]), (right[0] + 60, right[1]))
    touch(page, "End")
    until(lambda: page.locator(".painter canvas").bounding_box()["width"] > box["width"] * 1.5)
    assert np.array_equal(painted(page), drawn), "moving with two fingers painted"
    touch(page, "Start", spot(page, 0.5, 0.5))
    touch(page, "End")
    assert (painted(page) > 60).sum() > (drawn > 60).sum(), "one finger does not paint"


def test_the_gallery_shows_enlarges_opens_compares_and_deletes(page: Any, server: Running) -> None:
    for seed in (1, 2, 3):
        over(server, submit(server, single("Paint", f"Noise {seed}", seed=seed)))
    tiles = gallery(page, "paint 3", "paint 2", "paint 1")
    assert tiles.first.locator("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    assert violations(page, ".dock") == []

    tiles.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    box = page.locator("dialog.lightbox")
    expect(box).to_have_attribute("aria-label", re.compile("paint 2"))
    page.keyboard.press("ArrowRight")
    expect(box).to_have_attribute("aria-label", re.compile("paint 1"))
    box.get_by_role("button", name="Copy seed").click()
    until(lambda: page.evaluate("navigator.clipboard.readText()") == "1")
    with page.expect_download() as download:
        box.get_by_role("link", name="Download").click()
    assert Image.open(io.BytesIO(download.value.path().read_bytes())).size == (48, 32)
    assert violations(page, ".lightbox") == []
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(tiles.nth(2)).to_be_focused()  # what was seen last, not what was opened

    tiles.nth(0).focus()
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    page.keyboard.press("c")
    compared = page.locator("dialog.compare")
    clip = compared.locator("img").nth(1)
    expect(compared.locator("img")).to_have_count(2)
    left, right = (compared.locator(f".name.{side}") for side in ("start", "end"))
    expect(left).to_be_visible()
    expect(right).to_be_visible()
    assert right.bounding_box()["x"] > left.bounding_box()["x"] + 400
    before = clip.evaluate("(image) => getComputedStyle(image).clipPath")
    slider = compared.get_by_role("slider")
    slider.focus()
    page.keyboard.press("End")
    until(lambda: clip.evaluate("(image) => getComputedStyle(image).clipPath") != before)
    assert violations(page, ".compare") == []
    line = compared.locator(".line").bounding_box()
    page.mouse.move(line["x"] + line["width"] / 2, line["y"] + 200)
    page.mouse.down()
    page.mouse.move(700, line["y"] + 200, steps=4)
    page.mouse.up()
    until(lambda: 40 < float(slider.input_value()) < 60)
    page.keyboard.press("Escape")
    expect(compared).to_have_count(0)

    tiles.nth(1).click()
    box.get_by_role("button", name="Open its workflow").click()
    expect(page.locator(".tab", has_text="Noise 2")).to_have_count(1)
    page.wait_for_selector(".svelte-flow__node[data-id=it]")

    newest = server.get("/api/gallery").json["artifacts"][0]
    tiles.first.focus()
    page.keyboard.press("Enter")
    box.get_by_role("button", name="Delete", exact=True).click()
    expect(box).to_have_attribute("aria-label", re.compile("paint 2"))
    assert server.get(newest["content"]).status == 404
    box.get_by_role("button", name="Undo deleting").click()
    expect(box).to_have_attribute("aria-label", re.compile("paint 3"))
    assert server.get(newest["content"]).status == 200
    box.get_by_role("button", name="Delete", exact=True).click()
    expect(box).to_have_attribute("aria-label", re.compile("paint 2"))
    page.keyboard.press("Escape")
    expect(tiles.first).to_have_attribute("aria-label", re.compile("paint 2"))
    expect(tiles.first).to_be_focused()


@pytest.mark.slow
def test_everything_in_the_gallery_by_keyboard_alone(page: Any, server: Running) -> None:
    for seed in (31, 32, 33):
        over(server, submit(server, single("Paint", f"Noise {seed}", seed=seed)))
    keys = page.keyboard
    tiles = gallery(page, "paint 33", "paint 32", "paint 31")
    tabs = page.locator(".tab")
    for _ in range(80):
        keys.press("Tab")
        if page.evaluate("document.activeElement.matches('.tile')"):
            break
    expect(tiles.first).to_be_focused()
    keys.press("ArrowRight")
    keys.press("s")
    until(lambda: page.evaluate("navigator.clipboard.readText()") == "32")
    keys.press("Delete")
    expect(tiles.nth(1)).to_have_attribute("aria-label", re.compile("paint 31"))
    keys.press("Delete")
    expect(page.locator('.tile[aria-label^="paint 31"]')).to_have_count(0)
    expect(page.locator(".tile:focus")).to_have_count(1)
    for back in ("paint 31", "paint 32"):
        keys.press("Control+z")
        expect(page.locator(".tile:focus")).to_have_attribute("aria-label", re.compile(back))
    expect(tiles.nth(1)).to_be_focused()  # each is back at its place
    names = [one["name"] for one in server.get("/api/gallery").json["artifacts"][:3]]
    assert [re.sub(r"-0.*", "", name) for name in names] == ["paint 33", "paint 32", "paint 31"]

    box, compared = page.locator("dialog.lightbox"), page.locator("dialog.compare")
    keys.press("Enter")
    expect(box).to_have_attribute("aria-label", re.compile("paint 32"))
    keys.press("s")
    until(lambda: page.evaluate("navigator.clipboard.readText()") == "32")
    keys.press("c")
    expect(compared).to_be_visible()
    keys.press("Escape")
    expect(compared).to_have_count(0)
    keys.press("Delete")
    expect(box).to_have_attribute("aria-label", re.compile("paint 31"))
    keys.press("Control+z")
    expect(box).to_have_attribute("aria-label", re.compile("paint 32"))
    keys.press("o")
    expect(box).to_have_count(0)
    expect(tabs.filter(has_text="Noise 32")).to_have_count(1)
    page.locator(".tile[tabindex='0']").focus()
    keys.press("ArrowRight")
    keys.press("o")
    expect(tabs.filter(has_text="Noise 31")).to_have_count(1)


def gallery(page: Any, *names: str) -> Any:
    """The tiles of the gallery, opened, once it begins with these pictures."""
    page.keyboard.press("g")
    tiles = page.locator(".gallery .tile")
    for index, name in enumerate(names):
        expect(tiles.nth(index)).to_have_attribute("aria-label", re.compile(name), timeout=PATIENCE)
    return tiles


@pytest.mark.slow
def test_the_place_in_the_gallery_stays_when_pictures_come_and_go(page: Any, server: Running) -> None:
    for seed in (11, 12, 13):
        over(server, submit(server, single("Paint", f"Noise {seed}", seed=seed)))
    tiles = gallery(page, "paint 13", "paint 12", "paint 11")
    tiles.nth(1).focus()
    over(server, submit(server, single("Paint", "Noise 14", seed=14)))
    expect(tiles.first).to_have_attribute("aria-label", re.compile("paint 14"), timeout=PATIENCE)
    expect(tiles.nth(2)).to_be_focused()
    assert tiles.nth(2).get_attribute("tabindex") == "0"
    page.keyboard.press("ArrowLeft")
    expect(tiles.nth(1)).to_be_focused()
    expect(tiles.nth(1)).to_have_attribute("aria-label", re.compile("paint 13"))
    # What is deleted, here or elsewhere, leaves the focus to the picture that takes its place.
    page.keyboard.press("Delete")
    expect(tiles.nth(1)).to_have_attribute("aria-label", re.compile("paint 12"))
    expect(tiles.nth(1)).to_be_focused()
    elsewhere = server.get("/api/gallery").json["artifacts"][1]
    server.ask("DELETE", f"/api/artifacts/{elsewhere['id']}")
    expect(tiles.nth(1)).to_have_attribute("aria-label", re.compile("paint 11"))
    expect(tiles.nth(1)).to_be_focused()


def test_an_answer_that_comes_late_takes_no_picture_out_of_the_gallery(page: Any, server: Running) -> None:
    over(server, submit(server, single("Paint", "Noise 21", seed=21)))
    gallery(page, "paint 21")
    held: list[Any] = []
    page.route("**/api/gallery*", lambda route: held.append(route))
    page.reload()
    page.wait_for_selector(".svelte-flow__node")
    until(lambda: page.wait_for_timeout(20) or held)
    answer = held[0].fetch()
    over(server, submit(server, single("Paint", "Noise 22", seed=22)))
    page.keyboard.press("g")
    tiles = page.locator(".gallery .tile")
    expect(tiles).to_have_count(1, timeout=PATIENCE)
    held[0].fulfill(response=answer)
    expect(tiles.nth(1)).to_have_attribute("aria-label", re.compile("paint 21"))
    expect(tiles.first).to_have_attribute("aria-label", re.compile("paint 22"))


def test_the_queue_is_paused_reordered_and_cleared(page: Any, server: Running) -> None:
    page.keyboard.press("q")
    panel = page.locator(".queue")
    panel.get_by_role("button", name="Pause").click()
    until(lambda: server.get("/api/queue").json["paused"])
    runs = [submit(server, single("Train", name, steps=2)) for name in ("One", "Two", "Three", "Four")]
    waiting = panel.locator("ol > li")
    until(lambda: waiting.count() == 4)

    waiting.nth(2).focus()
    page.keyboard.press("Alt+ArrowUp")
    until(lambda: server.get("/api/queue").json["queued"] == [runs[0], runs[2], runs[1], runs[3]])
    expect(waiting.nth(1)).to_have_attribute("aria-label", re.compile("Three, 2 of 4"))
    waiting.nth(3).drag_to(waiting.nth(0))
    until(lambda: server.get("/api/queue").json["queued"][0] == runs[3])
    panel.get_by_label("Priority of Two").select_option("10")
    until(lambda: server.get("/api/queue").json["queued"][0] == runs[1])
    until(lambda: "Two" in waiting.nth(0).inner_text())
    assert violations(page, ".dock") == []

    panel.get_by_role("button", name="Cancel Two").click()
    until(lambda: server.get(f"/api/runs/{runs[1]}").json["status"] == "cancelled")
    until(lambda: waiting.count() == 3)
    panel.get_by_role("button", name="Clear").click()
    panel.get_by_role("button", name="Cancel 3 waiting").click()
    until(lambda: waiting.count() == 0)
    until(lambda: server.get(f"/api/runs/{runs[0]}").json["status"] == "cancelled")

    panel.get_by_role("button", name="Go on").click()
    last = submit(server, single("Train", "Long", steps=30))
    bar = panel.get_by_role("progressbar")
    until(lambda: bar.count() and int(bar.get_attribute("aria-valuenow") or 0) > 20)
    panel.get_by_role("button", name="Long", exact=True).click()
    page.locator(".tab", has_text="Long").wait_for()
    plot = page.locator(".svelte-flow__node[data-id=it] button.plot").first
    plot.wait_for(timeout=20_000)
    over(server, last)
    plot.click()
    expect(page.get_by_role("dialog")).to_contain_text("loss")
    page.keyboard.press("Escape")
    until(lambda: "Long" in panel.locator(".over").first.inner_text())


def test_a_lost_connection_is_taken_up_where_it_broke(page: Any, server: Running) -> None:
    page.keyboard.press("q")
    page.context.set_offline(True)
    run = submit(server, single("Train", "Meanwhile", steps=1))
    over(server, run)
    page.context.set_offline(False)
    until(lambda: "Meanwhile" in page.locator(".queue").inner_text())


def test_the_panels_speak_chinese(page: Any, server: Running) -> None:
    page.evaluate("localStorage.setItem('nodegraph.locale', 'zh')")
    page.reload()
    page.wait_for_selector(".svelte-flow__node")
    page.keyboard.press("q")
    expect(page.locator(".queue")).to_contain_text("暂停")
    expect(page.locator("html")).to_have_attribute("lang", "zh")


def test_the_page_may_run_no_script_but_its_own_files(server: Running) -> None:
    policy = server.get("/").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-eval" not in policy


def test_a_server_with_a_token_asks_for_it(chromium: Any, tmp_path: Path) -> None:
    with running(tmp_path / "home", "--token", "open sesame, please") as server:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        box = page.get_by_role("dialog")
        box.get_by_label("Token").fill("guess")
        box.get_by_role("button", name="Open the editor").click()
        box.get_by_role("alert").wait_for()
        assert violations(page, "dialog") == []
        box.get_by_label("Token").fill("open sesame, please")
        page.keyboard.press("Enter")
        page.wait_for_selector(".svelte-flow__node")
        context.close()
