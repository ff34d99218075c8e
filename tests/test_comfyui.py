"""Workflows of ComfyUI become documents of this engine; what has no counterpart keeps its values and links."""

from __future__ import annotations

import ast
import json
import math
import random
import re
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from PIL import Image, PngImagePlugin

from nodegraph import cli
from nodegraph.check import check
from nodegraph.comfyui import saved_format, translated
from nodegraph.comfyui.graph import Source
from nodegraph.comfyui.names import NEAR, comfyui_names
from nodegraph.comfyui.readers import READERS
from nodegraph.comfyui.table import NAMESAKES, RULES, WIDGETS
from nodegraph.engine import Engine
from nodegraph.errors import CheckError, DocumentError
from nodegraph.export import for_comfyui
from nodegraph.home import Home
from nodegraph.options import tell_imported
from nodegraph.registry import Registry
from nodegraph.serve.api_documents import read_import
from nodegraph.workflow import Link, Workflow

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


def test_a_prompt_that_only_negatives_read_is_called_so() -> None:
    first = {"7": API["7"], **{id: node for id, node in API.items() if id != "7"}}
    nodes = Workflow.from_data(first).nodes
    assert (nodes["prompt"].values["text"], nodes["negative"].values["text"]) == ("a red heart", "")
    both = {**API, "3": {**API["3"], "inputs": {**API["3"]["inputs"], "negative": ["6", 0]}}}
    assert "negative" not in Workflow.from_data(both).nodes


def test_a_saved_workflow_keeps_places_modes_notes_and_what_is_unknown() -> None:
    document = Workflow.from_data(SAVED)
    nodes = document.nodes
    assert str(nodes["prompt"].links["text_encoder"]) == "model.text_encoder"  # past the reroute
    assert (nodes["prompt"].bypassed, nodes["sampler"].muted, nodes["schedule"].muted) == (True, True, True)
    assert nodes["schedule"].values == {"kind": "normal", "steps": 24, "strength": 0.5}  # 12 of them
    assert (nodes["FancyStyler"].type, nodes["FancyStyler"].values) == ("FancyStyler", {"power": 0.25})
    assert str(nodes["FancyStyler"].links["samples"]) == "sampler.latent"
    assert str(nodes["decode"].links["latent"]) == "FancyStyler.styled"
    places = {name: (place.x, place.y) for name, place in document.layout.items()}
    assert places["prompt"] == (300, 20)
    assert (places["sampler"], places["schedule"]) == ((600, 0), (300, 440))  # what it reads is to its left
    assert [(note.text, note.x) for note in document.notes] == [("mind the seed", 0)]
    assert document.groups[0].text == "All"
    assert document.description.endswith("are kept as they were: FancyStyler.")


def test_a_picture_of_comfyui_brings_its_workflow(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", json.dumps(API))
    path = tmp_path / "ComfyUI_00001_.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=texts)
    assert Workflow.load(path) == Workflow.from_data(API)


@pytest.mark.parametrize("format", ["WEBP", "JPEG"])
def test_other_pictures_of_comfyui_bring_their_workflow_too(tmp_path: Path, format: str) -> None:
    fields = Image.Exif()
    fields[0x0110], fields[0x010F] = f"prompt:{json.dumps(API)}", "other:{}"
    path = tmp_path / f"ComfyUI_00001_.{format.lower()}"
    Image.new("RGB", (8, 8)).save(path, format, exif=fields)
    assert Workflow.load(path) == Workflow.from_data(API)


def test_every_rule_names_inputs_and_outputs_that_are_there(registry: Registry) -> None:
    for rule in RULES:
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


def became(data: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """For each type of ComfyUI what became of it and why."""
    return {note.type: (note.became, note.message) for note in translated(data).notes}


def saved(*nodes: dict[str, Any], links: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"last_node_id": 99, "nodes": list(nodes), "links": links or [], **more}


def test_the_values_of_samplers_are_told_apart_by_their_order() -> None:
    advanced = {
        "id": 1,
        "type": "KSamplerAdvanced",
        "widgets_values": ["enable", 7, "randomize", 20, 6.5, "heun", "karras", 8, 10000, "disable"],
    }
    custom = {"id": 2, "type": "SamplerCustom", "widgets_values": [True, 8, "fixed", 3.5], "inputs": []}
    unknown = {
        "id": 3,
        "type": "FancySampler",
        "inputs": [{"name": "seed", "widget": {"name": "seed"}}, {"name": "power", "widget": {"name": "power"}}],
        "widgets_values": [4, "increment", 0.5],
    }
    nodes = Workflow.from_data(saved(advanced, custom, unknown)).nodes
    assert nodes["sampler"].values == {"sampler": "heun", "seed": 7, "guidance_scale": 6.5}
    assert nodes["schedule"].values == {"kind": "karras", "steps": 20, "strength": 12 / 20}
    assert nodes["FancySampler"].values == {"seed": 4, "control_after_generate": "increment", "power": 0.5}
    assert nodes["SamplerCustom"].values["noise_seed"] == 8
    assert became(saved(custom))["SamplerCustom"] == ("kept", "no sampler is linked to it")


@pytest.mark.parametrize(
    ("after", "mode", "said"),
    [
        ("randomize", "random", "as Sampler and Schedule"),
        ("increment", "increment", "as Sampler and Schedule"),
        ("fixed", None, "as Sampler and Schedule"),
        (
            "decrement",
            None,
            "as Sampler and Schedule; its seed was one less after each run; here it stays as it is",
        ),
    ],
)
def test_what_is_done_with_a_seed_after_a_run_is_kept_or_said(after: str, mode: str | None, said: str) -> None:
    sampler = {"id": 1, "type": "KSampler", "widgets_values": [7, after, 4, 5.5, "euler", "normal", 1]}
    note = next(iter(translated(saved(sampler)).notes))
    assert (note.seed, note.message) == (mode and ("sampler.seed", mode), said)
    assert note.became == ("adjusted" if "less" in said else "translated")
    number = {"id": 1, "type": "PrimitiveInt", "widgets_values": [7, after]}
    one = translated(saved(number))
    assert one.notes[0].seed == (mode and ("seed.value", mode))
    assert {spec["type"] for spec in one.document["nodes"].values()} == {"Integer" if after == "fixed" else "Seed"}
    fed = {**sampler, "inputs": [{"name": "seed", "widget": {"name": "seed"}, "link": 1}]}
    primitive = {"id": 2, "type": "PrimitiveNode", "widgets_values": [9, "randomize"]}
    whole = translated(saved(fed, primitive, links=[[1, 2, 0, 1, 0, "INT"]]))
    assert (whole.notes[0].seed, whole.document["nodes"]["sampler"]["values"]["seed"]) == (
        ("sampler.seed", "random"),
        9,
    )
    imported = read_import(json.dumps(saved(number, {**sampler, "id": 2})).encode())
    assert imported.seeds == ({"seed.value": mode, "sampler.seed": mode} if mode else {})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"end_at_step": 12}, "stops before the last step and takes all noise away at once"),
        ({"add_noise": "disable", "start_at_step": 12, "end_at_step": 12}, "after its last"),
        ({"start_at_step": 20}, "after its last"),
        ({"start_at_step": -1}, "before its first step"),
        ({"add_noise": ["y"]}, "`add_noise` is ['y'], not a text"),
        ({"start_at_step": 5, "steps": ["9", 0]}, "`steps` is linked"),
        ({"start_at_step": "soon"}, "have to be numbers"),
    ],
)
def test_a_sampler_that_does_a_part_of_the_way_is_kept_with_the_reason(changes: dict[str, Any], why: str) -> None:
    inputs = {"add_noise": "enable", "steps": 20, "start_at_step": 0, "end_at_step": 10_000, **changes}
    data = {"1": {"class_type": "KSamplerAdvanced", "inputs": inputs}, "9": {"class_type": "X"}}
    kind, message = became(data)["KSamplerAdvanced"]
    assert kind == "kept"
    assert why in message
    kept = Workflow.from_data(data).nodes["KSamplerAdvanced"]
    assert kept.values.keys() | kept.links.keys() == inputs.keys()


def two_samplers(**changes: Any) -> dict[str, Any]:
    """Wan 2.2 as ComfyUI's templates wire it: a network for the first 10 of 20 steps, another for the rest."""
    common = {"cfg": 3.5, "sampler_name": "euler", "scheduler": "simple", "steps": 20, "noise_seed": 5}
    words = {"positive": ["7", 0], "negative": ["8", 0]}
    first = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 10, "return_with_leftover_noise": "enable"}
    last = {
        "add_noise": "disable",
        "start_at_step": 10,
        "end_at_step": 10_000,
        "return_with_leftover_noise": "disable",
    }
    return {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "high_noise.safetensors"}},
        "2": {"class_type": "UNETLoader", "inputs": {"unet_name": "low_noise.safetensors"}},
        "3": {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 64, "height": 64, "length": 5}},
        "4": {
            "class_type": "KSamplerAdvanced",
            "inputs": {"model": ["1", 0], "latent_image": ["3", 0], **common, **words, **first},
        },
        "5": {
            "class_type": "KSamplerAdvanced",
            "inputs": {"model": ["2", 0], "latent_image": ["4", 0], **common, **words, **last, **changes},
        },
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["9", 0]}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["9", 0]}},
        "9": {"class_type": "CLIPLoader", "inputs": {"clip_name": "umt5.safetensors", "type": "wan"}},
    }


def test_two_samplers_one_after_the_other_share_a_schedule() -> None:
    nodes = Workflow.from_data(two_samplers()).nodes
    first, last = nodes["sampler"], nodes["sampler_2"]
    assert first.links["sigmas"] == Link(node="split", output="first")
    assert last.links["sigmas"] == Link(node="split_2", output="last")
    assert (nodes["split"].values, nodes["split_2"].values) == ({"step": 10}, {"step": 10})
    assert last.links["latent"] == Link(node="sampler", output="latent")
    assert last.links["noise"] == Link(node="no_noise", output="latent")
    assert nodes["no_noise"].links["latent"] == last.links["latent"]
    assert "noise" not in first.links
    assert (first.links["model"].node, last.links["model"].node) == ("model", "model_2")
    for name in ("schedule", "schedule_2"):
        assert nodes[name].values == {"kind": "simple", "steps": 20, "strength": 1.0}


def test_a_sampler_in_the_middle_has_two_splits() -> None:
    nodes = Workflow.from_data(two_samplers(end_at_step=15, return_with_leftover_noise="enable")).nodes
    middle = nodes["sampler_2"].links["sigmas"]
    assert middle.output == "first"
    assert nodes[middle.node].values == {"step": 5}
    before = nodes[middle.node].links["sigmas"]
    assert (nodes[before.node].values, before.output) == ({"step": 10}, "last")


ADVANCED: dict[str, Any] = {
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "sub\\flux.safetensors", "weight_dtype": "fp8_e4m3fn"}},
    "2": {
        "class_type": "DualCLIPLoader",
        "inputs": {"clip_name1": "t5.safetensors", "clip_name2": "l.safetensors", "type": "flux"},
    },
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["2", 0]}},
    "4": {"class_type": "ModelSamplingFlux", "inputs": {"model": ["1", 0], "max_shift": 1.15, "base_shift": 0.5,
                                                        "width": 1024, "height": 1024}},
    "5": {"class_type": "BasicGuider", "inputs": {"model": ["4", 0], "conditioning": ["3", 0]}},
    "6": {"class_type": "RandomNoise", "inputs": {"noise_seed": 12}},
    "7": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "8": {"class_type": "BasicScheduler", "inputs": {"model": ["4", 0], "scheduler": "simple", "steps": 20}},
    "9": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
    "10": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["6", 0], "guider": ["5", 0],
           "sampler": ["7", 0], "sigmas": ["8", 0], "latent_image": ["9", 0]}},
    "11": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}},
    "12": {"class_type": "VAEDecode", "inputs": {"samples": ["10", 1], "vae": ["11", 0]}},
    "13": {"class_type": "SaveImage", "inputs": {"images": ["12", 0], "filename_prefix": "%date%/fox"}},
}  # fmt: skip


def test_a_custom_sampler_without_noise_goes_on_with_its_latent() -> None:
    halves = {
        "6": {"class_type": "DisableNoise", "inputs": {}},
        "14": {"class_type": "SplitSigmas", "inputs": {"sigmas": ["8", 0], "step": 12}},
        "10": {**ADVANCED["10"], "inputs": {**ADVANCED["10"]["inputs"], "sigmas": ["14", 1]}},
    }
    nodes = Workflow.from_data({**ADVANCED, **halves}).nodes
    sampler = nodes["sampler"]
    assert sampler.links["sigmas"] == Link(node="split", output="last")
    assert nodes["split"].values == {"step": 12}
    assert sampler.links["noise"] == Link(node="no_noise", output="latent")
    assert nodes["no_noise"].links["latent"] == sampler.links["latent"]
    assert "DisableNoise" not in nodes
    assert "noise" not in Workflow.from_data(ADVANCED).nodes["sampler"].links


def test_a_flux_workflow_of_many_parts_becomes_one_sampler(registry: Registry) -> None:
    document = Workflow.from_data(ADVANCED)
    assert check(document, registry.catalog).problems == ()
    sampler = document.nodes["sampler"]
    assert sampler.values == {"sampler": "euler", "seed": 12, "guidance_scale": 1.0}
    assert str(sampler.links["model"]) == "shifted.model"
    assert document.nodes["shifted"].values["shift"] == pytest.approx(math.exp(1.15))
    assert document.nodes["text_encoder"].values["family"] == "flux"
    assert str(document.nodes["decode"].links["latent"]) == "sampler.latent"
    assert str(document.nodes["blank"].links["vae"]) == "vae.vae"
    assert {spec.type for spec in document.nodes.values()}.isdisjoint(
        {"RandomNoise", "BasicGuider", "KSamplerSelect"}
    )
    told = became(ADVANCED)
    assert told["UNETLoader"][0] == told["SaveImage"][0] == "adjusted"
    assert "weight_dtype" in told["UNETLoader"][1]
    assert document.nodes["save"].values == {"name": "%date%_fox"}
    assert document.nodes["model"].values == {"checkpoint": "sub/flux.safetensors"}


def test_what_a_kept_node_reads_is_kept_with_it() -> None:
    data = {**ADVANCED, "14": {"class_type": "MySampler", "inputs": {"noise": ["6", 0]}}}
    nodes = Workflow.from_data(data).nodes
    assert str(nodes["MySampler"].links["noise"]) == "RandomNoise.output_0"
    assert nodes["RandomNoise"].values == {"noise_seed": 12}
    assert nodes["sampler"].values["seed"] == 12


def test_a_kept_node_has_no_seed_that_a_browser_would_round() -> None:
    inputs = {"seed": 2**60 + 5, "noise_seed": -1, "steps": 4}
    data = {"1": {"class_type": "FancySampler", "inputs": inputs}}
    values = Workflow.from_data(data).nodes["FancySampler"].values
    assert values == {**inputs, "seed": (2**60 + 5) % 2**53}
    assert f"the seed {2**60 + 5} is taken modulo 2^53" in translated(data).notes[0].message


def test_a_node_of_a_name_that_is_taken_here_is_told_apart(registry: Registry) -> None:
    masks = {"destination": ["9", 0], "source": ["9", 1], "x": 0, "y": 0, "operation": "or"}
    data = {
        "1": {"class_type": "AddNoise", "inputs": {"sigmas": ["9", 2]}},
        "2": {"class_type": "MaskComposite", "inputs": masks},
        "3": {"class_type": "MaskComposite", "inputs": {**masks, "x": 8}},
        "9": {"class_type": "Masks"},
    }
    nodes = Workflow.from_data(data).nodes
    assert nodes["AddNoise"].type == "ComfyUI AddNoise"
    assert nodes["combined_mask"].values == {"operation": "union"}
    assert nodes["MaskComposite"].type == "ComfyUI MaskComposite"
    for name in NAMESAKES:
        assert name in registry.catalog.nodes
    written = for_comfyui(Workflow.from_data(data), registry.catalog).prompt
    assert {"AddNoise", "MaskComposite"} <= {node["class_type"] for node in written.values()}


def test_a_primitive_gives_its_value_and_a_lost_link_leaves_the_one_below() -> None:
    sampler = {
        "id": 1,
        "type": "KSampler",
        "inputs": [
            {"name": "seed", "link": 1, "widget": {"name": "seed"}},
            {"name": "steps", "link": 2, "widget": {"name": "steps"}},
        ],
        "widgets_values": [5, "fixed", 20, 8, "euler", "normal", 1],
    }
    primitive = {"id": 2, "type": "PrimitiveNode", "widgets_values": [77, "fixed"]}
    reroute = {"id": 3, "type": "Reroute", "inputs": [{"name": "", "link": 9}]}
    links = [[1, 4, 0, 1, 0, "INT"], [9, 2, 0, 3, 0, "*"], [2, 8, 0, 1, 1, "INT"]]
    second = {"id": 4, "type": "Reroute", "inputs": [{"name": "", "link": 10}]}
    nodes = Workflow.from_data(
        saved(sampler, primitive, reroute, second, links=[*links, [10, 3, 0, 4, 0, "*"]])
    ).nodes
    assert nodes["sampler"].values["seed"] == 77
    assert nodes["schedule"].values["steps"] == 20
    assert set(nodes) == {"sampler", "schedule"}


def within(name: str, nodes: list[dict[str, Any]], links: list[Any], **ports: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "nodes": nodes, "links": links, **ports}


def test_a_subgraph_of_comfyui_is_taken_apart() -> None:
    encode = {
        "id": 1, "type": "CLIPTextEncode", "pos": [40, 50], "widgets_values": ["inner"],
        "inputs": [{"name": "clip", "link": 1}, {"name": "text", "link": 2, "widget": {"name": "text"}}],
    }  # fmt: skip
    definition = within(
        "ab-cd",
        [encode],
        [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0},
            {"id": 2, "origin_id": -10, "origin_slot": 1, "target_id": 1, "target_slot": 1},
            {"id": 3, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0},
        ],
        inputs=[{"name": "clip"}, {"name": "text"}],
        outputs=[{"name": "CONDITIONING"}],
    )
    use = {
        "id": 5, "type": "ab-cd", "pos": [500, 600], "widgets_values": ["outer"], "mode": 4,
        "inputs": [{"name": "clip", "link": 7}, {"name": "text", "link": None, "widget": {"name": "text"}}],
    }  # fmt: skip
    plain = {**use, "id": 6, "widgets_values": [], "mode": 0}
    loader = {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["a.safetensors"]}
    reader = {"id": 8, "type": "Reader", "inputs": [{"name": "c", "link": 8}, {"name": "d", "link": 9}]}
    links = [[7, 4, 1, 5, 0, "CLIP"], [8, 5, 0, 8, 0, "X"], [9, 6, 0, 8, 1, "X"]]
    data = saved(loader, use, plain, reader, links=links, definitions={"subgraphs": [definition]})
    document = Workflow.from_data(data)
    nodes = document.nodes
    assert (nodes["prompt"].values, nodes["prompt_2"].values) == ({"text": "outer"}, {"text": "inner"})
    assert str(nodes["prompt"].links["text_encoder"]) == "model.text_encoder"
    assert (nodes["prompt"].bypassed, nodes["prompt_2"].bypassed) == (True, False)
    assert {key: str(link) for key, link in nodes["Reader"].links.items()} == {
        "c": "prompt.conditioning",
        "d": "prompt_2.conditioning",
    }
    assert (document.layout["prompt"].x, document.layout["prompt"].y) == (500, 600)


def test_subgraphs_that_come_to_too_much_are_refused() -> None:
    inside_itself = within("a", [{"id": 1, "type": "a"}], [])
    with pytest.raises(DocumentError, match="nested more than 16 deep"):
        Workflow.from_data(saved({"id": 1, "type": "a"}, definitions={"subgraphs": [inside_itself]}))
    wide = [within(str(n), [{"id": i, "type": str(n + 1)} for i in range(12)], []) for n in range(12)]
    begun = time.process_time()
    for uses in (1, 2):
        data = saved(*({"id": i, "type": "0"} for i in range(uses)), definitions={"subgraphs": wide})
        with pytest.raises(DocumentError, match="come to more than 30,000 nodes, links and inputs"):
            Workflow.from_data(data)
    deep = [within(str(n), [{"id": 1, "type": str(n + 1)}], []) for n in range(17)]
    for first, refused in (("1", False), ("0", True), ("1", False)):  # 16 and 17 deep
        data = saved({"id": 1, "type": first}, {"id": 2, "type": "9"}, definitions={"subgraphs": deep})
        if refused:
            with pytest.raises(DocumentError, match="nested more than 16 deep"):
                Workflow.from_data(data)
        else:
            assert len(Workflow.from_data(data).nodes) == 2
    late = within(
        "late", [{"id": 1, "type": "8"}, {"id": 2, "type": "0"}], []
    )  # what is known of "8" is no depth yet
    with pytest.raises(DocumentError, match="nested more than 16 deep"):
        Workflow.from_data(saved({"id": 1, "type": "late"}, definitions={"subgraphs": [late, *deep]}))
    assert time.process_time() - begun < 2  # nothing was built


def test_a_bomb_of_subgraphs_is_refused_by_what_one_level_of_it_says() -> None:
    """Ten uses in each of fifteen: 4.5 KB for a million billion nodes."""
    wide = [within(str(n), [{"id": i, "type": str(n + 1)} for i in range(10)], []) for n in range(15)]
    tracemalloc.start()
    try:
        with pytest.raises(DocumentError, match="come to more than 30,000"):
            translated(saved({"id": 1, "type": "0"}, definitions={"subgraphs": wide}))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("named", ["inputs", "outputs", "widgets_values"])
def test_what_the_nodes_of_subgraphs_hold_is_counted_before_any_is_built(named: str) -> None:
    """57 KB of zeros, a thousand times over, came to 1.4 GB of values that have names."""
    held: list[Any] = [0 if named == "widgets_values" else {}] * 201
    uses = [{"id": i, "type": "s"} for i in range(1000)]
    tracemalloc.start()
    try:
        outer, definition = within("o", uses, []), within("s", [{"id": 1, "type": "A", named: held}], [])
        with pytest.raises(DocumentError, match="come to more than 200,000 inputs, outputs and values"):
            translated(saved(*uses, definitions={"subgraphs": [definition]}))
        with pytest.raises(DocumentError, match="come to more than 200,000 inputs, outputs and values"):
            translated(saved({"id": 1, "type": "o"}, definitions={"subgraphs": [outer, definition]}))
        with pytest.raises(DocumentError, match="more than 1,000,000 inputs, outputs and values"):
            translated(saved(*({"id": i, "type": "A", named: held} for i in range(5000))))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    fits = within("s", [{"id": 1, "type": "A", named: held[:-1]}], [])
    assert len(translated(saved(*uses, definitions={"subgraphs": [fits]})).document["nodes"]) == 1000


LONG = "a" * 300_000
TEXTS = [{"id": i, "type": "CLIPTextEncode", "inputs": [{"name": "text", "link": i}]} for i in range(1, 200)]


@pytest.mark.parametrize(
    "data",
    [
        saved(
            {"id": 1, "type": "s"},
            definitions={"subgraphs": [{**within("s", [], []), "inputs": [{}] * 30_001}]},
        ),
        saved(
            *({"id": i, "type": "s"} for i in range(200)),
            definitions={
                "subgraphs": [within("s", [{"id": 1, "type": "CLIPTextEncode", "widgets_values": [LONG]}], [])]
            },
        ),
        saved(
            {"id": 0, "type": "PrimitiveNode", "widgets_values": [LONG]},
            *TEXTS,
            links=[[i, 0, 0, i, 0, "STRING"] for i in range(1, 200)],
        ),
        {
            "u": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": LONG}},
            **{
                str(i): {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["u", 0]}}
                for i in range(200)
            },
        },
    ],
    ids=["inputs of a subgraph", "a text in a subgraph", "a primitive", "a loader for all"],
)
def test_what_nodes_share_is_not_copied_without_end(data: dict[str, Any]) -> None:
    with pytest.raises(
        DocumentError, match=r"comes? to more than (16,777,216 characters|30,000 nodes, links and inputs)"
    ):
        translated(data)


def test_the_id_of_a_use_is_not_copied_without_end() -> None:
    data = saved({"id": "x" * 65, "type": "s"}, definitions={"subgraphs": [within("s", [], [])]})
    with pytest.raises(DocumentError, match="is longer than 64 characters"):
        translated(data)


def test_a_denoise_of_nearly_nothing_is_kept_with_the_reason() -> None:
    (note,) = translated({"1": {"class_type": "KSampler", "inputs": {"steps": 10_000, "denoise": 5e-324}}}).notes
    assert note.became == "kept"
    assert "a `denoise` of 5e-324" in note.message


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"id": {"a": 1}, "type": "A"}, "the id of a node is {'a': 1}, not a text"),
        ({"id": 1, "type": None}, "the type of a node is None, not a text"),
        ({"id": 1, "type": "A", "inputs": "x"}, "`inputs` is 'x', not a list"),
        ({"id": 1, "type": "A", "widgets_values": 3}, "`widgets_values` is 3, not a list"),
        ({"id": 1, "type": "A", "pos": [True, 0]}, "a position holds True, not a number"),
        ({"id": 1, "type": "A", "mode": "on"}, "the mode of node 1 is 'on', not a whole number"),
        ({"id": 1, "type": "A", "title": ["x"] * 10_000}, "the title of node 1 is ["),
        ({"id": 1, "type": "A", "inputs": [{"name": "a", "link": [1]}]}, "a link is [1], not a text"),
    ],
)
def test_a_wrong_type_is_named_with_what_it_should_be(node: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(words)) as caught:
        Workflow.from_data(saved(node, {"id": 2, "type": "B"}))
    assert len(str(caught.value)) < 400


def test_two_nodes_of_one_id_are_refused() -> None:
    with pytest.raises(DocumentError, match="two nodes have the same id"):
        Workflow.from_data(saved({"id": 1, "type": "A"}, {"id": "1", "type": "B"}))


@pytest.mark.parametrize(
    "data",
    [
        {
            str(i): {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": [str(i + 1), 0],
                                                                     "conditioning_2": [str(i + 1), 0]}}
            for i in range(20_000)
        },
        {
            str(i): {"class_type": "LatentBatch", "inputs": {"samples1": [str(i + 1), 0], "samples2": ["x", 0]}}
            for i in range(20_000)
        },
        saved({"id": 1, "type": "KSampler", "widgets_values": list(range(500_000))}),
        {
            **{str(i): {"class_type": "SamplerCustom", "inputs": {"sampler": ["s", 0], "sigmas": ["t", 0]}}
               for i in range(20_000)},
            "s": {"class_type": "KSamplerSelect"},
            "t": {"class_type": "BasicScheduler", "inputs": {"steps": 4}},
        },
        {str(i): {"class_type": "LoraLoaderModelOnly"} for i in range(20_000)},
    ],
    ids=["two of each", "a long row", "values", "one sampler for all", "no text encoder"],
)  # fmt: skip
def test_more_of_everything_takes_time_that_grows_with_it(data: dict[str, Any]) -> None:
    begun = time.process_time()
    translated(data)
    assert time.process_time() - begun < 30


NAMES = """model clip vae steps denoise seed noise_seed sampler sigmas noise guider positive negative conditioning samples
pixels mask image images text ckpt_name type clip_name1 width height shift max_shift base_shift start_at_step end_at_step
add_noise channel grow_mask_by operation x y scheduler sampler_name cfg upscale_model filename_prefix crop batch_size
control_net strength start_percent latent_image solver_type conditioning_1 samples1 unet_name weight_dtype""".split()
TYPES = sorted({*WIDGETS, *READERS, "Reroute", "PrimitiveNode", "Note", "Unheard", "use"})


class Chance:
    """Workflows of ComfyUI in which anything may be anywhere, the same ones in every run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        pick = self.random.choice
        plain = [0, 1, -1, 5, 20, 2**60, 10**30, 10**400, True, False, None, 0.5, -2.5, 1e300, 1e-300, "", "euler"]
        words = [
            "flux",
            "normal",
            "a\\b",
            "x" * 300,
            "\0",
            "enable",
            "alpha",
            "or",
            "custom/%date%",
            "heun",
            "sd3",
        ]
        kinds = ["plain", "plain", "word", "word", "list", "record"] if depth < 3 else ["plain"]
        match pick(kinds):
            case "list":
                return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
            case "record":
                return {pick(NAMES): self.value(depth + 1)}
            case kind:
                return pick(plain if kind == "plain" else words)

    def number(self) -> int:
        return self.random.randrange(8)

    def exported(self) -> dict[str, Any]:
        inputs = [
            {
                self.random.choice(NAMES): self.value()
                if self.number() < 4
                else [str(self.number()), self.number() % 3]
                for _ in range(self.number())
            }
            for _ in range(8)
        ]
        return {str(at): {"class_type": self.random.choice(TYPES), "inputs": one} for at, one in enumerate(inputs)}

    def saved(self) -> dict[str, Any]:
        def node(at: int) -> dict[str, Any]:
            entries = [{"name": self.random.choice(NAMES), "link": self.number()} for _ in range(self.number())]
            values = [self.value() for _ in range(self.number())]
            return {"id": at, "type": self.random.choice(TYPES), "inputs": entries, "widgets_values": values,
                    "pos": [at, 0], "mode": self.random.choice([0, 0, 2, 4])}  # fmt: skip

        def line(at: int) -> list[Any]:
            return [at, self.number(), self.number() % 3, self.number(), 0, "X"]

        inner = within("use", [{**node(1), "type": "Unheard"}], [[0, -10, 0, 1, 0], [1, 1, 0, -20, 0]],
                       inputs=[{"name": self.random.choice(NAMES)}])  # fmt: skip
        lines = [line(at) for at in range(8)]
        return saved(*map(node, range(8)), links=lines, definitions={"subgraphs": [inner]})


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_anywhere_is_read_and_written_or_refused_in_words(seed: int, registry: Registry) -> None:
    chance = Chance(seed)
    read = 0
    for number in range(120):
        data = chance.saved() if number % 2 else chance.exported()
        with suppress(DocumentError):
            document = Workflow.from_data(data)
            read += 1
            assert Workflow.parse(document.dump()) == document
            written = for_comfyui(document, registry.catalog)
            json.dumps(written.prompt, allow_nan=False)
            assert all(str(problem) for problem in written.problems)
    assert read > 60


def test_every_type_that_is_read_is_a_name_of_nodes_here(registry: Registry) -> None:
    names = comfyui_names()
    assert set(names) <= set(registry.catalog.nodes)
    told = {there for all in names.values() for there in all}
    same = {rule.comfy for rule in RULES if rule.comfy == rule.type} | {"LatentBatch"}
    read = {*READERS, *(rule.comfy for rule in RULES)}
    assert told | same == read | NEAR.keys()
    assert not read & NEAR.keys()
    for type, there in {"Sampler": "KSampler", "LoadModel": "CheckpointLoaderSimple"}.items():
        node = {"class_type": there, "inputs": {}}
        assert type in {spec.type for spec in Workflow.parse(json.dumps({"1": node})).nodes.values()}
        assert there in names[type]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_other_names_are_those_of_nodes_that_there_are(registry: Registry, language: str) -> None:
    """What the editor's search knows a node by, besides."""
    words = (ROOT / "web" / "src" / "words" / f"nodes.{language}.ts").read_text("utf-8")
    found = set(re.findall(r'^  "also\.(\w+)":', words, re.MULTILINE))
    assert len(found) > 40
    assert found <= set(registry.catalog.nodes)


def rerouted() -> dict[str, Any]:
    """Two links that come through reroutes that are nodes, one through reroutes that are none."""
    data: dict[str, Any] = json.loads(json.dumps(SAVED))
    data["nodes"] += [
        {"id": 20, "type": "Reroute", "pos": [100, 40], "inputs": [{"name": "", "link": 20}]},
        {"id": 21, "type": "Reroute", "pos": [200, 60], "inputs": [{"name": "", "link": 21}]},
    ]
    decode = next(node for node in data["nodes"] if node["type"] == "VAEDecode")
    decode["inputs"].append({"name": "vae", "link": 22})
    data["links"] += [[20, 4, 2, 20, 0, "VAE"], [21, 20, 0, 21, 0, "VAE"], [22, 21, 0, 12, 1, "VAE"]]
    data["extra"] = {
        "reroutes": [{"id": 1, "pos": [300, 10]}, {"id": 2, "parentId": 1, "pos": [400, 20]}],
        "linkExtensions": [{"id": 3, "parentId": 2}],
    }
    return data


def test_reroutes_become_points_of_their_links() -> None:
    document = Workflow.from_data(rerouted())
    bends = {f"{one.node}.{one.input}": one for one in document.bends}
    vae = bends["decode.vae"]
    assert str(vae.link) == "model.vae"
    assert [(one.x, one.y) for one in vae.points] == [(137.5, 53), (237.5, 73)]
    model = bends["sampler.model"]
    assert str(model.link) == "model.model"
    assert [(one.x, one.y) for one in model.points] == [(300, 10), (400, 20)]
    for bend in document.bends:  # none is of a link that is not there
        assert bend.link == document.nodes[bend.node].links[bend.input]
    assert Workflow.parse(document.dump()) == document


def test_a_negative_that_is_the_positive_by_another_way_is_still_it() -> None:
    data = rerouted()
    sampler = next(node for node in data["nodes"] if node["type"] == "KSampler")
    sampler["inputs"].append({"name": "negative", "link": 30})
    sampler["widgets_values"][3] = 1.0
    data["nodes"].append({"id": 25, "type": "Reroute", "pos": [0, 0], "inputs": [{"name": "", "link": 31}]})
    data["links"] += [[30, 25, 0, 3, 2, "CONDITIONING"], [31, 6, 0, 25, 0, "CONDITIONING"]]
    assert "negative" not in Workflow.from_data(data).nodes["sampler"].links


@pytest.mark.parametrize(
    "extra",
    [
        {"reroutes": 3}, {"reroutes": [{"id": 1, "pos": "here"}]}, {"reroutes": [{"pos": [1, 2]}]},
        {"linkExtensions": [{"id": 3, "parentId": [1]}]}, [1],
    ],
)  # fmt: skip
def test_reroutes_that_are_none_are_refused(extra: Any) -> None:
    with pytest.raises(DocumentError, match="cannot be read as one"):
        Workflow.from_data({**rerouted(), "extra": extra})


def many_points(kind: str) -> dict[str, Any]:
    """4,000 inputs whose links come through the same hundred points, or each through others of one long line."""
    inputs = [{"name": f"i{number}", "link": 1} for number in range(4000)]
    line = [{"id": n + 1, **({"parentId": n} if n else {}), "pos": [n, n]} for n in range(100)]
    begin = {"id": 1, "type": "A", "outputs": [{"name": "o"}]}
    if kind == "one link":
        extra = {"reroutes": line, "linkExtensions": [{"id": 1, "parentId": 100}]}
        return saved(begin, {"id": 2, "type": "B", "inputs": inputs}, links=[[1, 1, 0, 2, 0, "X"]], extra=extra)
    if kind == "nodes":
        nodes = [
            {"id": n + 10, "type": "Reroute", "pos": [n, n], "inputs": [{"name": "", "link": n + 10}]}
            for n in range(100)
        ]
        links = [[n + 10, n + 9 if n else 1, 0, n + 10, 0, "X"] for n in range(100)]
        last = {"id": 2, "type": "B", "inputs": inputs}
        return saved(begin, *nodes, last, links=[[1, 109, 0, 2, 0, "X"], *links])
    line = [{"id": n + 1, **({"parentId": n} if n else {}), "pos": [n, n]} for n in range(4000)]
    inputs = [{"name": f"i{number}", "link": number} for number in range(1, 4001)]
    links = [{"id": n, "origin_id": 1, "origin_slot": 0, "parentId": n} for n in range(1, 4001)]
    return saved(begin, {"id": 2, "type": "B", "inputs": inputs}, links=links, reroutes=line)


@pytest.mark.parametrize("kind", ["one link", "nodes", "many links"])
def test_points_that_links_share_are_not_copied_without_end(kind: str) -> None:
    data = many_points(kind)
    graph = saved_format.read(data)
    read = [one for node in graph.nodes.values() for one in node.inputs.values() if isinstance(one, Source)]
    assert len({id(one.via) for one in read}) < 1000
    assert sum(len(via) for via in {id(one.via): one.via for one in read}.values()) <= 10_100
    document = Workflow.from_data(data)
    assert len(document.nodes["B"].links) == 4000, "links without points are links"
    points = [len(bend.points) for bend in document.bends]
    assert 9_900 <= sum(points) <= 10_100
    assert max(points) == 100
    assert len(json.dumps(translated(data).document["bends"])) < 2 * len(json.dumps(data))


def test_reroutes_in_a_circle_end() -> None:
    data = rerouted()
    data["extra"]["reroutes"][0]["parentId"] = 2
    bends = {f"{one.node}.{one.input}": one for one in Workflow.from_data(data).bends}
    assert len(bends["sampler.model"].points) == 100
    data["links"] = [[*link[:1], 21, *link[2:]] if link[0] == 20 else link for link in data["links"]]
    assert "decode.vae" not in {f"{one.node}.{one.input}" for one in Workflow.from_data(data).bends}


def test_every_sentence_of_an_import_is_there_in_chinese() -> None:
    """The editor has them by their English templates, with the same slots."""
    english = {"there is no counterpart here"}
    for path in (ROOT / "nodegraph" / "comfyui").glob("read*.py"):
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            said = (
                isinstance(part, ast.Call)
                and isinstance(part.func, ast.Name)
                and part.func.id in ("Said", "Untold")
            )
            put = isinstance(part, ast.Assign) and getattr(part.targets[0], "id", "") in ("told", "sentence")
            if said or put:
                texts = [
                    one for one in ast.walk(part) if isinstance(one, ast.Constant) and isinstance(one.value, str)
                ]
                english |= {str(one.value) for one in (texts[:1] if said else texts) if " " in str(one.value)}
    english.discard("Imported from ComfyUI.")
    lines = (ROOT / "web" / "src" / "words" / "imported.zh.ts").read_text("utf-8").splitlines()
    entries = [line.strip().rstrip(",") for line in lines if line.startswith('  "')]
    chinese: dict[str, str] = json.loads("{" + ",".join(entries) + "}")
    assert len(english) > 30
    assert set(chinese) == english
    for sentence, words in chinese.items():
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", sentence)), sentence


def test_every_sentence_of_an_export_is_known_in_chinese() -> None:
    english: set[str] = set()
    for path in (ROOT / "nodegraph" / "comfyui").glob("writ*.py"):
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "problem":
                assert isinstance(part.args[1], ast.Name | ast.Call), ast.unparse(part)  # never a bare text
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "Said":
                english.add(ast.literal_eval(part.args[0]))
    lines = (ROOT / "web" / "src" / "words" / "exported.zh.ts").read_text("utf-8").splitlines()
    chinese: dict[str, str] = json.loads(
        "{" + ",".join(one.strip().rstrip(",") for one in lines if one[:3] == '  "') + "}"
    )
    assert len(english) > 15
    assert set(chinese) == english
    for sentence, words in chinese.items():
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", sentence)), sentence


PATTERN = "ComfyUI/%date:yyyy-MM-dd%/pic"


def test_commands_say_what_an_import_changed(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODEGRAPH_HOME", str(home.folder))
    styled = {"class_type": "Fancy\x1b[2J", "inputs": {"image": ["8", 0]}}
    save = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": PATTERN}}
    path = tmp_path / "comfy.json"
    path.write_text(json.dumps({**API, "12": save, "13": styled}))
    with pytest.raises(CheckError, match="no node type is called"):
        cli.check(path)
    out, err = capsys.readouterr()
    assert out == ""
    first, *lines = err.splitlines()
    assert re.fullmatch(r"From ComfyUI; 3 of \d+ nodes are not just as they were:", first)
    assert (
        lines[0] == "  Fancy_2J (Fancy\N{REPLACEMENT CHARACTER}[2J): kept as it was: there is no counterpart here"
    )
    assert lines[1].startswith("  sampler (KSampler): the seed ")
    assert f"the name {PATTERN!r} is no file name here and became 'ComfyUI_%date_yyyy-MM-dd%_pic'" in lines[2]
    assert len(lines) == 3
    with pytest.raises(CheckError):
        cli.app(["run", str(path), "--events"], standalone_mode=False)
    assert capsys.readouterr().err == ""
    with pytest.raises(CheckError):
        cli.app(["run", str(path)], standalone_mode=False)
    assert capsys.readouterr().err == err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("6.text=dog", "'6.text' has ComfyUI's id of the node CLIPTextEncode, which is 'prompt' here; write prompt.text"),
        ("3.cfg=2", "of the node KSampler, which is 'sampler' here with the inputs 'sampler', 'seed', 'guidance_scale'"),
        ("99.text=dog", "'99.text' names no node. There is 'model', "),
    ],
)  # fmt: skip
def test_a_setting_by_an_id_of_comfyui_is_told_its_name_here(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, words: str
) -> None:
    monkeypatch.setenv("NODEGRAPH_HOME", str(home.folder))
    path = tmp_path / "comfy.json"
    path.write_text(json.dumps(API))
    with pytest.raises(CheckError) as refusal:
        cli.check(path, [setting])
    (told,) = [one for one in map(str, refusal.value.problems) if setting.partition("=")[0] in one]
    assert words in told
    cli.check(path, ["prompt.text=dog"])


def test_what_commands_say_of_an_import_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    many = {str(number): {"class_type": "Fancy" * 50, "inputs": {}} for number in range(200)}
    tell_imported([*translated(many).notes, *translated(API).notes])
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (22, "  and 181 more; the editor lists all of them")
    assert max(map(len, lines)) < 410
    tell_imported(translated({"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}}}).notes)
    assert capsys.readouterr().err == ""


def test_what_is_said_of_a_node_has_its_template_and_its_slots() -> None:
    notes = {note.type: note for note in translated(API).notes}
    first, second = notes["KSampler"].said
    assert (first.template, first.slots) == ("as {one} and {other}", {"one": "Sampler", "other": "Schedule"})
    assert second.template.startswith("the seed {seed} is taken modulo 2^53")
    assert second.slots == {"seed": str(2**60 + 5)}
    assert notes["KSampler"].message == f"as Sampler and Schedule; {second}"
    assert str(2**60 + 5) in second


def test_every_node_is_accounted_for() -> None:
    """Also those that are no nodes here: reroutes, values that are written into inputs, notes, uses, and choosers."""
    told = {note.type: (note.node, note.became, note.message) for note in translated(SAVED).notes}
    assert set(told) == {node["type"] for node in SAVED["nodes"]}
    assert told["Reroute"] == (None, "translated", "1 of them: points of the links that they led")
    assert told["Note"] == (None, "translated", "1 of them: notes on the canvas")
    inner = within(
        "u", [{"id": 5, "type": "Unheard", "inputs": [{"name": "a", "link": 1}]}],
        [[1, -10, 0, 5, 0], [2, 5, 0, -20, 0]], inputs=[{"name": "a"}],
    )  # fmt: skip
    uses = [{"id": n, "type": "u", "inputs": [{"name": "a", "link": 9}]} for n in (1, 2)]
    primitive = {"id": 3, "type": "PrimitiveNode", "widgets_values": [7]}
    data = saved(*uses, primitive, links=[[9, 3, 0, 1, 0, "X"]], definitions={"subgraphs": [inner]})
    counted = {note.type: note.message for note in translated(data).notes if note.node is None}
    assert counted == {
        inner.get("name", "u"): "2 of them: the nodes within stand in the place of the subgraph",
        "PrimitiveNode": "1 of them: the value stands in the inputs that they fed",
    }
    parts = {note.type: (note.node, note.message) for note in translated(ADVANCED).notes}
    assert set(parts) == {node["class_type"] for node in ADVANCED.values()}
    assert parts["KSamplerSelect"] == parts["RandomNoise"] == ("sampler", "as a part of sampler")
