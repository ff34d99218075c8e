"""One-step samplers that add noise; with eta 0 each is a deterministic one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from torch import Tensor

from nodegraph.diffusion.sampling.stepping import (
    Denoise,
    KnowsVariance,
    Noise,
    Step,
    ancestral_split,
    log_ratio,
    pairs,
    posterior_deviations,
    toward,
)


def euler_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0
) -> Iterator[Step]:
    """Euler's step to `down`, then fresh noise `up`; the same as DDIM with that eta."""
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        down, up = ancestral_split(sigma, sigma_next, eta)
        x = toward(x, denoised, sigma, down)
        if up:
            x = x + up * noise(x)
        yield Step(index, x, denoised, sigma, sigma_next)


def ddim(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 0.0
) -> Iterator[Step]:
    """Song et al. (2020), eq. 12. Over pairs of sigmas, so no step's end differs from the next one's start."""
    return euler_ancestral(denoise, x, sigmas, noise, eta=eta)


def ddpm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    *,
    variance: Literal["fixed_small", "fixed_large", "learned_range"] = "fixed_small",
) -> Iterator[Step]:
    """Ho et al. (2020), algorithm 2, with the posterior variance, with beta itself, or with one between the two.

    `learned_range` takes it from a denoiser that knows it (Nichol and Dhariwal 2021, eq. 15), else ValueError.
    """
    if variance == "learned_range" and not isinstance(denoise, KnowsVariance):
        raise ValueError("ddpm_learned_range needs a model that has learned the variance of its steps; use ddpm")
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        down, _ = ancestral_split(sigma, sigma_next, 1.0)
        after = toward(x, denoised, sigma, down)
        if sigma_next > 0:
            least, most = posterior_deviations(sigma, sigma_next)
            if isinstance(denoise, KnowsVariance) and variance == "learned_range":
                up = least * (most / least) ** ((denoise.placed(x, sigma, sigma_next) + 1) / 2)
                after = after + up * noise(x)
            else:
                after = after + (least if variance == "fixed_small" else most) * noise(x)
        x = after
        yield Step(index, x, denoised, sigma, sigma_next)


def dpm_2_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0
) -> Iterator[Step]:
    """The midpoint method in ln sigma to `down`, then fresh noise `up`."""
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        down, up = ancestral_split(sigma, sigma_next, eta)
        if down > 0:
            middle = math.sqrt(sigma * down)
            halfway = toward(x, denoised, sigma, middle)
            slope = (halfway - denoise(halfway, middle)) / middle
            x = x + (down - sigma) * slope
        else:
            x = denoised
        if up:
            x = x + up * noise(x)
        yield Step(index, x, denoised, sigma, sigma_next)


def dpmpp_2s_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0
) -> Iterator[Step]:
    """DPM-Solver++(2S) (Lu et al. 2022b, algorithm 1) to `down`, then fresh noise `up`."""
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        down, up = ancestral_split(sigma, sigma_next, eta)
        if down > 0:
            middle = math.sqrt(sigma * down)
            halfway = toward(x, denoised, sigma, middle)
            x = toward(x, denoise(halfway, middle), sigma, down)
        else:
            x = denoised
        if up:
            x = x + up * noise(x)
        yield Step(index, x, denoised, sigma, sigma_next)


def dpmpp_sde(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0
) -> Iterator[Step]:
    """DPM-Solver++ for the reverse SDE, two stages, noise at each (Lu et al. 2022b, section 5)."""
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        if sigma_next > 0:
            middle = sigma * math.exp(-log_ratio(sigma, sigma_next) / 2)
            down, up = ancestral_split(sigma, middle, eta)
            halfway = toward(x, denoised, sigma, down)
            if up:
                halfway = halfway + up * noise(x)
            better = denoise(halfway, middle)
            down, up = ancestral_split(sigma, sigma_next, eta)
            x = toward(x, better, sigma, down)
            if up:
                x = x + up * noise(x)
        else:
            x = denoised
        yield Step(index, x, denoised, sigma, sigma_next)
