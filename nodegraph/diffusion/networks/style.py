"""Reading the style of a sample: a linear classifier over simple statistics, fitted in closed form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def statistics(x: Tensor) -> Tensor:
    """What tells styles apart whatever is drawn: (N, 4 C) from x (N, C, H, W).

    Each channel's mean, deviation, and the root mean square of its horizontal and vertical differences, the
    lowest-order texture statistics (Gatys et al. 2016 compare such averages of deeper features).
    """
    across, down = x.diff(dim=3), x.diff(dim=2)
    energies = [part.square().mean((2, 3)).add(1e-6).sqrt() for part in (across, down)]
    return torch.cat([x.mean((2, 3)), x.var((2, 3), correction=0).add(1e-6).sqrt(), *energies], dim=1)


class StyleReader:
    """Reads styles off statistics, by ridge regression onto one-hot styles; differentiable in the sample.

    Args:
        x: samples (N, C, H, W) to fit to.
        style: their styles (N,), -1 where there is none.
        count: number of styles.
        ridge: penalty on the weights of the standardised statistics, as a share of the samples.
    """

    def __init__(self, x: Tensor, style: Tensor, count: int, ridge: float = 1e-3) -> None:
        known = style >= 0
        features = statistics(x[known]).double()
        self.mean = features.mean(0).to(x)
        self.deviation = features.std(0).clamp(min=1e-4).to(x)
        inputs = self._inputs(x[known]).double()
        targets = functional.one_hot(style[known], count).double() * 2 - 1
        penalty = ridge * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64, device=x.device)
        self.weights = torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets).to(x)

    def scores(self, x: Tensor) -> Tensor:
        """How much each style is read: (N, styles); the largest is the one."""
        return self._inputs(x) @ self.weights.to(x)

    def error(self, x: Tensor, style: Tensor) -> Tensor:
        """Cross-entropy (N,) of the asked styles; 0 where none is asked."""
        errors = functional.cross_entropy(4 * self.scores(x), style.clamp(min=0), reduction="none")
        return errors * (style >= 0)

    def _inputs(self, x: Tensor) -> Tensor:
        # Bounded, so that one wild estimate early in training cannot drown the rest.
        standard = 6 * torch.tanh((statistics(x) - self.mean.to(x)) / self.deviation.to(x) / 6)
        return functional.pad(standard, (0, 1), value=1.0)
