"""What the editor tells: messages that go with their cause, lists that have an answer, the gallery under the keyboard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_server import Running

pytest.importorskip("playwright", reason="Playwright is not installed")
from editor_page import PATIENCE, EditorPage
from playwright.sync_api import expect

# Node types that come with ComfyUI, which its users search for: each has a node or an answer.
COMFYUI = """
    KSampler KSamplerAdvanced CheckpointLoaderSimple CLIPTextEncode CLIPSetLastLayer VAEDecode VAEEncode VAEEncodeForInpaint
    VAELoader EmptyLatentImage LatentUpscale LatentUpscaleBy RepeatLatentBatch SaveImage PreviewImage LoadImage LoadImageMask
    ImageScale ImageScaleBy ImageInvert ImageBatch ImagePadForOutpaint ConditioningAverage ConditioningCombine
    ConditioningConcat ConditioningSetArea ConditioningSetAreaPercentage ConditioningSetAreaStrength ConditioningSetMask
    ConditioningSetTimestepRange ConditioningZeroOut LatentComposite LatentBlend LatentRotate LatentFlip LatentCrop
    LoraLoader LoraLoaderModelOnly CLIPLoader DualCLIPLoader UNETLoader CLIPVisionEncode StyleModelApply unCLIPConditioning
    ControlNetApply ControlNetApplyAdvanced ControlNetLoader GLIGENTextBoxApply InpaintModelConditioning
    DifferentialDiffusion SetLatentNoiseMask VAEDecodeTiled LoadLatent SaveLatent HypernetworkLoader UpscaleModelLoader
    ImageUpscaleWithModel ImageBlend ImageBlur ImageSharpen ImageScaleToTotalPixels ImageCrop ImageCompositeMasked
    ImageColorToMask SolidMask MaskComposite JoinImageWithAlpha ModelMergeSimple CheckpointSave TomePatchModel FreeU
    HyperTile ModelSamplingDiscrete ModelSamplingSD3 RescaleCFG SelfAttentionGuidance PerturbedAttention
    AlignYourStepsScheduler KarrasScheduler SplitSigmasDenoise FlipSigmas SamplerLMS DualCFGGuider PerpNegGuider
    CLIPTextEncodeSDXL CLIPTextEncodeFlux IPAdapter Note MarkdownNote PrimitiveInt StringConcatenate LoadVideo LoadAudio
    Load3D TorchCompileModel UnetLoaderGGUF
""".split()
# Which of the words typed into the search find nothing.
UNKNOWN = """async (words) => {
    const search = document.querySelector('.picker input');
    const unknown = [];
    for (const word of words) {
        search.value = word;
        search.dispatchEvent(new InputEvent('input', { bubbles: true }));
        await new Promise((done) => queueMicrotask(() => queueMicrotask(done)));
        if (!document.querySelector('.picker [role=option]')) unknown.push(word);
    }
    return unknown;
}"""


def test_one_message_says_what_is_wrong_now_and_goes_with_it(editor: EditorPage) -> None:
    page = editor.page
    errors = page.locator(".toast.error > span")
    editor.new()
    editor.add("VAEDecode")
    page.keyboard.press("Control+Enter")
    expect(errors).to_have_text("2 problems must be solved first")
    page.keyboard.press("Escape")
    editor.add("SaveImage")
    expect(errors).to_have_text("3 problems must be solved first")
    page.keyboard.press("Control+Enter")
    expect(errors).to_have_text("3 problems must be solved first")
    # It is of its tab.
    editor.new()
    expect(errors).to_have_count(0)
    editor.add("VAEDecode")
    page.keyboard.press("Control+Enter")
    expect(errors).to_have_text("2 problems must be solved first")
    tabs = page.locator(".tab .tab-name")
    tabs.nth(tabs.count() - 2).click()  # there are problems there too, of which nothing was asked
    expect(page.get_by_role("button", name="3 problems")).to_be_visible()
    expect(errors).to_have_count(0)
    tabs.last.click()
    editor.node("vae_decode").locator(".head").click()
    page.keyboard.press("Control+Enter")
    expect(errors).to_have_text("2 problems must be solved first")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    expect(errors).to_have_count(0)


def test_the_search_says_what_is_no_node_here(editor: EditorPage) -> None:
    page = editor.page
    editor.new()
    editor.add("Schedule")  # used a moment ago
    page.keyboard.press("Space")
    entries = page.locator(".picker [role=option]")
    search = page.locator(".picker input")
    expect(entries.filter(has_text="no node here")).to_have_count(0)
    for wanted, first in {
        "ksampler": "Sampler", "basicscheduler": "Schedule", "Reroute": "Reroute", "MaskEditor": "MaskEditor", "PrimitiveNode": "Integer",
        "save webp": "SaveImage", "CLIPVisionEncode": "ImageToVideo", "clip skip": "CLIPSetLastLayer", "refiner": "SplitSigmas",
        "ConditioningConcat": "ConditioningAverage, ConditioningConcat", "ConditioningSetArea": "RegionConditioning",
        "ImageScaleToTotalPixels": "ScaleImage", "LatentUpscale": "LatentScale", "FreeU_V2": "FreeU", "scheduler": "Schedule", "UNETLoader": "LoadModel", "Note": "Note",
        "denoise": "Sampler", "ImageBlur": "BlurImage", "any switch": "If", "FaceDetailer": "Poses, depth, segments", "SaveLatent": "SaveLatent, LoadLatent",
    }.items():  # fmt: skip
        search.fill(wanted)
        expect(entries.first.locator(".name"), wanted).to_have_text(first)
    # What nobody has heard of has an answer too, but not where a link asks for what fits it.
    search.fill("FrobnicateImage")
    expect(page.locator(".picker .none")).to_contain_text("nodegraph plugin new NAME")
    assert page.evaluate(UNKNOWN, COMFYUI) == []
    search.fill("Reroute")
    expect(entries.first).to_contain_text("A link is led through points")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("click it and press B")
    assert editor.nodes() == ["schedule"]


def test_subgraphs_are_found_in_the_menus_where_they_can_be_used(editor: EditorPage) -> None:
    page = editor.page
    editor.new()
    editor.add("Schedule")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("subgraph")
    entry = page.locator(".picker [role=option]").filter(has_text="choose nodes first")
    expect(entry).to_have_count(1)
    entry.click()
    expect(page.locator(".toast")).to_contain_text("choose nodes first")
    editor.node("schedule").locator(".head").click(button="right")
    menu = page.locator(".context")
    expect(menu.get_by_role("menuitem", name="Open subgraph")).to_have_count(0)
    expect(menu.get_by_role("menuitem", name="Unpack subgraph")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Node", exact=True).click()
    page.get_by_role("menuitem", name="Make a subgraph").click()
    expect(editor.node("schedule")).to_have_count(0)
    editor.node(editor.nodes()[0]).locator(".head").click(button="right")
    expect(menu.get_by_role("menuitem", name="Unpack subgraph")).to_be_visible()


def test_the_gallery_has_the_keyboard_as_it_opens(editor: EditorPage, server: Running) -> None:
    document = {
        "format": "nodegraph",
        "version": 1,
        "nodes": {
            "sketch": {"type": "LoadImage", "values": {"image": "images/sketch.png"}},
            "save": {
                "type": "SaveImage",
                "values": {"name": "latest"},
                "links": {"image": {"node": "sketch", "output": "image"}},
            },
        },
    }
    assert server.ask("POST", "/api/runs", {"workflow": document}).status == 201
    page = editor.page
    page.locator(".node").first.wait_for()
    page.keyboard.press("g")
    tile = page.locator(".gallery .tile[aria-label^=latest]")
    tile.wait_for(timeout=PATIENCE)  # others made pictures before
    page.keyboard.press("g")
    expect(page.locator(".gallery")).to_have_count(0)
    page.keyboard.press("g")
    expect(tile).to_be_focused()
    page.keyboard.press("c")
    expect(page.locator(".comparing")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.locator(".lightbox")).to_be_visible()


def test_where_a_model_that_is_missing_is_looked_for(editor: EditorPage) -> None:
    page = editor.page
    editor.new()
    text = json.dumps(
        {
            "format": "nodegraph",
            "version": 1,
            "nodes": {"loaded": {"type": "LoadLora", "values": {"lora": "blueprint.safetensors"}}},
        }
    )
    page.evaluate(
        """(text) => {
            const data = new DataTransfer();
            data.setData('text/plain', text);
            document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
        }""",
        text,
    )
    expect(editor.node("loaded")).to_contain_text(
        "`nodegraph models` tells where it looks; --models FOLDER or $NODEGRAPH_MODELS adds a folder"
    )
    # The list of problems has room for the folders themselves.
    page.keyboard.press("p")
    listed = page.locator(".problems li").filter(has_text="blueprint.safetensors")
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text("Put it into one of these folders")
    expect(listed).to_contain_text("loras")


def test_a_new_tab_has_nothing_unsaved_and_shows_the_whole_of_what_is_pasted_first(editor: EditorPage) -> None:
    page = editor.page
    editor.new()
    dot = page.locator(".tab.active .unsaved")
    expect(page.locator(".tab.active")).to_contain_text("Untitled")
    expect(dot).to_have_count(0)
    nodes = {f"blank_{number}": {"type": "EmptyLatent"} for number in range(12)}
    layout = {name: {"x": 400 * (index % 6), "y": 700 * (index // 6)} for index, name in enumerate(nodes)}
    page.evaluate(
        """(text) => {
            const data = new DataTransfer();
            data.setData('text/plain', text);
            document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
        }""",
        json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes, "layout": layout}),
    )
    expect(dot).to_have_count(1)
    expect(page.locator(".svelte-flow__node-node")).to_have_count(12)
    for name in editor.nodes():
        expect(editor.node(name)).to_be_in_viewport(ratio=0.99)


def test_what_usually_comes_next_is_offered_first(editor: EditorPage) -> None:
    page = editor.page
    names = page.locator(".picker [role=option] .name")
    editor.new()
    for query, name in (("empty", "EmptyLatent"), ("image", "LoadImage")):
        page.keyboard.press("Space")
        page.locator(".picker input").fill(query)
        expect(names.first).to_have_text(name)
        page.keyboard.press("Escape")
        expect(page.locator(".picker")).to_have_count(0)
    editor.add("VAEDecode")
    editor.still()
    editor.drag(editor.port("vae_decode", "image", "source"), (900, 800))
    expect(names.nth(1)).to_be_visible()
    assert names.all_inner_texts()[:2] == ["PreviewImage", "SaveImage"]
    page.keyboard.press("Escape")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    editor.add("Sampler")
    editor.still()
    for port, side, name in (
        ("sigmas", "target", "Schedule"),
        ("latent", "target", "EmptyLatent"),
        ("latent", "source", "VAEDecode"),
    ):
        editor.drag(editor.port("sampler", port, side), (300, 850) if side == "target" else (1100, 850))
        expect(names.first).to_have_text(name)
        page.keyboard.press("Escape")
        expect(page.locator(".picker")).to_have_count(0)


def test_commands_and_templates_are_found_by_what_they_are_called_elsewhere(editor: EditorPage) -> None:
    page = editor.page
    page.keyboard.press("Control+k")
    page.locator(".picker input").wait_for()
    asked = ["xy", "compare", "mask", "batch", "help", "variation"]
    assert page.evaluate(UNKNOWN, asked) == []
    page.locator(".picker input").fill("xy")
    expect(page.locator(".picker [role=option]").first).to_contain_text("grid of values")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    editor.pick("Templates")
    search = page.locator(".shipped input[type=search]")
    for word, title in (
        ("img2img", "Image to image"),
        ("variations of one seed", "Latent walk"),
        ("batch of prompts", "Tileable patterns"),
        ("hires", "Upscale"),
        ("lora", "SDXL with a LoRA"),
        ("controlnet", "SDXL follows edges (ControlNet)"),
    ):
        search.fill(word)
        expect(page.locator(".shipped strong").get_by_text(title, exact=True)).to_be_visible()


def test_a_long_seed_is_seen_whole_and_what_is_no_number_is_told(editor: EditorPage) -> None:
    page = editor.page
    editor.new()
    editor.add("Sampler")
    editor.set("sampler", "seed", "9007199254740991")
    width, room = editor.field("sampler", "seed").evaluate("(one) => [one.scrollWidth, one.clientWidth]")
    assert width <= room
    for name, before in (("guidance_scale", None), ("seed", "9007199254740991")):
        field = editor.field("sampler", name)
        before = before or field.input_value()
        field.click()
        field.fill("abc")
        field.press("Tab")
        expect(field).to_have_value(before)
        told = page.locator(".toast").filter(has_text="“abc” is no number; the value stays as it was.")
        expect(told).to_be_visible()
        told.get_by_role("button").click()
        expect(told).to_have_count(0)


def test_a_run_that_shows_no_picture_says_which_node_would(editor: EditorPage, tmp_path: Path) -> None:
    page = editor.page
    shape = {"type": "MaskFromShape", "values": {"width": 64, "height": 64}}
    picture = {"type": "MaskToImage", "links": {"mask": {"node": "shape", "output": "mask"}}}
    file = tmp_path / "unseen.json"
    document = {"format": "nodegraph", "version": 1, "nodes": {"shape": shape, "picture": picture}}
    file.write_text(json.dumps(document))
    editor.drop(file, "application/json")
    expect(editor.node("picture")).to_be_visible()
    page.keyboard.press("Control+Enter")
    editor.finished()
    told = page.locator(".toast").filter(
        has_text="nothing shows or saves a picture. Link picture's image to a PreviewImage"
    )
    expect(told).to_be_visible()
    told.get_by_role("button", name="Add PreviewImage").click()
    made = editor.document()["nodes"]["preview_image"]
    assert made == {"type": "PreviewImage", "links": {"image": {"node": "picture", "output": "image"}}}


def test_places_out_of_reach_and_very_long_texts_leave_the_editor_at_work(
    editor: EditorPage, tmp_path: Path
) -> None:
    page = editor.page
    text = "word " * 600_000
    nodes = {
        "shape": {"type": "MaskFromShape", "values": {"width": 64, "height": 64}},
        "picture": {"type": "MaskToImage", "links": {"mask": {"node": "shape", "output": "mask"}}},
        "words": {"type": "Text", "values": {"text": text}},
    }
    layout = {"shape": {"x": -1e308, "y": 1e308}, "picture": {"x": 1e308, "y": -1e308}, "words": {"x": 0, "y": 0}}
    file = tmp_path / "far.json"
    file.write_text(json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes, "layout": layout}))
    editor.drop(file, "application/json")
    expect(page.get_by_role("button", name="1 problem")).to_be_visible()  # longer than the node takes
    page.keyboard.press("Control+f")
    editor.pick("words")
    field = editor.node("words").locator("textarea")
    expect(field).to_have_attribute("readonly", "")
    assert len(field.input_value()) < 3000
    expect(editor.node("words")).to_contain_text("3,000,000 characters")
    drawn = page.locator("svg").evaluate_all("(all) => all.map((one) => one.outerHTML).join()")
    assert "NaN" not in drawn
    assert "Infinity" not in drawn
    kept = editor.document()
    assert kept["nodes"]["words"]["values"]["text"] == text
    assert kept["layout"]["picture"] == {"x": 1e10, "y": -1e10}
    editor.node("words").get_by_role("button", name="Begin anew").click()
    expect(field).to_be_editable()
    expect(field).to_have_value("")
