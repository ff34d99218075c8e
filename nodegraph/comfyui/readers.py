"""The nodes of ComfyUI that are read as more, or fewer, or other nodes here."""

from __future__ import annotations

import math
from typing import Any

from nodegraph.comfyui.graph import Node, Source, shown
from nodegraph.comfyui.reading import Draft, Reader, Reading, Translation, Untold, cleaned
from nodegraph.comfyui.table import NOISY, TEXT_FAMILIES

COMBINED = {
    "add": "union",
    "or": "union",
    "multiply": "intersection",
    "and": "intersection",
    "subtract": "difference",
}
MOST_STEPS, MOST_SPACED = 10_000, 1_000_000
FAMILY_OF = {there: here for here, there in reversed(TEXT_FAMILIES.items())}


def kept_steps(steps: int, strength: float) -> int:
    """How many steps a schedule of so many keeps at a strength: the same count as the engine's own."""
    return max(1, round(steps * strength))


def spacing(steps: Any, denoise: Any) -> tuple[Any, Any]:
    """Our `steps` and `strength` for ComfyUI's `steps` and `denoise`.

    There, `steps` are taken, the last of int(steps / denoise); here `steps` are spaced and the last share of them
    is taken. The strength is such that just as many are. Raises Untold where that cannot be told.
    """
    if denoise is None or (isinstance(denoise, int | float) and denoise >= 1):
        return steps, 1.0
    if not isinstance(steps, int) or not isinstance(denoise, int | float) or isinstance(steps, bool):
        raise Untold("`steps` and `denoise` have to be numbers, not links, where `denoise` is below 1")
    if denoise <= 0 or not 1 <= steps <= MOST_STEPS or steps / denoise > MOST_SPACED:
        raise Untold(
            f"with {shown(steps)} steps and a `denoise` of {shown(denoise)} it does nothing that can be done here"
        )
    total = int(steps / denoise)
    return total, denoise if kept_steps(total, denoise) == steps else steps / total


def _schedule(node: Node, model: Any, steps: Any, strength: Any) -> Draft:
    draft = Draft("Schedule", "schedule")
    _put(draft, "model", model)
    _put(draft, "kind", node.inputs.get("scheduler"))
    _put(draft, "steps", steps)
    draft.values["strength"] = strength
    return draft


def _put(draft: Draft, name: str, value: Any) -> None:
    if isinstance(value, Source):
        draft.links[name] = value
    elif value is not None:
        draft.values[name] = value


def _sampler(
    sigmas: Draft | Source, told: list[str], *, model: Any, positive: Any, negative: Any, latent: Any, seed: Any,
    scale: Any, name: Any, options: dict[str, Any] | None = None,
) -> Draft:  # fmt: skip
    draft = Draft("Sampler", "sampler")
    for entry, value in (("model", model), ("positive", positive), ("negative", negative), ("latent", latent)):
        if isinstance(value, Source):
            draft.links[entry] = value
    if scale == 1 and negative == positive:
        draft.links.pop("negative", None)  # it was never evaluated
    draft.links["sigmas"] = (sigmas, "sigmas") if isinstance(sigmas, Draft) else sigmas
    _put(draft, "sampler", cleaned("sampler_name", name, told))
    _put(draft, "seed", cleaned("seed", seed, told))
    _put(draft, "guidance_scale", scale)
    for entry, value in (options or {}).items():
        _put(draft, entry, value)
    return draft


def ksampler(translation: Translation, node: Node) -> Reading:
    """KSampler: a Sampler, and the Schedule of its sigmas."""
    denoise = translation.value(node, "denoise", 1.0)
    return _with_schedule(node, *spacing(node.inputs.get("steps"), denoise), node.inputs.get("seed"))


def ksampler_advanced(translation: Translation, node: Node) -> Reading:
    """KSamplerAdvanced, where it runs to the end: from a later step on, it is a schedule's last share."""
    if translation.word(node, "add_noise", "enable") != "enable":
        raise Untold("it goes on from the noise of another sampler, and a Sampler here always adds its own")
    start = translation.value(node, "start_at_step", 0)
    steps: Any = node.inputs.get("steps")
    if start:
        steps = translation.value(node, "steps", None)
    end = translation.value(node, "end_at_step", 10_000)
    for value in (start, end):
        if not isinstance(value, int):
            raise Untold("`start_at_step` and `end_at_step` have to be numbers")
    if end < (steps if isinstance(steps, int) else 10_000):
        raise Untold("it stops before the last step, and a Sampler here always runs to the end")
    if start and (not isinstance(steps, int) or not 0 < start < steps):
        raise Untold("it starts before its first step or after its last")
    strength = (steps - start) / steps if start else 1.0
    return _with_schedule(node, steps, strength, node.inputs.get("noise_seed"))


def _with_schedule(node: Node, steps: Any, strength: Any, seed: Any) -> Reading:
    told: list[str] = []
    given = node.inputs
    schedule = _schedule(node, given.get("model"), steps, strength)
    sampler = _sampler(
        schedule, told, model=given.get("model"), positive=given.get("positive"), negative=given.get("negative"),
        latent=given.get("latent_image"), seed=seed, scale=given.get("cfg"), name=given.get("sampler_name"),
    )  # fmt: skip
    return Reading([sampler, schedule], {0: (sampler, "latent")}, told=told)


def basic_scheduler(translation: Translation, node: Node) -> Reading:
    """BasicScheduler: a Schedule."""
    steps, strength = spacing(node.inputs.get("steps"), translation.value(node, "denoise", 1.0))
    draft = _schedule(node, node.inputs.get("model"), steps, strength)
    return Reading([draft], {0: (draft, "sigmas")})


def sampler_custom(translation: Translation, node: Node) -> Reading:
    """SamplerCustom: a Sampler, with the node that chooses its algorithm."""
    if not translation.value(node, "add_noise", True):
        raise Untold("it goes on from the noise of another sampler, and a Sampler here always adds its own")
    name, options, absorbed = _algorithm(translation, node)
    given = node.inputs
    told: list[str] = []
    draft = _sampler(
        _sigmas(translation, node), told, model=given.get("model"), positive=given.get("positive"),
        negative=given.get("negative"), latent=given.get("latent_image"), seed=given.get("noise_seed"),
        scale=given.get("cfg"), name=name, options=options,
    )  # fmt: skip
    return Reading([draft], {0: (draft, "latent"), 1: (draft, "latent")}, absorbed, told)


def sampler_custom_advanced(translation: Translation, node: Node) -> Reading:
    """SamplerCustomAdvanced: a Sampler, with the nodes of its noise, its guider and its algorithm."""
    noise = translation.graph.source(node, "noise")
    if noise is None or noise[1].type != "RandomNoise":
        raise Untold("its noise comes from no RandomNoise, and a Sampler here draws its own from a seed")
    guider = translation.graph.source(node, "guider")
    if guider is None or guider[1].type not in ("BasicGuider", "CFGGuider"):
        raise Untold("its guider is no BasicGuider or CFGGuider, the ones that have a counterpart here")
    name, options, absorbed = _algorithm(translation, node)
    told: list[str] = []
    guide = guider[1].inputs
    is_basic = guider[1].type == "BasicGuider"
    draft = _sampler(
        _sigmas(translation, node), told, model=guide.get("model"),
        positive=guide.get("conditioning" if is_basic else "positive"),
        negative=None if is_basic else guide.get("negative"), latent=node.inputs.get("latent_image"),
        seed=noise[1].inputs.get("noise_seed"), scale=1.0 if is_basic else guide.get("cfg"), name=name,
        options=options,
    )  # fmt: skip
    absorbed = (*absorbed, noise[0].node, guider[0].node)
    return Reading([draft], {0: (draft, "latent"), 1: (draft, "latent")}, absorbed, told)


def _algorithm(translation: Translation, node: Node) -> tuple[Any, dict[str, Any], tuple[str, ...]]:
    found = translation.graph.source(node, "sampler")
    if found is None:
        raise Untold("no sampler is linked to it")
    source, chooser = found
    if chooser.type == "KSamplerSelect":
        return chooser.inputs.get("sampler_name"), {}, (source.node,)
    if chooser.type in NOISY:
        name, fixed = NOISY[chooser.type]
        odd = [entry for entry, value in fixed.items() if chooser.inputs.get(entry, value) != value]
        if chooser.type == "SamplerDPMPP_2M_SDE" and chooser.inputs.get("solver_type") == "heun":
            name, odd = "dpmpp_2m_sde_heun", [entry for entry in odd if entry != "solver_type"]
        if any(entry != "noise_device" for entry in odd):
            raise Untold(f"{chooser.type} has options that a Sampler here does not: {', '.join(odd)}")
        return name, {entry: chooser.inputs.get(entry) for entry in ("eta", "s_noise")}, (source.node,)
    raise Untold(f"its sampler is chosen by {shown(chooser.type)}, which has no counterpart here")


def _sigmas(translation: Translation, node: Node) -> Source:
    found = translation.graph.source(node, "sigmas")
    if found is None:
        raise Untold("no sigmas are linked to it")
    return found[0]


def chooser(_: Translation, __: Node) -> Reading:
    """What says something to a sampler alone, and stays where no sampler here can be told it."""
    raise Untold("a Sampler here has it among its own inputs, but what this is linked to is none")


def unet_loader(_: Translation, node: Node) -> Reading:
    """UNETLoader: a LoadModel of which the model alone is used."""
    draft = Draft("LoadModel", "model")
    told: list[str] = []
    _put(draft, "checkpoint", cleaned("unet_name", node.inputs.get("unet_name"), told))
    dtype = node.inputs.get("weight_dtype", "default")
    if dtype != "default":
        told.append(
            f"`weight_dtype` was {shown(dtype)} and is left out: --dtype of the run says what weights are in"
        )
    return Reading([draft], {0: (draft, "model")}, told=told)


def clip_loader(translation: Translation, node: Node) -> Reading:
    """CLIPLoader, DualCLIPLoader and TripleCLIPLoader: a LoadTextEncoder of the family."""
    type = translation.word(node, "type", "sd3" if node.type == "TripleCLIPLoader" else "")
    if type not in FAMILY_OF:
        raise Untold(f"text encoders of the type {shown(type)} are not loaded from files of their own here")
    draft = Draft("LoadTextEncoder", "text_encoder", {"family": FAMILY_OF[type]})
    names = ("clip_name",) if node.type == "CLIPLoader" else ("clip_name1", "clip_name2", "clip_name3")
    for entry, name in zip(("first", "second", "third"), names, strict=False):
        _put(draft, entry, cleaned(name, node.inputs.get(name), []))
    return Reading([draft], {0: (draft, "text_encoder")})


def lora_model_only(translation: Translation, node: Node) -> Reading:
    """LoraLoaderModelOnly: a LoadLora that leaves the text encoder as it is."""
    draft = Draft("LoadLora", "lora", {"text_strength": 0.0})
    _put(draft, "model", node.inputs.get("model"))
    _put(draft, "text_encoder", translation.text_encoder)
    _put(draft, "lora", cleaned("lora_name", node.inputs.get("lora_name"), []))
    _put(draft, "strength", node.inputs.get("strength_model"))
    return Reading([draft], {0: (draft, "model")})


def shifted(_: Translation, node: Node) -> Reading:
    """ModelSamplingSD3 and ModelSamplingAuraFlow: a Reparametrize with a shift."""
    draft = Draft("Reparametrize", "shifted")
    _put(draft, "model", node.inputs.get("model"))
    _put(draft, "shift", node.inputs.get("shift"))
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
        raise Untold(f"a shift of e^{exponent:.1f} is out of range")
    draft = Draft("Reparametrize", "shifted", {"shift": math.exp(exponent)})
    _put(draft, "model", node.inputs.get("model"))
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
    if isinstance(negative, Source) and negative != positive:
        drafts.append(_controlled(node, negative, "control_negative"))
    for draft in drafts:
        for entry, name in (("start", "start_percent"), ("end", "end_percent")):
            _put(draft, entry, node.inputs.get(name))
    return Reading(drafts, {0: (drafts[0], "conditioning"), 1: (drafts[-1], "conditioning")})


def _controlled(node: Node, conditioning: Any, name: str) -> Draft:
    draft = Draft("ApplyControlNet", name)
    _put(draft, "conditioning", conditioning)
    _put(draft, "controlnet", node.inputs.get("control_net"))
    _put(draft, "image", node.inputs.get("image"))
    _put(draft, "strength", node.inputs.get("strength"))
    return draft


def encode_for_inpaint(translation: Translation, node: Node) -> Reading:
    """VAEEncodeForInpaint: a MaskInpaint; where the mask is grown, behind a GrowMask."""
    draft = Draft("MaskInpaint", "inpaint")
    for entry, name in (("vae", "vae"), ("image", "pixels"), ("mask", "mask")):
        _put(draft, entry, node.inputs.get(name))
    pixels = translation.value(node, "grow_mask_by", 6)
    if not isinstance(pixels, int) or not isinstance(draft.links.get("mask"), Source):
        return Reading([draft], {0: (draft, "latent")})
    told = ["there the masked part is hidden from the VAE; here a Sampler repaints it whatever it shows"]
    if pixels < 2:
        return Reading([draft], {0: (draft, "latent")}, told=told)
    # There a square of so many pixels is laid on each; here so many are added on every side.
    grown = Draft("GrowMask", "grown_mask", {"pixels": pixels // 2}, {"mask": draft.links["mask"]})
    draft.links["mask"] = (grown, "mask")
    return Reading([draft, grown], {0: (draft, "latent")}, told=told)


def noise_mask(translation: Translation, node: Node) -> Reading:
    """SetLatentNoiseMask on what a VAEEncode makes: a MaskInpaint."""
    found = translation.graph.source(node, "samples")
    if found is None or found[1].type != "VAEEncode":
        raise Untold("its latent comes from no VAEEncode, and MaskInpaint here takes a picture")
    draft = Draft("MaskInpaint", "inpaint")
    _put(draft, "vae", found[1].inputs.get("vae"))
    _put(draft, "image", found[1].inputs.get("pixels"))
    _put(draft, "mask", node.inputs.get("mask"))
    return Reading([draft], {0: (draft, "latent")}, (found[0].node,))


def mask_composite(translation: Translation, node: Node) -> Reading:
    """MaskComposite of two masks at one corner: a CombineMasks."""
    operation = translation.word(node, "operation")
    if operation not in COMBINED or any(translation.value(node, name, 0) != 0 for name in ("x", "y")):
        raise Untold(f"masks are combined at one corner here, and not by {shown(operation)}")
    draft = Draft("CombineMasks", "combined_mask", {"operation": COMBINED[operation]})
    _put(draft, "a", node.inputs.get("destination"))
    _put(draft, "b", node.inputs.get("source"))
    told = ["masks of 0 and 1 combine to the same; where both are soft, the result differs"]
    return Reading([draft], {0: (draft, "mask")}, told=told)


def upscale(translation: Translation, node: Node) -> Reading:
    """ImageUpscaleWithModel and its UpscaleModelLoader: an Upscale."""
    found = translation.graph.source(node, "upscale_model")
    if found is None or found[1].type != "UpscaleModelLoader":
        raise Untold("its network comes from no UpscaleModelLoader, and Upscale here names a file")
    draft = Draft("Upscale", "upscaled")
    _put(draft, "image", node.inputs.get("image"))
    _put(draft, "upscaler", cleaned("model_name", found[1].inputs.get("model_name"), []))
    return Reading([draft], {0: (draft, "image")}, (found[0].node,))


def load_mask(translation: Translation, node: Node) -> Reading:
    """LoadImageMask: a LoadImage, and a MaskFromImage where it reads a colour."""
    draft = Draft("LoadImage", "picture")
    _put(draft, "image", node.inputs.get("image"))
    channel = translation.word(node, "channel", "alpha")
    if channel == "alpha":
        return Reading([draft], {0: (draft, "mask")})
    mask = Draft("MaskFromImage", "mask", {"channel": channel}, {"image": (draft, "image")})
    return Reading([mask, draft], {0: (mask, "mask")})


def _list(kind: str, type: str, name: str, entry: str, ours: str, output: str) -> Reader:
    """A node of two inputs; a row of them, one behind the other, is one list here."""

    def lines(node: Node) -> list[Any]:
        return [one for number in (1, 2) if isinstance(one := node.inputs.get(f"{entry}{number}"), Source)]

    def continues(translation: Translation, node: Node) -> bool:
        readers = translation.graph.readers.get(node.id, [])
        return len(readers) == 1 and translation.graph.nodes[readers[0]].type == node.type == kind

    def read(translation: Translation, node: Node) -> Reading:
        absorbed: list[str] = []
        found: list[Source] = []
        waiting = lines(node)[::-1]
        while waiting:
            one = waiting.pop()
            before = translation.graph.nodes[one.node]
            if continues(translation, before) and not continues(translation, node):  # the last stands for the row
                absorbed.append(before.id)
                waiting += lines(before)[::-1]
            else:
                found.append(one)
        draft = Draft(type, name, links={ours: found})
        return Reading([draft], {0: (draft, output)}, tuple(absorbed))

    return read


READERS: dict[str, Reader] = {
    "KSampler": ksampler,
    "KSamplerAdvanced": ksampler_advanced,
    "BasicScheduler": basic_scheduler,
    "SamplerCustom": sampler_custom,
    "SamplerCustomAdvanced": sampler_custom_advanced,
    "UNETLoader": unet_loader,
    **dict.fromkeys(("CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader"), clip_loader),
    "LoraLoaderModelOnly": lora_model_only,
    **dict.fromkeys(("ModelSamplingSD3", "ModelSamplingAuraFlow"), shifted),
    "ModelSamplingFlux": shifted_by_size,
    "ControlNetApply": control,
    "ControlNetApplyAdvanced": control_advanced,
    "VAEEncodeForInpaint": encode_for_inpaint,
    "SetLatentNoiseMask": noise_mask,
    "MaskComposite": mask_composite,
    "ImageUpscaleWithModel": upscale,
    "LoadImageMask": load_mask,
    "ConditioningCombine": _list(
        "ConditioningCombine", "CombineConditioning", "combined", "conditioning_", "conditionings", "conditioning"
    ),
    "LatentBatch": _list("LatentBatch", "LatentBatch", "batch", "samples", "latents", "latent"),
    "ImageBatch": _list("ImageBatch", "BatchImages", "batch", "image", "pictures", "image"),
    **dict.fromkeys(("KSamplerSelect", "RandomNoise", "BasicGuider", "CFGGuider", *NOISY), chooser),
    "UpscaleModelLoader": chooser,
}
