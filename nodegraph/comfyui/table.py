"""Which node of ComfyUI says the same as which node here. Read in both directions.

Nodes that need more than other names (samplers, loaders of several files, lists) are in `readers` and `writers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One node type there and here.

    Args:
        comfy: the type there.
        type: the type here.
        name: what a node is called here when it is read.
        links: inputs that take links, by their name here.
        values: inputs that take values, by their name here.
        outputs: the names here of the outputs there, in their order.
        widgets: the order in which their editor saves the values; that of `values` where it is left out.
        fixed: their inputs that have no counterpart, with the value under which both nodes do the same.
        choices: by our input, our choices that have another name there.
        alone: by our input, our choices that there are none of there.
        needs: inputs here without which this rule does not say what the node does.
        left: inputs that a node has here and needs not there; they are not written.
        written: whether a node is written by this rule; there may be several for one type here, tried in order.
    """

    comfy: str
    type: str
    name: str
    links: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    widgets: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    alone: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    written: bool = True


def same(*names: str) -> dict[str, str]:
    """Inputs that have one name here and there."""
    return {name: name for name in names}


SAMPLER_NAMES = {"unipc": "uni_pc"}
# Samplers there that are the same mathematics under a further name.
SAMPLERS_READ = {
    "uni_pc": "unipc",
    "uni_pc_bh2": "unipc",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun_gpu": "dpmpp_2m_sde_heun",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
    "dpmpp_sde_gpu": "dpmpp_sde",
}
SAMPLERS_ALONE = ("heun_flow", "ddpm_fixed_large", "ddpm_learned_range")  # those that ComfyUI does not have
SCHEDULES_ALONE = ("linear", "scaled_linear", "cosine")
# Samplers with options of their own, by the node that sets them: the sampler, and what else that node must say.
NOISY: dict[str, tuple[str, dict[str, Any]]] = {
    "SamplerEulerAncestral": ("euler_ancestral", {}),
    "SamplerDPMPP_2S_Ancestral": ("dpmpp_2s_ancestral", {}),
    "SamplerDPMPP_SDE": ("dpmpp_sde", {"r": 0.5, "noise_device": "cpu"}),
    "SamplerDPMPP_2M_SDE": ("dpmpp_2m_sde", {"solver_type": "midpoint", "noise_device": "cpu"}),
    "SamplerDPMPP_3M_SDE": ("dpmpp_3m_sde", {"noise_device": "cpu"}),
}
# Text encoders in files of their own: by our family, the type that ComfyUI's loaders call it.
TEXT_FAMILIES = {
    "flux": "flux",
    "sd3": "sd3",
    "z-image": "lumina2",
    "qwen-image": "qwen_image",
    "wan": "wan",
    "flux-schnell": "flux",
    "sd35": "sd3",
}
# Node types there that have the name of another node here. Kept, they are told apart by what is put before them.
NAMESAKES = ("AddNoise", "FeatherMask", "MaskComposite")
APART = "ComfyUI "
OURS = "nodegraph"  # in the `_meta` of a node here that is written as it is: what ComfyUI's format does not say
SIZE = same("width", "height")
OVERLAPS = {"overlap": 64, "temporal_size": 64, "temporal_overlap": 8}
TILES = ("tile_size", *OVERLAPS)
CROPPED = {"crop": "disabled"}
METHODS = {"nearest": "nearest-exact"}
MASKED = {"below": "destination", "above": "source", "mask": "mask"}
VIDEO = (*SIZE.values(), "length", "batch_size")
FASTEST = 60.0  # frames a second that a SaveAnimation writes
AT_CORNER = {"x": 0, "y": 0, "resize_source": False}

RULES = (
    Rule(
        "CheckpointLoaderSimple", "LoadModel", "model",
        values={"checkpoint": "ckpt_name"},
        outputs=("model", "text_encoder", "vae"),
    ),
    Rule("CLIPTextEncode", "Encode", "prompt", {"text_encoder": "clip"}, same("text"), ("conditioning",)),
    Rule(
        "EmptyLatentImage", "EmptyLatent", "blank",
        values={**SIZE, "batch_size": "batch_size"}, outputs=("latent",), needs=("width", "height"), left=("vae",),
    ),
    Rule(
        "EmptySD3LatentImage", "EmptyLatent", "blank",
        values={**SIZE, "batch_size": "batch_size"}, outputs=("latent",), needs=("width", "height"), left=("vae",),
    ),
    Rule(
        "EmptyHunyuanLatentVideo", "EmptyVideo", "blank",
        values={**SIZE, "frames": "length"}, outputs=("latent",),
        widgets=("width", "height", "length", "batch_size"), fixed={"batch_size": 1}, left=("vae",),
    ),
    Rule("SplitSigmas", "SplitSigmas", "split", same("sigmas"), same("step"), ("first", "last")),
    Rule("CLIPVisionLoader", "LoadImageEncoder", "image_encoder", {}, {"file": "clip_name"}, ("image_encoder",)),
    Rule("VAEDecode", "VAEDecode", "decode", {"latent": "samples", "vae": "vae"}, outputs=("image",)),
    Rule(
        "VAEDecodeTiled", "VAEDecode", "decode",
        {"latent": "samples", "vae": "vae"}, {"tile": "tile_size"}, ("image",), TILES, OVERLAPS, needs=("tile",),
    ),
    Rule("VAEEncode", "VAEEncode", "encode", {"image": "pixels", "vae": "vae"}, outputs=("latent",)),
    Rule(
        "VAEEncodeTiled", "VAEEncode", "encode",
        {"image": "pixels", "vae": "vae"}, {"tile": "tile_size"}, ("latent",), TILES, OVERLAPS, needs=("tile",),
    ),
    Rule("SaveImage", "SaveImage", "save", {"image": "images"}, {"name": "filename_prefix"}),
    Rule(
        "SaveAnimatedWEBP", "SaveAnimation", "save", {"image": "images"},
        {"name": "filename_prefix", "frames_per_second": "fps"},
        widgets=("filename_prefix", "fps", "lossless", "quality", "method"),
        fixed={"lossless": False, "quality": 90, "method": "default"},
    ),
    Rule("PreviewImage", "PreviewImage", "preview", {"image": "images"}),
    Rule(
        "LoadImage", "LoadImage", "picture", values=same("image"), outputs=("image", "mask"),
        widgets=("image", "upload"),
    ),
    Rule(
        "LoraLoader", "LoadLora", "lora",
        {"model": "model", "text_encoder": "clip"},
        {"lora": "lora_name", "strength": "strength_model", "text_strength": "strength_clip"},
        ("model", "text_encoder"),
    ),
    Rule("VAELoader", "LoadVAE", "vae", values={"vae": "vae_name"}, outputs=("vae",), left=("model",)),
    Rule(
        "ControlNetLoader", "LoadControlNet", "controlnet",
        values={"controlnet": "control_net_name"}, outputs=("control_net",),
    ),
    Rule(
        "FluxGuidance", "FluxGuidance", "told", same("conditioning"), {"scale": "guidance"}, ("conditioning",),
    ),
    Rule(
        "ModelSamplingDiscrete", "Reparametrize", "reparametrized", same("model"),
        {"prediction": "sampling", "zero_terminal_snr": "zsnr"}, ("model",),
        choices={"prediction": {"v": "v_prediction"}}, needs=("prediction",),
    ),
    Rule(
        "ConditioningSetTimestepRange", "LimitConditioning", "limited", same("conditioning"), same("start", "end"),
        ("conditioning",),
    ),
    Rule(
        "ConditioningSetAreaStrength", "LimitConditioning", "weighed", same("conditioning"), same("strength"),
        ("conditioning",),
    ),
    Rule("ImageInvert", "InvertImage", "inverted", same("image"), outputs=("image",)),
    Rule(
        "ImageScale", "ResizeImage", "resized",
        same("image"), {"resampling": "upscale_method", **SIZE}, ("image",),
        widgets=("upscale_method", "width", "height", "crop"), fixed=CROPPED, choices={"resampling": METHODS},
    ),
    Rule(
        "ImageScaleBy", "ScaleImage", "scaled",
        same("image"), {"resampling": "upscale_method", "factor": "scale_by"}, ("image",),
        choices={"resampling": METHODS},
    ),
    Rule(
        "ImageCrop", "CropImage", "cropped", same("image"), {**SIZE, "left": "x", "top": "y"}, ("image",),
    ),
    Rule(
        "ImageBlend", "BlendImages", "blended", {"a": "image1", "b": "image2"},
        {"weight": "blend_factor", "mode": "blend_mode"}, ("image",), alone={"mode": ("add", "difference")},
    ),
    Rule(
        "ImageCompositeMasked", "CompositeImage", "composite", MASKED, outputs=("image",),
        widgets=("x", "y", "resize_source"), fixed=AT_CORNER,
    ),
    Rule(
        "ImageFromBatch", "PickImage", "picked", same("image"), {"index": "batch_index"}, ("image",),
        widgets=("batch_index", "length"), fixed={"length": 1},
    ),
    Rule(
        "LatentUpscaleBy", "LatentScale", "larger", {"latent": "samples"}, {"factor": "scale_by"}, ("latent",),
        widgets=("upscale_method", "scale_by"), fixed={"upscale_method": "bicubic"},
    ),
    Rule(
        "LatentBlend", "LatentBlend", "mixed", {"a": "samples2", "b": "samples1"}, {"weight": "blend_factor"},
        ("latent",),
    ),
    Rule(
        "LatentCompositeMasked", "MaskComposite", "laid_over", MASKED, outputs=("latent",),
        widgets=("x", "y", "resize_source"), fixed=AT_CORNER,
    ),
    Rule("InvertMask", "InvertMask", "inverted_mask", same("mask"), outputs=("mask",)),
    Rule(
        "GrowMask", "GrowMask", "grown_mask", same("mask"), {"pixels": "expand"}, ("mask",),
        widgets=("expand", "tapered_corners"), fixed={"tapered_corners": False},
    ),
    Rule("ThresholdMask", "ThresholdMask", "hard_mask", same("mask"), {"threshold": "value"}, ("mask",)),
    Rule("MaskToImage", "MaskToImage", "shown_mask", same("mask"), outputs=("image",)),
    Rule(
        "ImageToMask", "MaskFromImage", "mask", same("image"), same("channel"), ("mask",),
        alone={"channel": ("luminance",)},
    ),
    Rule(
        "Canny", "FindEdges", "edges", same("image"), {"low": "low_threshold", "high": "high_threshold"},
        ("image",),
    ),
    Rule(
        "ConditioningSetMask", "RegionConditioning", "region", same("conditioning", "mask"),
        outputs=("conditioning",), widgets=("strength", "set_cond_area"),
        fixed={"strength": 1.0, "set_cond_area": "default"}, left=("vae",),
    ),
    Rule("PrimitiveInt", "Integer", "number", values=same("value"), outputs=("value",)),
    Rule("PrimitiveFloat", "Number", "number", values=same("value"), outputs=("value",)),
    Rule("PrimitiveBoolean", "Boolean", "answer", values=same("value"), outputs=("value",)),
    Rule(
        "PrimitiveInt", "Seed", "seed", values=same("value"), outputs=("value",),
        widgets=("value", "control_after_generate"),
    ),
    Rule("PrimitiveStringMultiline", "Text", "text", values={"text": "value"}, outputs=("value",)),
    Rule("PrimitiveString", "Text", "text", values={"text": "value"}, outputs=("value",), written=False),
)  # fmt: skip
READ = {rule.comfy: rule for rule in reversed(RULES)}  # the first of each
WRITTEN: dict[str, list[Rule]] = {}
for _rule in RULES:
    if _rule.written:
        WRITTEN.setdefault(_rule.type, []).append(_rule)

AFTER = "control_after_generate"  # what the editor does with a seed after a run
SEEDS = ("seed", "noise_seed")
SEED = ("noise_seed", AFTER)
KSAMPLER = ("seed", AFTER, "steps", "cfg", "sampler_name", "scheduler", "denoise")
# The order in which ComfyUI's editor saves the values of its nodes.
WIDGETS: dict[str, tuple[str, ...]] = {
    **{rule.comfy: rule.widgets or tuple(rule.values.values()) for rule in RULES},
    "KSampler": KSAMPLER,
    "KSamplerAdvanced": (
        "add_noise", *SEED, "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step",
        "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", *SEED, "cfg"),
    "RandomNoise": SEED,
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "SamplerEulerAncestral": ("eta", "s_noise"),
    "SamplerDPMPP_2S_Ancestral": ("eta", "s_noise"),
    "SamplerDPMPP_SDE": ("eta", "s_noise", "r", "noise_device"),
    "SamplerDPMPP_2M_SDE": ("solver_type", "eta", "s_noise", "noise_device"),
    "SamplerDPMPP_3M_SDE": ("eta", "s_noise", "noise_device"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "CLIPLoader": ("clip_name", "type", "device"),
    "DualCLIPLoader": ("clip_name1", "clip_name2", "type", "device"),
    "TripleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "ControlNetApply": ("strength",),
    "ControlNetApplyAdvanced": ("strength", "start_percent", "end_percent"),
    "ModelSamplingSD3": ("shift",),
    "ModelSamplingAuraFlow": ("shift",),
    "ModelSamplingFlux": ("max_shift", "base_shift", "width", "height"),
    "VAEEncodeForInpaint": ("grow_mask_by",),
    "UpscaleModelLoader": ("model_name",),
    "LoadImageMask": ("image", "channel", "upload"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "ConditioningAverage": ("conditioning_to_strength",),
    "MaskComposite": ("x", "y", "operation"),
    "WanImageToVideo": VIDEO,
    "WanFirstLastFrameToVideo": VIDEO,
    "Wan22ImageToVideoLatent": VIDEO,
    "CLIPVisionEncode": ("crop",),
    "CreateVideo": ("fps",),
    "SaveVideo": ("filename_prefix", "format", "codec"),
    "FeatherMask": ("left", "top", "right", "bottom"),
}  # fmt: skip
