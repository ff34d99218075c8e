"""What the nodes here are called in ComfyUI, for those who search by its names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from nodegraph.comfyui.table import NOISY, RULES

# Of the types that `readers` reads, the types here that do what they do.
_BY_READERS: dict[str, tuple[str, ...]] = {
    "KSampler": ("Sampler", "Schedule"),
    "KSamplerAdvanced": ("Sampler", "Schedule", "SplitSigmas", "NoNoise"),
    "BasicScheduler": ("Schedule",),
    "DisableNoise": ("NoNoise",),
    **dict.fromkeys(("SamplerCustom", "SamplerCustomAdvanced", "KSamplerSelect"), ("Sampler",)),
    **dict.fromkeys(("RandomNoise", "BasicGuider", "CFGGuider", *NOISY), ("Sampler",)),
    "UNETLoader": ("LoadModel",),
    **dict.fromkeys(("CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader"), ("LoadTextEncoder",)),
    "LoraLoaderModelOnly": ("LoadLora",),
    **dict.fromkeys(("ModelSamplingSD3", "ModelSamplingAuraFlow", "ModelSamplingFlux"), ("Reparametrize",)),
    **dict.fromkeys(("ControlNetApply", "ControlNetApplyAdvanced"), ("ApplyControlNet",)),
    **dict.fromkeys(("VAEEncodeForInpaint", "SetLatentNoiseMask"), ("MaskInpaint",)),
    "MaskComposite": ("CombineMasks",),
    **dict.fromkeys(("ImageUpscaleWithModel", "UpscaleModelLoader"), ("Upscale",)),
    **dict.fromkeys(("WanImageToVideo", "Wan22ImageToVideoLatent"), ("ImageToVideo", "EmptyVideo")),
    **dict.fromkeys(("WanFirstLastFrameToVideo", "CLIPVisionEncode"), ("ImageToVideo",)),
    **dict.fromkeys(("CreateVideo", "SaveVideo"), ("SaveAnimation",)),
    "LoadImageMask": ("LoadImage", "MaskFromImage"),
    "ConditioningCombine": ("CombineConditioning",),
    "LatentBatch": ("LatentBatch",),
    "ImageBatch": ("BatchImages",),
}
# Types that are not read, for they say it otherwise: the types here by which one does what they do.
NEAR: dict[str, tuple[str, ...]] = {
    "LatentUpscale": ("LatentScale",),
    "LatentComposite": ("MaskComposite",),
    "LatentInterpolate": ("LatentBlend",),
    "RepeatLatentBatch": ("EmptyLatent", "LatentBatch"),
    **dict.fromkeys(("ConditioningSetArea", "ConditioningSetAreaPercentage"), ("RegionConditioning",)),
    **dict.fromkeys(("ImageScaleToTotalPixels", "ImageScaleToMaxDimension"), ("ScaleImage",)),
    "ImageBlur": ("BlurImage",),
    "ImageSharpen": ("SharpenImage",),
    "ImageFlip": ("FlipImage",),
    "ImageRotate": ("RotateImage",),
    "ImageStitch": ("GridImage",),
    "ImageColorToMask": ("MaskFromColor",),
    "SolidMask": ("MaskFromShape",),
    "JoinImageWithAlpha": ("CutOut",),
    "SplitImageWithAlpha": ("MaskFromAlpha",),
    "PorterDuffImageComposite": ("CompositeImage",),
    "StringConcatenate": ("JoinText",),
    "StringReplace": ("ReplaceText",),
    **dict.fromkeys(("InpaintModelConditioning", "DifferentialDiffusion"), ("MaskInpaint",)),
    "InstructPixToPixConditioning": ("FollowPicture",),
    **dict.fromkeys(("CLIPTextEncodeSDXL", "CLIPTextEncodeSDXLRefiner"), ("Encode", "SizeConditioning")),
    "CLIPTextEncodeFlux": ("Encode", "FluxGuidance"),
    "PerturbedAttention": ("PerturbedAttentionGuidance",),
    "RescaleCFG": ("Sampler",),
    "SamplerLMS": ("Sampler",),
    **dict.fromkeys(
        (
            "KarrasScheduler",
            "ExponentialScheduler",
            "PolyexponentialScheduler",
            "BetaSamplingScheduler",
            "SDTurboScheduler",
        ),
        ("Schedule",),
    ),
    "SplitSigmasDenoise": ("SplitSigmas",),
}
_LAST = 10


@cache
def comfyui_names() -> dict[str, tuple[str, ...]]:
    """By type here the types of ComfyUI that do what it does, those of the same name left out.

    What it stands for first of all comes first: a `KSampler` is a `Sampler` before it is a `Schedule`.
    """
    found: dict[str, dict[str, int]] = {}
    for there, here, place in _pairs():
        if there != here:
            found.setdefault(here, {}).setdefault(there, place)
    return {type: tuple(sorted(names, key=names.__getitem__)) for type, names in found.items()}


def _pairs() -> Iterator[tuple[str, str, int]]:
    """A type there, one here, and its place among those that the one there stands for; near ones come last."""
    yield from ((there, here, place) for there, types in _BY_READERS.items() for place, here in enumerate(types))
    yield from ((rule.comfy, rule.type, 0) for rule in RULES)
    yield from ((there, here, place) for there, types in NEAR.items() for place, here in enumerate(types, _LAST))
