"""Training loops as iterators of steps: the caller decides when to report, preview, save and stop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodegraph.diffusion.networks.autoencoder import Autoencoder


@dataclass(frozen=True)
class TrainingStep:
    """What one optimiser step did."""

    index: int
    loss: float
    seen: int  # pictures so far


class Average:
    """An exponential moving average of a network's weights, warmed up so that early weights are forgotten."""

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the network; `step` counts from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged: list[Tensor] = list(self.network.parameters())
        current: list[Tensor] = list(network.parameters())
        torch._foreach_mul_(averaged, decay)
        torch._foreach_add_(averaged, current, alpha=1 - decay)


def flow_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    clean: Tensor,
    generator: torch.Generator,
    shift: float = 1.0,
    spread: float = 1.0,
) -> Tensor:
    """The flow-matching loss with logit-normal times.

    x_t = (1 - t) clean + t noise; the network predicts u = noise - clean. Lipman et al., "Flow Matching for
    Generative Modeling" (2022), eq. 23; times and their shift as in Esser et al. (2024), section 3.1 and eq. 23.

    Args:
        predict: from x_t (N, ...) and t (N,) to a prediction of u.
        clean: the clean samples (N, ...).
        generator: draws times and noise on the CPU.
        shift: above 1, noisier times are drawn more often: t becomes shift t / (1 + (shift - 1) t).
        spread: deviation of the logit of t.
    """
    logit = spread * torch.randn(len(clean), generator=generator) + math.log(shift)
    time = torch.sigmoid(logit).to(clean.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    wide = time.view(-1, *[1] * (clean.ndim - 1))
    return functional.mse_loss(predict((1 - wide) * clean + wide * noise, time).float(), noise - clean)


def autoencoder_parts(
    model: Autoencoder, image: Tensor, generator: torch.Generator, kl_weight: float = 1e-4
) -> dict[str, Tensor]:
    """The loss of a VAE in two parts that sum to it.

    `reconstruction` is absolute plus four times squared error, `divergence` the weighted Kullback-Leibler term.
    """
    mean, log_variance = model.posterior(image)
    noise = torch.randn(mean.shape, generator=generator).to(mean)
    output = model.reconstruct(mean + noise * (0.5 * log_variance).exp()).float()
    kl = 0.5 * (mean.float() ** 2 + log_variance.exp().float() - 1 - log_variance.float()).mean()
    return {
        "reconstruction": functional.l1_loss(output, image) + 4 * functional.mse_loss(output, image),
        "divergence": kl_weight * kl,
    }


def autoencoder_loss(
    model: Autoencoder, image: Tensor, generator: torch.Generator, kl_weight: float = 1e-4
) -> Tensor:
    """The sum of `autoencoder_parts`."""
    return torch.stack(list(autoencoder_parts(model, image, generator, kl_weight).values())).sum()


def optimise(
    parameters: list[nn.Parameter],
    loss: Callable[[int], tuple[Tensor, int]],
    optimiser: torch.optim.Optimizer,
    rate: Callable[[int], float],
    *,
    start: int = 0,
    seen: int = 0,
    clip: float = 1.0,
) -> Iterator[TrainingStep]:
    """Take optimiser steps for ever.

    Args:
        parameters: what is trained; its gradient's norm is clipped to `clip`.
        loss: gives the loss of step i and the number of pictures in it.
        optimiser: over the parameters.
        rate: the learning rate of step i.
        start: index of the first step, where training is resumed.
        seen: pictures seen before it.
    """
    index = start
    while True:
        for group in optimiser.param_groups:
            group["lr"] = rate(index)
        optimiser.zero_grad(set_to_none=True)
        value, count = loss(index)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()
        seen += count
        yield TrainingStep(index, float(value.detach()), seen)
        index += 1


def warm_up_then_decay(share: float, step: int, peak: float, warm_up: int = 300) -> float:
    """A learning rate: linear warm-up over steps, then half a cosine down over the share [0, 1] of time."""
    return peak * min(1.0, (step + 1) / warm_up) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))
