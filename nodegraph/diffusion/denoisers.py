"""From what a network predicts to the denoiser D(x; sigma), and denoisers made from others.

A network sees x scaled as in its training and a time; samplers see x = x0 + sigma * noise. With a = 1 / (1 +
sigma^2) the variance-preserving sample is sqrt(a) x (Karras et al. 2022, table 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nodegraph.diffusion.schedules import sigma_to_timestep
from nodegraph.diffusion.stepping import Denoise
from nodegraph.diffusion.values import Parametrization, Prediction

Network = Callable[[Tensor, Tensor], Tensor]  # (scaled x (N, ...), time (N,)) to a prediction


def denoiser(network: Network, parametrization: Parametrization) -> Denoise:
    """Wrap a network into D(x; sigma).

    The network's time is the fractional timestep in [0, 999] of a discrete law, flow time sigma / (1 + sigma)
    in (0, 1), or ln(sigma) / 4 of a continuous law.
    """

    def denoise(x: Tensor, sigma: float) -> Tensor:
        time = torch.full((len(x),), network_time(parametrization, sigma), device=x.device, dtype=x.dtype)
        scale = 1 / (1 + sigma) if parametrization.law == "flow" else 1 / math.sqrt(1 + sigma**2)
        return denoised(parametrization.prediction, network(x * scale, time), x, sigma)

    return denoise


def network_time(parametrization: Parametrization, sigma: float) -> float:
    """The time that a network of this parametrization is given for a sigma."""
    if parametrization.law == "flow":
        return sigma / (1 + sigma)
    if parametrization.law == "continuous":
        return math.log(sigma) / 4
    return sigma_to_timestep(parametrization, sigma)


def denoised(prediction: Prediction, output: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The clean estimate that a network's output stands for.

    eps: x - s eps. v = sqrt(a) noise - sqrt(1 - a) x0 (Salimans and Ho 2022). flow: u = noise - x0.
    """
    match prediction:
        case "eps":
            return x - sigma * output
        case "v":
            return x / (1 + sigma**2) - sigma / math.sqrt(1 + sigma**2) * output
        case "flow":
            return (x - sigma * output) / (1 + sigma)
        case "x0":
            return output


def predicted(prediction: Prediction, clean: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The network output that stands for a clean estimate; the inverse of `denoised` for sigma above 0."""
    match prediction:
        case "eps":
            return (x - clean) / sigma
        case "v":
            return (x / (1 + sigma**2) - clean) * math.sqrt(1 + sigma**2) / sigma
        case "flow":
            return (x - (1 + sigma) * clean) / sigma
        case "x0":
            return clean


def masked(denoise: Denoise, known: Tensor, mask: Tensor, noise: Tensor) -> Denoise:
    """Repaint where the mask is 1 and keep `known` where it is 0.

    Before each evaluation the kept part is set to the known latent at that noise, so that the rest is painted
    to fit it; after, the estimate's kept part is the known latent itself. The kept region comes out exactly;
    the repainted one is not a draw from the exact posterior (Lugmayr et al. 2022, section 4).

    Args:
        denoise: the denoiser.
        known: clean latent (N, C, ...).
        mask: (N or 1, 1, ...) in [0, 1].
        noise: unit noise of the shape of `known`, the same at every step.
    """

    def repaint(x: Tensor, sigma: float) -> Tensor:
        mixed = x * mask + (known + sigma * noise) * (1 - mask)
        return denoise(mixed, sigma) * mask + known * (1 - mask)

    return repaint
