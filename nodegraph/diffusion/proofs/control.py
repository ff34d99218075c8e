"""Closed forms for what steers a sampler: guidance, inpainting, image to image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from nodegraph.diffusion.proofs.probing import Finding, Moments, last, levels, no_noise, probed
from nodegraph.diffusion.sampling import analytic, inpainting
from nodegraph.diffusion.sampling.analytic import CorrelatedGaussian, Gaussian, Mixture
from nodegraph.diffusion.sampling.guidance import guided, progress_of, rescaled
from nodegraph.diffusion.sampling.guiders import Run, wrapped
from nodegraph.diffusion.sampling.samplers import SAMPLERS
from nodegraph.diffusion.sampling.schedules import schedule, sigma_table
from nodegraph.diffusion.sampling.stepping import Noise, Step
from nodegraph.diffusion.values import (
    ClassifierTerm,
    Condition,
    Conditioning,
    Guidance,
    InpaintMethod,
    Parametrization,
    PerturbedAttention,
)

DATA = Gaussian(mean=0.7, variance=0.25)
# Two coordinates of unit variance with a correlation of 0.9; the first is seen to be 1.5.
PAIR = CorrelatedGaussian(
    torch.zeros(2, dtype=torch.float64), torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64)
)
SEEN, PAIR_MEAN, PAIR_VARIANCE = 1.5, 1.35, 0.19
# RePaint over 50 timesteps: repeats, then mean and variance of what is repainted; blending is 1 repeat.
REPAINT = ((1, 0.909, 0.280), (5, 1.262, 0.142), (20, 1.326, 0.109))
# Image to image: strength, and how much of a change of the input survives in the output.
SLOPES = ((0.3, 0.51608), (0.5, 0.29610), (0.8, 0.09780))


class _Labelled:
    """An exact distribution as a model: what networks offer, without one."""

    def __init__(self, exact: analytic.Mixture | analytic.Gaussian, worse: Gaussian = DATA) -> None:
        self.exact, self.worse = exact, worse
        self.attention_blocks, self.usual_blocks = 1, (0,)

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        labels = [c.label if isinstance(c.label, int) else None for c in conditions]
        return [self.exact.denoise(x, sigma, label) for label in labels]

    def predict_perturbed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition], blocks: Sequence[int]
    ) -> list[Tensor]:
        return [self.worse.denoise(x, sigma) for _ in conditions for _ in blocks]

    def log_probability(self, x: Tensor, sigma: float, label: int) -> Tensor:
        assert isinstance(self.exact, Mixture)
        return self.exact.log_probability(x, sigma, label)


def _start(device: str, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device) * 10


def guidance_error(scale: float = 3.0, device: str = "cpu") -> float:
    """Largest distance from the guided flow of two Gaussians of one variance: that of N(mu + w (m_c - mu), V)."""
    model = _Labelled(Gaussian(DATA.mean, DATA.variance, label_shift=1.0))
    sigmas, x = levels(400, 10, 0.02), _start(device, 64, 2)
    sides = Conditioning((Condition(label=1),)), Conditioning((Condition(label=0),))
    end = last(SAMPLERS["heun"](guided(model.predict, *sides, scale, sigmas), x, sigmas, no_noise)).x
    exact = Gaussian(DATA.mean + scale, DATA.variance).transport(x, sigmas[0], sigmas[-1])
    return float((end - exact).abs().max())


def classifier_error(device: str = "cpu") -> float:
    """Largest distance of classifier guidance at scale 1 from the class's own denoiser, over a range of sigmas."""
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.3, 2.0]])
    model = _Labelled(Mixture(torch.tensor([0.2, 0.5, 0.3]), means, torch.tensor([0.04, 0.09, 0.3])))
    anything = Conditioning((Condition(),))
    run = Run(model, model.predict, anything, progress_of([10.0, 0.0]))
    guidance = Guidance((ClassifierTerm(1, 1.0),))
    plain = guided(model.predict, anything, None, 1.0, [10.0, 0.0])
    x = _start(device, 32, 2) / 5
    errors = [
        wrapped(plain, guidance, run)(x, sigma) - model.exact.denoise(x, sigma, 1)
        for sigma in (0.1, 0.5, 2.0, 8.0)
    ]
    return float(torch.stack(errors).abs().max())


def perturbed_error(scale: float = 2.0, device: str = "cpu") -> float:
    """Largest distance from the closed flow, where the perturbed model is a Gaussian of variance W > V.

    d(x - m)/d sigma is then linear: x - m goes as (V + s^2)^((1 + scale) / 2) (W + s^2)^(-scale / 2).
    """
    wide = Gaussian(DATA.mean, 1.0)
    model = _Labelled(DATA, wide)
    sigmas, x = levels(400, 10, 0.02), _start(device, 64, 2)
    anything = Conditioning((Condition(),))
    run = Run(model, model.predict, anything, progress_of(sigmas))
    plain = guided(model.predict, anything, None, 1.0, sigmas)
    denoise = wrapped(plain, Guidance((PerturbedAttention(scale, (0,)),)), run)
    end = last(SAMPLERS["heun"](denoise, x, sigmas, no_noise)).x

    def gain(variance: float) -> float:
        return (variance + sigmas[-1] ** 2) / (variance + sigmas[0] ** 2)

    ratio = gain(DATA.variance) ** ((1 + scale) / 2) * gain(wide.variance) ** (-scale / 2)
    return float((end - DATA.mean - (x - DATA.mean) * ratio).abs().max())


def rescale_error(device: str = "cpu") -> float:
    """Largest difference of spreads after a full rescale."""
    x = _start(device, 4, 64)
    return float((rescaled(3 * x + 1, x.flip(1) * 0.5, 1.0).std(1) - (x * 0.5).std(1)).abs().max())


def inpainted(
    method: InpaintMethod, steps: int = 50, repeats: int = 1, sampler: str = "ddpm", device: str = "cpu"
) -> Moments:
    """Exact mean and variance of the repainted coordinate of `PAIR`, over timesteps of the linear law."""
    places = np.round(np.linspace(999, 0, steps)).astype(int)
    sigmas = [*sigma_table(Parametrization("eps", "linear", 0.01, 1.0))[places].tolist(), 0.0]
    mask = torch.tensor([[[0.0, 1.0]]], dtype=torch.float64, device=device)
    known = torch.tensor([[[SEEN, 0.0]]], dtype=torch.float64, device=device)
    walk = SAMPLERS[sampler]

    def run(x: Tensor, noise: Noise) -> Iterator[Step]:
        match method:
            case "repaint":
                again = inpainting.resampled(walk, repeats, known, mask)
                return again(PAIR.denoise, x, sigmas, noise)
            case "blend":
                denoise = inpainting.blended(PAIR.denoise, known, mask, noise(x))
            case "guided":
                denoise = inpainting.steered(PAIR.denoise, known, mask, tolerance=1e-3, iterations=1)
            case _:
                precision = (1 - mask) * 1e6
                denoise = inpainting.kept(
                    lambda y, sigma: analytic.posterior(PAIR, y, sigma, None, known, precision), known, mask
                )
        return walk(denoise, x, sigmas, noise)

    return probed(run, torch.full((2,), math.sqrt(1 + sigmas[0] ** 2), dtype=torch.float64, device=device))


def image_to_image_slope(strength: float, device: str = "cpu") -> float:
    """How much of a change of the input survives, at a strength over the 1,000 timesteps of scaled_linear."""
    ends = sigma_table(Parametrization("eps", "scaled_linear", 0.01, 1.0))
    p = Parametrization("eps", "scaled_linear", float(ends[0]), float(ends[-1]))
    sigmas: list[float] = schedule("simple", p, 1000, strength).tolist()
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64, device=device)
    noisy = x + sigmas[0] * torch.full_like(x, 0.3)
    end = last(SAMPLERS["dpmpp_2m"](DATA.denoise, noisy, sigmas, no_noise)).x
    return float(end[1] - end[0])


def findings(device: str = "cpu") -> Iterator[Finding]:
    """Everything of this module."""
    yield Finding.at_most("classifier-free guidance at scale 3: largest error", guidance_error(3.0, device), 1e-4)
    yield Finding.at_most("classifier guidance = the class's denoiser", classifier_error(device), 1e-12)
    yield Finding.at_most("perturbed guidance: distance from its flow", perturbed_error(2.0, device), 1e-3)
    yield Finding.at_most("rescaled guidance: difference of spreads", rescale_error(device), 1e-12)
    for repeats, mean, variance in REPAINT:
        found = inpainted("repaint", repeats=repeats, device=device)
        what = f"inpainting, repaint {repeats}: "
        yield Finding.near(f"{what}mean (exact {PAIR_MEAN})", found.mean, mean, 0.01)
        yield Finding.near(f"{what}variance (exact {PAIR_VARIANCE})", found.variance, variance, 0.01)
    for method in ("guided", "exact"):
        found = inpainted(method, steps=100, sampler="heun", device=device)
        yield Finding.near(f"inpainting, {method}: mean", found.mean, PAIR_MEAN, 0.01)
        yield Finding.near(f"inpainting, {method}: variance", found.variance, PAIR_VARIANCE, 0.01)
    for strength, slope in SLOPES:
        found_slope = image_to_image_slope(strength, device)
        yield Finding.near(f"image to image, strength {strength}: slope in the input", found_slope, slope, 1e-3)
