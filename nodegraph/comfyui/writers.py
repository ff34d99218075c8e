"""The nodes here that are written as more, or fewer, or other nodes of ComfyUI."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nodegraph.comfyui.graph import shown
from nodegraph.comfyui.read_samplers import kept_steps
from nodegraph.comfyui.said import Said
from nodegraph.comfyui.table import (
    NOISY,
    READ,
    SAMPLER_NAMES,
    SAMPLERS_ALONE,
    SCHEDULES_ALONE,
    TEXT_FAMILIES,
    WRITTEN,
)
from nodegraph.comfyui.write_videos import image_to_video, through_video
from nodegraph.comfyui.writing import Slot, Writing, Written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nodegraph.comfyui.writing import Writer
    from nodegraph.node import NodeType
    from nodegraph.workflow import Link, NodeSpec

SAID = {"model", "positive", "negative", "latent", "sigmas", "sampler", "seed", "guidance_scale", "eta", "s_noise"}


def written(nodes: Mapping[str, NodeSpec], types: Mapping[str, NodeType]) -> Written:
    """Nodes in ComfyUI's API format.

    Args:
        nodes: by name, without uses of subgraphs and without bypassed and muted ones.
        types: the node types of a catalog.
    """
    return Writing(nodes, types, WRITERS).written()


def denoise(steps: int, strength: float) -> tuple[int, float]:
    """ComfyUI's `steps` and `denoise` for our `steps` and `strength`: as many are taken, of as many spaced."""
    kept = kept_steps(steps, strength)
    if kept >= steps:
        return steps, 1.0
    if steps <= kept / strength < steps + 1:
        return kept, strength
    share = kept / steps
    return kept, share if int(kept / share) == steps else math.nextafter(share, 0)


def sampler(writing: Writing, name: str) -> None:
    """A KSampler, with the Schedule of its sigmas; where that cannot say it, a SamplerCustom."""
    algorithm = writing.value(name, "sampler")
    if algorithm in SAMPLERS_ALONE:
        message = Said("ComfyUI has no sampler {sampler}; choose another", sampler=repr(algorithm))
        writing.problem(name, message, "sampler")
    given = set(writing.given(name))
    noisy = next((type for type, (one, _) in NOISY.items() if one == algorithm), None)
    if algorithm == "dpmpp_2m_sde_heun":
        noisy = "SamplerDPMPP_2M_SDE"
    is_tuned = bool(given & {"eta", "s_noise"})
    said = SAID if noisy else SAID - {"eta", "s_noise"}
    is_plain = folded(writing, name) and not (is_tuned and noisy)
    writing.without(name, "KSampler" if is_plain else "SamplerCustom", said)
    inputs = {
        "model": writing.link(name, "model"),
        "positive": through_video(writing, name, "positive") or writing.link(name, "positive"),
        "negative": through_video(writing, name, "negative") or _negative(writing, name),
        "latent_image": writing.link(name, "latent"),
        "cfg": writing.value(name, "guidance_scale"),
    }
    seed, there = writing.value(name, "seed"), SAMPLER_NAMES.get(algorithm, algorithm)
    if is_plain:
        schedule = writing.link(name, "sigmas")
        assert schedule is not None  # or it would not be folded
        spaced = _spaced(writing, schedule.node)
        id = writing.add(name, "KSampler", {"seed": seed, "sampler_name": there, **spaced, **inputs})
    else:
        chooser = writing.add(name, "KSamplerSelect", {"sampler_name": there})
        if noisy and is_tuned:
            eta = writing.value(name, "eta")
            options = {"eta": 1.0 if eta is None else eta, "s_noise": writing.value(name, "s_noise")}
            heun = {"solver_type": "heun"} if algorithm == "dpmpp_2m_sde_heun" else {}
            writing.prompt[chooser].update(class_type=noisy, inputs={**NOISY[noisy][1], **options, **heun})
        inputs |= {"add_noise": True, "noise_seed": seed, "sampler": Slot(chooser, 0)}
        id = writing.add(name, "SamplerCustom", {**inputs, "sigmas": writing.link(name, "sigmas")})
    writing.outputs[name, "latent"] = Slot(id, 0)


def _negative(writing: Writing, name: str) -> Link | None:
    negative = writing.link(name, "negative")
    if negative is None and writing.value(name, "guidance_scale") == 1:
        return writing.link(name, "positive")  # KSampler asks for one, and does not evaluate it at a cfg of 1
    if negative is None:
        message = Said(
            "a sampler of ComfyUI needs one; link an Encode with an empty text, or set guidance_scale to 1"
        )
        writing.problem(name, message, "negative")
    return negative


def folded(writing: Writing, name: str) -> bool:
    """Whether a Sampler's sigmas come from a Schedule that a KSampler says by itself."""
    sigmas = writing.link(name, "sigmas")
    spec = writing.nodes.get(sigmas.node) if sigmas else None
    if sigmas is None or spec is None or spec.type != "Schedule":
        return False
    return writing.link(sigmas.node, "model") == writing.link(name, "model")


def schedule(writing: Writing, name: str) -> None:
    """A BasicScheduler, where not every reader is a KSampler that says it by itself."""
    kind = writing.value(name, "kind")
    if kind in SCHEDULES_ALONE:
        writing.problem(name, Said("ComfyUI has no schedule {kind}; choose another", kind=repr(kind)), "kind")
    writing.without(name, "BasicScheduler", {"model", "kind", "steps", "strength"})
    readers = writing.readers.get((name, "sigmas"), [])
    plain = [reader for reader, _ in readers if writing.nodes[reader].type == "Sampler"]
    if len(plain) == len(readers) and all(_is_plain(writing, reader) for reader in plain) and readers:
        return
    id = writing.add(name, "BasicScheduler", {"model": writing.link(name, "model"), **_spaced(writing, name)})
    writing.outputs[name, "sigmas"] = Slot(id, 0)


def _is_plain(writing: Writing, name: str) -> bool:
    algorithm = writing.value(name, "sampler")
    is_noisy = algorithm == "dpmpp_2m_sde_heun" or any(one == algorithm for one, _ in NOISY.values())
    is_tuned = bool({"eta", "s_noise"} & set(writing.given(name)))
    return folded(writing, name) and not (is_tuned and is_noisy)


def _spaced(writing: Writing, name: str) -> dict[str, Any]:
    """`scheduler`, `steps` and `denoise` of a Schedule."""
    steps, strength = writing.value(name, "steps"), writing.value(name, "strength")
    if isinstance(strength, int | float) and strength < 1:
        if isinstance(steps, int) and strength > 0:
            steps, strength = denoise(steps, strength)
        else:
            message = Said("is linked, and ComfyUI counts steps in another way below a strength of 1")
            writing.problem(name, message, "steps")
    elif not isinstance(strength, int | float):
        message = Said("is linked, and ComfyUI counts steps in another way below a strength of 1; give it a value")
        writing.problem(name, message, "strength")
    return {"scheduler": writing.value(name, "kind"), "steps": steps, "denoise": strength}


def load_model(writing: Writing, name: str) -> None:
    """A checkpoint; where its model alone is used and text encoders are files of their own, a UNETLoader."""
    uses = set(writing.outputs_read.get(name, ()))
    parts = any(spec.type == "LoadTextEncoder" for spec in writing.nodes.values())
    if not parts or uses & {"text_encoder", "vae"}:
        writing.by_rule(name, WRITTEN["LoadModel"])
        return
    writing.shipped(name)
    inputs = {"unet_name": writing.value(name, "checkpoint"), "weight_dtype": "default"}
    writing.outputs[name, "model"] = Slot(writing.add(name, "UNETLoader", inputs), 0)


def load_text_encoder(writing: Writing, name: str) -> None:
    """CLIPLoader, DualCLIPLoader or TripleCLIPLoader, as there are files."""
    files = [value for entry in ("first", "second", "third") if (value := writing.value(name, entry)) is not None]
    family = writing.value(name, "family")
    type = {"type": TEXT_FAMILIES.get(family, family)} if len(files) < 3 else {}
    names = {"clip_name": files[0]} if len(files) == 1 else {f"clip_name{at}": f for at, f in enumerate(files, 1)}
    loader = ("CLIPLoader", "CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader")[len(files)]
    writing.outputs[name, "text_encoder"] = Slot(writing.add(name, loader, {**names, **type}), 0)


def load_lora(writing: Writing, name: str) -> None:
    """A LoraLoader; a LoraLoaderModelOnly where nothing reads its text encoder."""
    if (name, "text_encoder") in writing.readers:
        writing.by_rule(name, WRITTEN["LoadLora"])
        return
    inputs = {
        "model": writing.link(name, "model"),
        "lora_name": writing.value(name, "lora"),
        "strength_model": writing.value(name, "strength"),
    }
    writing.outputs[name, "model"] = Slot(writing.add(name, "LoraLoaderModelOnly", inputs), 0)


def empty_latent(writing: Writing, name: str) -> None:
    """An EmptyLatentImage; an EmptySD3LatentImage where the models are those that have such latents."""
    type = "EmptySD3LatentImage" if writing.family else "EmptyLatentImage"
    writing.by_rule(name, [READ[type]])


def reparametrize(writing: Writing, name: str) -> None:
    """ModelSampling, by what is changed and for which family."""
    given = writing.given(name)
    shift, family = writing.value(name, "shift"), writing.family
    if shift is None:
        writing.by_rule(name, WRITTEN["Reparametrize"])
        return
    inputs: dict[str, Any] = {"model": writing.link(name, "model"), "shift": shift}
    type = "ModelSamplingAuraFlow" if family in ("z-image", "qwen-image") else "ModelSamplingSD3"
    if family in ("flux", "flux-schnell") and isinstance(shift, int | float) and shift > 0:
        exponent = math.log(shift)
        type, inputs = "ModelSamplingFlux", {"model": inputs["model"], "width": 1024, "height": 1024}
        inputs |= {"max_shift": exponent, "base_shift": exponent}
    if set(given) - {"model", "shift"}:
        writing.without(name, type, {"model", "shift"})
    writing.outputs[name, "model"] = Slot(writing.add(name, type, inputs), 0)


def mask_inpaint(writing: Writing, name: str) -> None:
    """A VAEEncode and a SetLatentNoiseMask: a sampler of ComfyUI puts the known part back after each step."""
    method = writing.value(name, "method")
    if method != "blend":
        message = Said(
            "ComfyUI has nothing like {method}; set it to 'blend', which its samplers do", method=shown(method)
        )
        writing.problem(name, message, "method")
    encoded = writing.add(
        name, "VAEEncode", {"pixels": writing.link(name, "image"), "vae": writing.link(name, "vae")}
    )
    inputs = {"samples": Slot(encoded, 0), "mask": writing.link(name, "mask")}
    writing.outputs[name, "latent"] = Slot(writing.add(name, "SetLatentNoiseMask", inputs), 0)


def upscale(writing: Writing, name: str) -> None:
    """An UpscaleModelLoader and an ImageUpscaleWithModel, which chooses its tiles by itself."""
    writing.shipped(name)
    loader = writing.add(name, "UpscaleModelLoader", {"model_name": writing.value(name, "upscaler")})
    inputs = {"upscale_model": Slot(loader, 0), "image": writing.link(name, "image")}
    writing.outputs[name, "image"] = Slot(writing.add(name, "ImageUpscaleWithModel", inputs), 0)


def apply_controlnet(writing: Writing, name: str) -> None:
    """A ControlNetApplyAdvanced; two that differ in their conditioning alone are one, for both conditionings."""
    if (name, "conditioning") in writing.outputs:
        return  # written with its twin
    twin = writing.twins.get(name, name)
    inputs = {
        "positive": writing.link(name, "conditioning"),
        "negative": writing.link(twin, "conditioning"),
        "control_net": writing.value(name, "controlnet"),
        "image": writing.value(name, "image"),
        "strength": writing.value(name, "strength"),
        "start_percent": writing.value(name, "start"),
        "end_percent": writing.value(name, "end"),
    }
    id = writing.add(name, "ControlNetApplyAdvanced", inputs)
    writing.outputs[twin, "conditioning"] = Slot(id, 1)
    writing.outputs[name, "conditioning"] = Slot(id, 0)


def _list(type: str, entry: str, ours: str, output: str) -> Writer:
    """A list, as nodes of two inputs one behind the other; of one, nothing but that one."""

    def write(writing: Writing, name: str) -> None:
        links = writing.links(name, ours)
        if not links:
            message = Said("nothing is linked to it; link something, or remove the node")
            writing.problem(name, message, ours)
            return
        so_far: Slot | Link = links[0]
        for link in links[1:]:
            so_far = Slot(writing.add(name, type, {f"{entry}1": so_far, f"{entry}2": link}), 0)
        writing.outputs[name, output] = so_far

    return write


WRITERS: dict[str, Writer] = {
    "Sampler": sampler,
    "Schedule": schedule,
    "LoadModel": load_model,
    "LoadTextEncoder": load_text_encoder,
    "LoadLora": load_lora,
    "EmptyLatent": empty_latent,
    "Reparametrize": reparametrize,
    "MaskInpaint": mask_inpaint,
    "Upscale": upscale,
    "ImageToVideo": image_to_video,
    "ApplyControlNet": apply_controlnet,
    "CombineConditioning": _list("ConditioningCombine", "conditioning_", "conditionings", "conditioning"),
    "LatentBatch": _list("LatentBatch", "samples", "latents", "latent"),
    "BatchImages": _list("ImageBatch", "image", "pictures", "image"),
}
