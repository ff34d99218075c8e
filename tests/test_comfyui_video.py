"""Videos of ComfyUI: Wan from pictures is read and written, and frames become a file."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from test_comfyui_export import shape

from nodegraph.comfyui import translated
from nodegraph.comfyui.table import WIDGETS
from nodegraph.export import for_comfyui
from nodegraph.registry import Registry
from nodegraph.workflow import Link, Workflow

SIZE = {"width": 832, "height": 480, "length": 81, "batch_size": 1}
SAMPLER = {"seed": 5, "steps": 20, "cfg": 6.0, "sampler_name": "uni_pc", "scheduler": "simple", "denoise": 1.0}
WAN: dict[str, Any] = {
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "i2v.safetensors", "weight_dtype": "default"}},
    "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": "umt5.safetensors", "type": "wan"}},
    "3": {"class_type": "VAELoader", "inputs": {"vae_name": "wan_2.1_vae.safetensors"}},
    "4": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "clip_vision_h.safetensors"}},
    "5": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["2", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurred", "clip": ["2", 0]}},
    "8": {"class_type": "CLIPVisionEncode", "inputs": {"clip_vision": ["4", 0], "image": ["5", 0], "crop": "center"}},
    "9": {
        "class_type": "WanImageToVideo",
        "inputs": {
            "positive": ["6", 0], "negative": ["7", 0], "vae": ["3", 0], **SIZE,
            "clip_vision_output": ["8", 0], "start_image": ["5", 0],
        },
    },
    "10": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0], "positive": ["9", 0], "negative": ["9", 1], "latent_image": ["9", 2], **SAMPLER,
        },
    },
    "11": {"class_type": "VAEDecode", "inputs": {"samples": ["10", 0], "vae": ["3", 0]}},
    "12": {
        "class_type": "SaveAnimatedWEBP",
        "inputs": {
            "images": ["11", 0], "filename_prefix": "cat", "fps": 16.0, "lossless": False, "quality": 90,
            "method": "default",
        },
    },
}  # fmt: skip
MP4: dict[str, Any] = {
    "12": {"class_type": "CreateVideo", "inputs": {"images": ["11", 0], "fps": 16.0}},
    "13": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["12", 0], "filename_prefix": "video/cat", "format": "auto", "codec": "auto"},
    },
}


def first_last() -> dict[str, Any]:
    """From a first to a last picture, each of them seen by the encoder."""
    last = {"class_type": "LoadImage", "inputs": {"image": "dog.png"}}
    seen = {
        "class_type": "CLIPVisionEncode",
        "inputs": {"clip_vision": ["4", 0], "image": ["15", 0], "crop": "center"},
    }
    inputs = {name: value for name, value in WAN["9"]["inputs"].items() if name != "clip_vision_output"}
    inputs |= {"clip_vision_start_image": ["8", 0], "clip_vision_end_image": ["16", 0], "end_image": ["15", 0]}
    return {**WAN, "15": last, "16": seen, "9": {"class_type": "WanFirstLastFrameToVideo", "inputs": inputs}}


def small() -> dict[str, Any]:
    """The model of 5 billion weights, whose conditionings do not go through the node."""
    inputs = {"vae": ["3", 0], **SIZE, "start_image": ["5", 0]}
    sampler = {**WAN["10"]["inputs"], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["9", 0]}
    vae = {"class_type": "VAELoader", "inputs": {"vae_name": "wan2.2_vae.safetensors"}}
    found = {id: node for id, node in WAN.items() if id not in ("4", "8")}
    return {
        **found, "3": vae, "9": {"class_type": "Wan22ImageToVideoLatent", "inputs": inputs},
        "10": {"class_type": "KSampler", "inputs": sampler},
    }  # fmt: skip


def changed(id: str, **inputs: Any) -> dict[str, Any]:
    """The workflow with other inputs of one node; None takes one away."""
    new = {name: value for name, value in {**WAN[id]["inputs"], **inputs}.items() if value is not None}
    return {**WAN, id: {**WAN[id], "inputs": new}}


def became(data: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {note.type: (note.became, note.message) for note in translated(data).notes}


def test_a_video_from_a_picture_is_the_nodes_of_the_page(registry: Registry) -> None:
    """The same as docs/video.md says: an ImageToVideo with an image encoder, and conditionings straight from Encode."""
    nodes = Workflow.from_data(WAN).nodes
    video = nodes["video"]
    assert (video.type, video.values) == ("ImageToVideo", {"width": 832, "height": 480, "frames": 81})
    assert {name: str(link) for name, link in video.links.items()} == {
        "vae": "vae.vae", "image": "picture.image", "image_encoder": "image_encoder.image_encoder",
    }  # fmt: skip
    sampler = nodes["sampler"]
    assert sampler.links["positive"] == Link(node="prompt", output="conditioning")
    assert sampler.links["negative"] == Link(node="negative", output="conditioning")
    assert sampler.links["latent"] == Link(node="video", output="latent")
    assert {spec.type for spec in nodes.values()} <= set(registry.catalog.nodes)
    assert became(WAN)["CLIPVisionEncode"] == ("translated", "as a part of video")
    kind, message = became(WAN)["WanImageToVideo"]
    assert kind == "adjusted"
    assert "the middle of the picture as it is cut for the video" in message


def test_frames_that_become_an_mp4_there_are_an_animation_here() -> None:
    data = {**WAN, **MP4}
    nodes = Workflow.from_data(data).nodes
    assert nodes["save"].type == "SaveAnimation"
    assert nodes["save"].values == {"name": "video_cat", "frames_per_second": 16.0}
    assert nodes["save"].links == {"image": Link(node="decode", output="image")}
    kind, message = became(data)["SaveVideo"]
    assert kind == "adjusted"
    assert "there it is an MP4 file; here it is an animated WebP" in message
    assert became(data)["CreateVideo"][1] == "as a part of save"
    fast = {
        **data,
        "12": {"class_type": "CreateVideo", "inputs": {"images": ["11", 0], "fps": 120.0, "audio": ["5", 0]}},
    }
    assert Workflow.from_data(fast).nodes["save"].values["frames_per_second"] == 60
    message = became(fast)["SaveVideo"][1]
    assert "120.0 frames a second are more than a SaveAnimation writes" in message
    assert "its sound is left out" in message


def test_an_animated_webp_is_read_and_what_differs_is_said() -> None:
    assert became(WAN)["SaveAnimatedWEBP"] == ("translated", "as SaveAnimation")
    lossless = changed("12", lossless=True)
    assert became(lossless)["SaveAnimatedWEBP"][0] == "adjusted"
    assert "`lossless` was True and is left out" in became(lossless)["SaveAnimatedWEBP"][1]


def test_without_a_picture_it_is_a_blank_video() -> None:
    for data in (
        changed("9", clip_vision_output=None, start_image=None),
        {**small(), "9": {"class_type": "Wan22ImageToVideoLatent", "inputs": {"vae": ["3", 0], **SIZE}}},
    ):
        blank = Workflow.from_data(data).nodes["blank"]
        assert (blank.type, blank.values["frames"]) == ("EmptyVideo", 81)
        assert set(blank.links) == {"vae"}


def test_several_videos_at_once_are_one_and_that_is_said() -> None:
    assert "`batch_size` was 3 and is left out" in became(changed("9", batch_size=3))["WanImageToVideo"][1]


ELSE = {"class_type": "LoadImage", "inputs": {"image": "dog.png"}}
NOT_SEEN = {"class_type": "CLIPVisionEncode", "inputs": {"clip_vision": ["4", 0], "image": ["20", 0]}}


@pytest.mark.parametrize(
    ("data", "type", "why"),
    [
        (changed("9", start_image=None), "WanImageToVideo", "sees another picture"),
        ({**changed("9", clip_vision_output=["21", 0]), "20": ELSE, "21": NOT_SEEN}, "WanImageToVideo", "sees another picture"),
        (changed("9", clip_vision_output=["5", 0]), "WanImageToVideo", "from no CLIPVisionEncode"),
        ({**first_last(), "9": {"class_type": "WanFirstLastFrameToVideo", "inputs": {**SIZE, "end_image": ["5", 0]}}},
         "WanFirstLastFrameToVideo", "a last picture and no first one"),
        ({**first_last(), "16": {"class_type": "CLIPVisionEncode", "inputs": {"clip_vision": ["2", 0], "image": ["15", 0]}}},
         "WanFirstLastFrameToVideo", "has one image encoder"),
        ({"8": WAN["8"], "4": WAN["4"], "5": WAN["5"]}, "CLIPVisionEncode", "what this is linked to is none"),
        ({**WAN, "12": MP4["12"]}, "CreateVideo", "what this is linked to is none"),
        ({**WAN, "13": {"class_type": "SaveVideo", "inputs": {"video": ["5", 0]}}}, "SaveVideo", "comes from no CreateVideo"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_kept_with_the_reason(data: dict[str, Any], type: str, why: str) -> None:
    kind, message = became(data)[type]
    assert kind == "kept"
    assert why in message


def test_the_fields_of_the_editor_are_in_the_order_of_comfyui() -> None:
    node = {
        "id": 1, "type": "WanImageToVideo", "widgets_values": [640, 352, 33, 1], "inputs": [], "outputs": [],
    }  # fmt: skip
    save = {
        "id": 2,
        "type": "SaveVideo",
        "widgets_values": ["cat", "auto", "auto"],
        "inputs": [{"name": "video", "link": 1}],
    }
    make = {"id": 3, "type": "CreateVideo", "widgets_values": [24], "inputs": [], "outputs": [{"name": "VIDEO"}]}
    data = {"last_node_id": 3, "nodes": [node, save, make], "links": [[1, 3, 0, 2, 0, "VIDEO"]]}
    nodes = Workflow.from_data(data).nodes
    assert nodes["blank"].values == {"width": 640, "height": 352, "frames": 33}
    assert nodes["save"].values == {"name": "cat", "frames_per_second": 24}
    assert WIDGETS["SaveAnimatedWEBP"] == ("filename_prefix", "fps", "lossless", "quality", "method")


@pytest.mark.parametrize(
    "api",
    [WAN, first_last(), small(), changed("9", clip_vision_output=None, start_image=["5", 0])],
    ids=["wan", "first_last", "small", "no_encoder"],
)
def test_what_is_read_is_written_as_it_was(api: dict[str, Any], registry: Registry) -> None:
    used = api if "clip_vision_output" in api["9"]["inputs"] or "16" in api else {
        id: node for id, node in api.items() if id not in ("4", "8")
    }  # fmt: skip
    written = for_comfyui(Workflow.from_data(used), registry.catalog)
    assert written.problems == ()
    assert shape(written.prompt) == shape(used)


def two_samplers() -> dict[str, Any]:
    """A video from a picture by two networks, as ComfyUI's templates for Wan 2.2 wire it."""
    common = {key: value for key, value in SAMPLER.items() if key not in ("seed", "denoise")} | {"noise_seed": 5}
    words = {"positive": ["9", 0], "negative": ["9", 1]}
    found = changed("9", clip_vision_output=None)
    del found["4"], found["8"]
    first = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 10, "return_with_leftover_noise": "enable"}
    last = {
        "add_noise": "disable", "start_at_step": 10, "end_at_step": 10_000, "return_with_leftover_noise": "disable",
    }  # fmt: skip
    found["10"] = {
        "class_type": "KSamplerAdvanced",
        "inputs": {"model": ["1", 0], "latent_image": ["9", 2], **common, **words, **first},
    }
    found["30"] = {
        "class_type": "KSamplerAdvanced",
        "inputs": {"model": ["31", 0], "latent_image": ["10", 0], **common, **words, **last},
    }
    found["31"] = {"class_type": "UNETLoader", "inputs": {"unet_name": "low.safetensors"}}
    found["11"] = {"class_type": "VAEDecode", "inputs": {"samples": ["30", 0], "vae": ["3", 0]}}
    return found


def test_two_samplers_share_the_conditionings_that_go_through_the_node(registry: Registry) -> None:
    workflow = Workflow.from_data(two_samplers())
    for name in ("sampler", "sampler_2"):
        assert str(workflow.nodes[name].links["positive"]) == "prompt.conditioning"
        assert str(workflow.nodes[name].links["negative"]) == "negative.conditioning"
    prompt = for_comfyui(workflow, registry.catalog).prompt
    (video,) = (id for id, node in prompt.items() if node["class_type"] == "WanImageToVideo")
    samplers = [node["inputs"] for node in prompt.values() if node["class_type"] == "SamplerCustom"]
    assert [one["positive"] for one in samplers] == [[video, 0]] * 2
    assert [one["negative"] for one in samplers] == [[video, 1]] * 2


def test_what_a_video_of_comfyui_lacks_is_said(registry: Registry) -> None:
    alone = {id: node for id, node in WAN.items() if id not in ("10", "11", "12")}
    (problem,) = for_comfyui(Workflow.from_data(alone), registry.catalog).problems
    assert (problem.node, "no Sampler paints on it" in problem.message) == ("video", True)
    other = {"class_type": "KSampler", "inputs": {**WAN["10"]["inputs"], "positive": ["7", 0]}}
    (problem,) = for_comfyui(Workflow.from_data({**WAN, "40": other}), registry.catalog).problems
    assert "an ImageToVideo of its own" in problem.message


def test_long_rows_are_followed_once(registry: Registry) -> None:
    """Nodes that hand on what they got, and Samplers one behind the other, in time that grows with them."""

    def row(count: int) -> float:
        wan = {"class_type": "WanImageToVideo", "inputs": {"positive": ["6", 0], "negative": ["6", 0], **SIZE}}
        rows = {
            f"w{at}": {**wan, "inputs": {**wan["inputs"], "positive": [f"w{at - 1}", 0]}} for at in range(1, count)
        }
        circle = {**wan, "inputs": {**wan["inputs"], "positive": ["c", 0]}}
        ends = {f"e{at}": {"class_type": "X", "inputs": {"a": [f"w{count - 1}", 0]}} for at in range(count)}
        last = {"class_type": "X", "inputs": {"a": ["c", 0]}}
        data = {"6": WAN["6"], "2": WAN["2"], "w0": wan, **rows, **ends, "c": circle, "z": last}
        began = time.process_time()
        nodes = translated(data).document["nodes"]
        took = time.process_time() - began
        assert nodes["X_2"]["links"]["a"] == {"node": "prompt", "output": "conditioning"}
        assert not nodes[f"X_{count + 1}"].get("links")
        return took

    assert min(row(4000) for _ in range(3)) < 30 * max(row(400), 0.01)
    samplers = {
        f"s{at}": {"type": "Sampler", "links": {"latent": {"node": f"s{at - 1}", "output": "latent"}}}
        for at in range(1, 3000)
    }
    data = {"format": "nodegraph", "version": 1, "nodes": {**samplers, "s0": {"type": "ImageToVideo"}}}
    began = time.process_time()
    for_comfyui(Workflow.parse(json.dumps(data)), registry.catalog)
    assert time.process_time() - began < 30
