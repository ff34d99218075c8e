"""The variance of DDPM's steps as a network has learned it (Nichol and Dhariwal 2021), beside guidance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nodegraph.diffusion.live import LearnsVariance, LiveDenoiser
from nodegraph.diffusion.sampling.guidance import Progress, acts
from nodegraph.diffusion.sampling.stepping import Denoise
from nodegraph.diffusion.values import Condition, Conditioning


class Placed:
    """A conditional denoiser that keeps where its last estimates' variances lay. Raises ValueError for others."""

    def __init__(self, model: LiveDenoiser) -> None:
        if not isinstance(model, LearnsVariance) or not model.learned_variance:
            raise ValueError(
                "this model has not learned the variance of its steps, which ddpm_learned_range takes from it; "
                "use ddpm or ddpm_fixed_large, or train one with a weight for `variance` in DiffusionLoss"
            )
        self._model = model
        self._place: tuple[Tensor, float] | None = None
        self._known: dict[Condition, Tensor] = {}

    def __call__(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        estimates, placed = self._model.predict_placed(x, sigma, conditions)
        if self._place is None or self._place[0] is not x or self._place[1] != sigma:
            self._place, self._known = (x, sigma), {}
        self._known.update(zip(conditions, placed, strict=True))
        return estimates

    def mean(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> Tensor:
        """Where the variance lies on average under these conditions; of all that were asked, where these are none.

        Evaluated where that was not done for this x and sigma.
        """
        here = self._place is not None and self._place[0] is x and self._place[1] == sigma
        if not here or any(condition not in self._known for condition in conditions):
            self(x, sigma, conditions)
        return torch.stack([self._known[condition] for condition in conditions or self._known]).mean(0)


@dataclass(frozen=True, eq=False)
class Uncertain:
    """A guided denoiser whose variance is that of the positive conditions, as in Peebles and Xie (2022)."""

    denoise: Denoise
    known: Placed
    positive: Conditioning
    progress: Progress

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """D(x; sigma)."""
        return self.denoise(x, sigma)

    def placed(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:  # noqa: ARG002
        """Where the step's variance lies; a network says it without being told how long the step is."""
        share = self.progress(sigma)
        conditions = [c for c in self.positive.conditions if acts(c.start, c.end, share)]
        return self.known.mean(x, sigma, conditions)
