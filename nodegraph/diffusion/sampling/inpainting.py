"""Repainting a part of a sample so that it fits the rest: wrappers of denoisers and of samplers.

`known` is a clean latent (N, C, ...) and `mask` (N or 1, 1, ...) is 1 where it is repainted, 0 where it is kept.
Every method gives the known part back exactly; they differ in how well the repainted part fits it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nodegraph.diffusion.sampling.stepping import Denoise, Noise, Sampler, Step, pairs


def blended(denoise: Denoise, known: Tensor, mask: Tensor, noise: Tensor) -> Denoise:
    """Set the kept part to the known latent at its noise before each evaluation, and to itself after.

    The repainted part is not a draw from the exact posterior: at every step it has seen the known part only
    through the noise (Lugmayr et al. 2022, section 4). `noise` is unit noise of the shape of `known`, the same
    at every step.
    """

    def repaint(x: Tensor, sigma: float) -> Tensor:
        mixed = x * mask + (known + sigma * noise) * (1 - mask)
        return denoise(mixed, sigma) * mask + known * (1 - mask)

    return repaint


def kept(denoise: Denoise, known: Tensor, mask: Tensor) -> Denoise:
    """Put the known latent into the kept part of every estimate."""
    return lambda x, sigma: denoise(x, sigma) * mask + known * (1 - mask)


def resampled(walk: Sampler, repeats: int, known: Tensor, mask: Tensor) -> Sampler:
    """RePaint (Lugmayr et al. 2022, algorithm 1): make each step `repeats` times, going back between them.

    The kept part is the known latent under fresh noise after each step. Going back adds the noise that the step
    took away, so that what was repainted meets the known part again. Samplers that remember earlier steps start
    afresh at each one and are of order 1 here.
    """

    def repaint(
        denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, **options: Any
    ) -> Iterator[Step]:
        if "churn" in options:  # meant for all steps, each of which is a walk of its own here
            options["churn"] /= len(sigmas) - 1
        for index, sigma, sigma_next in pairs(sigmas):
            for repeat in range(repeats):
                if repeat:
                    x = x + math.sqrt(sigma**2 - sigma_next**2) * noise(x)
                (step,) = walk(denoise, x, [sigma, sigma_next], noise, **options)
                fresh = known + sigma_next * noise(x) if sigma_next > 0 else known
                x = step.x * mask + fresh * (1 - mask)
                if sigma_next == 0:
                    break
            yield Step(index, x, step.denoised * mask + known * (1 - mask), sigma, sigma_next)

    return repaint


def steered(
    denoise: Denoise, known: Tensor, mask: Tensor, tolerance: float = 0.05, iterations: int = 2
) -> Denoise:
    """Steer by the likelihood of the known part, whose moments the denoiser itself gives.

    Given x, the clean sample has the mean D and the covariance sigma^2 dD/dx (Tweedie). Conditioning this Gaussian
    on the known part k, seen with a standard deviation `tolerance`, moves the mean to
    D + C H^T (H C H^T + tolerance^2)^-1 (k - H D), H picking the kept places (Rozet et al. 2024, "Learning
    diffusion priors from observations", section 4). The system is solved by `iterations` of conjugate gradients,
    each one pass backwards through the network. Exact where the data is Gaussian and the iterations suffice.
    """

    def steer(x: Tensor, sigma: float) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            free = x.clone().requires_grad_()
            clean = denoise(free, sigma)

            def spread(vector: Tensor) -> Tensor:
                (found,) = torch.autograd.grad(clean, free, vector, retain_graph=True)
                return sigma**2 * found

            estimate = clean.detach()
            keep = (1 - mask).expand_as(estimate)
            moved = _solve(spread, keep, keep * (known - estimate), tolerance, iterations)
        return (estimate + moved) * mask + known * (1 - mask)

    return steer


def _solve(spread: Any, keep: Tensor, gap: Tensor, tolerance: float, iterations: int) -> Tensor:
    """C H^T u for the u of (H C H^T + tolerance^2) u = gap, by conjugate gradients, each item on its own."""
    axes = tuple(range(1, gap.ndim))

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(axes, keepdim=True)

    moved = torch.zeros_like(gap)
    residual = direction = gap
    square = dot(residual, residual)
    for _ in range(iterations):
        image = spread(direction)
        seen = keep * image + tolerance**2 * direction
        # A direction along which nothing is uncertain, or nothing is left, moves nothing.
        curvature = dot(direction, seen)
        step = torch.where(curvature > 0, square / torch.where(curvature > 0, curvature, 1.0), 0.0)
        moved = moved + step * image
        residual = residual - step * seen
        next_square = dot(residual, residual)
        direction = residual + next_square / torch.where(square > 0, square, 1.0) * direction
        square = next_square
    return moved


def channels(known: Tensor, mask: Tensor) -> Tensor:
    """What a network that takes them sees beside the noisy latent: the mask, then the latent of what is kept.

    Inpainting checkpoints were trained on the latent of the picture with its masked part grey, so that is `known`.
    """
    return torch.cat([mask.expand(len(known), *mask.shape[1:]), known], 1)
