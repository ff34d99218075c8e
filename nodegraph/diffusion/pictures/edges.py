"""Edges of pictures as lines (Canny 1986): what a ControlNet that was trained on edges follows."""

from __future__ import annotations

from math import exp

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.pictures.images import gaussian_blur, luminance, reached

STEPS = 1024  # slopes are rounded to parts of so many, so that equal ones are equal whatever sums were rounded to
_ACROSS = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])  # Sobel's
_TAN = 2**0.5 - 1  # tan(pi / 8): where one of eight directions ends and the next begins


def edges(pictures: Tensor, low: float, high: float, blur: float = 1.0) -> Tensor:
    """Lines of one pixel where brightness changes, as (N, 1, H, W) of zeros and ones.

    Slopes are those of Sobel's filter after a blur, in a unit in which a step from black to white has 2.6 under
    any blur: what the filter gives after one of a pixel. A line runs along the crest of slopes above `low`, where
    they are tied, side by side, to one above `high`.

    Where `low` is `high` these are the lines of kornia's Canny, which ComfyUI has, but for ties, where it may take
    the pixel beside. Between the two it goes from line to line alone, also over corners; here all that is as steep
    as `low` ties, so that a faint line stays which runs up to a strong one without touching it.

    Args:
        pictures: (N, 3 or 4, H, W) in [0, 1]; opacity counts nothing.
        low: how steep a line is everywhere.
        high: how steep it is somewhere.
        blur: standard deviation in pixels, above 0; what is smaller draws no lines.
    """
    grey = functional.pad(gaussian_blur(luminance(pictures), blur), (1, 1, 1, 1), mode="replicate")
    across = functional.conv2d(grey, _ACROSS[None, None])
    down = functional.conv2d(grey, _ACROSS.T[None, None])
    unit = _rise(1.0) / _rise(blur)
    slope = (torch.hypot(across, down) * unit * STEPS).round() / STEPS
    lines = _crest(slope, across, down) & (reached((slope > high).float(), (slope > low).float()) > 0)
    return lines.float()


def _rise(blur: float) -> float:
    """How much a blurred step rises over two pixels: the two largest weights of the blur."""
    weights = [exp(-((at / blur) ** 2) / 2) for at in range(int(3 * blur + 0.5) + 1)]
    return (weights[0] + weights[1]) / (2 * sum(weights) - weights[0])


def _crest(slope: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Where a slope is steeper than on one side along its own direction, and no less steep than on the other."""
    height, width = slope.shape[2:]
    around = functional.pad(slope, (1, 1, 1, 1))

    def beside(x: int, y: int) -> Tensor:
        there = around[..., 1 + y : 1 + y + height, 1 + x : 1 + x + width]
        back = around[..., 1 - y : 1 - y + height, 1 - x : 1 - x + width]
        return (slope > back) & (slope >= there)

    level, upright = down.abs() <= _TAN * across.abs(), across.abs() < _TAN * down.abs()
    falling = across * down > 0
    slanted = torch.where(falling, beside(1, 1), beside(1, -1))
    return torch.where(level, beside(1, 0), torch.where(upright, beside(0, 1), slanted))
