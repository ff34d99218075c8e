"""Pictures through a network in tiles, to bound its memory; and pictures that are tiles themselves."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from nodegraph.diffusion.values import Wrap

# A quarter of a tile on each side: enough for what a VAE sees around a pixel to agree between neighbours.
OVERLAP = 0.25


def tiled(function: Callable[[Tensor], Tensor], x: Tensor, tile: int, ratio: Fraction, grain: int = 1) -> Tensor:
    """Apply a network that maps pictures to pictures tile by tile.

    Neighbouring tiles overlap by a quarter of their side. In the overlap the weight of one falls linearly as that
    of the other rises, so no seam shows; where the network normalises over the whole picture the result is near
    that of the whole, not equal to it.

    Args:
        function: (1, C, h, w) to (1, D, h * ratio, w * ratio).
        x: (N, C, H, W); items go through one by one.
        tile: side of a tile of `x`; rounded down to a multiple of `grain`, at least two of them.
        ratio: how many times larger a side of the result is.
        grain: what the sides and places of tiles must be multiples of.

    Returns:
        (N, D, H * ratio, W * ratio).
    """
    height, width = x.shape[2:]
    tile = max(tile // grain, 2) * grain
    rows, columns = _starts(height, tile, grain), _starts(width, tile, grain)
    result: Tensor | None = None
    total: Tensor | None = None
    for item in range(len(x)):
        for top in rows:
            for left in columns:
                piece = function(x[item : item + 1, :, top : top + tile, left : left + tile])
                if result is None or total is None:
                    shape = (len(x), piece.shape[1], int(height * ratio), int(width * ratio))
                    result = piece.new_zeros(shape)
                    total = piece.new_zeros(shape[2:])
                y, x0 = int(top * ratio), int(left * ratio)
                weight = _fade(piece, top > 0, top + tile < height, left > 0, left + tile < width)
                place = (..., slice(y, y + piece.shape[2]), slice(x0, x0 + piece.shape[3]))
                result[item][place] += piece[0] * weight
                if item == 0:
                    total[place] += weight
    if result is None or total is None:
        raise ValueError("there is no picture to work on: the batch is empty")
    return result.div_(total)


def around(
    function: Callable[[Tensor], Tensor], x: Tensor, wrap: Wrap | None, margin: int, ratio: Fraction
) -> Tensor:
    """Apply a network to a picture that continues at its opposite side, so that its result does too.

    The network is shown what lies beyond the edges, `margin` of it, which is then cut off again.

    Args:
        function: (N, C, ..., h, w) to (N, D, ..., h * ratio, w * ratio).
        x: (N, C, ..., H, W).
        wrap: along which sides it continues; None along none.
        margin: pixels of `x`; a multiple of the ratio's denominator.
        ratio: how many times larger a side of the result is.
    """
    reach = {-2: wrap in ("both", "vertical"), -1: wrap in ("both", "horizontal")}
    sides = [side for side, continues in reach.items() if continues]
    for side in sides:
        places = torch.arange(-margin, x.shape[side] + margin, device=x.device) % x.shape[side]
        x = x.index_select(side, places)
    result = function(x)
    for side in sides:
        cut = int(margin * ratio)
        result = result.narrow(side, cut, result.shape[side] - 2 * cut)
    return result


def seam(image: Tensor) -> tuple[float, float]:
    """How a picture (N, C, H, W) jumps where its left side meets its right one, and its top its bottom.

    Each is the mean absolute difference of the neighbours across that seam over the same of all neighbours inside
    the picture in that direction: about 1 where the seam is like any other place, 0 where both are flat.
    """
    return _jump(image, -1), _jump(image, -2)


def _jump(image: Tensor, side: int) -> float:
    steps = (image - image.roll(1, side)).abs()
    inside = float(steps.narrow(side, 1, image.shape[side] - 1).mean()) if image.shape[side] > 1 else 0.0
    across = float(steps.select(side, 0).mean())
    return across / inside if inside else 0.0


def _starts(length: int, tile: int, grain: int) -> list[int]:
    """Where tiles begin: evenly spread, so that every overlap is at least the wanted one."""
    if length <= tile:
        return [0]
    stride = tile - max(grain, int(tile * OVERLAP))
    count = -(-(length - tile) // stride) + 1
    return [round((length - tile) * number / (count - 1) / grain) * grain for number in range(count)]


def _fade(piece: Tensor, above: bool, below: bool, before: bool, after: bool) -> Tensor:
    """Weights (h, w) that fall towards each side that has a neighbour."""
    rows = _ramp(piece, piece.shape[2], above, below)
    columns = _ramp(piece, piece.shape[3], before, after)
    return rows[:, None] * columns[None]


def _ramp(like: Tensor, length: int, before: bool, after: bool) -> Tensor:
    ramp = torch.ones(length, dtype=like.dtype, device=like.device)
    edge = max(1, int(length * OVERLAP))
    rise = (torch.arange(edge, dtype=like.dtype, device=like.device) + 0.5) / edge
    if before:
        ramp[:edge] *= rise
    if after:
        ramp[-edge:] *= rise.flip(0)
    return ramp
