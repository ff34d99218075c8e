"""Samplers against closed forms: what they must measure, and measuring it.

For Gaussian data the probability-flow ODE has an exact solution, so the error of a deterministic sampler and the
order at which it falls are known. Every step of a stochastic sampler is then linear in its noises, so mean and
variance of its output follow exactly from feeding it one unit noise at a time; nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nodegraph.diffusion.proofs import control, process, references
from nodegraph.diffusion.proofs.probing import BestVariance, Finding, last, levels, named, no_noise, probed
from nodegraph.diffusion.sampling.analytic import Gaussian, Mixture
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.sampling.samplers import LEARNED, SAMPLERS
from nodegraph.diffusion.sampling.schedules import LIMIT
from nodegraph.diffusion.sampling.stepping import Denoise, Noise

# A sampler from start to end, as a paper prints it.
Reference = Callable[[Denoise, Tensor, Sequence[float], Noise], Tensor]
DATA = Gaussian(mean=0.7, variance=0.25)


class Order(NamedTuple):
    """A deterministic sampler, and the order from 160 to 320 steps that it must show."""

    sampler: str
    options: dict[str, Any]
    order: float
    tolerance: float


class Variance(NamedTuple):
    """A stochastic sampler, and its output variance at 10, 20, 40, 80 and 160 steps; the data's is 0.25."""

    sampler: str
    options: dict[str, Any]
    variances: tuple[float, ...]


ORDERS = (
    Order("euler", {}, 1.0, 0.05),
    Order("ddim", {}, 1.0, 0.05),
    Order("heun", {}, 2.0, 0.1),
    Order("heun_flow", {}, 2.0, 0.1),
    Order("dpm_2", {}, 2.0, 0.1),
    Order("dpm_2_ancestral", {"eta": 0.0}, 2.0, 0.1),
    Order("dpmpp_2m", {}, 2.0, 0.1),
    Order("dpmpp_2m_sde", {"eta": 0.0}, 2.0, 0.1),
    Order("dpmpp_2s_ancestral", {"eta": 0.0}, 2.0, 0.1),
    Order("dpmpp_sde", {"eta": 0.0}, 2.0, 0.1),
    Order("dpmpp_3m_sde", {"eta": 0.0}, 2.0, 0.2),
    Order("unipc", {"order": 1}, 2.0, 0.1),
    Order("unipc", {"order": 2}, 3.0, 0.15),
    Order("lms", {"order": 2}, 2.0, 0.15),
)
# Samplers of high order, which rounding reaches before 320 steps: the least order from 40 to 80.
HIGH_ORDERS: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("lms", {}, 3.0),
    ("deis", {}, 2.9),
    ("unipc", {"order": 3}, 3.5),
)
VARIANCES = (
    Variance("euler_ancestral", {}, (0.1273, 0.1761, 0.2089, 0.2280, 0.2383)),
    Variance("dpm_2_ancestral", {}, (0.3500, 0.2687, 0.2536, 0.2502, 0.2494)),
    Variance("dpmpp_2s_ancestral", {}, (0.2012, 0.2347, 0.2453, 0.2482, 0.2489)),
    Variance("dpmpp_sde", {}, (0.1525, 0.1878, 0.2130, 0.2292, 0.2386)),
    Variance("dpmpp_2m_sde", {}, (0.2912, 0.2675, 0.2535, 0.2502, 0.2494)),
    Variance("dpmpp_2m_sde_heun", {}, (0.3887, 0.2872, 0.2571, 0.2510, 0.2496)),
    Variance("dpmpp_3m_sde", {}, (0.4599, 0.2589, 0.2512, 0.2497, 0.2493)),
)
STEPS = (10, 20, 40, 80, 160)
BEST_VARIANCE = 0.24915  # V^2 / (V + s^2) after the step from the last sigma s to 0
MODES = Mixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0] * 8, [1.0] * 8]), torch.tensor([0.04, 0.09]))
# Samplers, and the printed formulas that they must equal.
IDENTITIES: tuple[tuple[str, dict[str, Any], str, Reference], ...] = (
    ("euler", {}, "DDIM", partial(references.ddim, eta=0.0)),
    ("ddim", {}, "DDIM", partial(references.ddim, eta=0.0)),
    ("ddim", {"eta": 0.6}, "DDIM, eta 0.6", partial(references.ddim, eta=0.6)),
    ("ddim", {"eta": 1.0}, "DDIM, eta 1", partial(references.ddim, eta=1.0)),
    ("euler_ancestral", {}, "DDIM, eta 1", partial(references.ddim, eta=1.0)),
    ("ddpm", {}, "DDIM, eta 1", partial(references.ddim, eta=1.0)),
    ("ddpm", {}, "DDPM", partial(references.ddpm, large=False)),
    ("ddpm_fixed_large", {}, "DDPM with beta", partial(references.ddpm, large=True)),
)


def rms_error(
    name: str, steps: int, device: str = "cpu", shape: tuple[int, ...] = (256,), **options: Any
) -> float:
    """Root mean square distance from the exact ODE solution, over 256 trajectories from sigma 10 to 0.02."""
    sigmas = levels(steps + 1, 10, 0.02)
    start = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10 + 0.7
    start = start.to(device)
    end = last(SAMPLERS[name](DATA.denoise, start, sigmas, no_noise, **options)).x
    return float((end - DATA.transport(start, sigmas[0], sigmas[-1])).square().mean().sqrt())


def order(name: str, device: str = "cpu", steps: int = 160, **options: Any) -> float:
    """The measured order of convergence from some steps to twice as many."""
    return math.log2(rms_error(name, steps, device, **options) / rms_error(name, 2 * steps, device, **options))


def flow_order(name: str, device: str = "cpu", shift: float = 3.0, steps: int = 80) -> float:
    """The order of convergence over flow times from 1 to 0, shifted towards noise, in one step to 0 at the end."""
    errors = []
    for count in (steps, 2 * steps):
        times = [shift * t / (1 + (shift - 1) * t) for t in (1 - k / count for k in range(count + 1))]
        sigmas = [LIMIT, *(t / (1 - t) for t in times[1:])]
        x = torch.randn(256, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device) * LIMIT
        end = last(SAMPLERS[name](DATA.denoise, x, sigmas, no_noise)).x
        errors.append(float((end - DATA.transport(x, LIMIT, 0.0)).square().mean().sqrt()))
    return math.log2(errors[0] / errors[1])


def consistency_moments(steps: int, device: str = "cpu") -> tuple[float, float]:
    """Mean and variance of `lcm` with the exact consistency function, which must keep the data's."""
    start = torch.tensor([80.0], dtype=torch.float64, device=device)
    sigmas = [*levels(max(steps, 2), 80.0, 0.5)[:steps], 0.0]

    def consistent(x: Tensor, sigma: float) -> Tensor:
        return DATA.transport(x, sigma, 0.0)

    found = probed(lambda x, noise: SAMPLERS["lcm"](consistent, x, sigmas, noise), start)
    return found.mean, found.variance


def exact_moments(name: str, steps: int, device: str = "cpu", **options: Any) -> tuple[float, float]:
    """Mean and variance of a sampler's output from N(0, sigma_0^2), sigma 14.6146 to 0.02917 and 0."""
    sigmas = [*levels(steps, 14.6146, 0.02917), 0.0]
    start = torch.tensor([sigmas[0]], dtype=torch.float64, device=device)
    denoise = BestVariance(DATA) if name in LEARNED else DATA.denoise
    found = probed(lambda x, noise: SAMPLERS[name](denoise, x, sigmas, noise, **options), start)
    return found.mean, found.variance


def identity_error(name: str, options: dict[str, Any], reference: Reference, device: str = "cpu") -> float:
    """Largest difference of a sampler from a formula of `references`, with the same noise, on two modes."""
    sigmas = [*levels(12, 10, 0.03), 0.0]
    x = (torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 10).to(device)
    ours = last(SAMPLERS[name](MODES.denoise, x, sigmas, NoiseSource(0, 3), **options)).x
    return float((ours - reference(MODES.denoise, x, sigmas, NoiseSource(0, 3))).abs().max())


def selftest(device: str = "cpu") -> Iterator[Finding]:
    """Measure everything on a device, one finding at a time."""
    for name, options, expected, tolerance in ORDERS:
        found = order(name, device, **options)
        yield Finding.near(f"{named(name, options)}: order of convergence", found, expected, tolerance)
    for name, options, least in HIGH_ORDERS:
        found = order(name, device, 40, **options)
        yield Finding.at_least(f"{named(name, options)}: order from 40 to 80 steps", found, least)
    for name, expected in (("euler", 1.0), ("heun_flow", 2.0)):
        found = flow_order(name, device)
        yield Finding.near(f"{name}: order over flow times of shift 3", found, expected, 0.05)
    for name, options, variances in VARIANCES:
        for steps, variance in zip(STEPS, variances, strict=True):
            _, found = exact_moments(name, steps, device, **options)
            yield Finding.near(f"{named(name, options)}: variance after {steps} steps", found, variance, 1e-4)
    for steps in STEPS:
        _, found = exact_moments("ddpm_learned_range", steps, device)
        what = f"ddpm_learned_range with the best variance, {steps} steps: variance"
        yield Finding.near(what, found, BEST_VARIANCE, 1e-4)
    for steps in (1, 2, 4, 8):
        _, found = consistency_moments(steps, device)
        yield Finding.near(f"lcm, exact consistency, {steps} steps: variance", found, DATA.variance, 1e-3)
    for name, options, formula, reference in IDENTITIES:
        error = identity_error(name, options, reference, device)
        yield Finding.at_most(f"{named(name, options)} = {formula}: largest difference", error, 1e-12)
    yield from process.findings(device)
    yield from control.findings(device)
