"""Four ways to repaint, against the exact posterior where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.proofs.control import (
    PAIR_MEAN,
    PAIR_VARIANCE,
    REPAINT,
    image_to_image_slope,
    inpainted,
)
from nodegraph.diffusion.sampling.analytic import CorrelatedGaussian, Dataset, Gaussian, Mixture, posterior
from nodegraph.diffusion.sampling.denoisers import denoiser
from nodegraph.diffusion.sampling.inpainting import resampled, steered
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.samplers import euler
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.sampling.stepping import Sampler
from nodegraph.diffusion.values import Condition, Conditioning, Inpainting, Latent, Parametrization, Sigmas

FREE = Parametrization("x0", "continuous", 0.02, 20.0)
METHODS = ("blend", "repaint", "channels", "guided", "exact")


def test_repainting_again_and_again_comes_nearer_to_the_posterior() -> None:
    found = [inpainted("repaint", repeats=repeats) for repeats, _, _ in REPAINT]
    distances = [abs(moments.mean - PAIR_MEAN) for moments in found]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.4
    assert distances[-1] < 0.03
    for moments, (_, mean, variance) in zip(found, REPAINT, strict=True):
        assert moments == pytest.approx((mean, variance), abs=0.01)


def test_churn_is_shared_by_all_steps_when_each_is_made_again() -> None:
    sigmas = [8.0, 4.0, 2.0, 1.0, 0.0]
    blank, mask = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)

    def asked(walk: Sampler) -> list[float]:
        seen: list[float] = []

        def denoise(x: Tensor, sigma: float) -> Tensor:
            seen.append(sigma)
            return x * 0

        for _ in walk(denoise, blank, sigmas, torch.zeros_like, churn=0.8):
            pass
        return seen

    plain = asked(euler)
    assert plain == pytest.approx([1.2 * sigma for sigma in sigmas[:-1]])
    assert (
        asked(resampled(euler, 2, blank, mask)) == [sigma for sigma in plain[:-1] for _ in range(2)] + plain[-1:]
    )


def test_more_steps_do_not_cure_blending() -> None:
    assert all(abs(inpainted("repaint", steps=steps).mean - PAIR_MEAN) > 0.4 for steps in (50, 250))
    assert abs(inpainted("blend", sampler="heun").mean - PAIR_MEAN) > 0.4


@pytest.mark.parametrize("method", ["guided", "exact"])
def test_guided_and_exact_reach_the_posterior(method: str) -> None:
    found = inpainted(method, steps=100, sampler="heun")  # type: ignore[arg-type]
    assert found == pytest.approx((PAIR_MEAN, PAIR_VARIANCE), abs=0.005)


def test_image_to_image_forgets_as_theory_says() -> None:
    assert [image_to_image_slope(s) for s in (0.3, 0.5, 0.8)] == pytest.approx([0.51608, 0.2961, 0.0978], abs=1e-3)


def test_steering_is_the_posterior_of_a_gaussian_with_its_tolerance() -> None:
    """Two of three coordinates are seen, which takes two iterations; each item is solved on its own."""
    root = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    data = CorrelatedGaussian(torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64), root @ root.T)
    x = torch.randn(4, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    known = torch.tensor([[[0.8, -0.4, 0.0]]], dtype=torch.float64)
    mask = torch.tensor([[[0.0, 0.0, 1.0]]], dtype=torch.float64)
    for tolerance in (0.05, 0.5):
        found = steered(data.denoise, known, mask, tolerance)(x, 0.9)
        expected = posterior(data, x, 0.9, None, known, (1 - mask) / tolerance**2)
        assert torch.allclose(found[..., 2], expected[..., 2], atol=1e-9)
        assert torch.equal(found[..., :2], known[..., :2].expand(4, 1, 2))


def test_a_posterior_is_bayes_rule() -> None:
    """One coordinate of two is seen with some noise: against conditioning the joint Gaussian by hand."""
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    mean = torch.tensor([0.2, -0.3], dtype=torch.float64)
    x, sigma, tolerance = torch.tensor([[0.9, 0.1]], dtype=torch.float64), 0.7, 0.3
    known, seen = torch.tensor([[1.4, 0.0]], dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    found = posterior(CorrelatedGaussian(mean, covariance), x, sigma, None, known, seen / tolerance**2)
    # Observations: x of both coordinates, and the known value of the first.
    rows = torch.tensor([[1.0, 0], [0, 1], [1, 0]], dtype=torch.float64)
    noise = torch.diag(torch.tensor([sigma**2, sigma**2, tolerance**2], dtype=torch.float64))
    values = torch.tensor([0.9, 0.1, 1.4], dtype=torch.float64)
    gain = covariance @ rows.T @ torch.linalg.inv(rows @ covariance @ rows.T + noise)
    assert torch.allclose(found[0], mean + gain @ (values - rows @ mean), atol=1e-12)


def test_a_sigma_for_each_coordinate_is_one_sigma_where_they_agree() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    items = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for exact in (
        Gaussian(0.3, 0.4),
        Dataset(items, torch.arange(6) % 2),
        Mixture(torch.tensor([0.4, 0.6]), items[:2], torch.tensor([0.1, 0.2])),
        CorrelatedGaussian(items[0], items.T @ items),
    ):
        assert torch.allclose(exact.denoise(x, torch.full_like(x, 0.8)), exact.denoise(x, 0.8), atol=1e-9), exact


def repainted(method: str, seed: int = 0, steps: int = 12, batch: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    handles = describe("analytic://dataset", None, None)
    live = load(handles.model.checkpoint, None, "cpu")
    from nodegraph.diffusion.sampling.analytic import digits

    known = digits().items[12:14].mean(0, keepdim=True).expand(batch, -1, -1, -1)  # no digit of the data
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    latent = Latent(known, mask, Inpainting(method, repeats=3))  # type: ignore[arg-type]
    sigmas = Sigmas(schedule("karras", FREE, steps))
    nothing = live.text_encoder.encode("", {})
    for step in sample(live.denoiser, latent, sigmas, nothing, name="euler_ancestral", seed=seed):
        pass
    return step.x, known, mask


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_what_is_known(method: str) -> None:
    found, known, mask = repainted(method)
    kept = (mask == 0).expand_as(found)
    assert torch.equal(found[kept], known[kept])
    assert torch.isfinite(found).all()
    assert not torch.equal(found[~kept], known[~kept])


def test_the_exact_posterior_and_the_best_network_with_channels_agree() -> None:
    exact, channels, blend = (repainted(method)[0] for method in ("exact", "channels", "blend"))
    assert torch.allclose(exact, channels, atol=1e-5)
    assert not torch.allclose(exact, blend, atol=1e-2)


def test_the_exact_posterior_of_a_data_set_is_items_that_fit() -> None:
    from nodegraph.diffusion.sampling.analytic import digits

    found, known, mask = repainted("exact", steps=25)
    items = digits().items
    fits = ((items - known[:1]) * (1 - mask)).square().sum((1, 2, 3)).argmin()
    assert torch.allclose(found * mask, items[fits] * mask, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_image_i_of_a_batch_is_the_single_image_of_seed_plus_i(method: str) -> None:
    batch, _, _ = repainted(method, seed=3, batch=3)
    single, _, _ = repainted(method, seed=5, batch=1)
    assert torch.allclose(batch[2], single[0], atol=1e-4)


class Nine:
    """A tiny network of nine input channels, its weights set by hand."""

    extra_channels = 5

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self.seen: list[Tensor] = []

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        assert all(condition.concat is not None for condition in conditions)

        def network(shown: Tensor, scaled: Tensor, time: Tensor) -> Tensor:
            self.seen.append(torch.cat([scaled, shown.expand(len(scaled), -1, -1, -1)], 1))
            return torch.nn.functional.conv2d(self.seen[-1], self.weight)

        channels = [condition.concat for condition in conditions]
        return [
            denoiser(partial(network, own), Parametrization("eps", "scaled_linear", 0.0292, 14.6))(x, sigma)
            for own in channels
            if own is not None
        ]


@pytest.mark.parametrize("channel", range(9))
def test_nine_channels_in_their_order_by_a_one_hot_kernel(channel: int) -> None:
    """Each output copies one input channel: 0-3 the scaled noisy latent, 4 the mask, 5-8 the known latent."""
    weight = torch.zeros(4, 9, 1, 1)
    weight[:, channel] = 1
    model = Nine(weight)
    known = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 5, 5)
    mask[..., 2:] = 1
    sigma = 2.0
    latent = Latent(known, mask, Inpainting("channels"))
    sigmas = Sigmas(torch.tensor([sigma, 0.0]))
    (step,) = sample(model, latent, sigmas, Conditioning((Condition(),)), name="euler", seed=1)
    noise = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(1))
    x = known + sigma * noise
    expected = torch.cat([x / (1 + sigma**2) ** 0.5, mask, known], 1)
    assert torch.allclose(model.seen[0], expected, atol=1e-6)
    repainted = x - sigma * expected[:, channel : channel + 1]
    assert torch.allclose(step.x, repainted * mask + known * (1 - mask), atol=1e-5)


def test_what_a_model_cannot_do_is_refused_with_the_way_out() -> None:
    class Plain:
        def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
            return [x * sigma for _ in conditions]

    known, mask = torch.zeros(1, 4, 5, 5), torch.ones(1, 1, 5, 5)
    sigmas, anything = Sigmas(torch.tensor([2.0, 0.0])), Conditioning((Condition(),))
    for method, words in (("channels", "5 channels .* takes 0"), ("exact", "use the method `guided`")):
        with pytest.raises(ValueError, match=f"(?i){words}"):
            next(sample(Plain(), Latent(known, mask, Inpainting(method)), sigmas, anything))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choose from"):
        Inpainting("blur")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="repeats"):
        Inpainting(repeats=0)
    field = load(describe("analytic://field?size=8", None, None).model.checkpoint, None, "cpu")
    with pytest.raises(ValueError, match="no short formula"):
        next(
            sample(
                field.denoiser,
                Latent(torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8), Inpainting("exact")),
                sigmas,
                anything,
            )
        )
