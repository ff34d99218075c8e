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


class Exact(Protocol):
    """A distribution whose denoiser is known. `label` asks for one class where the distribution has some."""

    def denoise(self, x: Tensor, sigma: float, label: int | None = None) -> Tensor:
        """E[x0 | x0 + sigma * noise = x], of the shape of x (N, ...)."""
        ...


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Independent N(mean, variance) in every coordinate; labels shift the mean by `label_shift` each."""

    mean: float = 0.0
    variance: float = 1.0
    label_shift: float = 0.0

    def denoise(self, x: Tensor, sigma: float, label: int | None = None) -> Tensor:
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

    def denoise(self, x: Tensor, sigma: float, label: int | None = None) -> Tensor:  # noqa: ARG002
        """m + S (S + sigma^2 I)^-1 (x - m)."""
        flat = x.flatten(1) - self.mean
        noisy = self.covariance + sigma**2 * torch.eye(len(self.mean), dtype=x.dtype, device=x.device)
        return (self.mean + torch.linalg.solve(noisy, flat.T).T @ self.covariance).view_as(x)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of Gaussians over flattened items: weights (k,), means (k, d), variances (k,); labels pick one."""

    weights: Tensor
    means: Tensor
    variances: Tensor

    def responsibilities(self, x: Tensor, sigma: float) -> Tensor:
        """P(component | x) at a sigma: (N, k) for x (N, ...)."""
        flat = x.flatten(1)
        total = self.variances.to(x) + sigma**2
        square = torch.cdist(flat, self.means.to(x)) ** 2
        logits = self.weights.to(x).log() - square / (2 * total) - flat.shape[1] / 2 * total.log()
        return logits.softmax(1)

    def denoise(self, x: Tensor, sigma: float, label: int | None = None) -> Tensor:
        """The components' own denoised values, weighted by how likely each made x."""
        flat = x.flatten(1)
        means, variances = self.means.to(x), self.variances.to(x)
        if label is None:
            weights = self.responsibilities(x, sigma)
        else:
            weights = torch.zeros(len(x), len(means), dtype=x.dtype, device=x.device)
            weights[:, label % len(means)] = 1
        shrink = variances / (variances + sigma**2)
        inner = means[None] + shrink[None, :, None] * (flat[:, None] - means[None])
        return (weights[..., None] * inner).sum(1).view_as(x)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The empirical distribution of items (n, ...) with labels (n,): every draw is one of the items."""

    items: Tensor
    labels: Tensor

    def denoise(self, x: Tensor, sigma: float, label: int | None = None) -> Tensor:
        """sum_i softmax_i(-|x - x_i|^2 / 2 sigma^2) x_i, over the items of the label where one is given."""
        items = self.items if label is None else self.items[self.labels == label]
        if not len(items):
            raise ValueError(f"no item has the label {label}; labels are {sorted(set(self.labels.tolist()))}")
        flat = items.flatten(1).to(x)
        square = torch.cdist(x.flatten(1), flat) ** 2
        return ((-square / (2 * sigma**2)).softmax(1) @ flat).view_as(x)


@dataclass(frozen=True, eq=False)
class Field:
    """A Gaussian random field on a periodic grid whose power falls with frequency as k^-slope."""

    slope: float = 3.0

    def denoise(self, x: Tensor, sigma: float, label: int | None = None) -> Tensor:  # noqa: ARG002
        """Wiener's filter: each Fourier coefficient times P / (P + sigma^2)."""
        power = self.spectrum(tuple(x.shape[2:])).to(x)
        axes = tuple(range(2, x.ndim))
        return torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * (power / (power + sigma**2)), dim=axes).real

    def spectrum(self, shape: tuple[int, ...]) -> Tensor:
        """The variance of each Fourier coefficient, with mean 1 over the grid."""
        grid = torch.meshgrid(*(torch.fft.fftfreq(side) * side for side in shape), indexing="ij")
        square = sum((axis**2 for axis in grid), torch.zeros(shape))
        power = torch.where(square > 0, square.clamp(min=1) ** (-self.slope / 2), torch.zeros(()))
        return power / power.mean()


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
