"""How sigmas are spaced: from a model's training noise and a name to a strictly decreasing sequence.

Sigma is the standard deviation of the noise in x = x0 + sigma * noise. A discrete model's timestep k of 1,000
has sigma_k = sqrt((1 - a_k) / a_k), a_k the cumulative product of 1 - beta (Karras et al. 2022, table 1); flow
time t has sigma = t / (1 - t).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.values import Law, Parametrization

ScheduleName = Literal[
    "karras", "exponential", "normal", "simple", "sgm_uniform", "ddim_uniform", "beta", "kl_optimal",
    "linear_quadratic", "linear", "scaled_linear", "cosine",
]  # fmt: skip

TIMESTEPS = 1000
LIMIT = 1e6  # stands for the infinite sigma of pure noise: flow time 1, or an alpha of 0
Array = NDArray[np.float64]
_PLACES = np.arange(TIMESTEPS)


def betas(law: Law) -> Array:
    """The 1,000 betas of a discrete law of training noise.

    `linear` is Ho et al. (2020), `scaled_linear` Rombach et al. (2022), `cosine` Nichol and Dhariwal (2021)
    with betas at most 0.999.
    """
    if law == "linear":
        return np.linspace(1e-4, 0.02, TIMESTEPS)
    if law == "scaled_linear":
        return np.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS) ** 2
    if law == "cosine":
        grid = np.arange(TIMESTEPS + 1) / TIMESTEPS
        level = np.cos((grid + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1 - level[1:] / level[:-1], 0.999)
    raise ValueError(f"{law!r} has no betas; linear, scaled_linear and cosine have")


def zero_terminal_snr(a: NDArray[Any]) -> Array:
    """Cumulative alphas rescaled so that the last is 0 and the first unchanged (Lin et al. 2023, algorithm 1)."""
    root = np.sqrt(a)
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


@cache
def _table(law: Law, sigma_min: float, sigma_max: float, shift: float, zero_snr: bool) -> Array:
    if law == "flow":
        time = np.arange(1, TIMESTEPS + 1) / TIMESTEPS
        time = shift * time / (1 + (shift - 1) * time)
        with np.errstate(divide="ignore"):
            return np.minimum(time / (1 - time), LIMIT)
    if law == "continuous":
        return np.geomspace(sigma_min, sigma_max, TIMESTEPS)
    a = np.cumprod(1 - betas(law))
    if zero_snr:
        a = zero_terminal_snr(a)
    with np.errstate(divide="ignore"):
        return np.minimum(np.sqrt((1 - a) / a), LIMIT)


@cache
def _log_table(law: Law, sigma_min: float, sigma_max: float, shift: float, zero_snr: bool) -> Array:
    # Asked for at every evaluation of a network.
    return np.log(_table(law, sigma_min, sigma_max, shift, zero_snr))


def sigma_table(parametrization: Parametrization) -> Array:
    """The sigma of each of a model's 1,000 timesteps, increasing, float64."""
    p = parametrization
    return _table(p.law, p.sigma_min, p.sigma_max, p.shift, p.zero_snr)


def sigma_to_timestep(parametrization: Parametrization, sigma: float) -> float:
    """The fractional timestep in [0, 999] of a sigma, linear in its logarithm between the table's entries."""
    p = parametrization
    logs = _log_table(p.law, p.sigma_min, p.sigma_max, p.shift, p.zero_snr)
    return float(np.interp(math.log(max(sigma, 1e-300)), logs, _PLACES))


def timestep_to_sigma(parametrization: Parametrization, timestep: Array) -> Array:
    """The sigmas of fractional timesteps; the inverse of `sigma_to_timestep`."""
    return np.exp(np.interp(timestep, _PLACES, np.log(sigma_table(parametrization))))


def with_zero_terminal_snr(parametrization: Parametrization) -> Parametrization:
    """The same network on a law that ends in pure noise. Raises ValueError where that makes no sense."""
    if parametrization.law in ("flow", "continuous"):
        raise ValueError(
            f"the {parametrization.law} law already reaches any noise; only discrete laws are rescaled"
        )
    if parametrization.prediction == "eps":
        raise ValueError("from pure noise, noise says nothing about the picture; this needs a v or x0 prediction")
    return replace(parametrization, zero_snr=True, sigma_max=LIMIT)


def for_tokens(parametrization: Parametrization, tokens: float) -> Parametrization:
    """A flow with the shift of a picture of so many tokens, where it grows with them; else unchanged.

    The logarithm of the shift is a straight line in the number of tokens (Black Forest Labs' Flux, 2024; the
    reason is in Esser et al. 2024, section 5.3.2: a larger picture needs more noise to be hidden as well).
    """
    if parametrization.token_shift is None:
        return parametrization
    low, high = parametrization.token_shift
    slope = (high - low) / (4096 - 256)
    return replace(parametrization, shift=math.exp(low + slope * (tokens - 256)))


def schedule(
    kind: str,
    parametrization: Parametrization,
    steps: int,
    strength: float = 1.0,
    rho: float = 7.0,
    *,
    align: bool = False,
) -> Tensor:
    """Sigmas for a number of steps.

    Args:
        kind: one of `ScheduleName`.
        parametrization: the model's; its sigma_min and sigma_max are the ends where the kind has free ends. Where
            sigma_max stands for pure noise, `karras`, `exponential` and `linear_quadratic` space
            t = sigma / (1 + sigma).
        steps: how many steps a sampler will take, at least 1.
        strength: share of the schedule that is kept, in (0, 1]: the last round(steps * strength) steps, at
            least one (SDEdit, Meng et al. 2021).
        rho: curvature of the `karras` schedule.
        align: move each sigma to that of the nearest whole timestep of the model.

    Returns:
        float64 (kept steps + 1,), strictly decreasing, the last 0.

    Raises:
        ValueError: an unknown kind, a strength outside (0, 1], or more steps than the model has timesteps.
    """
    if steps < 1:
        raise ValueError(f"a schedule has at least 1 step; got {steps}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength is in (0, 1]; got {strength}")
    space = choose("schedule", kind, SCHEDULES)
    placed = space(parametrization, steps, rho) if kind == "karras" else space(parametrization, steps)
    if align:
        timesteps = [sigma_to_timestep(parametrization, sigma) for sigma in placed.tolist()]
        placed = sigma_table(parametrization)[np.round(timesteps).astype(int)]
    sigmas = np.append(placed, 0)
    if not (np.diff(sigmas) < 0).all():
        raise ValueError(f"{kind} cannot place {steps} steps on this model without repeating one; use fewer")
    kept = max(1, round(steps * strength))
    return torch.from_numpy(sigmas[-kept - 1 :].copy())


def karras(parametrization: Parametrization, steps: int, rho: float = 7.0) -> Array:
    """Karras et al. (2022), eq. 5, without the final zero; of pure noise in t, see `_between_ends`."""

    def curve(highest: float, lowest: float) -> Array:
        low, high = lowest ** (1 / rho), highest ** (1 / rho)
        return (high + _ramp(steps) * (low - high)) ** rho

    return _between_ends(parametrization, curve)


def exponential(parametrization: Parametrization, steps: int) -> Array:
    """Evenly spaced in the logarithm of sigma; of pure noise in that of t, see `_between_ends`."""

    def curve(highest: float, lowest: float) -> Array:
        high, low = math.log(highest), math.log(lowest)
        return np.exp(high + _ramp(steps) * (low - high))

    return _between_ends(parametrization, curve)


def normal(parametrization: Parametrization, steps: int) -> Array:
    """Evenly spaced in the model's own timesteps, both ends included."""
    first, last = _timesteps(parametrization)
    return timestep_to_sigma(parametrization, first + _ramp(steps) * (last - first))


def sgm_uniform(parametrization: Parametrization, steps: int) -> Array:
    """Evenly spaced in timesteps with one more, the last left out: the final step leaps to 0."""
    first, last = _timesteps(parametrization)
    return timestep_to_sigma(parametrization, np.linspace(first, last, steps + 1)[:-1])


def simple(parametrization: Parametrization, steps: int) -> Array:
    """Every so-many-th entry of the model's table, from the noisiest down."""
    table = sigma_table(parametrization)
    return table[[TIMESTEPS - 1 - int(step * TIMESTEPS / steps) for step in range(steps)]]


def ddim_uniform(parametrization: Parametrization, steps: int) -> Array:
    """Whole timesteps at equal distance, the cleanest first placed at 1 (Song et al. 2020, section D.3)."""
    spacing = TIMESTEPS / steps
    places = np.round(np.arange(steps) * spacing).astype(int) + 1
    return sigma_table(parametrization)[np.minimum(places, TIMESTEPS - 1)][::-1]


def beta(parametrization: Parametrization, steps: int, alpha: float = 0.6, beta: float = 0.6) -> Array:
    """Timesteps at the quantiles of a beta distribution, dense at both ends (Lee et al. 2024)."""
    from scipy import stats

    places = stats.beta.ppf(1 - np.arange(steps) / steps, alpha, beta) * (TIMESTEPS - 1)
    return timestep_to_sigma(parametrization, places)


def kl_optimal(parametrization: Parametrization, steps: int) -> Array:
    """Sabour et al. (2024), "Align Your Steps", the schedule of theorem 3.1: linear in arctan(sigma)."""
    high, low = math.atan(parametrization.sigma_max), math.atan(parametrization.sigma_min)
    return np.tan(high + _ramp(steps) * (low - high))


def linear_quadratic(parametrization: Parametrization, steps: int, threshold: float = 0.025) -> Array:
    """Small even steps in the first half, quadratically growing ones after (Polyak et al. 2024, Movie Gen).

    Runs in the share of noise: of a flow, or of pure noise, t = sigma / (1 + sigma); else sigma / sigma_max.
    """
    half = max(1, steps // 2)
    rest = steps - half
    linear = np.arange(half) * threshold / half
    slope = threshold / half
    curve = (1 - threshold - slope * rest) / rest**2 if rest else 0.0
    quadratic = threshold + slope * np.arange(rest) + curve * np.arange(rest) ** 2
    left = 1 - np.concatenate([linear, quadratic])[:steps]
    highest = parametrization.sigma_max
    if parametrization.law == "flow" or highest >= LIMIT:
        return _of_time(highest / (1 + highest) * left)
    return highest * left


def _between_ends(parametrization: Parametrization, curve: Callable[[float, float], Array]) -> Array:
    """Sigmas on a curve from sigma_max to sigma_min.

    Where sigma_max stands for infinity, a curve in sigma would spend its steps on what is noise alone. There it
    runs in t = sigma / (1 + sigma), as ComfyUI and diffusers space flows, down to the t of the least noisy
    timestep, which a shift moves.
    """
    if parametrization.sigma_max < LIMIT:
        return curve(parametrization.sigma_max, parametrization.sigma_min)
    highest, lowest = timestep_to_sigma(parametrization, np.array(_timesteps(parametrization))).tolist()
    return _of_time(curve(highest / (1 + highest), lowest / (1 + lowest)))


def _of_time(time: Array) -> Array:
    return time / (1 - time)


def _of_law(law: Law) -> Callable[[Parametrization, int], Array]:
    def spaced(parametrization: Parametrization, steps: int) -> Array:
        other = Parametrization("eps", law, parametrization.sigma_min, parametrization.sigma_max)
        return normal(other, steps)

    spaced.__doc__ = f"Evenly spaced in the timesteps of the {law} betas, between the model's own end sigmas."
    return spaced


def _ramp(steps: int) -> Array:
    return np.linspace(0, 1, steps) if steps > 1 else np.zeros(1)


def _timesteps(parametrization: Parametrization) -> tuple[float, float]:
    return (
        sigma_to_timestep(parametrization, parametrization.sigma_max),
        sigma_to_timestep(parametrization, parametrization.sigma_min),
    )


SCHEDULES: dict[str, Callable[..., Array]] = {
    "karras": karras,
    "exponential": exponential,
    "normal": normal,
    "simple": simple,
    "sgm_uniform": sgm_uniform,
    "ddim_uniform": ddim_uniform,
    "beta": beta,
    "kl_optimal": kl_optimal,
    "linear_quadratic": linear_quadratic,
    "linear": _of_law("linear"),
    "scaled_linear": _of_law("scaled_linear"),
    "cosine": _of_law("cosine"),
}
assert set(SCHEDULES) == set(get_args(ScheduleName))
