"""The families of checkpoints that are known: how each is sampled, and what size it paints; `signs` tells them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from nodegraph.diffusion.checkpoints import signs

if TYPE_CHECKING:  # torch is not imported to look at headers
    from nodegraph.diffusion.checkpoints.lora import Target
    from nodegraph.diffusion.checkpoints.parts import PartName
    from nodegraph.diffusion.values import Law, Prediction

# Families whose text encoders come in files of their own.
TextFamily = Literal["flux", "flux-schnell", "sd3", "sd35", "z-image", "qwen-image", "wan"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family.

    Args:
        title: its name for people.
        signs: what tells it, the most telling first.
        prediction: what its network predicts unless the file says otherwise.
        size: width and height in pixels that it was made for.
        scale, shift: of its latents: what samplers see is (raw - shift) * scale.
        law, sigma_min, sigma_max: of its training noise.
        time_shift, token_shift: of a flow's times, see `Parametrization`.
        latent_channels, downscale: of its VAE; pixels of a side to one of the latent's.
        multiple: what the sides of a latent are multiples of, where the network's own shapes do not say.
        lora_text_encoders: those that LoRAs change, by their number, with the part of a checkpoint that each is.
        shown: by the channels that the weight of the first sign takes, what is seen beside the noise.
    """

    title: str
    signs: tuple[signs.Sign, ...]
    prediction: Prediction
    size: int
    scale: float
    shift: float = 0.0
    law: Law = "scaled_linear"
    sigma_min: float = 0.0291672
    sigma_max: float = 14.614641
    time_shift: float = 1.0
    token_shift: tuple[float, float] | None = None
    latent_channels: int = 4
    downscale: int = 8
    multiple: int = 2
    lora_text_encoders: Mapping[Target, PartName] = field(default_factory=dict)
    shown: Mapping[int, str] = field(default_factory=dict)


def _flow_sigma(time: float, shift: float) -> float:
    shifted = shift * time / (1 + (shift - 1) * time)
    return shifted / (1 - shifted)


_FLOW_MIN, _FLOW_MAX = 0.001, 1e6  # flow times from 1 to 1 / 1,000
_Flow = partial(Family, prediction="flow", law="flow", sigma_min=_FLOW_MIN, sigma_max=_FLOW_MAX)

_ONE_CLIP: Mapping[Target, PartName] = {"text_encoder": "text_encoder"}
_TWO_CLIPS: Mapping[Target, PartName] = {**_ONE_CLIP, "text_encoder_2": "text_encoder_2"}
_CLIP_AND_T5: Mapping[Target, PartName] = {**_ONE_CLIP, "text_encoder_2": "t5", "text_encoder_3": "t5"}
_CLIPS_AND_T5: Mapping[Target, PartName] = {**_TWO_CLIPS, "text_encoder_3": "t5"}

_INPAINTING = {9: "inpainting"}
_PICTURES = {128: "control", 384: "inpainting"}

FAMILIES: dict[str, Family] = {
    "sd1": Family(
        title="Stable Diffusion 1",
        signs=signs.SD1,
        prediction="eps",
        size=512,
        scale=0.18215,
        multiple=8,
        lora_text_encoders=_ONE_CLIP,
        shown=_INPAINTING,
    ),
    "sd2": Family(
        title="Stable Diffusion 2",
        signs=signs.SD2,
        prediction="v",
        size=768,
        scale=0.18215,
        multiple=8,
        lora_text_encoders=_ONE_CLIP,
        shown=_INPAINTING,
    ),
    "sdxl": Family(
        title="Stable Diffusion XL",
        signs=signs.SDXL,
        prediction="eps",
        size=1024,
        scale=0.13025,
        multiple=4,
        lora_text_encoders=_TWO_CLIPS,
        shown=_INPAINTING,
    ),
    "sdxl-refiner": Family(
        title="Stable Diffusion XL refiner",
        signs=signs.SDXL_REFINER,
        prediction="eps",
        size=1024,
        scale=0.13025,
        multiple=8,
        lora_text_encoders=_TWO_CLIPS,
        shown=_INPAINTING,
    ),
    "flux": _Flow(
        title="Flux.1 dev",
        signs=signs.FLUX,
        size=1024,
        scale=0.3611,
        shift=0.1159,
        time_shift=math.exp(1.15),
        token_shift=(0.5, 1.15),
        latent_channels=16,
        lora_text_encoders=_CLIP_AND_T5,
        shown=_PICTURES,
    ),
    "flux-schnell": _Flow(
        title="Flux.1 schnell",
        signs=signs.FLUX_SCHNELL,
        size=1024,
        scale=0.3611,
        shift=0.1159,
        latent_channels=16,
        lora_text_encoders=_CLIP_AND_T5,
        shown=_PICTURES,
    ),
    "sd3": _Flow(
        title="Stable Diffusion 3",
        signs=signs.SD3,
        size=1024,
        scale=1.5305,
        shift=0.0609,
        sigma_min=_flow_sigma(_FLOW_MIN, 3.0),
        time_shift=3.0,
        latent_channels=16,
        lora_text_encoders=_CLIPS_AND_T5,
    ),
    "sd35": _Flow(
        title="Stable Diffusion 3.5",
        signs=signs.SD35,
        size=1024,
        scale=1.5305,
        shift=0.0609,
        sigma_min=_flow_sigma(_FLOW_MIN, 3.0),
        time_shift=3.0,
        latent_channels=16,
        lora_text_encoders=_CLIPS_AND_T5,
    ),
    "z-image": _Flow(
        title="Z-Image",
        signs=signs.Z_IMAGE,
        size=1024,
        scale=0.3611,
        shift=0.1159,
        time_shift=3.0,
        latent_channels=16,
    ),
    "qwen-image": _Flow(
        title="Qwen-Image",
        signs=signs.QWEN_IMAGE,
        size=1328,
        scale=1.0,
        shift=0.0,
        time_shift=math.exp(0.69355),
        token_shift=(0.5, 0.69355),
        latent_channels=16,
    ),
    "wan": _Flow(
        title="Wan 2",
        signs=signs.WAN,
        size=480,
        scale=1.0,
        shift=0.0,
        time_shift=5.0,
        latent_channels=16,
        shown={16: "text to video", 36: "picture to video"},
    ),
    "wan-5b": _Flow(
        title="Wan 2.2 of 5 billion weights",
        signs=signs.WAN_5B,
        size=704,
        scale=1.0,
        shift=0.0,
        time_shift=5.0,
        latent_channels=48,
        downscale=16,
    ),
}
