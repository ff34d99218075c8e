"""How the numbers of a sample are distributed, beside a Gaussian."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nodegraph.diffusion.pictures.plot import Curve, line_plot


class Shape(NamedTuple):
    """Moments, and the Kolmogorov-Smirnov distance from N(mean, deviation^2) with its p-value."""

    mean: float
    variance: float
    skewness: float
    kurtosis: float
    distance: float
    p_value: float


def shape(values: Tensor, mean: float, deviation: float) -> Shape:
    """Measure all numbers of a tensor against N(mean, deviation^2); kurtosis is 3 for a Gaussian.

    The p-value holds for independent numbers; it is small where the Gaussian is not believable.
    """
    flat = values.double().flatten()
    centred = flat - flat.mean()
    spread = centred.square().mean().sqrt().clamp(min=1e-300)
    ordered, count = flat.sort().values, len(flat)
    expected = torch.special.ndtr((ordered - mean) / deviation)
    steps = torch.arange(count + 1, dtype=torch.float64, device=flat.device) / count
    distance = float(torch.maximum((steps[1:] - expected).max(), (expected - steps[:-1]).max()))
    return Shape(
        float(flat.mean()),
        float(flat.var(correction=0)),
        float((centred / spread).pow(3).mean()),
        float((centred / spread).pow(4).mean()),
        distance,
        _kolmogorov(distance * math.sqrt(count)),
    )


def histogram(values: Tensor, mean: float, deviation: float, bins: int = 60, title: str = "") -> Tensor:
    """A picture (1, 3, H, W) of the density of a tensor's numbers and of N(mean, deviation^2)."""
    flat = values.double().flatten().cpu()
    low = min(float(flat.quantile(0.001)) if len(flat) < 2**24 else float(flat.min()), mean - 4 * deviation)
    high = max(float(flat.quantile(0.999)) if len(flat) < 2**24 else float(flat.max()), mean + 4 * deviation)
    width = (high - low) / bins
    counts = torch.histc(flat, bins, low, high)
    places = [low + (k + 0.5) * width for k in range(bins)]
    gaussian = [
        math.exp(-((x - mean) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi)) for x in places
    ]
    return line_plot(
        [
            Curve("measured", places, (counts / (len(flat) * width)).tolist()),
            Curve(f"N({mean:g}, {deviation:g}^2)", places, gaussian),
        ],
        title=title,
        x_label="value",
        y_label="density",
    )


def _kolmogorov(x: float) -> float:
    """P(K > x) of Kolmogorov's distribution: 2 sum (-1)^(k-1) exp(-2 k^2 x^2)."""
    if x < 0.2:
        return 1.0  # the series needs many terms where its sum is 1 to twelve digits
    total = sum((-1) ** (k - 1) * math.exp(-2 * k**2 * x**2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * total))
