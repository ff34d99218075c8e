"""Line plots as pictures: curves that explain a schedule, a training or a convergence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor

COLOURS = ("#3366cc", "#cc5522", "#2a8f4f", "#8844aa", "#b8860b", "#c2185b", "#00838f", "#5d4037")
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 34, 48


@dataclass(frozen=True)
class Curve:
    """A named line through points, x ascending."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def line_plot(
    curves: Sequence[Curve],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    log_y: bool = False,
    size: tuple[int, int] = (800, 420),
) -> Tensor:
    """Draw curves with axes and a legend.

    Args:
        curves: at least one, with finite values; on a logarithmic axis values of 0 or less are left out.
        log_y: a logarithmic y axis.
        size: width and height in pixels.

    Returns:
        (1, 3, height, width) in [0, 1].

    Raises:
        ValueError: there is nothing to draw.
    """
    points = [
        [(x, math.log10(y) if log_y else y) for x, y in zip(c.x, c.y, strict=True) if not log_y or y > 0]
        for c in curves
    ]
    every = [point for line in points for point in line]
    if not every:
        raise ValueError("there is no point to plot")
    low_x, high_x = _range([x for x, _ in every])
    low_y, high_y = _range([y for _, y in every])
    width, height = size
    sheet = Pillow.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font, large = ImageFont.load_default(size=13), ImageFont.load_default(size=15)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - low_x) / (high_x - low_x) * (width - LEFT - RIGHT)
        return across, height - BOTTOM - (y - low_y) / (high_y - low_y) * (height - TOP - BOTTOM)

    for tick in _ticks(low_x, high_x):
        x, bottom = place(tick, low_y)
        draw.line([(x, TOP), (x, bottom)], fill="#e4e4e4")
        draw.text((x, bottom + 5), f"{tick:g}", fill="black", font=font, anchor="ma")
    for tick in _ticks(low_y, high_y):
        left, y = place(low_x, tick)
        draw.line([(left, y), (width - RIGHT, y)], fill="#e4e4e4")
        draw.text((left - 6, y), f"{10**tick:.3g}" if log_y else f"{tick:g}", fill="black", font=font, anchor="rm")
    for number, (curve, line) in enumerate(zip(curves, points, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        draw.line([place(*point) for point in line], fill=colour, width=2)
        draw.text((width - RIGHT - 8, TOP + 4 + 17 * number), curve.name, fill=colour, font=font, anchor="ra")
    draw.text((width / 2, 8), title, fill="black", font=large, anchor="ma")
    draw.text((width / 2, height - 6), x_label, fill="black", font=font, anchor="md")
    draw.text((8, 12), y_label, fill="black", font=font)
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255).permute(2, 0, 1)[None].contiguous()


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers between two ends: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]
