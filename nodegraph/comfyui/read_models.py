"""The nodes of ComfyUI that load models, change them, or guide with a ControlNet."""

from __future__ import annotations

import math
from typing import Any

from nodegraph.comfyui.graph import Node, Source, same, shown
from nodegraph.comfyui.reading import Draft, Reading, Translation, Untold, cleaned
from nodegraph.comfyui.said import Said
from nodegraph.comfyui.table import TEXT_FAMILIES

FAMILY_OF = {there: here for here, there in reversed(TEXT_FAMILIES.items())}


def unet_loader(_: Translation, node: Node) -> Reading:
    """UNETLoader: a LoadModel of which the model alone is used."""
    draft = Draft("LoadModel", "model")
    told: list[str] = []
    draft.put("checkpoint", cleaned("unet_name", node.inputs.get("unet_name"), told))
    dtype = node.inputs.get("weight_dtype", "default")
    if dtype != "default":
        told.append(
            Said(
                "`weight_dtype` was {dtype} and is left out: --dtype of the run says what weights are in",
                dtype=shown(dtype),
            )
        )
    return Reading([draft], {0: (draft, "model")}, told=told)


def clip_loader(translation: Translation, node: Node) -> Reading:
    """CLIPLoader, DualCLIPLoader and TripleCLIPLoader: a LoadTextEncoder of the family."""
    type = translation.word(node, "type", "sd3" if node.type == "TripleCLIPLoader" else "")
    if type not in FAMILY_OF:
        raise Untold(
            Said("text encoders of the type {type} are not loaded from files of their own here", type=shown(type))
        )
    draft = Draft("LoadTextEncoder", "text_encoder", {"family": FAMILY_OF[type]})
    names = ("clip_name",) if node.type == "CLIPLoader" else ("clip_name1", "clip_name2", "clip_name3")
    for entry, name in zip(("first", "second", "third"), names, strict=False):
        draft.put(entry, cleaned(name, node.inputs.get(name), []))
    return Reading([draft], {0: (draft, "text_encoder")})


def lora_model_only(translation: Translation, node: Node) -> Reading:
    """LoraLoaderModelOnly: a LoadLora that leaves the text encoder as it is."""
    draft = Draft("LoadLora", "lora", {"text_strength": 0.0})
    draft.put("model", node.inputs.get("model"))
    draft.put("text_encoder", translation.text_encoder)
    draft.put("lora", cleaned("lora_name", node.inputs.get("lora_name"), []))
    draft.put("strength", node.inputs.get("strength_model"))
    return Reading([draft], {0: (draft, "model")})


def shifted(_: Translation, node: Node) -> Reading:
    """ModelSamplingSD3 and ModelSamplingAuraFlow: a Reparametrize with a shift."""
    draft = Draft("Reparametrize", "shifted")
    draft.put("model", node.inputs.get("model"))
    draft.put("shift", node.inputs.get("shift"))
    return Reading([draft], {0: (draft, "model")})


def shifted_by_size(translation: Translation, node: Node) -> Reading:
    """ModelSamplingFlux: the shift's logarithm is a line in the size, its ends at 256 and 4096 tokens."""
    found = [translation.value(node, name, 1024) for name in ("max_shift", "base_shift", "width", "height")]
    if not all(isinstance(value, int | float) and abs(value) < 1e6 for value in found):
        raise Untold("its shifts and sides have to be numbers")
    most, base, width, height = found
    slope = (most - base) / (4096 - 256)
    exponent = base + slope * (width * height / 256 - 256)
    if not -4 < exponent < 4.6:
        raise Untold(Said("a shift of e^{exponent} is out of range", exponent=f"{exponent:.1f}"))
    draft = Draft("Reparametrize", "shifted", {"shift": math.exp(exponent)})
    draft.put("model", node.inputs.get("model"))
    return Reading([draft], {0: (draft, "model")})


def control(_: Translation, node: Node) -> Reading:
    """ControlNetApply: an ApplyControlNet. There it acts on the negative too, without a link."""
    draft = _controlled(node, node.inputs.get("conditioning"), "control")
    told = ["ComfyUI lets it act on the negative too: put an ApplyControlNet before that one as well"]
    return Reading([draft], {0: (draft, "conditioning")}, told=told)


def control_advanced(_: Translation, node: Node) -> Reading:
    """ControlNetApplyAdvanced: an ApplyControlNet for the positive, and one for the negative."""
    if isinstance(node.inputs.get("vae"), Source):
        raise Untold("its ControlNet works on latents (a VAE is linked); those here work on pictures")
    positive, negative = node.inputs.get("positive"), node.inputs.get("negative")
    drafts = [_controlled(node, positive, "control")]
    if isinstance(negative, Source) and not same(negative, positive):
        drafts.append(_controlled(node, negative, "control_negative"))
    for draft in drafts:
        for entry, name in (("start", "start_percent"), ("end", "end_percent")):
            draft.put(entry, node.inputs.get(name))
    return Reading(drafts, {0: (drafts[0], "conditioning"), 1: (drafts[-1], "conditioning")})


def _controlled(node: Node, conditioning: Any, name: str) -> Draft:
    draft = Draft("ApplyControlNet", name)
    draft.put("conditioning", conditioning)
    draft.put("controlnet", node.inputs.get("control_net"))
    draft.put("image", node.inputs.get("image"))
    draft.put("strength", node.inputs.get("strength"))
    return draft
