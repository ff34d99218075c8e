"""Measuring samplers: sigmas, last steps, and the exact moments of a linear run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nodegraph.diffusion.sampling.analytic import Gaussian
from nodegraph.diffusion.sampling.schedules import karras
from nodegraph.diffusion.sampling.stepping import Noise, Step, posterior_deviations
from nodegraph.diffusion.values import Parametrization


@dataclass(frozen=True)
class Finding:
    """One thing that was measured, beside what it must be."""

    what: str
    measured: float
    expected: str
    holds: bool

    @classmethod
    def near(cls, what: str, measured: float, expected: float, tolerance: float) -> Finding:
        """Holds within a tolerance."""
        return cls(what, measured, f"{expected:g} +- {tolerance:g}", abs(measured - expected) <= tolerance)

    @classmethod
    def at_most(cls, what: str, measured: float, limit: float) -> Finding:
        """Holds up to a limit."""
        return cls(what, measured, f"<= {limit:g}", measured <= limit)

    @classmethod
    def at_least(cls, what: str, measured: float, limit: float) -> Finding:
        """Holds from a limit on."""
        return cls(what, measured, f">= {limit:g}", measured >= limit)


def named(name: str, options: Mapping[str, object]) -> str:
    """A sampler with its options, in words."""
    return f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})" if options else name


class Moments(NamedTuple):
    """Mean and variance of the last coordinate of a sampler's output."""

    mean: float
    variance: float


def levels(steps: int, high: float, low: float) -> list[float]:
    """Karras sigmas without a final zero: ending at 0 would add a bias of its own."""
    sigmas: list[float] = karras(Parametrization("x0", "continuous", low, high), steps).tolist()
    return sigmas


@dataclass(frozen=True)
class BestVariance:
    """The denoiser of N(mean, variance), which knows the best variance of a step of DDPM (Bao et al. 2022, eq. 7).

    That of the known posterior, and what is not known of x0 as it comes through: (1 - s'^2 / s^2)^2 Var[x0 | x].
    Steps of any length then lead from one marginal distribution exactly to the next.
    """

    data: Gaussian

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """D(x; sigma)."""
        return self.data.denoise(x, sigma)

    def placed(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Where the step's variance lies between its bounds, see `stepping.KnowsVariance`."""
        least, most = posterior_deviations(sigma, sigma_next)
        unknown = self.data.variance * sigma**2 / (self.data.variance + sigma**2)
        best = math.sqrt(least**2 + (1 - sigma_next**2 / sigma**2) ** 2 * unknown)
        return torch.full_like(x, 2 * math.log(best / least) / math.log(most / least) - 1)


def last(steps: Iterator[Step]) -> Step:
    """The last step of a sampler."""
    step: Step | None = None
    for step in steps:  # noqa: B007
        pass
    if step is None:
        raise ValueError("the sampler took no step")
    return step


def no_noise(_: Tensor) -> Tensor:
    """For samplers that must not ask for noise."""
    raise AssertionError("a deterministic sampler asked for noise")


def probed(run: Callable[[Tensor, Noise], Iterator[Step]], deviation: Tensor) -> Moments:
    """The exact moments of what a linear `run` gives from N(0, deviation^2) in each of d coordinates.

    Every number that is drawn is fed alone, as one item of a batch, and item 0 is fed none: what an item differs
    in from item 0 is what its number weighs, and the variance is the sum of squares.
    """
    d = len(deviation)

    def output(draws: int) -> tuple[Tensor, int]:
        drawn = 0

        def noise(x: Tensor) -> Tensor:
            nonlocal drawn
            unit = torch.zeros_like(x)
            if draws:
                first = 1 + d + drawn * d
                unit[first : first + d, 0] = torch.eye(d, dtype=x.dtype, device=x.device)
            drawn += 1
            return unit

        x = deviation.new_zeros(1 + (draws + 1) * d if draws else 1 + d, 1, d)
        x[1 : 1 + d, 0] = deviation.diag()
        return last(run(x, noise)).x[:, 0, -1], drawn

    found, draws = output(0)
    if draws:
        found, _ = output(draws)
    return Moments(float(found[0]), float(((found[1:] - found[0]) ** 2).sum()))
