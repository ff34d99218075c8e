"""Samplers: generators that walk a sample down the sigmas, one `Step` for each pair of them.

All work on x = x0 + sigma * noise with a denoiser D(x; sigma), whatever the network predicts; a model trained
with scaled noise or on a flow is put into this form by `denoisers`. The caller owns the loop: it may show a
step, stop, or change its mind. Deterministic samplers solve dx/dsigma = (x - D) / sigma (Karras et al. 2022,
eq. 1); `multistep` and `stochastic` hold those that remember earlier steps or add noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, get_args

from torch import Tensor

from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.sampling import multistep, stochastic
from nodegraph.diffusion.sampling.stepping import Denoise, Noise, Sampler, Step, pairs, toward

SamplerName = Literal[
    "euler", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "ddim", "ddpm", "dpmpp_2m", "dpmpp_2m_sde",
    "dpmpp_sde", "dpmpp_2s_ancestral", "dpmpp_3m_sde", "lms", "deis", "unipc", "lcm", "heun_flow",
    "ddpm_fixed_large", "dpmpp_2m_sde_heun", "ddpm_learned_range",
]  # fmt: skip


def euler(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, churn: float = 0.0
) -> Iterator[Step]:
    """Euler's method, order 1; with `churn` above 0 the stochastic sampler of Karras et al., algorithm 2."""
    for index, sigma, sigma_next in pairs(sigmas):
        x, raised = _churned(x, sigma, churn, len(sigmas) - 1, noise)
        denoised = denoise(x, raised)
        x = toward(x, denoised, raised, sigma_next)
        yield Step(index, x, denoised, sigma, sigma_next)


def heun(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, churn: float = 0.0
) -> Iterator[Step]:
    """Heun's method, order 2, two evaluations a step and one on a step to 0 (Karras et al., algorithms 1, 2)."""
    for index, sigma, sigma_next in pairs(sigmas):
        x, raised = _churned(x, sigma, churn, len(sigmas) - 1, noise)
        denoised = denoise(x, raised)
        guess = toward(x, denoised, raised, sigma_next)
        if sigma_next > 0:
            slope = (x - denoised) / raised
            slope_next = (guess - denoise(guess, sigma_next)) / sigma_next
            x = x + (sigma_next - raised) * (slope + slope_next) / 2
        else:
            x = guess
        yield Step(index, x, denoised, sigma, sigma_next)


def dpm_2(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Iterator[Step]:
    """The midpoint method with the midpoint in ln sigma, order 2 (Lu et al. 2022, DPM-Solver-2)."""
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        if sigma_next > 0:
            middle = math.sqrt(sigma * sigma_next)
            halfway = toward(x, denoised, sigma, middle)
            slope = (halfway - denoise(halfway, middle)) / middle
            x = x + (sigma_next - sigma) * slope
        else:
            x = denoised
        yield Step(index, x, denoised, sigma, sigma_next)


def heun_flow(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Iterator[Step]:
    """Heun's method in flow time t = sigma / (1 + sigma), order 2; Euler in flow time equals `euler`.

    The sample in flow time is x / (1 + sigma) = (1 - t) x0 + t noise, and moves with u = noise - x0.
    """
    for index, sigma, sigma_next in pairs(sigmas):
        time, time_next = sigma / (1 + sigma), sigma_next / (1 + sigma_next)
        flow = x * (1 - time)
        denoised = denoise(x, sigma)
        velocity = (flow - denoised) / time
        guess = flow + (time_next - time) * velocity
        if sigma_next > 0:
            velocity_next = (guess - denoise(guess / (1 - time_next), sigma_next)) / time_next
            guess = flow + (time_next - time) * (velocity + velocity_next) / 2
        x = guess / (1 - time_next)
        yield Step(index, x, denoised, sigma, sigma_next)


def lcm(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Iterator[Step]:
    """Denoise at once, add noise again (Song et al. 2023, "Consistency Models", algorithm 1)."""
    for index, sigma, sigma_next in pairs(sigmas):
        x = denoised = denoise(x, sigma)
        if sigma_next > 0:
            x = denoised + sigma_next * noise(x)
        yield Step(index, x, denoised, sigma, sigma_next)


def _churned(x: Tensor, sigma: float, churn: float, steps: int, noise: Noise) -> tuple[Tensor, float]:
    """Raise the noise for a moment, by at most a factor of sqrt(2) (Karras et al., algorithm 2, lines 5-6)."""
    if not churn:
        return x, sigma
    raised = sigma * (1 + min(churn / steps, math.sqrt(2) - 1))
    return x + noise(x) * math.sqrt(raised**2 - sigma**2), raised


def sampler(name: str) -> Sampler:
    """The sampler of that name. Raises ValueError naming the choices."""
    return choose("sampler", name, SAMPLERS)


SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "euler_ancestral": stochastic.euler_ancestral,
    "heun": heun,
    "dpm_2": dpm_2,
    "dpm_2_ancestral": stochastic.dpm_2_ancestral,
    "ddim": stochastic.ddim,
    "ddpm": stochastic.ddpm,
    "dpmpp_2m": multistep.dpmpp_2m,
    "dpmpp_2m_sde": multistep.dpmpp_2m_sde,
    "dpmpp_sde": stochastic.dpmpp_sde,
    "dpmpp_2s_ancestral": stochastic.dpmpp_2s_ancestral,
    "dpmpp_3m_sde": multistep.dpmpp_3m_sde,
    "lms": multistep.lms,
    "deis": multistep.deis,
    "unipc": multistep.unipc,
    "lcm": lcm,
    "heun_flow": heun_flow,
    "ddpm_fixed_large": partial(stochastic.ddpm, variance="fixed_large"),
    "dpmpp_2m_sde_heun": partial(multistep.dpmpp_2m_sde, heun=True),
    "ddpm_learned_range": partial(stochastic.ddpm, variance="learned_range"),
}
# Those that add noise, with the share eta of it that they take by default.
ETA: dict[str, float] = {
    "euler_ancestral": 1.0,
    "dpm_2_ancestral": 1.0,
    "ddim": 0.0,
    "dpmpp_2m_sde": 1.0,
    "dpmpp_2m_sde_heun": 1.0,
    "dpmpp_sde": 1.0,
    "dpmpp_2s_ancestral": 1.0,
    "dpmpp_3m_sde": 1.0,
}
LEARNED = ("ddpm_learned_range",)  # those that ask the denoiser for the variance of a step
CHURN = ("euler", "heun")  # those that can raise the noise for a moment
assert set(SAMPLERS) == set(get_args(SamplerName))


def invert(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Iterator[Step]:
    """DDIM backwards (Song et al. 2020, section 4.3): from a clean sample up sigmas that increase from above 0.

    Each step takes the estimate at its start for the one at its end, so that coming down again differs by the
    order of the step. The last step's x is the noisy sample; nothing random is added.
    """
    for index, sigma, sigma_next in pairs(sigmas):
        denoised = denoise(x, sigma)
        x = toward(x, denoised, sigma, sigma_next)
        yield Step(index, x, denoised, sigma, sigma_next)
