"""What is trained for: targets that invert, weights by their definitions, losses that reach their floor."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nodegraph.diffusion.proofs.probing import BestVariance
from nodegraph.diffusion.sampling.analytic import Gaussian
from nodegraph.diffusion.sampling.denoisers import denoised
from nodegraph.diffusion.sampling.stepping import posterior_deviations
from nodegraph.diffusion.training.objectives import Levels, Objective, Target, alphas, variance_bound
from nodegraph.diffusion.training.trainer import Settings, Trainer

VARIANCE = 0.25
# The least possible eps-loss for N(m, V) at signal share a: a V / (a V + 1 - a), with V = 1/4.
FLOORS = {0.99: 0.961165, 0.5: 0.2, 0.05: 0.012987}
TARGETS: tuple[Target, ...] = ("eps", "v", "flow")


def levels_at(a: float, count: int) -> Levels:
    """Variance-preserving levels, all at signal share a."""
    index = int((alphas() - a).abs().argmin())
    level = torch.full((count,), index / 1000)
    share = alphas()[index]
    return Levels(level, share.sqrt().expand(count).float(), (1 - share).sqrt().expand(count).float())


def drawn(objective: Objective, generator: torch.Generator) -> Levels:
    """Some levels, in float64, without the ends where a division would lose digits."""
    some = objective.draw(256, generator)
    keep = (some.alpha > 0.05) & (some.sigma > 0.05)
    return Levels(some.time[keep].double(), some.alpha[keep].double(), some.sigma[keep].double())


@pytest.mark.parametrize("prediction", TARGETS)
def test_the_estimate_of_a_perfect_prediction_is_the_clean_sample(prediction: Target) -> None:
    """And it is the one that the sampler's own conversion gives."""
    objective = Objective(prediction)
    generator = torch.Generator().manual_seed(0)
    levels = drawn(objective, generator)
    clean, noise = torch.randn(2, len(levels.time), 3, generator=generator).double()
    noisy = levels.alpha[:, None] * clean + levels.sigma[:, None] * noise
    target = objective.target(clean, noise, levels)
    assert torch.allclose(objective.estimate(target, noisy, levels), clean, atol=1e-3)
    sigma = float(levels.sigma[0] / levels.alpha[0])
    assert torch.allclose(
        denoised(prediction, target[:1], clean[:1] + sigma * noise[:1], sigma), clean[:1], atol=1e-3
    )


@pytest.mark.parametrize("prediction", TARGETS)
def test_min_snr_weighs_errors_of_the_clean_estimate_by_the_capped_ratio(prediction: Target) -> None:
    objective = Objective(prediction, min_snr=5.0)
    generator = torch.Generator().manual_seed(0)
    levels = drawn(objective, generator)
    noisy, prediction_error = torch.randn(2, len(levels.time), 1, generator=generator).double()
    shift = objective.estimate(noisy + prediction_error, noisy, levels) - objective.estimate(noisy, noisy, levels)
    expected = levels.snr.clamp(max=5.0) * shift[:, 0].square()
    assert torch.allclose(objective.weight(levels) * prediction_error[:, 0].square(), expected, rtol=1e-3)


@pytest.mark.parametrize("a", FLOORS)
def test_the_exact_predictor_reaches_the_floor_of_the_eps_loss(a: float) -> None:
    """E[n | x_t] for N(m, V) is sqrt(1 - a) (x_t - sqrt(a) m) / (a V + 1 - a)."""
    mean, count = 0.7, 200_000
    levels = levels_at(a, count)
    share = float(levels.alpha[0] ** 2)
    floor = share * VARIANCE / (share * VARIANCE + 1 - share)
    assert floor == pytest.approx(FLOORS[a], abs=0.005)
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(count, generator=generator) for _ in range(2))
    clean = mean + math.sqrt(VARIANCE) * clean
    noisy = levels.alpha * clean + levels.sigma * noise
    best = levels.sigma * (noisy - levels.alpha * mean) / (share * VARIANCE + 1 - share)
    errors = (best - Objective("eps").target(clean, noise, levels)).square()
    assert float(errors.mean()) == pytest.approx(floor, abs=4 * float(errors.std()) / math.sqrt(count))


class Scalar(nn.Module):
    """Predicts noise for single numbers, and more where asked."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        widths = nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, outputs)
        self.layers = nn.Sequential(*widths)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        angle = time[:, None] * math.pi / 2
        features = [x, x * angle.cos(), x * angle.sin(), angle.cos(), angle.sin()]
        return self.layers(torch.cat(features, dim=1))


def test_training_approaches_the_floor_and_never_goes_below() -> None:
    """The oracle of a training: the loss of what it learnt, at three sigmas, on samples it never saw."""
    generator = torch.Generator().manual_seed(0)
    clean = 0.3 + math.sqrt(VARIANCE) * torch.randn(20_000, 1, generator=generator)
    objective = Objective("eps")
    torch.manual_seed(0)

    def losses(network: nn.Module, indices: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
        return objective.loss(network, clean[indices], draw)

    trainer = Trainer(Scalar(), losses, len(clean), Settings(700, 512, 3e-3, 0.99))
    while trainer.done < trainer.settings.steps:
        trainer.advance()
    count = 100_000
    fresh, noise = (torch.randn(count, 1, generator=generator) for _ in range(2))
    fresh = 0.3 + math.sqrt(VARIANCE) * fresh
    for a in FLOORS:
        levels = levels_at(a, count)
        share = float(levels.alpha[0] ** 2)
        floor = share * VARIANCE / (share * VARIANCE + 1 - share)
        noisy = levels.alpha[:, None] * fresh + levels.sigma[:, None] * noise
        with torch.no_grad():
            errors = (trainer.result(noisy, levels.time) - noise).square()
        uncertain = 4 * float(errors.std()) / math.sqrt(count)
        assert floor - uncertain < float(errors.mean()) < floor * 1.03 + 0.005 + uncertain, a


def test_the_variance_that_is_learned_is_the_best_one() -> None:
    """That of the posterior and what is unknown of x0; and the noise is predicted as without it."""
    generator = torch.Generator().manual_seed(0)
    data = Gaussian(0.3, VARIANCE)
    clean = data.mean + math.sqrt(VARIANCE) * torch.randn(20_000, 1, generator=generator)
    objective = Objective("eps", variance=1.0)
    torch.manual_seed(0)

    def losses(network: nn.Module, indices: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
        return objective.loss(network, clean[indices], draw)

    trainer = Trainer(Scalar(2), losses, len(clean), Settings(1200, 512, 3e-3, 0.99))
    while trainer.done < trainer.settings.steps:
        parts = trainer.advance()
    assert set(parts) == {"diffusion", "variance", "total"}
    sigmas = ((1 - alphas()) / alphas()).sqrt().tolist()
    for index in (50, 100, 300, 600):
        sigma, sigma_next = sigmas[index], sigmas[index - 20]
        x = data.mean + math.sqrt(VARIANCE + sigma**2) * torch.randn(200, 1, generator=generator)
        with torch.no_grad():
            output = trainer.result(x / math.sqrt(1 + sigma**2), torch.full((200,), index / 1000))
        assert float((denoised("eps", output[:, :1], x, sigma) - data.denoise(x, sigma)).abs().mean()) < 0.06
        least, most = posterior_deviations(sigma, sigma_next)
        off = (output[:, 1:] - BestVariance(data).placed(x, sigma, sigma_next)) * math.log(most / least)
        assert float(off.abs().mean()) < 0.05, index  # in the logarithm of the variance
        if index <= 100:  # the lower bound itself would be far off
            assert float((-1 - BestVariance(data).placed(x, sigma, sigma_next)[0]) * math.log(most / least)) < -0.3


def test_the_bound_is_least_where_the_variance_is_the_best() -> None:
    """And is 0 for the known posterior with no error at all; the last step, which adds no noise, has none."""
    later, earlier, error = torch.full((4,), 600), torch.full((4,), 500), torch.zeros(4, 1)
    ones = torch.ones(4, 1)
    assert torch.allclose(variance_bound(-ones, error, later, earlier), torch.zeros(4), atol=1e-6)
    assert float(variance_bound(ones, error, later, earlier)[0]) > 1e-2
    assert variance_bound(ones, error + 9, later, later).tolist() == [0.0] * 4
    sigmas = ((1 - alphas()) / alphas()).sqrt().tolist()
    data, sigma, sigma_next = Gaussian(0.0, VARIANCE), sigmas[600], sigmas[500]
    spread = torch.full((4, 1), math.sqrt(VARIANCE * sigma**2 / (VARIANCE + sigma**2)))
    best = float(BestVariance(data).placed(torch.zeros(1), sigma, sigma_next))
    bounds = {
        shift: float(variance_bound(best + shift * ones, spread, later, earlier)[0]) for shift in (-0.2, 0, 0.2)
    }
    assert bounds[0] < min(bounds[-0.2], bounds[0.2])


def test_the_three_parts_sum_to_the_total_and_none_is_there_without_a_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(16, 2, generator=generator)
    network = nn.Linear(2, 2)

    def parts_of(objective: Objective) -> dict[str, float]:
        def losses(module: nn.Module, indices: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
            chosen = clean[indices]
            return objective.loss(lambda x, _: module(x), chosen, draw, lambda estimate: estimate.square().mean(1))

        return Trainer(network, losses, 16, Settings(1, 16)).advance()

    parts = parts_of(Objective("v", diffusion=0.7, reconstruction=0.5, style=0.3))
    assert set(parts) == {"diffusion", "reconstruction", "style", "total"}
    assert parts["diffusion"] + parts["reconstruction"] + parts["style"] == pytest.approx(parts["total"], abs=1e-6)
    assert min(parts.values()) > 0
    doubled = parts_of(Objective("v", diffusion=1.4, reconstruction=0.5, style=0.3))
    assert doubled["diffusion"] == pytest.approx(2 * parts["diffusion"], rel=0.05)
    assert set(parts_of(Objective("v"))) == {"diffusion", "total"}


def test_losses_that_teach_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="teaches nothing"):
        Objective(diffusion=0)
    with pytest.raises(ValueError, match="not negative"):
        Objective(min_snr=-1)
    with pytest.raises(ValueError, match="a flow has no steps of DDPM"):
        Objective(variance=1)
    with pytest.raises(ValueError, match="two styles"):
        Objective(style=1).loss(lambda x, t: x, torch.zeros(2, 1), torch.Generator())


@pytest.mark.parametrize("prediction", TARGETS)
def test_how_noise_levels_are_drawn_can_be_chosen(prediction: Target) -> None:
    """Uniform times have a variance of 1/12; the logit of a logit-normal one is a unit Gaussian."""
    uniform, middle, usual = (
        Objective(prediction, times=times).draw(20_000, torch.Generator().manual_seed(0)).time.double()
        for times in ("uniform", "logit_normal", "usual")
    )
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(uniform.var()) == pytest.approx(1 / 12, abs=0.003)
    logit = torch.logit(middle.clamp(1e-3, 1 - 1e-3))
    assert float(logit.mean()) == pytest.approx(0, abs=0.03)
    assert float(logit.var()) == pytest.approx(1, abs=0.05)
    assert torch.equal(usual, middle if prediction == "flow" else uniform)
