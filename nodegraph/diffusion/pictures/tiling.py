"""Large pictures through a network in tiles that overlap and fade into each other, to bound its memory."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

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
