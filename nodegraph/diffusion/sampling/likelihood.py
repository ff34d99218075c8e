"""How likely a sample is under a model: the probability-flow ODE changes volume at a known rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from nodegraph.diffusion.sampling.stepping import Denoise

EXACT_UP_TO = 128  # coordinates; above, the divergence is estimated


class Likelihood(NamedTuple):
    """log p in nats of each item so far, float64 (N,), after a share of the path in (0, 1]."""

    log_p: Tensor
    share: float


def log_likelihood(
    denoise: Denoise,
    x: Tensor,
    low: float,
    high: float,
    *,
    steps: int = 40,
    probes: int = 1,
    seed: int = 0,
) -> Iterator[Likelihood]:
    """Carry x up from sigma `low` to `high` and add up the change of volume (Song et al. 2021, eq. 39).

    In u = ln sigma the flow is dx/du = x - D, so log p(x_low) = log N(x_high; D, high^2) + integral of
    (d - tr dD/dx) du; both go by the Runge-Kutta method of order 4. The trace is exact for up to `EXACT_UP_TO`
    coordinates; above, each step averages over `probes` random signs (Hutchinson 1990), fixed by the seed.

    Args:
        denoise: the denoiser, differentiable.
        x: clean samples (N, ...).
        low: the sigma under which the samples are judged: p is the data's density smoothed by it.
        high: so large that the data is nothing beside the noise.
        steps: of the integration, four evaluations each.

    Yields:
        the partial sum after each step; only the last one is the likelihood.
    """
    size = x[0].numel()
    exact = size <= EXACT_UP_TO
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (probes, *x.shape), generator=generator).to(x) * 2 - 1
    start, end = math.log(low), math.log(high)
    width = (end - start) / steps

    def rates(y: Tensor, u: float) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            free = y.clone().requires_grad_()
            clean = denoise(free, math.exp(u))
            if exact:
                trace = _trace(clean, free)
            else:
                parts = [(_pulled(clean, free, sign) * sign).flatten(1).sum(1) for sign in signs]
                trace = torch.stack(parts).mean(0)
        return (y - clean).detach(), (size - trace).detach().double()

    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for step in range(steps):
        u = start + step * width
        x1, v1 = rates(x, u)
        x2, v2 = rates(x + width / 2 * x1, u + width / 2)
        x3, v3 = rates(x + width / 2 * x2, u + width / 2)
        x4, v4 = rates(x + width * x3, u + width)
        x = x + width / 6 * (x1 + 2 * x2 + 2 * x3 + x4)
        total = total + width / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        if step == steps - 1:
            # Seen from far away the data is one point, and the denoiser knows where.
            square = (x - denoise(x, high)).double().flatten(1).square().sum(1)
            total = total - square / (2 * high**2) - size / 2 * math.log(2 * math.pi * high**2)
        yield Likelihood(total, (step + 1) / steps)


def _trace(clean: Tensor, free: Tensor) -> Tensor:
    flat = clean.flatten(1)
    units = torch.eye(flat.shape[1]).to(flat)
    rows = [_pulled(clean, free, unit.expand_as(flat).view_as(clean)).flatten(1) for unit in units]
    return torch.stack([row[:, index] for index, row in enumerate(rows)]).sum(0)


def _pulled(clean: Tensor, free: Tensor, vector: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(clean, free, vector, retain_graph=True)
    return found
