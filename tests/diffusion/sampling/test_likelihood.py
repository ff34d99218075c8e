"""Likelihoods against densities that are known."""

from __future__ import annotations

import math

import pytest
import torch

from nodegraph.diffusion.proofs.process import LIKELIHOOD, likelihood
from nodegraph.diffusion.sampling.analytic import CorrelatedGaussian, Gaussian, Mixture
from nodegraph.diffusion.sampling.likelihood import EXACT_UP_TO, log_likelihood


def test_a_gaussians_density() -> None:
    assert likelihood() == pytest.approx(LIKELIHOOD, abs=5e-6)


def test_a_mixtures_and_a_correlated_gaussians_density() -> None:
    x = torch.tensor([[-0.8], [0.2], [1.1]], dtype=torch.float64)
    two = Mixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0], [1.0]]), torch.tensor([0.04, 0.09]))
    *_, found = log_likelihood(two.denoise, x, 1e-3, 1e3, steps=400)
    parts = [
        weight / math.sqrt(2 * math.pi * v) * torch.exp(-((x[:, 0] - m) ** 2) / (2 * v))
        for weight, m, v in ((0.3, -1.0, 0.04), (0.7, 1.0, 0.09))
    ]
    assert torch.allclose(found.log_p, sum(parts, torch.zeros(3)).log(), atol=1e-3)
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64)
    y = torch.tensor([[0.4, -0.1]], dtype=torch.float64)
    *_, found = log_likelihood(
        CorrelatedGaussian(torch.zeros(2).double(), covariance).denoise, y, 1e-3, 1e3, steps=200
    )
    exact = torch.distributions.MultivariateNormal(torch.zeros(2).double(), covariance).log_prob(y)
    assert torch.allclose(found.log_p, exact, atol=1e-3)


def test_the_estimated_trace_of_a_large_gaussian_is_exact() -> None:
    """Independent coordinates: every random sign vector gives the trace itself."""
    x = torch.full((2, 1, EXACT_UP_TO + 1), 0.3, dtype=torch.float64)
    *_, found = log_likelihood(Gaussian(0.7, 0.25).denoise, x, 1e-3, 1e3, steps=200)
    assert found.log_p.tolist() == pytest.approx([LIKELIHOOD * (EXACT_UP_TO + 1)] * 2, abs=5e-3)
    assert found.share == 1
