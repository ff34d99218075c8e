"""Samplers that remember earlier denoised estimates: high order at one evaluation a step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from nodegraph.diffusion.sampling.stepping import Denoise, Noise, Step, log_ratio, pairs, toward


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Iterator[Step]:
    """DPM-Solver++(2M), order 2 (Lu et al. 2022b, algorithm 2)."""
    previous: Tensor | None = None
    h_last = 0.0
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = estimate = denoise(x, sigma)
        h = log_ratio(sigma, sigma_next)
        if previous is not None and sigma_next > 0:
            ratio = h_last / h
            estimate = torch.lerp(previous, denoised, 1 + 1 / (2 * ratio))
        x = toward(x, estimate, sigma, sigma_next)
        previous, h_last = denoised, h
        yield Step(index, x, denoised, sigma, sigma_next)


def dpmpp_2m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    *,
    eta: float = 1.0,
    heun: bool = False,
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M) with the midpoint or Heun form of the correction; eta 0 gives `dpmpp_2m`."""
    previous: Tensor | None = None
    h_last = 0.0
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        h = log_ratio(sigma, sigma_next)
        if sigma_next > 0:
            total = h * (1 + eta)
            gain = -math.expm1(-total)
            x = math.exp(-total) * x + gain * denoised
            if previous is not None:
                weight = 1 - gain / total if heun else gain / 2
                x = x + weight * (h / h_last) * (denoised - previous)
            if eta:
                x = x + sigma_next * math.sqrt(-math.expm1(-2 * eta * h)) * noise(x)
        else:
            x = denoised
        previous, h_last = denoised, h
        yield Step(index, x, denoised, sigma, sigma_next)


def dpmpp_3m_sde(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0
) -> Iterator[Step]:
    """The three-step member of the same family; measured order about 2 at eta 0, not 3."""
    history: list[Tensor] = []  # newest first
    lengths: list[float] = []
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        h = log_ratio(sigma, sigma_next)
        if sigma_next > 0:
            total = h * (1 + eta)
            x = math.exp(-total) * x - math.expm1(-total) * denoised
            phi2 = math.expm1(-total) / total + 1
            if len(history) == 2:
                r0, r1 = lengths[0] / h, lengths[1] / h
                near = (denoised - history[0]) / r0
                far = (history[0] - history[1]) / r1
                curvature = (near - far) / (r0 + r1)
                phi3 = phi2 / total - 0.5
                x = x + phi2 * (near + r0 * curvature) - phi3 * curvature
            elif history:
                x = x + phi2 * (denoised - history[0]) * (h / lengths[0])
            if eta:
                x = x + sigma_next * math.sqrt(-math.expm1(-2 * eta * h)) * noise(x)
        else:
            x = denoised
        history, lengths = [denoised, *history[:1]], [h, *lengths[:1]]
        yield Step(index, x, denoised, sigma, sigma_next)


def lms(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    *,
    order: int = 4,
) -> Iterator[Step]:
    """The linear multistep method of Adams and Bashforth in sigma, with exact coefficients."""
    slopes: list[Tensor] = []  # newest first
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        slopes = [(x - denoised) / sigma, *slopes[: order - 1]]
        places = [sigmas[index - k] for k in range(len(slopes))]
        for k, slope in enumerate(slopes):
            area = _lagrange(places, k).integ()
            x = x + float(area(sigma_next) - area(sigma)) * slope
        yield Step(index, x, denoised, sigma, sigma_next)


def deis(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    *,
    order: int = 3,
) -> Iterator[Step]:
    """DEIS with polynomials in ln sigma (Zhang and Chen 2022, tAB-DEIS in log rho); order 1 on a step to 0."""
    slopes: list[Tensor] = []  # newest first
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        slopes = [(x - denoised) / sigma, *slopes[: order - 1]]
        if sigma_next > 0:
            start, end = math.log(sigma), math.log(sigma_next)
            places = [math.log(sigmas[index - k]) - start for k in range(len(slopes))]
            for k, slope in enumerate(slopes):
                x = x + sigma * _exponential_area(_lagrange(places, k), end - start) * slope
        else:
            x = denoised
        yield Step(index, x, denoised, sigma, sigma_next)


def unipc(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    *,
    order: int = 2,
) -> Iterator[Step]:
    """UniPC with B(h) = e^h - 1 (Zhao et al. 2023, algorithms 5 and 6, data prediction).

    The corrector reuses the next step's evaluation, so `order` p converges with order p + 1 at one evaluation
    a step. `Step.x` is the predicted sample; the correction enters with the following step.
    """
    history: list[tuple[float, Tensor]] = []  # (sigma, denoised), newest first
    base = x  # the corrected sample at the sigma of history[0]
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        if history:
            x = _unipc_update(base, history, sigma, denoised)
        base = x
        history = [(sigma, denoised), *history[: order - 1]]
        x = _unipc_update(base, history, sigma_next, None) if sigma_next > 0 else denoised
        yield Step(index, x, denoised, sigma, sigma_next)


def _unipc_update(
    base: Tensor, history: list[tuple[float, Tensor]], sigma_next: float, found: Tensor | None
) -> Tensor:
    """Predict the sample at sigma_next, or correct it where its denoised estimate was `found`."""
    sigma, denoised = history[0]
    h = log_ratio(sigma, sigma_next)
    offsets = [-log_ratio(older, sigma) / h for older, _ in history[1:]]
    differences = [(value - denoised) / offset for (_, value), offset in zip(history[1:], offsets, strict=True)]
    if found is not None:
        offsets.append(1.0)
        differences.append(found - denoised)
    x = toward(base, denoised, sigma, sigma_next)
    for weight, difference in zip(_unipc_weights(offsets, h), differences, strict=True):
        x = x - math.expm1(-h) * weight * difference
    return x


def _unipc_weights(offsets: list[float], h: float) -> list[float]:
    """The weights of theorem 3.1: sum over m of weight_m offset_m^(n-1) = n! phi_(n+1)(-h) (-h) / B(h)."""
    if len(offsets) <= 1:
        # With one difference any weight near 1/2 keeps the order; the paper and its code take 1/2.
        return [0.5] * len(offsets)
    rows, targets = [], []
    phi = math.expm1(-h) / -h - 1
    factorial = 1.0
    for n in range(1, len(offsets) + 1):
        rows.append([offset ** (n - 1) for offset in offsets])
        targets.append(phi * factorial / math.expm1(-h))
        factorial *= n + 1
        phi = phi / -h - 1 / factorial
    return [float(weight) for weight in np.linalg.solve(np.array(rows), np.array(targets))]


def _lagrange(places: Sequence[float], k: int) -> Polynomial:
    """The polynomial that is 1 at places[k] and 0 at the others."""
    others = [place for j, place in enumerate(places) if j != k]
    return math.prod(
        (Polynomial([-place, 1.0]) / (places[k] - place) for place in others), start=Polynomial([1.0])
    )


def _exponential_area(polynomial: Polynomial, end: float) -> float:
    """The integral of polynomial(u) e^u for u from 0 to `end`, by parts."""
    total, sign = 0.0, 1.0
    while True:
        total += sign * float(polynomial(end) * math.exp(end) - polynomial(0.0))
        if polynomial.degree() == 0:
            return total
        polynomial, sign = polynomial.deriv(), -sign
