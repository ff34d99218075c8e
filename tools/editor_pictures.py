"""Makes the pictures of the editor in docs/images: drives it in Chromium against a server of its own.

python tools/editor_pictures.py [NAME ...]
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "images"
SIZE = (1280, 800)
MINUTES = 5 * 60_000.0  # milliseconds that a run may take
Scene = Callable[[Page], None]
SCENES: dict[str, tuple[Literal["dark", "light"], Scene]] = {}


def scene(name: str, scheme: Literal["dark", "light"] = "dark") -> Callable[[Scene], Scene]:
    """The picture of this name is taken when the function returns."""

    def keep(function: Scene) -> Scene:
        SCENES[name] = (scheme, function)
        return function

    return keep


def node(name: str, within: str = "") -> str:
    """A selector of something in a node."""
    return f'.svelte-flow__node[data-id="{name}"] {within}'


def run(page: Page) -> None:
    """Run the workflow in view and wait until it is done."""
    page.keyboard.press("Control+Enter")
    page.locator(".told.running, .told.queued").wait_for(timeout=MINUTES)
    page.locator(".told.succeeded").wait_for(timeout=MINUTES)


def put(page: Page, name: str, entry: str, text: str) -> None:
    """Type a value into a node's field."""
    field = page.locator(node(name, f'[data-input="{entry}"] input[type=text]'))
    field.fill(text)
    field.press("Enter")
    field.blur()


def drag(page: Page, start: tuple[float, float], *places: tuple[float, float]) -> None:
    """Drag with the mouse, and hold the button at the end."""
    page.mouse.move(*start)
    page.mouse.down()
    for place in places:
        page.mouse.move(*place, steps=8)


def middle(page: Page, selector: str) -> tuple[float, float]:
    """Where something is on the page."""
    box = page.locator(selector).first.bounding_box()
    assert box is not None, f"{selector} is not to be seen"
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def half_done(page: Page, name: str) -> None:
    """Start a run and wait until a node has previewed half of its steps."""
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        """(selector) => {
            const told = document.querySelector(`${selector} .busy`)?.textContent ?? '';
            const [step, total] = told.split('/').map(Number);
            return step >= total / 2 && document.querySelector(`${selector} .picture img`)?.naturalWidth > 0;
        }""",
        arg=node(name),
        timeout=MINUTES,
        polling=20,
    )


@scene("editor-run")
def running(page: Page) -> None:
    """The second run of an example, its seed changed: what is there already is marked, the time left is known."""
    put(page, "sampler", "seed", "6")
    run(page)
    put(page, "sampler", "seed", "7")
    half_done(page, "sampler")


@scene("editor-search")
def dropped_link(page: Page) -> None:
    """A link from a latent, let go on the canvas."""
    drag(page, middle(page, node("sampler", ".port.source")), (720, 280), (740, 290))
    page.mouse.up()
    page.locator(".picker").wait_for()


# A workflow of ComfyUI in its API format: type and inputs, links as a node's number and its output's.
COMFYUI: dict[str, tuple[str, dict[str, object]]] = {
    "1": ("UNETLoader", {"unet_name": "flux.safetensors", "weight_dtype": "fp8_e4m3fn"}),
    "2": ("DualCLIPLoader", {"clip_name1": "t5.safetensors", "clip_name2": "l.safetensors", "type": "flux"}),
    "3": ("VAELoader", {"vae_name": "ae.safetensors"}),
    "4": ("CLIPTextEncode", {"clip": ["2", 0], "text": "a fox"}),
    "5": ("EmptySD3LatentImage", {"width": 1024, "height": 1024, "batch_size": 1}),
    "6": ("IPAdapterAdvanced", {"model": ["1", 0], "weight": 0.8}),
    "7": (
        "KSampler",
        {
            **{
                "model": ["6", 0],
                "positive": ["4", 0],
                "negative": ["4", 0],
                "latent_image": ["5", 0],
                "seed": 12,
            },
            **{"steps": 20, "cfg": 1, "sampler_name": "euler", "scheduler": "simple", "denoise": 1},
        },
    ),
    "8": ("VAEDecode", {"samples": ["7", 0], "vae": ["3", 0]}),
    "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "%date%/fox"}),
}


@scene("comfyui-import")
def comfyui_import(page: Page) -> None:
    """A workflow of ComfyUI, and what became of its nodes."""
    graph = {id: {"class_type": type, "inputs": inputs} for id, (type, inputs) in COMFYUI.items()}
    page.evaluate(
        """(text) => {
            const data = new DataTransfer();
            data.items.add(new File([text], "portrait.json", { type: "application/json" }));
            const pane = document.querySelector(".svelte-flow__pane");
            pane.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        json.dumps(graph),
    )
    page.locator(".report").wait_for()
    page.locator(node("IPAdapterAdvanced")).wait_for()


@scene("editor-problems", "light")
def problems(page: Page) -> None:
    """A value out of range and a link that is missing."""
    put(page, "schedule", "steps", "0")
    page.locator(node("prompt", ".head")).click()
    page.keyboard.press("Delete")
    page.keyboard.press("p")
    page.locator(".problems li").nth(1).wait_for()
    page.keyboard.press("f")


@scene("editor-templates", "light")
def templates(page: Page) -> None:
    """The workflows to begin with."""
    page.keyboard.press("Control+o")
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('dialog img')].slice(0, 6);"
        " return all.length > 3 && all.every((one) => one.naturalWidth); }"
    )


def enclosed(page: Page) -> None:
    """The sampler and what only it needs, in a subgraph whose seed and steps are on the outside."""
    for number, name in enumerate(["blank", "schedule", "sampler"]):
        page.locator(node(name, ".head .type")).click(modifiers=["Shift"] if number else [])
    page.keyboard.press("Control+Shift+G")
    page.locator(node("subgraph")).wait_for()
    page.keyboard.press("Alt+ArrowDown")
    for name, entry in (("sampler", "seed"), ("sampler", "guidance_scale"), ("schedule", "steps")):
        page.locator(node(name, f'[data-input="{entry}"] .pin')).click()
    page.keyboard.press("Escape")


@scene("editor-subgraph-inside")
def subgraph_inside(page: Page) -> None:
    """What is in a subgraph."""
    enclosed(page)
    page.keyboard.press("l")


@scene("editor-subgraph")
def subgraph(page: Page) -> None:
    """A run through a subgraph, seen from the outside."""
    enclosed(page)
    page.keyboard.press("Alt+ArrowUp")
    page.locator(node("subgraph")).wait_for()
    page.keyboard.press("l")
    put(page, "subgraph", "seed", "19")
    half_done(page, "subgraph")


@scene("editor_mask")
def mask(page: Page) -> None:
    """A mask over the picture that a workflow reads."""
    nodes = {
        "model": {"type": "LoadModel", "values": {"checkpoint": "emoji"}},
        "sketch": {"type": "LoadImage"},
        "inpaint": {
            "type": "MaskInpaint",
            "links": {
                "vae": {"node": "model", "output": "vae"},
                "image": {"node": "sketch", "output": "image"},
            },
        },
    }
    layout = {name: {"x": 300 * place, "y": 0} for place, name in enumerate(nodes)}
    data = {"format": "nodegraph", "version": 1, "title": "Repaint", "nodes": nodes, "layout": layout}
    page.evaluate("(text) => navigator.clipboard.writeText(text)", json.dumps(data))
    page.keyboard.press("Alt+n")
    page.locator(".blank").wait_for()
    page.keyboard.press("Control+v")
    with page.expect_file_chooser() as chooser:
        page.locator(node("sketch")).get_by_role("button", name="Upload a picture").click()
    chooser.value.set_files(ROOT / "workflows" / "images" / "sketch.png")
    page.locator(node("sketch", "img")).wait_for()
    page.locator(node("inpaint", ".paint")).click()
    paper = page.locator(".painter canvas")
    page.wait_for_function("() => document.querySelector('.painter canvas')?.width !== 300")
    box = paper.bounding_box()
    assert box is not None
    x, y, side = box["x"], box["y"], box["width"]
    shape = [(0.3, 0.56), (0.45, 0.46), (0.62, 0.5), (0.7, 0.62), (0.55, 0.72), (0.36, 0.72), (0.3, 0.56)]
    drag(page, *((x + side * across, y + side * down) for across, down in shape))
    page.mouse.up()
    page.keyboard.press("f")
    page.mouse.click(x + side * 0.5, y + side * 0.6)
    page.mouse.move(x + side * 0.72, y + side * 0.4)


def made(page: Page) -> None:
    """Two pictures in the gallery, which is open."""
    for seed in ("6", "7"):
        put(page, "sampler", "seed", seed)
        run(page)
    page.keyboard.press("g")
    page.locator(".tile").nth(1).wait_for()


@scene("editor_picture")
def picture(page: Page) -> None:
    """A picture of the gallery, large."""
    made(page)
    page.locator(".tile").first.click()
    page.locator(".lightbox .receipt").wait_for()


@scene("editor_compare", "light")
def compare(page: Page) -> None:
    """Two pictures of the gallery, one over the other."""
    made(page)
    page.locator(".tile").first.focus()
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.locator("dialog.compare tr").first.wait_for()


@scene("editor-keys", "light")
def keys(page: Page) -> None:
    """The sheet of keys, two commands on one."""
    page.keyboard.press("?")
    page.get_by_role("button", name="Change the key of Redo").click()
    page.keyboard.press("Control+s")


@scene("editor-settings")
def settings(page: Page) -> None:
    """The settings."""
    page.keyboard.press("Control+,")
    page.locator("dialog .settings").wait_for()


@contextmanager
def served() -> Iterator[str]:
    """The address of a server with an empty home, until the block ends."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "nodegraph", "serve", "--port", "0", "--home", home]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait()


def take(browser: Browser, url: str, name: str) -> None:
    """Play a scene and write its picture."""
    scheme, play = SCENES[name]
    context = browser.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]},
        color_scheme=scheme,
        locale="en-GB",
        reduced_motion="reduce",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(MINUTES)
    page = context.new_page()
    page.goto(url)
    page.locator(".node").first.wait_for()
    page.keyboard.press("f")
    play(page)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.screenshot(path=FOLDER / f"{name}.png")
    context.close()
    print(name)


def main(names: list[str]) -> None:
    """Take the named pictures, or all."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("no Chromium on PATH")
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name in names or list(SCENES):
            take(browser, url, name)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
