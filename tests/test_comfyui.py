"""Workflows of ComfyUI become documents of this engine; what has no counterpart keeps its values and links."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from nodegraph.check import check
from nodegraph.comfyui import RULES, SCHEDULE
from nodegraph.engine import Engine
from nodegraph.errors import DocumentError
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow

API: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "6": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "a red heart", "clip": ["4", 1]},
        "_meta": {"title": "Positive"},
    },
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 2**60 + 5,
            "steps": 4,
            "cfg": 4.0,
            "sampler_name": "uni_pc",
            "scheduler": "karras",
            "denoise": 1.0,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "heart", "images": ["8", 0]}},
}
SAVED: dict[str, Any] = {
    "last_node_id": 12,
    "nodes": [
        {"id": 4, "type": "CheckpointLoaderSimple", "pos": [0, 0], "widgets_values": ["emoji"]},
        {"id": 10, "type": "Reroute", "pos": [200, 0], "inputs": [{"name": "", "link": 1}]},
        {
            "id": 6,
            "type": "CLIPTextEncode",
            "pos": {"0": 300, "1": 20},
            "inputs": [{"name": "clip", "link": 2}],
            "widgets_values": ["a red heart"],
            "mode": 4,
        },
        {
            "id": 3,
            "type": "KSampler",
            "pos": [600, 0],
            "mode": 2,
            "inputs": [{"name": "model", "link": 3}, {"name": "positive", "link": 4}],
            "widgets_values": [7, "randomize", 12, 5.5, "euler", "normal", 0.5],
        },
        {
            "id": 11,
            "type": "FancyStyler",
            "pos": [900, 0],
            "inputs": [
                {"name": "samples", "link": 5},
                {"name": "power", "widget": {"name": "power"}, "link": None},
            ],
            "outputs": [{"name": "styled"}],
            "widgets_values": [0.25],
        },
        {"id": 12, "type": "VAEDecode", "pos": [1200, 0], "inputs": [{"name": "samples", "link": 6}]},
        {"id": 13, "type": "Note", "pos": [0, 400], "widgets_values": ["mind the seed"]},
    ],
    "links": [
        [1, 4, 1, 10, 0, "CLIP"],
        [2, 10, 0, 6, 0, "CLIP"],
        [3, 4, 0, 3, 0, "MODEL"],
        [4, 6, 0, 3, 1, "CONDITIONING"],
        [5, 3, 0, 11, 0, "LATENT"],
        [6, 11, 0, 12, 0, "LATENT"],
    ],
    "groups": [{"title": "All", "bounding": [-10, -10, 900, 600], "color": "#3f789e"}],
}


def test_the_usual_api_workflow_is_translated_and_runs(engine: Engine, registry: Registry) -> None:
    document = Workflow.parse(json.dumps(API))
    assert check(document, registry.catalog).problems == ()
    nodes = document.nodes
    assert nodes["sampler"].values == {"sampler": "unipc", "seed": (2**60 + 5) % 2**53, "guidance_scale": 4.0}
    assert nodes["schedule"].values == {"kind": "karras", "steps": 4, "strength": 1.0}
    assert str(nodes["sampler"].links["sigmas"]) == "schedule.sigmas"
    assert str(nodes["blank"].links["vae"]) == "model.vae"
    assert (nodes["prompt"].title, nodes["prompt"].values) == ("Positive", {"text": "a red heart"})
    result = engine.run(document, targets=["decode"], values={"schedule.steps": 1})
    assert tuple(result["decode"]["image"].tensor.shape) == (1, 3, 64, 64)


def test_a_saved_workflow_keeps_places_modes_notes_and_what_is_unknown() -> None:
    document = Workflow.from_data(SAVED)
    nodes = document.nodes
    assert str(nodes["prompt"].links["text_encoder"]) == "model.text_encoder"  # past the reroute
    assert (nodes["prompt"].bypassed, nodes["sampler"].muted, nodes["schedule"].muted) == (True, True, True)
    assert nodes["schedule"].values == {"kind": "normal", "steps": 12, "strength": 0.5}
    assert (nodes["FancyStyler"].type, nodes["FancyStyler"].values) == ("FancyStyler", {"power": 0.25})
    assert str(nodes["FancyStyler"].links["samples"]) == "sampler.latent"
    assert str(nodes["decode"].links["latent"]) == "FancyStyler.styled"
    assert (document.layout["prompt"].x, document.layout["prompt"].y) == (300, 20)
    assert [(note.text, note.x) for note in document.notes] == [("mind the seed", 0)]
    assert document.groups[0].text == "All"
    assert document.description.endswith("are kept as they were: FancyStyler.")


def test_a_picture_of_comfyui_brings_its_workflow(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", json.dumps(API))
    path = tmp_path / "ComfyUI_00001_.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=texts)
    assert Workflow.load(path) == Workflow.from_data(API)


def test_every_rule_names_inputs_and_outputs_that_are_there(registry: Registry) -> None:
    for rule in [*RULES.values(), SCHEDULE]:
        node_type = registry.catalog.nodes[rule.type]
        assert {*rule.links, *rule.values} <= {entry.name for entry in node_type.inputs}, rule.type
        assert set(rule.outputs) <= {entry.name for entry in node_type.outputs}, rule.type


@pytest.mark.parametrize(
    "data",
    [
        {"1": {"class_type": "KSampler", "inputs": {"model": ["1", 0]}}},
        {"1": {"class_type": "A" * 5000, "inputs": {"x" * 500: 1, "y": ["1", 10**9], "z": ["1", -1]}}},
        {
            "1": {"class_type": "Reroute", "inputs": {"": ["1", 0]}},
            "2": {"class_type": "B", "inputs": {"a": ["1", 0]}},
        },
        {"__proto__": {"class_type": "/../", "inputs": {"a": None}}},
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "KSampler", "widgets_values": ["x"] * 50}], "links": []},
        {"last_node_id": 1, "nodes": [3], "links": []},
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "A", "pos": ["a", "b"]}], "links": [[1]]},
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "", "pos": [0, 0]}], "links": []},
    ],
)
def test_what_is_hostile_or_broken_is_read_or_refused_in_words(data: dict[str, Any]) -> None:
    with suppress(DocumentError):
        document = Workflow.from_data(data)
        assert Workflow.parse(document.dump()) == document


def chain(length: int) -> dict[str, Any]:
    line: dict[str, Any] = {
        str(i): {"class_type": "Reroute", "inputs": {"a": [str(i + 1), 0]}} for i in range(length)
    }
    ends = {f"end{i}": {"class_type": f"End{i}", "inputs": {"x": ["0", 0]}} for i in range(length)}
    return {**line, str(length): {"class_type": "Start"}, **ends}


@pytest.mark.parametrize(
    "data",
    [
        {str(i): {"class_type": "A"} for i in range(30_000)},
        {str(i): {"class_type": "EmptyLatentImage"} for i in range(30_000)},
        chain(15_000),
    ],
    ids=["one type", "latents without a VAE", "a long line of reroutes"],
)
def test_many_nodes_are_read_in_time_that_grows_with_them(data: dict[str, Any]) -> None:
    begun = time.process_time()
    Workflow.from_data(data)
    assert time.process_time() - begun < 5


def test_links_pass_reroutes_to_where_they_come_from() -> None:
    data = chain(3)
    data["circle"] = {"class_type": "Reroute", "inputs": {"a": ["circle", 0]}}
    data["lost"] = {"class_type": "Lost", "inputs": {"x": ["circle", 0]}}
    nodes = Workflow.from_data(data).nodes
    assert {str(nodes[f"End{i}"].links["x"]) for i in range(3)} == {"Start.output_0"}
    assert not nodes["Lost"].links


@pytest.mark.parametrize(
    "data",
    [
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "A", "pos": [10**400, 0]}]},
        {"last_node_id": 1, "nodes": [], "groups": [{"bounding": [10**400, 0, 1, 1]}]},
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "A", "pos": ["x" * 100_000, 0]}]},
    ],
    ids=["position", "group", "words"],
)
def test_numbers_that_are_none_are_refused_in_few_words(data: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match="cannot be read as one") as caught:
        Workflow.from_data(data)
    assert len(str(caught.value)) < 400
