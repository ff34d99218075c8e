"""What a diffusion network is trained for: sigmas, targets, weights, and a loss of weighted parts.

A clean sample x0 becomes alpha x0 + sigma n, with alpha^2 + sigma^2 = 1 for the predictions `eps` and `v` and
alpha + sigma = 1 for `flow`. The signal-to-noise ratio is (alpha / sigma)^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.sampling.schedules import TIMESTEPS, betas
from nodegraph.diffusion.sampling.stepping import posterior_deviations
from nodegraph.diffusion.values import Parametrization

Target = Literal["eps", "v", "flow"]
Times = Literal["usual", "uniform", "logit_normal"]
NOISIEST = 80.0  # the largest sigma that samplers start at
LONGEST = 100.0  # timesteps in a step whose variance is learned
# The weighted parts of a loss by name; they sum to the loss.
Parts = dict[str, Tensor]
# From noisy samples (N, ...) and times (N,) in [0, 1] to predictions (N, ...).
Predict = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Levels:
    """Noise levels of a batch, each (N,): the network's time in [0, 1], alpha and sigma."""

    time: Tensor
    alpha: Tensor
    sigma: Tensor

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratios."""
        return (self.alpha / self.sigma).square()

    @property
    def signal(self) -> Tensor:
        """The share of the noisy sample's variance that is signal, in [0, 1]: snr / (snr + 1)."""
        return self.alpha.square() / (self.alpha.square() + self.sigma.square())


@dataclass(frozen=True)
class Objective:
    """What a training minimises: what is predicted, how sigmas weigh, and weighted parts.

    Args:
        prediction: noise, velocity (Salimans and Ho 2022) or flow (Lipman et al. 2022).
        min_snr: the gamma of min-SNR weighting (Hang et al. 2023): errors of the clean estimate weigh
            min(snr, gamma). 0 weighs all errors of the prediction alike.
        diffusion, reconstruction, style: weights of three parts of the loss.
        variance: weight of the part that teaches the variance of a step (Nichol and Dhariwal 2021, section 3.1); 0
            learns none. The network then has twice the channels. Their bound is taken over steps of 1 to 100
            timesteps, as samplers make them: over a single one the variance hardly matters, and so is not learned.
            Not for `flow`, which has no steps of DDPM.
        times: how sigmas are drawn: `uniform` in time, or `logit_normal`, which draws those in the middle
            more often, where most is left to learn (Esser et al. 2024, section 3.1). `usual` is logit-normal for
            `flow` and uniform for the others.
    """

    prediction: Target = "flow"
    min_snr: float = 0.0
    diffusion: float = 1.0
    reconstruction: float = 0.0
    style: float = 0.0
    variance: float = 0.0
    times: Times = "usual"

    def __post_init__(self) -> None:
        if min(self.min_snr, self.diffusion, self.reconstruction, self.style, self.variance) < 0:
            raise ValueError("weights of a loss are not negative")
        if self.variance and self.prediction == "flow":
            raise ValueError("a flow has no steps of DDPM whose variance could be learned; predict eps or v")
        if self.diffusion + self.reconstruction + self.style == 0:
            raise ValueError("a loss without any part teaches nothing; give one of its parts a weight")

    @property
    def parametrization(self) -> Parametrization:
        """How a network trained so is sampled."""
        if self.prediction == "flow":
            return Parametrization("flow", "flow", 0.005, NOISIEST)
        return Parametrization(self.prediction, "cosine", 0.01, NOISIEST)

    def draw(self, count: int, generator: torch.Generator) -> Levels:
        """What stands for the sigmas to train on: times of the flow, or timesteps of the cosine law."""
        if self.prediction == "flow":
            time = _middle(count, generator) if self.times != "uniform" else torch.rand(count, generator=generator)
            time = time.clamp(1e-6, 1 - 1e-6)
            return Levels(time, 1 - time, time)
        if self.times == "logit_normal":
            index = (_middle(count, generator) * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
        else:
            index = torch.randint(TIMESTEPS, (count,), generator=generator)
        a = alphas()[index]
        return Levels(index / TIMESTEPS, a.sqrt().float(), (1 - a).sqrt().float())

    def target(self, clean: Tensor, noise: Tensor, levels: Levels) -> Tensor:
        """What the network should predict."""
        if self.prediction == "eps":
            return noise
        if self.prediction == "flow":
            return noise - clean
        return _wide(levels.alpha, clean) * noise - _wide(levels.sigma, clean) * clean

    def estimate(self, prediction: Tensor, noisy: Tensor, levels: Levels) -> Tensor:
        """The clean sample that a prediction stands for."""
        alpha, sigma = _wide(levels.alpha, noisy), _wide(levels.sigma, noisy)
        if self.prediction == "eps":
            return (noisy - sigma * prediction) / alpha
        if self.prediction == "flow":
            return noisy - sigma * prediction
        return alpha * noisy - sigma * prediction

    def weight(self, levels: Levels) -> Tensor:
        """The weight (N,) of the prediction's squared error at each level."""
        if not self.min_snr:
            return torch.ones_like(levels.time)
        snr = levels.snr
        clipped = snr.clamp(max=self.min_snr)
        if self.prediction == "eps":
            return clipped / snr
        if self.prediction == "flow":
            return clipped * levels.sigma.square()
        return clipped / (snr + 1)

    def loss(
        self,
        predict: Predict,
        clean: Tensor,
        generator: torch.Generator,
        style_error: Callable[[Tensor], Tensor] | None = None,
    ) -> Parts:
        """The weighted parts of the loss of a batch; only parts with a weight are there.

        Args:
            predict: the network.
            clean: (N, ...).
            generator: draws levels and noise, on the CPU.
            style_error: from clean estimates (N, ...) to how badly each one's style is read (N,).

        Returns:
            `diffusion`: mean weight * (prediction - target)^2. `reconstruction`: mean absolute error of the clean
            estimate, and `style`: its style error, both weighted by the share of signal, since at high noise the
            best estimate is a blur that no part should punish. `variance`: see `variance_bound`.
        """
        levels = self.draw(len(clean), generator)
        levels = Levels(*(part.to(clean.device) for part in (levels.time, levels.alpha, levels.sigma)))
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        noisy = _wide(levels.alpha, clean) * clean + _wide(levels.sigma, clean) * noise
        prediction = predict(noisy, levels.time).float()
        parts: Parts = {}
        prediction, placed = prediction.chunk(2, 1) if self.variance else (prediction, None)
        if self.diffusion:
            errors = functional.mse_loss(prediction, self.target(clean, noise, levels), reduction="none")
            parts["diffusion"] = self.diffusion * (self.weight(levels) * errors.flatten(1).mean(1)).mean()
        if self.reconstruction or self.style:
            estimate = self.estimate(prediction, noisy, levels)
            if self.reconstruction:
                distance = (estimate - clean).abs().flatten(1).mean(1)
                parts["reconstruction"] = self.reconstruction * (levels.signal * distance).mean()
            if self.style:
                if style_error is None:
                    raise ValueError("a style loss needs a data set with two styles or more")
                parts["style"] = self.style * (levels.signal * style_error(estimate)).mean()
        if placed is not None:
            error = self.estimate(prediction.detach(), noisy, levels) - clean
            later = (levels.time.cpu().double() * TIMESTEPS).round().long()
            length = (LONGEST ** torch.rand(len(later), generator=generator)).long()
            bound = variance_bound(placed, error, later, (later - length).clamp(min=0))
            parts["variance"] = self.variance * bound.mean()
        return parts


def variance_bound(placed: Tensor, error: Tensor, later: Tensor, earlier: Tensor) -> Tensor:
    """How far a reverse step of DDPM is from the true one, in nats: (N,).

    The Kullback-Leibler divergence L_(t-1) of Ho et al. (2020), eq. 5, as a function of the variance alone: the
    error of the mean is taken as it is. A step that goes nowhere, or from above what samplers start at, gives 0.

    Args:
        placed: where the network puts the logarithm of the variance, -1 at its lower bound and 1 at its upper one.
        error: of the clean estimate, of the shape of `placed`.
        later, earlier: (N,) on the CPU, the timesteps of the cosine law between which the steps go.
    """
    sigmas = ((1 - alphas()) / alphas()).sqrt()
    before, after = sigmas[later], sigmas[earlier]
    moves = (later > earlier) & (before <= NOISIEST)
    steps = zip(before.tolist(), torch.where(moves, after, before / 2).tolist(), strict=True)
    bounds = torch.tensor([posterior_deviations(*step) for step in steps], dtype=torch.float64)
    least, most = bounds.log().mul(2).float().to(error).unbind(1)
    gain = (1 - (after / before).square()).float().to(error)
    low, high = _wide(least, error), _wide(most, error)
    logarithm = low + (placed + 1) / 2 * (high - low)
    moved = (_wide(gain, error) * error).square()
    nats = (logarithm - low + (low - logarithm).exp() + moved * (-logarithm).exp() - 1) / 2
    return torch.where(moves.to(error.device), nats.flatten(1).mean(1), 0.0)


def alphas() -> Tensor:
    """The shares of signal a of the 1,000 timesteps of the cosine law, float64, decreasing."""
    return torch.from_numpy(np.cumprod(1 - betas("cosine")))


def _middle(count: int, generator: torch.Generator) -> Tensor:
    """Logit-normal times (N,) in (0, 1)."""
    return torch.sigmoid(torch.randn(count, generator=generator))


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
