"""Reading styles: of samples in training by a linear classifier, of finished pictures by a small network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LOOKS = 116


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


def look(image: Tensor) -> Tensor:
    """What the styles of finished pictures (N, 3, H, W) in [0, 1] differ in: (N, 116).

    Textures at three scales, the shares of 64 boxes of colour, and how steep edges are, in 16 shares.
    """
    textures = [statistics(functional.avg_pool2d(image, scale)) for scale in (1, 2, 4)]
    boxes = (image * 3.999).long().clamp(0, 3)
    colours = functional.one_hot(boxes[:, 0] * 16 + boxes[:, 1] * 4 + boxes[:, 2], 64).flatten(1, 2).sum(1)
    grey = image.mean(1)
    steep = (grey.diff(dim=2)[:, 1:].square() + grey.diff(dim=1)[..., 1:].square()).sqrt().flatten(1)
    edges = torch.stack([torch.histc(one, 16, 0.0, 0.6) for one in steep])
    shares = [(part.to(image) / grey[0].numel()).sqrt() for part in (colours, edges)]
    return torch.cat([*textures, *shares], dim=1)


class StyleNetwork(nn.Module):
    """Tells the style of pictures by how they `look`: standardised, and two layers.

    Args:
        styles: how many.
        width: of what is between the layers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, styles: int, width: int = 64) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(LOOKS))
        self.register_buffer("deviation", torch.ones(LOOKS))
        self.inward = nn.Linear(LOOKS, width)
        self.outward = nn.Linear(width, styles)

    def forward(self, looks: Tensor) -> Tensor:
        """How much each style is seen, before a softmax: (N, styles) for what `look` gives, (N, 116)."""
        standard = 4 * torch.tanh((looks - self.mean) / self.deviation / 4)
        scores: Tensor = self.outward(functional.silu(self.inward(standard)))
        return scores
