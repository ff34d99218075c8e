"""The families of checkpoints that are known: how each is told apart, sampled, and what size it paints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch is not imported to look at headers
    from nodegraph.diffusion.values import Law, Prediction

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sign:
    """A weight that tells a family: its name, and what its shape must be.

    Args:
        name: of the weight, under diffusers' names, or those of the file where `Family.original` says so.
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
        original: what tells it in files with its own naming; empty where that naming is turned into diffusers'.
        prediction: what its network predicts unless the file says otherwise.
        size: width and height in pixels that it was made for.
        scale, shift: of its latents: what samplers see is (raw - shift) * scale.
        law, sigma_min, sigma_max: of its training noise.
    """

    title: str
    signs: tuple[Sign, ...]
    prediction: Prediction
    size: int
    scale: float
    shift: float = 0.0
    original: tuple[Sign, ...] = ()
    law: Law = "scaled_linear"
    sigma_min: float = 0.0291672
    sigma_max: float = 14.614641


def _matrix(shape: Shape) -> bool:
    return len(shape) == 2


def _convolution(shape: Shape) -> bool:
    return len(shape) == 4


def _latents(shape: Shape) -> bool:
    return len(shape) == 4 and shape[1] in (4, 9)


_CONV_IN = Sign("conv_in.weight", _latents, "a convolution of 4 or 9 channels")
_ADDED = "add_embedding.linear_1.weight"
_FIRST = "down_blocks.0.attentions.0.proj_in.weight"
_SECOND = "down_blocks.1.attentions.0.proj_in.weight"
_CROSS = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"

FAMILIES: dict[str, Family] = {
    "sd1": Family(
        "Stable Diffusion 1",
        (
            _CONV_IN,
            Sign(_FIRST, _convolution, "a convolution (4 sides)"),
            Sign(_CROSS, _matrix, "a matrix"),
            Sign(_ADDED, absent=True),
        ),
        "eps",
        512,
        0.18215,
    ),
    "sd2": Family(
        "Stable Diffusion 2",
        (
            _CONV_IN,
            Sign(_FIRST, _matrix, "a matrix (2 sides)"),
            Sign(_CROSS, _matrix, "a matrix"),
            Sign(_ADDED, absent=True),
        ),
        "v",
        768,
        0.18215,
    ),
    "sdxl": Family(
        "Stable Diffusion XL",
        (
            _CONV_IN,
            Sign(_ADDED, _matrix, "a matrix"),
            Sign(_FIRST, absent=True),
            Sign(_SECOND, _matrix, "a matrix (2 sides)"),
            Sign("down_blocks.3.resnets.0.conv1.weight", absent=True),
        ),
        "eps",
        1024,
        0.13025,
    ),
    "sdxl-refiner": Family(
        "Stable Diffusion XL refiner",
        (
            _CONV_IN,
            Sign(_ADDED, _matrix, "a matrix"),
            Sign(_FIRST, absent=True),
            Sign(_SECOND, _matrix, "a matrix (2 sides)"),
            Sign("down_blocks.3.resnets.0.conv1.weight"),
        ),
        "eps",
        1024,
        0.13025,
    ),
}
