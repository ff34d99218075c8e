"""Closed forms for the process itself: forward chains, predictions, laws of noise, likelihood, loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import torch

from nodegraph.diffusion.proofs.probing import Finding, last, levels, named, no_noise, probed
from nodegraph.diffusion.sampling.analytic import Gaussian
from nodegraph.diffusion.sampling.denoisers import denoised, denoiser, input_scale, predicted, time_to_sigma
from nodegraph.diffusion.sampling.likelihood import log_likelihood
from nodegraph.diffusion.sampling.samplers import SAMPLERS
from nodegraph.diffusion.sampling.schedules import (
    betas,
    sigma_table,
    with_zero_terminal_snr,
    zero_terminal_snr,
)
from nodegraph.diffusion.values import Law, Parametrization, Prediction

DATA = Gaussian(mean=0.7, variance=0.25)
# Each discrete law: the cumulative alpha of its last timestep, the sigmas of its last and first.
LAWS: dict[Law, tuple[float, float, float]] = {
    "linear": (4.0358e-5, 157.407, 0.0100005),
    "scaled_linear": (4.660099e-3, 14.6146, 0.0291672),
    "cosine": (2.43e-9, 20291.0, 0.00642541),
}
# The 1,000 steps of scaled_linear from N(0, 1): sampler, options, mean, variance. The data has 0.7 and 0.25.
RECURSIONS: tuple[tuple[str, dict[str, Any], float, float], ...] = (
    ("ddim", {}, 0.67617, 0.24866),
    ("ddim", {"eta": 1.0}, 0.69918, 0.24520),
    ("ddpm_fixed_large", {}, 0.69918, 0.24974),
)
# Cumulative alpha, and the least mean squared error with which noise can be told from a sample.
FLOORS = ((0.99, 0.961165), (0.5, 0.2), (0.05, 0.012987))
SHAPES = ((64,), (8, 8), (4, 4, 4), (4, 2, 4, 2))  # of latents with 1 to 4 dimensions
LIKELIHOOD_AT, LIKELIHOOD = 0.3, -0.545791


def law(name: Law, prediction: Prediction = "v") -> Parametrization:
    """A discrete law between its own ends."""
    table = sigma_table(Parametrization(prediction, name, 0.01, 1.0))
    return Parametrization(prediction, name, float(table[0]), float(table[-1]))


def forward_error() -> float:
    """Largest relative difference of a law's sigmas from iterating x' = sqrt(1 - beta) x + sqrt(beta) noise."""
    worst = 0.0
    for name in LAWS:
        scale, variance, sigmas = 1.0, 0.0, []
        for beta in betas(name):
            scale, variance = math.sqrt(1 - beta) * scale, (1 - beta) * variance + beta
            sigmas.append(math.sqrt(variance) / scale)
        worst = max(worst, float(np.abs(np.array(sigmas) / sigma_table(law(name)) - 1).max()))
    return worst


def prediction_error() -> float:
    """Largest round-trip error from a clean sample to what a network predicts and back."""
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    worst = 0.0
    for prediction in get_args(Prediction):
        for sigma in (0.03, 1.0, 14.6):
            clean = DATA.denoise(x, sigma)
            back = denoised(prediction, predicted(prediction, clean, x, sigma), x, sigma)
            worst = max(worst, float((back - clean).abs().max()))
    return worst


def network_error() -> float:
    """Largest difference between the exact denoiser and one made of the network that it stands for."""
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    worst = 0.0
    for name in get_args(Law):
        for prediction in get_args(Prediction):
            p = law(name, prediction) if name in LAWS else Parametrization(prediction, name, 0.03, 14.0)

            def network(scaled: torch.Tensor, time: torch.Tensor, p: Parametrization = p) -> torch.Tensor:
                sigma = time_to_sigma(p, float(time[0]))
                y = scaled / input_scale(p, sigma)
                return predicted(p.prediction, DATA.denoise(y, sigma), y, sigma)

            for sigma in (0.05, 1.0, 12.0):
                found = denoiser(network, p)(x, sigma)
                worst = max(worst, float((found - DATA.denoise(x, sigma)).abs().max()))
    return worst


def recursion(name: str, options: dict[str, Any], p: Parametrization, device: str = "cpu") -> tuple[float, float]:
    """Exact mean and variance of a sampler over all 1,000 timesteps of a law, from N(0, 1) scaled samples."""
    sigmas = [*sigma_table(p)[::-1].tolist(), 0.0]
    start = torch.tensor([math.sqrt(1 + sigmas[0] ** 2)], dtype=torch.float64, device=device)
    found = probed(lambda x, noise: SAMPLERS[name](DATA.denoise, x, sigmas, noise, **options), start)
    return found.mean, found.variance


def loss_floor(a: float) -> float:
    """Mean squared error of the exact denoiser's idea of the noise at a cumulative alpha, by feeding unit parts.

    In y = sqrt(a) x0 + sqrt(1 - a) n, the error n - eps(y) is linear in the deviation of x0 and in n.
    """
    sigma = math.sqrt((1 - a) / a)
    deviation = torch.tensor([0.0, math.sqrt(DATA.variance), 0.0], dtype=torch.float64)
    noise = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    x = DATA.mean + deviation + sigma * noise
    error = noise - predicted("eps", DATA.denoise(x, sigma), x, sigma)
    return float(((error[1:] - error[0]) ** 2).sum())


def likelihood(device: str = "cpu") -> float:
    """log p of one number under N(0.7, 0.25), in nats, by the probability-flow ODE."""
    x = torch.full((1, 1), LIKELIHOOD_AT, dtype=torch.float64, device=device)
    *_, found = log_likelihood(DATA.denoise, x, 1e-3, 1e3, steps=200)
    return float(found.log_p)


def dimensions(device: str = "cpu") -> list[float]:
    """Heun's order of convergence on latents of 1, 2, 3 and 4 dimensions: from 80 to 160 steps."""
    orders = []
    for shape in SHAPES:
        x = torch.randn(2, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10
        errors = []
        for steps in (81, 161):
            sigmas = levels(steps, 10, 0.02)
            end = last(SAMPLERS["heun"](DATA.denoise, x.to(device), sigmas, no_noise)).x
            errors.append(float((end - DATA.transport(x.to(device), 10, 0.02)).square().mean().sqrt()))
        orders.append(math.log2(errors[0] / errors[1]))
    return orders


def findings(device: str = "cpu") -> Iterator[Finding]:
    """Everything of this module."""
    yield Finding.at_most("forward process: 1,000 small steps = one", forward_error(), 1e-12)
    yield Finding.at_most("predictions: eps, v, flow, x0 and back", prediction_error(), 1e-14)
    yield Finding.at_most("networks: each law and prediction = the denoiser", network_error(), 1e-9)
    for name, (alpha, high, low) in LAWS.items():
        table = sigma_table(law(name))
        found = float(np.cumprod(1 - betas(name))[-1])
        yield Finding.near(f"{name}: last alpha", found, alpha, alpha * 1e-3)
        yield Finding.near(f"{name}: largest sigma", float(table[-1]), high, high * 5e-5)
        yield Finding.near(f"{name}: smallest sigma", float(table[0]), low, low * 5e-6)
    for sampler, options, mean, variance in RECURSIONS:
        found_mean, found_variance = recursion(sampler, options, law("scaled_linear"), device)
        what = f"{named(sampler, options)}, all 1,000 timesteps"
        yield Finding.near(f"{what}: mean", found_mean, mean, 1e-5)
        yield Finding.near(f"{what}: variance", found_variance, variance, 1e-5)
    rescaled = zero_terminal_snr(np.cumprod(1 - betas("scaled_linear")))
    yield Finding.near("zero terminal SNR: first sqrt(alpha) kept", math.sqrt(rescaled[0]), 0.9995749, 1e-7)
    yield Finding.at_most("zero terminal SNR: last sqrt(alpha)", math.sqrt(rescaled[-1]), 0.0)
    mean, _ = recursion("ddim", {}, with_zero_terminal_snr(law("scaled_linear")), device)
    yield Finding.near("zero terminal SNR: ddim's mean is the data's", mean, DATA.mean, 1e-5)
    yield Finding.near("log likelihood under N(0.7, 0.25)", likelihood(device), LIKELIHOOD, 5e-6)
    for a, floor in FLOORS:
        yield Finding.near(f"least loss at alpha {a}", loss_floor(a), floor, 1e-6)
    for count, order in enumerate(dimensions(device), 1):
        yield Finding.near(f"heun's order on {count}-D latents", order, 2.0, 0.1)
