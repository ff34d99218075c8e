"""The weights that tell families of checkpoints apart: their names, and the form that each must have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Shape = tuple[int, ...]


class Form(NamedTuple):
    """What a shape must be: in words, for messages, and as a test."""

    words: str
    fits: Callable[[Shape], bool]


def matrix(*, rows: Sequence[int] = (), columns: Sequence[int] = ()) -> Form:
    """Two sides; where numbers are given, one of them."""
    sides = [f"{_either(numbers)} {what}" for what, numbers in (("rows", rows), ("columns", columns)) if numbers]

    def fits(shape: Shape) -> bool:
        if len(shape) != 2:
            return False
        return all(not numbers or side in numbers for side, numbers in zip(shape, (rows, columns), strict=True))

    return Form(" of ".join(["a matrix", *sides]), fits)


def convolution(*channels: int, over_frames: bool = False) -> Form:
    """Four sides, five over frames, and one of these numbers of channels that it takes."""
    sides, words = (5, " over frames") if over_frames else (4, "")
    return Form(
        f"a convolution of {_either(channels)} channels{words}",
        lambda shape: len(shape) == sides and shape[1] in channels,
    )


def _either(numbers: Sequence[int]) -> str:
    *some, last = map(str, numbers)
    return f"{', '.join(some)} or {last}" if some else last


ANY = Form("", lambda _: True)
MATRIX = matrix()
TWO_SIDES = Form("a matrix (2 sides)", lambda shape: len(shape) == 2)
FOUR_SIDES = Form("a convolution (4 sides)", lambda shape: len(shape) == 4)
PACKED = matrix(columns=(64,))  # 2 x 2 latent pixels of 16 channels


@dataclass(frozen=True)
class Sign:
    """A weight that tells a family.

    Args:
        name: of the weight, under diffusers' names.
        form: of its shape.
        absent: whether the weight must not be there.
    """

    name: str
    form: Form = ANY
    absent: bool = False


_CONV_IN = Sign("conv_in.weight", convolution(4, 9))
_ADDED = "add_embedding.linear_1.weight"
_FIRST = "down_blocks.0.attentions.0.proj_in.weight"
_CROSS = Sign("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", MATRIX)
_FOURTH_LEVEL = "down_blocks.3.resnets.0.conv1.weight"
_XL = (
    _CONV_IN,
    Sign(_ADDED, MATRIX),
    Sign(_FIRST, absent=True),
    Sign("down_blocks.1.attentions.0.proj_in.weight", TWO_SIDES),
)
SD1 = (_CONV_IN, Sign(_FIRST, FOUR_SIDES), _CROSS, Sign(_ADDED, absent=True))
SD2 = (_CONV_IN, Sign(_FIRST, TWO_SIDES), _CROSS, Sign(_ADDED, absent=True))
SDXL = (*_XL, Sign(_FOURTH_LEVEL, absent=True))
SDXL_REFINER = (*_XL, Sign(_FOURTH_LEVEL))

_GUIDED = "time_text_embed.guidance_embedder.linear_1.weight"
_ANY_FLUX = (
    # Packed latents; with those of a picture to follow, or of one and 64 of its mask.
    Sign("x_embedder.weight", matrix(columns=(64, 128, 384))),
    Sign("transformer_blocks.0.attn.add_q_proj.weight", MATRIX),
    Sign("single_transformer_blocks.0.proj_mlp.weight", MATRIX),
    Sign("single_transformer_blocks.0.norm.linear.weight", MATRIX),
    Sign("time_text_embed.text_embedder.linear_1.weight", MATRIX),
)
FLUX = (*_ANY_FLUX, Sign(_GUIDED, MATRIX))
FLUX_SCHNELL = (*_ANY_FLUX, Sign(_GUIDED, absent=True))

_NORMED = "transformer_blocks.0.attn.norm_q.weight"
_ANY_SD3 = (
    Sign("pos_embed.proj.weight", convolution(16)),
    Sign("context_embedder.weight", MATRIX),
    Sign("transformer_blocks.0.attn.add_q_proj.weight", MATRIX),
    Sign("transformer_blocks.0.norm1_context.linear.weight", MATRIX),
    Sign("pos_embed.pos_embed"),
)
SD3 = (*_ANY_SD3, Sign(_NORMED, absent=True))
SD35 = (*_ANY_SD3, Sign(_NORMED))

Z_IMAGE = (
    Sign("all_x_embedder.2-1.weight", PACKED),
    Sign("cap_embedder.1.weight", MATRIX),
    Sign("cap_pad_token"),
    Sign("noise_refiner.0.attention.to_q.weight", MATRIX),
    Sign("siglip_pad_token", absent=True),
)
QWEN_IMAGE = (
    Sign("img_in.weight", PACKED),
    Sign("txt_norm.weight"),
    Sign("txt_in.weight", MATRIX),
    Sign("transformer_blocks.0.img_mod.1.weight", MATRIX),
    Sign("transformer_blocks.0.attn.add_q_proj.weight", MATRIX),
)

_ANY_WAN = (
    Sign("condition_embedder.time_proj.weight", MATRIX),
    Sign("blocks.0.attn1.to_q.weight", MATRIX),
    Sign("vace_blocks.0.attn1.to_q.weight", absent=True),
)
# Latents of frames; with those of the pictures that they start from and a mask for each of four frames.
WAN = (Sign("patch_embedding.weight", convolution(16, 36, over_frames=True)), *_ANY_WAN)
WAN_5B = (
    Sign("patch_embedding.weight", convolution(48, over_frames=True)),
    Sign("proj_out.weight", matrix(rows=(192,))),  # the flow of 2 x 2 latent pixels of 48 channels
    *_ANY_WAN,
)
