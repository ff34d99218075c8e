"""Samplers as their papers print them, in the papers' own variables; the oracles hold ours against these.

Written on scaled samples y = sqrt(a) x0 + sqrt(1 - a) noise with a = alpha-bar, and sharing no step with
`samplers`: an identity between two names of one function would prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from nodegraph.diffusion.sampling.stepping import Denoise, Noise


def ddim(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float) -> Tensor:
    """Song et al. (2020), "Denoising Diffusion Implicit Models", equations 12 and 16."""
    alphas = [1 / (1 + sigma**2) for sigma in sigmas]
    y = x * math.sqrt(alphas[0])
    for sigma, a, a_next in zip(sigmas, alphas, alphas[1:], strict=False):
        clean = denoise(y / math.sqrt(a), sigma)
        eps = (y - math.sqrt(a) * clean) / math.sqrt(1 - a)
        spread = eta * math.sqrt((1 - a_next) / (1 - a)) * math.sqrt(1 - a / a_next)
        y = math.sqrt(a_next) * clean + math.sqrt(max(0.0, 1 - a_next - spread**2)) * eps
        if spread:
            y = y + spread * noise(y)
    return y / math.sqrt(alphas[-1])


def ddpm(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, large: bool) -> Tensor:
    """Ho et al. (2020), "Denoising Diffusion Probabilistic Models", algorithm 2 with its two variances.

    mean = (y - beta / sqrt(1 - a) eps) / sqrt(1 - beta), with beta = 1 - a / a' between neighbouring sigmas.
    """
    alphas = [1 / (1 + sigma**2) for sigma in sigmas]
    y = x * math.sqrt(alphas[0])
    for sigma, a, a_next in zip(sigmas, alphas, alphas[1:], strict=False):
        beta = 1 - a / a_next
        eps = (y - math.sqrt(a) * denoise(y / math.sqrt(a), sigma)) / math.sqrt(1 - a)
        y = (y - beta / math.sqrt(1 - a) * eps) / math.sqrt(1 - beta)
        variance = beta if large else beta * (1 - a_next) / (1 - a)
        if a_next < 1:
            y = y + math.sqrt(variance) * noise(y)
    return y / math.sqrt(alphas[-1])
