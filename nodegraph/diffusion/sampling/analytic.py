"""Exact denoisers: distributions so simple that D(x; sigma) is a formula.

They are the oracles that samplers are proven against, and models that run with no weights at all. The data
set's denoiser returns pictures of the data set (it memorises by construction), never evidence of more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Level = float | Tensor  # a sigma, or one for each coordinate, of the shape of x

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Exact(Protocol):
    """A distribution whose denoiser is known. `label` asks for one class where the distribution has some."""

    def denoise(self, x: Tensor, sigma: Level, label: int | None = None) -> Tensor:
        """E[x0 | x0 + sigma * noise = x], of the shape of x (N, ...)."""
        ...


def posterior(
    exact: Exact, x: Tensor, sigma: float, label: int | None, known: Tensor, precision: Tensor
) -> Tensor:
    """E[x0 | x, and `known` seen with a precision (1 / variance) at each coordinate, 0 where it is not seen].

    Two Gaussian observations of a coordinate are one: precisions add, and the mean is weighted by them. So the
    posterior is the denoiser itself at a sigma for each coordinate.
    """
    total = 1 / sigma**2 + precision.expand_as(x)
    return exact.denoise((x / sigma**2 + precision * known) / total, total.rsqrt(), label)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Independent N(mean, variance) in every coordinate; labels shift the mean by `label_shift` each."""

    mean: float = 0.0
    variance: float = 1.0
    label_shift: float = 0.0

    def denoise(self, x: Tensor, sigma: Level, label: int | None = None) -> Tensor:
        """(V x + sigma^2 m) / (V + sigma^2)."""
        mean = self.mean + self.label_shift * (label or 0)
        return (self.variance * x + sigma**2 * mean) / (self.variance + sigma**2)

    def transport(self, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Where the probability-flow ODE carries x: m + (x - m) sqrt((V + s'^2) / (V + s^2))."""
        ratio = math.sqrt((self.variance + sigma_next**2) / (self.variance + sigma**2))
        return self.mean + (x - self.mean) * ratio


@dataclass(frozen=True, eq=False)
class CorrelatedGaussian:
    """N(mean, covariance) over the flattened coordinates of an item: mean (d,), covariance (d, d)."""

    mean: Tensor
    covariance: Tensor

    def denoise(self, x: Tensor, sigma: Level, label: int | None = None) -> Tensor:  # noqa: ARG002
        """m + S (S + sigma^2 I)^-1 (x - m)."""
        mean, covariance = self.mean.to(x), self.covariance.to(x)
        # One sigma serves all items with one system; one for each coordinate makes a system an item.
        variance = sigma.flatten(1) ** 2 if isinstance(sigma, Tensor) else x.new_full((len(mean),), sigma**2)
        flat = (x.flatten(1) - mean)[..., None]
        return (
            mean + (covariance @ torch.linalg.solve(covariance + variance.diag_embed(), flat))[..., 0]
        ).view_as(x)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of Gaussians over flattened items: weights (k,), means (k, d), variances (k,); labels pick one."""

    weights: Tensor
    means: Tensor
    variances: Tensor

    def log_likelihoods(self, x: Tensor, sigma: Level) -> Tensor:
        """log p(x, component) at a sigma, up to a constant: (N, k) for x (N, ...)."""
        total = self.variances.to(x)[:, None] + _per_component(sigma) ** 2
        square = (x.flatten(1)[:, None] - self.means.to(x)) ** 2
        return self.weights.to(x).log() - (square / total + total.log()).sum(-1) / 2

    def responsibilities(self, x: Tensor, sigma: Level) -> Tensor:
        """P(component | x) at a sigma: (N, k) for x (N, ...)."""
        return self.log_likelihoods(x, sigma).softmax(1)

    def log_probability(self, x: Tensor, sigma: float, label: int) -> Tensor:
        """log P(component | x) of the one that a label picks: (N,)."""
        return self.log_likelihoods(x, sigma).log_softmax(1)[:, label % len(self.means)]

    def denoise(self, x: Tensor, sigma: Level, label: int | None = None) -> Tensor:
        """The components' own denoised values, weighted by how likely each made x."""
        means, variances = self.means.to(x), self.variances.to(x)[:, None]
        if label is None:
            weights = self.responsibilities(x, sigma)
        else:
            weights = torch.zeros(len(x), len(means), dtype=x.dtype, device=x.device)
            weights[:, label % len(means)] = 1
        shrink = variances / (variances + _per_component(sigma) ** 2)
        inner = means + shrink * (x.flatten(1)[:, None] - means)
        return (weights[..., None] * inner).sum(1).view_as(x)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The empirical distribution of items (n, ...) with labels (n,): every draw is one of the items."""

    items: Tensor
    labels: Tensor

    def logits(self, x: Tensor, sigma: Level) -> Tensor:
        """-|x - x_i|^2 / 2 sigma^2 for each item: (N, n)."""
        flat, items = x.flatten(1), self.items.flatten(1).to(x)
        if not isinstance(sigma, Tensor):
            return -(torch.cdist(flat, items) ** 2) / (2 * sigma**2)
        precision = 1 / (2 * sigma.flatten(1) ** 2)
        return -(precision @ (items**2).T - 2 * (flat * precision) @ items.T + (flat**2 * precision).sum(1, True))

    def log_probability(self, x: Tensor, sigma: float, label: int) -> Tensor:
        """log P(label | x): (N,)."""
        logits = self.logits(x, sigma)
        return logits[:, self._of(label).to(x.device)].logsumexp(1) - logits.logsumexp(1)

    def denoise(self, x: Tensor, sigma: Level, label: int | None = None) -> Tensor:
        """sum_i softmax_i(-|x - x_i|^2 / 2 sigma^2) x_i, over the items of the label where one is given."""
        chosen = self if label is None else Dataset(self.items[self._of(label)], self.labels[self._of(label)])
        return (chosen.logits(x, sigma).softmax(1) @ chosen.items.flatten(1).to(x)).view_as(x)

    def _of(self, label: int) -> Tensor:
        found = self.labels == label
        if not bool(found.any()):
            raise ValueError(f"no item has the label {label}; labels are {sorted(set(self.labels.tolist()))}")
        return found


@dataclass(frozen=True, eq=False)
class Field:
    """A Gaussian random field on a periodic grid whose power falls with frequency as k^-slope."""

    slope: float = 3.0

    def denoise(self, x: Tensor, sigma: Level, label: int | None = None) -> Tensor:  # noqa: ARG002
        """Wiener's filter: each Fourier coefficient times P / (P + sigma^2). One sigma for all coordinates."""
        if isinstance(sigma, Tensor):
            raise ValueError(
                "a field's posterior given some of its pixels has no short formula; use another method"
            )
        power = self.spectrum(tuple(x.shape[2:])).to(x)
        axes = tuple(range(2, x.ndim))
        return torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * (power / (power + sigma**2)), dim=axes).real

    def spectrum(self, shape: tuple[int, ...]) -> Tensor:
        """The variance of each Fourier coefficient, with mean 1 over the grid."""
        grid = torch.meshgrid(*(torch.fft.fftfreq(side) * side for side in shape), indexing="ij")
        square = sum((axis**2 for axis in grid), torch.zeros(shape))
        power = torch.where(square > 0, square.clamp(min=1) ** (-self.slope / 2), torch.zeros(()))
        return power / power.mean()


def _per_component(sigma: Level) -> Level:
    return sigma.flatten(1)[:, None] if isinstance(sigma, Tensor) else sigma


def digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits: items (n, 1, 8, 8) in [-1, 1].

    Raises ValueError where scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError("the digits come with scikit-learn; install it: pip install scikit-learn") from None
    found = load_digits()
    items = torch.from_numpy(found.images).float()[:, None] / 8 - 1
    return Dataset(items, torch.from_numpy(found.target))
