"""Workflows of ComfyUI that tests read, and what they are made of."""

from __future__ import annotations

import json
from typing import Any

from nodegraph.comfyui import translated

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


def chain(length: int) -> dict[str, Any]:
    line: dict[str, Any] = {
        str(i): {"class_type": "Reroute", "inputs": {"a": [str(i + 1), 0]}} for i in range(length)
    }
    ends = {f"end{i}": {"class_type": f"End{i}", "inputs": {"x": ["0", 0]}} for i in range(length)}
    return {**line, str(length): {"class_type": "Start"}, **ends}


def became(data: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """For each type of ComfyUI what became of it and why."""
    return {note.type: (note.became, note.message) for note in translated(data).notes}


def saved(*nodes: dict[str, Any], links: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"last_node_id": 99, "nodes": list(nodes), "links": links or [], **more}


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


def within(name: str, nodes: list[dict[str, Any]], links: list[Any], **ports: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "nodes": nodes, "links": links, **ports}


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
