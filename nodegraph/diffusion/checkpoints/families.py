"""The families of checkpoints that are known: how each is told apart, sampled, and what size it paints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # torch is not imported to look at headers
    from nodegraph.diffusion.checkpoints.lora import Target
    from nodegraph.diffusion.checkpoints.parts import PartName
    from nodegraph.diffusion.values import Law, Prediction

# Families whose text encoders come in files of their own.
TextFamily = Literal["flux", "flux-schnell", "sd3", "sd35", "z-image", "qwen-image", "wan"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sign:
    """A weight that tells a family: its name, and what its shape must be.

    Args:
        name: of the weight, under diffusers' names.
        fits: whether a shape is right.
        words: what the shape should be, for messages.
        absent: whether the weight must not be there.
    """

    name: str
    fits: Callable[[Shape], bool] = lambda _: True
    words: str = ""
    absent: bool = False


@dataclass(frozen=True)
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
    signs: tuple[Sign, ...]
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


def _matrix(shape: Shape) -> bool:
    return len(shape) == 2


def _packed(shape: Shape) -> bool:
    return len(shape) == 2 and shape[1] == 64


def _packed_or_shown(shape: Shape) -> bool:
    """2 x 2 latent pixels of 16 channels; with those of a picture to follow, or of one and 64 of its mask."""
    return len(shape) == 2 and shape[1] in (64, 128, 384)


def _sixteen(shape: Shape) -> bool:
    return len(shape) == 4 and shape[1] == 16


def _frames(shape: Shape) -> bool:
    """Latents of frames; with those of the pictures that they start from and a mask for each of four frames."""
    return len(shape) == 5 and shape[1] in (16, 36)


def _many_frames(shape: Shape) -> bool:
    return len(shape) == 5 and shape[1] == 48


def _many_flows(shape: Shape) -> bool:
    """The flow of 2 x 2 latent pixels of 48 channels."""
    return len(shape) == 2 and shape[0] == 192


def _flow_sigma(time: float, shift: float) -> float:
    shifted = shift * time / (1 + (shift - 1) * time)
    return shifted / (1 - shifted)


def _convolution(shape: Shape) -> bool:
    return len(shape) == 4


def _latents(shape: Shape) -> bool:
    return len(shape) == 4 and shape[1] in (4, 9)


_CONV_IN = Sign("conv_in.weight", _latents, "a convolution of 4 or 9 channels")
_ADDED = "add_embedding.linear_1.weight"
_FIRST = "down_blocks.0.attentions.0.proj_in.weight"
_SECOND = "down_blocks.1.attentions.0.proj_in.weight"
_CROSS = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
# Flow times from 1 to 1 / 1,000.
_FLOW_MIN, _FLOW_MAX = 0.001, 1e6
_FLUX = (
    Sign("x_embedder.weight", _packed_or_shown, "a matrix of 64, 128 or 384 columns"),
    Sign("transformer_blocks.0.attn.add_q_proj.weight", _matrix, "a matrix"),
    Sign("single_transformer_blocks.0.proj_mlp.weight", _matrix, "a matrix"),
    Sign("single_transformer_blocks.0.norm.linear.weight", _matrix, "a matrix"),
    Sign("time_text_embed.text_embedder.linear_1.weight", _matrix, "a matrix"),
)
_SD3 = (
    Sign("pos_embed.proj.weight", _sixteen, "a convolution of 16 channels"),
    Sign("context_embedder.weight", _matrix, "a matrix"),
    Sign("transformer_blocks.0.attn.add_q_proj.weight", _matrix, "a matrix"),
    Sign("transformer_blocks.0.norm1_context.linear.weight", _matrix, "a matrix"),
    Sign("pos_embed.pos_embed"),
)
_NORMED = "transformer_blocks.0.attn.norm_q.weight"
_GUIDED = "time_text_embed.guidance_embedder.linear_1.weight"

_WAN = (
    Sign("condition_embedder.time_proj.weight", _matrix, "a matrix"),
    Sign("blocks.0.attn1.to_q.weight", _matrix, "a matrix"),
    Sign("vace_blocks.0.attn1.to_q.weight", absent=True),
)

_ONE_CLIP: Mapping[Target, PartName] = {"text_encoder": "text_encoder"}
_TWO_CLIPS: Mapping[Target, PartName] = {**_ONE_CLIP, "text_encoder_2": "text_encoder_2"}
_CLIP_AND_T5: Mapping[Target, PartName] = {**_ONE_CLIP, "text_encoder_2": "t5"}
_CLIPS_AND_T5: Mapping[Target, PartName] = {**_TWO_CLIPS, "text_encoder_3": "t5"}

_INPAINTING = {9: "inpainting"}
_PICTURES = {128: "control", 384: "inpainting"}

FAMILIES: dict[str, Family] = {
    "sd1": Family(
        "Stable Diffusion 1",
        signs=(
            _CONV_IN,
            Sign(_FIRST, _convolution, "a convolution (4 sides)"),
            Sign(_CROSS, _matrix, "a matrix"),
            Sign(_ADDED, absent=True),
        ),
        prediction="eps",
        size=512,
        scale=0.18215,
        multiple=8,
        lora_text_encoders=_ONE_CLIP,
        shown=_INPAINTING,
    ),
    "sd2": Family(
        "Stable Diffusion 2",
        signs=(
            _CONV_IN,
            Sign(_FIRST, _matrix, "a matrix (2 sides)"),
            Sign(_CROSS, _matrix, "a matrix"),
            Sign(_ADDED, absent=True),
        ),
        prediction="v",
        size=768,
        scale=0.18215,
        multiple=8,
        lora_text_encoders=_ONE_CLIP,
        shown=_INPAINTING,
    ),
    "sdxl": Family(
        "Stable Diffusion XL",
        signs=(
            _CONV_IN,
            Sign(_ADDED, _matrix, "a matrix"),
            Sign(_FIRST, absent=True),
            Sign(_SECOND, _matrix, "a matrix (2 sides)"),
            Sign("down_blocks.3.resnets.0.conv1.weight", absent=True),
        ),
        prediction="eps",
        size=1024,
        scale=0.13025,
        multiple=4,
        lora_text_encoders=_TWO_CLIPS,
        shown=_INPAINTING,
    ),
    "sdxl-refiner": Family(
        "Stable Diffusion XL refiner",
        signs=(
            _CONV_IN,
            Sign(_ADDED, _matrix, "a matrix"),
            Sign(_FIRST, absent=True),
            Sign(_SECOND, _matrix, "a matrix (2 sides)"),
            Sign("down_blocks.3.resnets.0.conv1.weight"),
        ),
        prediction="eps",
        size=1024,
        scale=0.13025,
        multiple=8,
        lora_text_encoders=_TWO_CLIPS,
        shown=_INPAINTING,
    ),
    "flux": Family(
        "Flux.1 dev",
        signs=(*_FLUX, Sign(_GUIDED, _matrix, "a matrix")),
        prediction="flow",
        size=1024,
        scale=0.3611,
        shift=0.1159,
        law="flow",
        sigma_min=_FLOW_MIN,
        sigma_max=_FLOW_MAX,
        time_shift=math.exp(1.15),
        token_shift=(0.5, 1.15),
        latent_channels=16,
        lora_text_encoders=_CLIP_AND_T5,
        shown=_PICTURES,
    ),
    "flux-schnell": Family(
        "Flux.1 schnell",
        signs=(*_FLUX, Sign(_GUIDED, absent=True)),
        prediction="flow",
        size=1024,
        scale=0.3611,
        shift=0.1159,
        law="flow",
        sigma_min=_FLOW_MIN,
        sigma_max=_FLOW_MAX,
        latent_channels=16,
        lora_text_encoders=_CLIP_AND_T5,
        shown=_PICTURES,
    ),
    "sd3": Family(
        "Stable Diffusion 3",
        signs=(*_SD3, Sign(_NORMED, absent=True)),
        prediction="flow",
        size=1024,
        scale=1.5305,
        shift=0.0609,
        law="flow",
        sigma_min=_flow_sigma(_FLOW_MIN, 3.0),
        sigma_max=_FLOW_MAX,
        time_shift=3.0,
        latent_channels=16,
        lora_text_encoders=_CLIPS_AND_T5,
    ),
    "sd35": Family(
        "Stable Diffusion 3.5",
        signs=(*_SD3, Sign(_NORMED)),
        prediction="flow",
        size=1024,
        scale=1.5305,
        shift=0.0609,
        law="flow",
        sigma_min=_flow_sigma(_FLOW_MIN, 3.0),
        sigma_max=_FLOW_MAX,
        time_shift=3.0,
        latent_channels=16,
        lora_text_encoders=_CLIPS_AND_T5,
    ),
    "z-image": Family(
        "Z-Image",
        signs=(
            Sign("all_x_embedder.2-1.weight", _packed, "a matrix of 64 columns"),
            Sign("cap_embedder.1.weight", _matrix, "a matrix"),
            Sign("cap_pad_token"),
            Sign("noise_refiner.0.attention.to_q.weight", _matrix, "a matrix"),
            Sign("siglip_pad_token", absent=True),
        ),
        prediction="flow",
        size=1024,
        scale=0.3611,
        shift=0.1159,
        law="flow",
        sigma_min=_FLOW_MIN,
        sigma_max=_FLOW_MAX,
        time_shift=3.0,
        latent_channels=16,
    ),
    "qwen-image": Family(
        "Qwen-Image",
        signs=(
            Sign("img_in.weight", _packed, "a matrix of 64 columns"),
            Sign("txt_norm.weight"),
            Sign("txt_in.weight", _matrix, "a matrix"),
            Sign("transformer_blocks.0.img_mod.1.weight", _matrix, "a matrix"),
            Sign("transformer_blocks.0.attn.add_q_proj.weight", _matrix, "a matrix"),
        ),
        prediction="flow",
        size=1328,
        scale=1.0,
        shift=0.0,
        law="flow",
        sigma_min=_FLOW_MIN,
        sigma_max=_FLOW_MAX,
        time_shift=math.exp(0.69355),
        token_shift=(0.5, 0.69355),
        latent_channels=16,
    ),
    "wan": Family(
        "Wan 2",
        signs=(
            Sign("patch_embedding.weight", _frames, "a convolution of 16 or 36 channels over frames"),
            *_WAN,
        ),
        prediction="flow",
        size=480,
        scale=1.0,
        shift=0.0,
        law="flow",
        sigma_min=_FLOW_MIN,
        sigma_max=_FLOW_MAX,
        time_shift=5.0,
        latent_channels=16,
        shown={16: "text to video", 36: "picture to video"},
    ),
    "wan-5b": Family(
        "Wan 2.2 of 5 billion weights",
        signs=(
            Sign("patch_embedding.weight", _many_frames, "a convolution of 48 channels over frames"),
            Sign("proj_out.weight", _many_flows, "a matrix of 192 rows"),
            *_WAN,
        ),
        prediction="flow",
        size=704,
        scale=1.0,
        shift=0.0,
        law="flow",
        sigma_min=_FLOW_MIN,
        sigma_max=_FLOW_MAX,
        time_shift=5.0,
        latent_channels=48,
        downscale=16,
    ),
}
