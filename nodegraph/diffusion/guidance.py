"""Guidance: denoisers made from the predictions of several conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from nodegraph.diffusion.stepping import Denoise
from nodegraph.diffusion.values import Condition, Conditioning

# The denoised estimates of x at sigma under several conditions, in order; evaluated together where that helps.
Predict = Callable[[Tensor, float, Sequence[Condition]], Sequence[Tensor]]


def guided(
    predict: Predict,
    positive: Conditioning,
    negative: Conditioning | None,
    guidance_scale: float,
    sigmas: Sequence[float],
    *,
    rescale: float = 0.0,
) -> Denoise:
    """Classifier-free guidance (Ho and Salimans 2022): negative + scale * (positive - negative).

    Args:
        predict: the conditional denoiser.
        positive: what the picture should show.
        negative: what it should not; with a scale of 1, or None, it is not evaluated.
        guidance_scale: 1 is off, 0 follows the negative alone.
        sigmas: of the run; conditions that act for a share of it are switched by them.
        rescale: how far, in [0, 1], the guided estimate's spread is brought back to the positive's
            (Lin et al. 2023, section 3.4).
    """
    progress = _progress(sigmas)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        share = progress(sigma)
        wanted = _active(positive, share)
        if negative is None or guidance_scale == 1:
            return mixed(x, wanted, predict(x, sigma, wanted))
        unwanted = _active(negative, share)
        if guidance_scale == 0:
            return mixed(x, unwanted, predict(x, sigma, unwanted))
        estimates = predict(x, sigma, [*wanted, *unwanted])
        toward = mixed(x, wanted, estimates[: len(wanted)])
        away = mixed(x, unwanted, estimates[len(wanted) :])
        return rescaled(away + guidance_scale * (toward - away), toward, rescale)

    return denoise


def rescaled(estimate: Tensor, reference: Tensor, amount: float) -> Tensor:
    """Bring each item's standard deviation towards the reference's; 0 changes nothing, 1 makes them equal."""
    if not amount:
        return estimate
    axes = tuple(range(1, estimate.ndim))
    factor = reference.std(axes, keepdim=True) / estimate.std(axes, keepdim=True)
    return estimate * (amount * factor + (1 - amount))


def mixed(x: Tensor, conditions: Sequence[Condition], estimates: Sequence[Tensor]) -> Tensor:
    """Average estimates by strength and region. Where no region reaches, the first condition rules."""
    if len(estimates) == 1:
        return estimates[0]
    weights = [
        condition.strength * (x.new_ones(()) if condition.region is None else condition.region.to(x))
        for condition in conditions
    ]
    total = sum(weights[1:], weights[0])
    empty = (total <= 0).to(x)
    blend = sum((w * e for w, e in zip(weights, estimates, strict=True)), x.new_zeros(()))
    return blend / (total + empty) + empty * estimates[0]


def _active(conditioning: Conditioning, share: float) -> list[Condition]:
    found = [
        condition
        for condition in conditioning.conditions
        if condition.start <= share < condition.end or (share >= 1 and condition.end >= 1)
    ]
    return found or [conditioning.conditions[0]]


def _progress(sigmas: Sequence[float]) -> Callable[[float], float]:
    """From a sigma to the share of the run that is done, linear in steps between the given sigmas."""
    steps = len(sigmas) - 1

    def progress(sigma: float) -> float:
        for index in range(steps):
            high, low = sigmas[index], sigmas[index + 1]
            if sigma >= high:
                return index / steps
            if sigma > low:
                inside = math.log(high / sigma) / math.log(high / low) if low > 0 else (high - sigma) / high
                return (index + inside) / steps
        return 1.0

    return progress
