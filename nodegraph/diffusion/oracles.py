"""Samplers against closed forms: what they must measure, and measuring it.

For Gaussian data the probability-flow ODE has an exact solution, so the error of a deterministic sampler and the
order at which it falls are known. Every step of a stochastic sampler is then linear in its noises, so mean and
variance of its output follow exactly from feeding it one unit noise at a time; nothing is drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nodegraph.diffusion.analytic import Gaussian
from nodegraph.diffusion.guidance import guided
from nodegraph.diffusion.noise import NoiseSource
from nodegraph.diffusion.samplers import SAMPLERS
from nodegraph.diffusion.schedules import karras
from nodegraph.diffusion.stepping import Step
from nodegraph.diffusion.values import Condition, Conditioning, Parametrization

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
VARIANCES = (
    Variance("euler_ancestral", {}, (0.1273, 0.1761, 0.2089, 0.2280, 0.2383)),
    Variance("dpm_2_ancestral", {}, (0.3500, 0.2687, 0.2536, 0.2502, 0.2494)),
    Variance("dpmpp_2s_ancestral", {}, (0.2012, 0.2347, 0.2453, 0.2482, 0.2489)),
    Variance("dpmpp_sde", {}, (0.1525, 0.1878, 0.2130, 0.2292, 0.2386)),
    Variance("dpmpp_2m_sde", {}, (0.2912, 0.2675, 0.2535, 0.2502, 0.2494)),
    Variance("dpmpp_2m_sde", {"heun": True}, (0.3887, 0.2872, 0.2571, 0.2510, 0.2496)),
    Variance("dpmpp_3m_sde", {}, (0.4599, 0.2589, 0.2512, 0.2497, 0.2493)),
)
STEPS = (10, 20, 40, 80, 160)


@dataclass(frozen=True)
class Finding:
    """One thing that was measured, beside what it must be."""

    what: str
    measured: float
    expected: str
    holds: bool


def levels(steps: int, high: float, low: float) -> list[float]:
    """Karras sigmas without a final zero: ending at 0 would add a bias of its own."""
    sigmas: list[float] = karras(Parametrization("x0", "continuous", low, high), steps).tolist()
    return sigmas


def last(steps: Iterator[Step]) -> Step:
    """The last step of a sampler."""
    step: Step | None = None
    for step in steps:  # noqa: B007
        pass
    if step is None:
        raise ValueError("the sampler took no step")
    return step


def rms_error(name: str, steps: int, device: str = "cpu", **options: Any) -> float:
    """Root mean square distance from the exact ODE solution, over 256 trajectories from sigma 10 to 0.02."""
    sigmas = levels(steps + 1, 10, 0.02)
    start = torch.randn(256, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10 + 0.7
    start = start.to(device)
    end = last(SAMPLERS[name](DATA.denoise, start, sigmas, _no_noise, **options)).x
    return float((end - DATA.transport(start, sigmas[0], sigmas[-1])).square().mean().sqrt())


def order(name: str, device: str = "cpu", **options: Any) -> float:
    """The measured order of convergence from 160 to 320 steps."""
    return math.log2(rms_error(name, 160, device, **options) / rms_error(name, 320, device, **options))


def exact_moments(name: str, steps: int, device: str = "cpu", **options: Any) -> tuple[float, float]:
    """Mean and variance of a sampler's output from N(0, sigma_0^2), sigma 14.6146 to 0.02917 and 0."""
    sigmas = [*levels(steps, 14.6146, 0.02917), 0.0]

    def output(start: float, unit: int | None) -> tuple[float, int]:
        drawn = 0

        def noise(x: Tensor) -> Tensor:
            nonlocal drawn
            drawn += 1
            return torch.full_like(x, float(drawn - 1 == unit))

        x = torch.full((1, 1), start, dtype=torch.float64, device=device)
        return float(last(SAMPLERS[name](DATA.denoise, x, sigmas, noise, **options)).x), drawn

    mean, draws = output(0.0, None)
    parts = [output(sigmas[0], None)[0] - mean, *(output(0.0, unit)[0] - mean for unit in range(draws))]
    return mean, sum(part**2 for part in parts)


def guidance_error(scale: float = 3.0, device: str = "cpu") -> float:
    """Largest distance from the guided flow of two Gaussians of one variance: that of N(mu + w (m_c - mu), V)."""
    data = Gaussian(DATA.mean, DATA.variance, label_shift=1.0)
    sigmas = levels(400, 10, 0.02)
    x = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device) * 10
    denoise = guided(
        lambda y, sigma, conditions: [data.denoise(y, sigma, condition.label) for condition in conditions],
        Conditioning((Condition(label=1),)),
        Conditioning((Condition(label=0),)),
        scale,
        sigmas,
    )
    end = last(SAMPLERS["heun"](denoise, x, sigmas, _no_noise)).x
    exact = Gaussian(DATA.mean + scale, DATA.variance).transport(x, sigmas[0], sigmas[-1])
    return float((end - exact).abs().max())


def identity_error(a: str, b: str, options_b: dict[str, Any], device: str = "cpu") -> float:
    """Largest difference between two samplers that must be the same algorithm, with the same noise."""
    sigmas = [*levels(12, 10, 0.03), 0.0]
    x = (torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 10).to(device)
    first = last(SAMPLERS[a](DATA.denoise, x, sigmas, NoiseSource(0, 3))).x
    second = last(SAMPLERS[b](DATA.denoise, x, sigmas, NoiseSource(0, 3), **options_b)).x
    return float((first - second).abs().max())


def selftest(device: str = "cpu") -> Iterator[Finding]:
    """Measure everything on a device, one finding at a time."""
    for name, options, expected, tolerance in ORDERS:
        found = order(name, device, **options)
        what = f"{_named(name, options)}: order of convergence"
        yield Finding(what, found, f"{expected:g} +- {tolerance:g}", abs(found - expected) <= tolerance)
    for name, options, variances in VARIANCES:
        for steps, variance in zip(STEPS, variances, strict=True):
            _, found = exact_moments(name, steps, device, **options)
            what = f"{_named(name, options)}: variance after {steps} steps"
            yield Finding(what, found, f"{variance:.4f} +- 0.0001", abs(found - variance) <= 1e-4)
    for a, b, options in (
        ("ddim", "euler", {}),
        ("ddpm", "ddim", {"eta": 1.0}),
        ("euler_ancestral", "ddim", {"eta": 1.0}),
    ):
        error = identity_error(a, b, options, device)
        yield Finding(f"{a} = {_named(b, options)}: largest difference", error, "<= 1e-12", error <= 1e-12)
    error = guidance_error(3.0, device)
    yield Finding("classifier-free guidance at scale 3: largest error", error, "<= 1e-4", error <= 1e-4)


def _named(name: str, options: dict[str, Any]) -> str:
    return f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})" if options else name


def _no_noise(_: Tensor) -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")
