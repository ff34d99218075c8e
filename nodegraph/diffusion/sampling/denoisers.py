"""From what a network predicts to the denoiser D(x; sigma), and denoisers made from others.

A network sees x scaled as in its training and a time; samplers see x = x0 + sigma * noise. With a = 1 / (1 +
sigma^2) the variance-preserving sample is sqrt(a) x (Karras et al. 2022, table 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nodegraph.diffusion.sampling.schedules import sigma_to_timestep, timestep_to_sigma
from nodegraph.diffusion.sampling.stepping import Denoise
from nodegraph.diffusion.values import Parametrization, Prediction

Network = Callable[[Tensor, Tensor], Tensor]  # (scaled x (N, ...), time (N,)) to a prediction


def denoiser(network: Network, parametrization: Parametrization) -> Denoise:
    """Wrap a network into D(x; sigma).

    The network's time is the fractional timestep in [0, 999] of a discrete law, flow time sigma / (1 + sigma)
    in (0, 1), or ln(sigma) / 4 of a continuous law.
    """

    def denoise(x: Tensor, sigma: float) -> Tensor:
        time = torch.full((len(x),), network_time(parametrization, sigma), device=x.device, dtype=x.dtype)
        scaled = x * input_scale(parametrization, sigma)
        return denoised(parametrization.prediction, network(scaled, time), x, sigma)

    return denoise


def input_scale(parametrization: Parametrization, sigma: float) -> float:
    """What x is multiplied by before a network sees it."""
    return 1 / (1 + sigma) if parametrization.law == "flow" else 1 / math.sqrt(1 + sigma**2)


def network_time(parametrization: Parametrization, sigma: float) -> float:
    """The time that a network of this parametrization is given for a sigma."""
    if parametrization.law == "flow":
        return sigma / (1 + sigma)
    if parametrization.law == "continuous":
        return math.log(sigma) / 4
    return sigma_to_timestep(parametrization, sigma)


def time_to_sigma(parametrization: Parametrization, time: float) -> float:
    """The inverse of `network_time`."""
    if parametrization.law == "flow":
        return time / (1 - time)
    if parametrization.law == "continuous":
        return math.exp(4 * time)
    return float(timestep_to_sigma(parametrization, np.array([time]))[0])


def denoised(prediction: Prediction, output: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The clean estimate that a network's output stands for.

    eps: x - s eps. v = sqrt(a) noise - sqrt(1 - a) x0 (Salimans and Ho 2022). flow: u = noise - x0.
    """
    match prediction:
        case "eps":
            return torch.sub(x, output, alpha=sigma)
        case "v":
            return torch.sub(x / (1 + sigma**2), output, alpha=sigma / math.sqrt(1 + sigma**2))
        case "flow":
            return torch.sub(x, output, alpha=sigma) / (1 + sigma)
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
