"""Workflows are written for ComfyUI: what comes back means the same, and what cannot be said is said in words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Shell
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nodegraph.check import check
from nodegraph.comfyui import translated
from nodegraph.comfyui.read_samplers import kept_steps, spacing
from nodegraph.comfyui.table import NOISY, SAMPLERS_ALONE, SCHEDULES_ALONE, TEXT_FAMILIES
from nodegraph.comfyui.writers import denoise, written
from nodegraph.diffusion.sampling.samplers import SAMPLERS
from nodegraph.diffusion.sampling.schedules import SCHEDULES
from nodegraph.engine import Engine
from nodegraph.errors import DocumentError
from nodegraph.export import for_comfyui
from nodegraph.registry import Registry
from nodegraph.subgraphs import expanded
from nodegraph.workflow import NodeSpec, Workflow

PATHS = sorted(path for path in (ROOT / "workflows").rglob("*.json"))
# The files that shipped workflows name and users bring.
NAMED = [("checkpoints", "sd_xl_base_1.0.safetensors"), ("loras", "my_lora.safetensors"),
         ("controlnet", "controlnet-canny-sdxl-1.0.safetensors")]  # fmt: skip
# Those of which nothing is left without the nodes that ComfyUI has nothing like.
ALIEN = {"train_digits", "train_folder", "convergence", "ancestral", "ndims"}


def sayable(workflow: Workflow) -> Workflow:
    """The workflow with sizes said and no styles, which are of the embedded model alone, and in a normal form.

    In it a strength is the share of the steps that are taken, and a blank's VAE the one that decodes.
    """
    nodes = {}
    decoders = [spec.links["vae"] for spec in workflow.nodes.values() if spec.type == "VAEDecode"]
    for name, spec in workflow.nodes.items():
        links = dict(spec.links)
        values: dict[str, Any] = {
            key: value for key, value in spec.values.items() if (spec.type, key) != ("Encode", "style")
        }
        if spec.type == "EmptyLatent":
            values = {"width": 64, "height": 64, **values}
            links["vae"] = decoders[0] if decoders else links["vae"]
        if spec.type == "Schedule" and "strength" in values:
            values["strength"] = kept_steps(values["steps"], values["strength"]) / values["steps"]
        nodes[name] = spec.model_copy(update={"values": values, "links": links})
    return workflow.model_copy(update={"nodes": nodes})


def without(workflow: Workflow, gone: Iterable[str]) -> Workflow:
    """The workflow without some nodes and all that depends on them."""
    muted = set(gone)
    while more := {
        name
        for name, spec in workflow.nodes.items()
        if name not in muted
        for there in spec.links.values()
        for link in (there if isinstance(there, list) else [there])
        if link.node in muted
    }:
        muted |= more
    nodes = {name: spec for name, spec in workflow.nodes.items() if name not in muted}
    layout = {name: place for name, place in workflow.layout.items() if name in nodes}
    return workflow.model_copy(update={"nodes": nodes, "layout": layout})


def keys(engine: Engine, workflow: Workflow) -> set[str]:
    """The keys of all results that a workflow asks for: equal keys are equal results."""
    return {step.key for step in engine.plan(workflow).steps.values()}


def unsaid(workflow: Workflow, registry: Registry) -> list[tuple[str | None, str | None]]:
    problems = for_comfyui(workflow, registry.catalog).problems
    return [(one.node, one.input) for one in problems if "ships with nodegraph" not in one.message]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_is_written_of_a_shipped_workflow_comes_back_with_the_same_meaning(
    path: Path, engine: Engine, registry: Registry
) -> None:
    for folder, name in NAMED:
        file = engine.home.models / folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())  # its content enters keys; nothing loads it
    workflow = sayable(expanded(Workflow.load(path))[0])
    lost = {node for node, _ in unsaid(workflow, registry) if node is not None}
    rest = without(workflow, lost)
    assert (not rest.nodes) == (path.stem in ALIEN)
    if not rest.nodes:
        return
    assert unsaid(rest, registry) == []
    written = for_comfyui(rest, registry.catalog)
    back = sayable(Workflow.parse(json.dumps(written.prompt)))
    assert keys(engine, back) == keys(engine, rest)
    assert for_comfyui(back, registry.catalog).prompt.keys() == written.prompt.keys()


@pytest.mark.parametrize("name", ["text_to_image", "inpaint"])
def test_a_node_without_counterpart_keeps_its_values_and_links_and_is_named(name: str, registry: Registry) -> None:
    workflow = Workflow.load(ROOT / "workflows" / f"{name}.json")
    written = for_comfyui(workflow, registry.catalog)
    grid = next(node for node in written.prompt.values() if node["class_type"] == "GridImage")
    assert grid["inputs"]["columns"] == workflow.nodes["grid"].values["columns"]
    many = workflow.nodes["grid"].links["pictures"]
    assert isinstance(many, list)
    assert sum(isinstance(value, list) for value in grid["inputs"].values()) == len(many)
    words = {problem.where: problem.message for problem in written.problems}
    assert "no node like GridImage" in words["grid"]
    style = "prompt.style" if name == "text_to_image" else "new_prompt.style"
    assert words[style].endswith("set it back to ''")
    assert words["blank.width"].endswith("give it a value")
    assert "choose a file of your own" in words["model.checkpoint"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_is_written_of_a_part_can_be_read_again(path: Path, registry: Registry) -> None:
    """With nodes that ComfyUI has none like: their types, outputs and lists of links come back."""
    workflow = Workflow.load(path)
    written = for_comfyui(workflow, registry.catalog)
    again = Workflow.parse(json.dumps(written.prompt))
    assert check(again, registry.catalog).problems == ()
    whole, _ = expanded(workflow)
    for type in {"GridImage", "ContactSheet", "StyleMix", "TrainDiffusion", "MaskFromShape"}:
        before = [spec for spec in whole.nodes.values() if spec.type == type]
        after = [spec for spec in again.nodes.values() if spec.type == type]
        assert [one.values for one in after] == [one.values for one in before]
        assert [_linked(one, again) for one in after] == [_linked(one, whole) for one in before]


def _linked(spec: NodeSpec, workflow: Workflow) -> dict[str, list[tuple[str, str]]]:
    """For each input the outputs behind it, told by their node's type."""
    listed = {name: there if isinstance(there, list) else [there] for name, there in spec.links.items()}
    return {name: [(workflow.nodes[one.node].type, one.output) for one in links] for name, links in listed.items()}


@pytest.mark.parametrize("ours", ["x", [1], {"outputs": 3}, {"lists": [None]}, {"outputs": [["image"]]}])
def test_what_a_node_says_of_itself_is_read_with_care(ours: Any) -> None:
    node = {"class_type": "GridImage", "inputs": {}, "_meta": {"nodegraph": ours}}
    with pytest.raises(DocumentError, match="cannot be read as one"):
        Workflow.from_data({"1": node})


def shape(prompt: dict[str, Any]) -> list[str]:
    """A document in the API format without its ids: every node as text, with what it is linked to inside it."""
    known: dict[str, str] = {}

    def text(id: str) -> str:
        if id not in known:
            inputs = {
                entry: [text(value[0]), value[1]] if isinstance(value, list) else value
                for entry, value in prompt[id]["inputs"].items()
            }
            known[id] = json.dumps([prompt[id]["class_type"], inputs], sort_keys=True)
        return known[id]

    return sorted(text(id) for id in prompt)


CHECKPOINT = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a/b.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 2}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["10", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 1]}},
    "10": {
        "class_type": "LoraLoader",
        "inputs": {
            "lora_name": "ink.safetensors",
            "strength_model": 0.8,
            "strength_clip": 0.5,
            "model": ["4", 0],
            "clip": ["4", 1],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "fox", "images": ["8", 0]}},
}
SAMPLED = {"model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
KSAMPLER = {
    "class_type": "KSampler",
    "inputs": {
        "seed": 9,
        "steps": 20,
        "cfg": 7.5,
        "sampler_name": "uni_pc",
        "scheduler": "beta",
        "denoise": 1.0,
        **SAMPLED,
    },
}
CUSTOM = {
    "3": {
        "class_type": "SamplerCustom",
        "inputs": {
            "add_noise": True,
            "noise_seed": 9,
            "cfg": 7.5,
            **SAMPLED,
            "sampler": ["11", 0],
            "sigmas": ["12", 0],
        },
    },
    "11": {
        "class_type": "SamplerDPMPP_2M_SDE",
        "inputs": {"solver_type": "midpoint", "eta": 0.6, "s_noise": 1.01, "noise_device": "cpu"},
    },
    "12": {
        "class_type": "BasicScheduler",
        "inputs": {"scheduler": "karras", "steps": 13, "denoise": 0.6, "model": ["10", 0]},
    },
}
CONTROLLED = {
    **CHECKPOINT,
    "3": {**KSAMPLER, "inputs": {**KSAMPLER["inputs"], "positive": ["20", 0], "negative": ["20", 1]}},  # type: ignore[dict-item]
    "20": {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {
            "positive": ["6", 0],
            "negative": ["7", 0],
            "control_net": ["21", 0],
            "image": ["22", 0],
            "strength": 0.7,
            "start_percent": 0.1,
            "end_percent": 0.9,
        },
    },
    "21": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "edges.safetensors"}},
    "22": {"class_type": "LoadImage", "inputs": {"image": "edges.png"}},
}
FLUX = {
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux.safetensors", "weight_dtype": "default"}},
    "2": {
        "class_type": "DualCLIPLoader",
        "inputs": {"clip_name1": "clip_l.safetensors", "clip_name2": "t5.safetensors", "type": "flux"},
    },
    "3": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["2", 0]}},
    "5": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.0, "conditioning": ["4", 0]}},
    "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
    "13": {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["1", 0], "lora_name": "ink.safetensors", "strength_model": 1.0},
    },
    "7": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 1,
            "steps": 20,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "simple",
            "denoise": 1.0,
            "model": ["13", 0],
            "positive": ["5", 0],
            "negative": ["5", 0],
            "latent_image": ["6", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0], "vae": ["3", 0]}},
    "9": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}},
}
INPAINT = {
    **CHECKPOINT,
    "3": {**KSAMPLER, "inputs": {**KSAMPLER["inputs"], "latent_image": ["31", 0], "steps": 12, "denoise": 0.6}},  # type: ignore[dict-item]
    "30": {"class_type": "LoadImage", "inputs": {"image": "room.png"}},
    "31": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["32", 0], "mask": ["33", 0]}},
    "32": {"class_type": "VAEEncode", "inputs": {"pixels": ["34", 0], "vae": ["4", 2]}},
    "33": {"class_type": "GrowMask", "inputs": {"mask": ["30", 1], "expand": 8, "tapered_corners": False}},
    "34": {
        "class_type": "ImageScale",
        "inputs": {
            "image": ["30", 0],
            "upscale_method": "nearest-exact",
            "width": 512,
            "height": 512,
            "crop": "disabled",
        },
    },
    "35": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "4x.safetensors"}},
    "36": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["35", 0], "image": ["8", 0]}},
    "37": {"class_type": "PreviewImage", "inputs": {"images": ["36", 0]}},
}
COMBINED = {
    **CHECKPOINT,
    "3": {**KSAMPLER, "inputs": {**KSAMPLER["inputs"], "positive": ["41", 0]}},  # type: ignore[dict-item]
    "40": {
        "class_type": "ConditioningCombine",
        "inputs": {"conditioning_1": ["6", 0], "conditioning_2": ["42", 0]},
    },
    "41": {
        "class_type": "ConditioningCombine",
        "inputs": {"conditioning_1": ["40", 0], "conditioning_2": ["7", 0]},
    },
    "42": {
        "class_type": "ConditioningSetTimestepRange",
        "inputs": {"conditioning": ["7", 0], "start": 0.2, "end": 0.5},
    },
}


@pytest.mark.parametrize(
    "api",
    [{**CHECKPOINT, "3": KSAMPLER}, {**CHECKPOINT, **CUSTOM}, CONTROLLED, FLUX, INPAINT, COMBINED],
    ids=["ksampler", "sampler_custom", "controlnet", "flux", "inpaint", "combined"],
)
def test_what_is_read_is_written_as_it_was(api: dict[str, Any], registry: Registry) -> None:
    before = json.dumps(api)
    document, notes = translated(api)
    assert {note.became for note in notes} == {"translated"}, notes
    written = for_comfyui(Workflow.from_data(document), registry.catalog)
    assert written.problems == ()
    assert shape(written.prompt) == shape(api)
    assert json.dumps(api) == before


def test_a_node_that_is_known_to_comfyui_alone_comes_back_as_it_was(registry: Registry) -> None:
    fancy = {"class_type": "FancyStyler", "inputs": {"image": ["8", 0], "power": 2, "noise": ["13", 1]}}
    noise = {"class_type": "AddNoise", "inputs": {"model": ["4", 0]}}
    save = {"class_type": "SaveImage", "inputs": {"filename_prefix": "fox", "images": ["12", 3]}}
    api = {**CHECKPOINT, "3": KSAMPLER, "9": save, "12": fancy, "13": noise}
    written = for_comfyui(Workflow.from_data(api), registry.catalog)
    assert shape(written.prompt) == shape(api)
    said = {problem.where: problem.message for problem in written.problems}
    assert set(said) == {"FancyStyler", "AddNoise"}
    assert said["AddNoise"].endswith("needs the pack that has 'AddNoise'")


def test_an_output_whose_place_is_not_known_is_said(registry: Registry) -> None:
    link = {"node": "it", "output": "styled"}
    nodes = {"it": {"type": "FancyStyler"}, "save": {"type": "SaveImage", "links": {"image": link}}}
    workflow = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    written = for_comfyui(workflow, registry.catalog)
    assert written.prompt["2"]["inputs"]["images"] == ["1", 0]
    assert "the place of 'styled' is not known: it would be number 0" in written.problems[-1].message


@given(st.integers(1, 200), st.floats(0, 1, exclude_min=True))
@example(20, 5e-324)
@settings(derandomize=True, max_examples=500, deadline=None)
def test_as_many_steps_are_taken_of_as_many_spaced(steps: int, strength: float) -> None:
    there, share = denoise(steps, strength)
    taken = there if share >= 1 else int(there / share)
    assert (there, taken) == (kept_steps(steps, strength), steps)
    again, back = spacing(there, share)
    assert (again, kept_steps(again, back)) == (steps, there)


@given(st.integers(1, 200), st.floats(0.01, 1))
@settings(derandomize=True, max_examples=500, deadline=None)
def test_a_ksampler_takes_its_steps_here_too(steps: int, share: float) -> None:
    total, strength = spacing(steps, share)
    assert total == (steps if share == 1 else int(steps / share))
    assert kept_steps(total, strength) == steps


def test_every_sampler_and_schedule_is_written_or_known_to_have_no_counterpart(registry: Registry) -> None:
    workflow = sayable(Workflow.load(ROOT / "workflows" / "text_to_image.json"))
    for entry, names, alone in (
        ("sampler.sampler", SAMPLERS, SAMPLERS_ALONE),
        ("schedule.kind", SCHEDULES, SCHEDULES_ALONE),
    ):
        for name in names:
            found = unsaid(workflow.with_values({entry: name}), registry)
            assert ((*entry.split("."),) in found) == (name in alone), name
    assert {name for name, _ in NOISY.values()} <= set(SAMPLERS)


def test_the_families_of_text_encoders_are_those_of_the_loader(registry: Registry) -> None:
    entry = registry.catalog.nodes["LoadTextEncoder"].input("family")
    assert entry is not None
    assert entry.value_schema is not None
    assert set(TEXT_FAMILIES) == set(entry.value_schema["enum"])


def test_bypassed_muted_and_grouped_nodes_are_written_as_they_would_run(registry: Registry) -> None:
    workflow = sayable(Workflow.load(ROOT / "workflows" / "upscale.json"))
    nodes = dict(workflow.nodes)
    nodes["twice"] = nodes["twice"].model_copy(update={"bypassed": True})
    nodes["plain"] = nodes["plain"].model_copy(update={"muted": True})
    written = for_comfyui(workflow.model_copy(update={"nodes": nodes}), registry.catalog)
    types = [node["class_type"] for node in written.prompt.values()]
    assert types.count("ImageUpscaleWithModel") == 1
    assert "ImageScaleBy" not in types
    assert "SaveImage" not in types  # it depends on the muted one


def test_the_command_writes_a_file_or_says_what_is_in_the_way(shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "fox.json"
    source.write_text(json.dumps({**CHECKPOINT, "3": KSAMPLER}))
    done = shell("export-comfyui", source, "--set", "sampler.seed=31", "-o", tmp_path / "api.json")
    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads((tmp_path / "api.json").read_text())
    assert next(node for node in written.values() if node["class_type"] == "KSampler")["inputs"]["seed"] == 31
    template = ROOT / "workflows" / "text_to_image.json"
    refused = shell("export-comfyui", template)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "grid: ComfyUI has no node like GridImage" in refused.stderr
    assert "prompt.style: CLIPTextEncode of ComfyUI has nothing like it; set it back to ''" in refused.stderr
    assert refused.stderr.endswith(
        "\nNothing is written. Change these, or write the rest all the same with --partly.\n"
    )
    partly = shell("export-comfyui", template, "--partly")
    assert partly.returncode == 0
    assert "warning: grid: ComfyUI has no node like GridImage" in partly.stderr
    assert "GridImage" in {node["class_type"] for node in json.loads(partly.stdout).values()}


def test_what_a_check_refuses_is_said_and_left_out(registry: Registry) -> None:
    nodes: dict[str, Any] = {
        "a": {
            "type": "Sampler",
            "values": {"sampler": ["x"], "seed": {"a": 1}, "guidance_scale": "z", "noise": 3},
        },
        "b": {"type": "Schedule", "values": {"steps": "x", "strength": -0.5, "kind": {}}},
        "c": {"type": "LoadTextEncoder", "values": {"first": [1], "family": ["flux"]}},
        "d": {"type": "MaskInpaint", "values": {"method": ["x"]}},
        "e": {"type": "BlendImages", "values": {"mode": [1], "weight": {}}},
        "f": {"type": "Reparametrize", "values": {"shift": "x", "prediction": ["eps"]}},
        "g": {"type": "Schedule", "values": {"steps": 10**30, "strength": 1e-300}},
        "h": {"type": "LatentBatch", "links": {"latents": [{"node": "h", "output": "latent"}]}},
        "i": {"type": "Unheard", "values": {"mode": [1]}},
    }
    workflow = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    written = for_comfyui(workflow, registry.catalog)
    where = {problem.where for problem in written.problems}
    refused = {f"{name}.{entry}" for name, spec in nodes.items() for entry in spec.get("values", {})}
    assert refused - {"i.mode", "g.strength"} <= where
    assert {"i", "h"} <= where
    assert sum(problem.node == "i" for problem in written.problems) == 1
    assert json.loads(json.dumps(written.prompt, allow_nan=False)) == written.prompt
    mode = next(node["inputs"]["mode"] for node in written.prompt.values() if node["class_type"] == "Unheard")
    assert mode == [1]


@pytest.mark.parametrize(
    "nodes",
    [
        {f"c{i}": {"type": "CombineConditioning", "links": {"conditionings": [
            {"node": f"c{i + 1}", "output": "conditioning"}]}} for i in range(20_000)},
        {"s": {"type": "Schedule"}, **{f"a{i}": {"type": "Sampler", "links": {"sigmas": {
            "node": "s", "output": "sigmas"}}} for i in range(20_000)}},
        {f"a{i}": {"type": "ApplyControlNet", "links": {"controlnet": {
            "node": "x", "output": "c"}}} for i in range(20_000)},
        {"t": {"type": "LoadTextEncoder"}, **{f"a{i}": {"type": "EmptyLatent"} for i in range(20_000)}},
    ],
    ids=["lists of one", "one schedule for all", "twins", "one family"],
)  # fmt: skip
def test_many_nodes_are_written_in_time_that_grows_with_them(nodes: dict[str, Any], registry: Registry) -> None:
    workflow = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    begun = time.process_time()
    for_comfyui(workflow, registry.catalog)
    assert time.process_time() - begun < 30


def test_many_links_to_a_circle_are_followed_once(registry: Registry) -> None:
    count = 5_000
    ring = {
        f"r{at}": {
            "type": "LatentBatch",
            "links": {"latents": [{"node": f"r{(at + 1) % count}", "output": "latent"}]},
        }
        for at in range(count)
    }
    readers = {
        f"d{at}": {"type": "Decode", "links": {"latent": {"node": "r0", "output": "latent"}}}
        for at in range(count)
    }
    nodes = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": ring | readers}).nodes
    begun = time.process_time()
    prompt = written(nodes, registry.catalog.nodes).prompt
    assert time.process_time() - begun < 3
    assert not any("samples" in node["inputs"] for node in prompt.values())
