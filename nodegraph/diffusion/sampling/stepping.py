"""What all samplers share: the step they yield, the pair they step over, the split of ancestral noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]  # D(x; sigma): the clean sample that x most likely came from
Noise = Callable[[Tensor], Tensor]  # fresh unit noise of the shape of its argument


@runtime_checkable
class KnowsVariance(Protocol):
    """A denoiser that also knows how uncertain a step of DDPM is."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """D(x; sigma)."""
        ...

    def placed(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Where the logarithm of the step's variance lies: -1 at its lower bound, 1 at its upper one; as x."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a sampler, from `sigma` to `sigma_next`.

    `x` is the sample after the step, `denoised` the clean estimate that the step was made with.
    """

    index: int
    x: Tensor
    denoised: Tensor
    sigma: float
    sigma_next: float


Sampler = Callable[..., Iterator[Step]]


def pairs(sigmas: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Each step's index, sigma and next sigma."""
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        yield index, sigma, sigma_next


def ancestral_split(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """How far to denoise and how much fresh noise to add, so that together they reach sigma_next.

    Song et al. (2020), eq. 16, in sigma: up = eta * (s' / s) * sqrt(s^2 - s'^2), at most s';
    down = sqrt(s'^2 - up^2). Returns (down, up).
    """
    if not eta:
        return sigma_next, 0.0
    up = min(sigma_next, eta * math.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2))
    return math.sqrt(sigma_next**2 - up**2), up


def posterior_deviations(sigma: float, sigma_next: float) -> tuple[float, float]:
    """The bounds of the standard deviation of a reverse step, in x = x0 + sigma * noise; sigma_next above 0.

    Ho et al. (2020), section 3.2: the first is right where x0 is known, the second where it is a unit Gaussian.
    """
    gap = sigma**2 - sigma_next**2
    return math.sqrt(gap) * sigma_next / sigma, math.sqrt(gap * (1 + sigma_next**2) / (1 + sigma**2))


def toward(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Keep the noise's direction and shrink it from sigma to sigma_next: Euler's step, and DDIM's."""
    return torch.lerp(denoised, x, sigma_next / sigma)


def log_ratio(sigma: float, sigma_next: float) -> float:
    """h = ln(sigma / sigma_next), infinite where sigma_next is 0: the step in half log signal-to-noise."""
    return math.log(sigma / sigma_next) if sigma_next > 0 else math.inf
