"""Workflows of ComfyUI become documents of this engine; what has no counterpart keeps its values and links."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from comfyui_made import ADVANCED, API, SAVED, became, chain, rerouted, saved, within
from PIL import Image, PngImagePlugin

from nodegraph.check import check
from nodegraph.comfyui import translated
from nodegraph.comfyui.table import NAMESAKES, RULES
from nodegraph.engine import Engine
from nodegraph.export import for_comfyui
from nodegraph.registry import Registry
from nodegraph.serve.api_documents import read_import
from nodegraph.workflow import Link, Workflow


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


def test_links_pass_reroutes_to_where_they_come_from() -> None:
    data = chain(3)
    data["circle"] = {"class_type": "Reroute", "inputs": {"a": ["circle", 0]}}
    data["lost"] = {"class_type": "Lost", "inputs": {"x": ["circle", 0]}}
    nodes = Workflow.from_data(data).nodes
    assert {str(nodes[f"End{i}"].links["x"]) for i in range(3)} == {"Start.output_0"}
    assert not nodes["Lost"].links


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


def test_a_denoise_of_nearly_nothing_is_kept_with_the_reason() -> None:
    (note,) = translated({"1": {"class_type": "KSampler", "inputs": {"steps": 10_000, "denoise": 5e-324}}}).notes
    assert note.became == "kept"
    assert "a `denoise` of 5e-324" in note.message


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
