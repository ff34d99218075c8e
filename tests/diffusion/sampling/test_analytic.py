"""Exact denoisers against numerical integration and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.analytic import CorrelatedGaussian, Dataset, Field, Gaussian, Mixture, digits
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.noise import unit_noise
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.sampling.stepping import Step
from nodegraph.diffusion.values import Latent, Sigmas

X = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]


def test_a_mixture_is_what_integration_gives() -> None:
    mixture = Mixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0], [1.0]]), torch.tensor([0.04, 0.09]))
    grid = np.linspace(-6, 6, 200_001)
    prior = sum(
        w * np.exp(-((grid - m) ** 2) / (2 * v)) / np.sqrt(v) for w, m, v in ((0.3, -1, 0.04), (0.7, 1, 0.09))
    )
    for sigma in (0.2, 1.5):
        for x, found in zip(X[:, 0].tolist(), mixture.denoise(X, sigma)[:, 0].tolist(), strict=True):
            weight = prior * np.exp(-((x - grid) ** 2) / (2 * sigma**2))
            assert found == pytest.approx(float((weight * grid).sum() / weight.sum()), abs=1e-7)


def test_a_mixture_of_one_is_a_gaussian_and_labels_pick_components() -> None:
    one = Mixture(torch.tensor([1.0]), torch.tensor([[0.7]]), torch.tensor([0.25]))
    assert torch.allclose(one.denoise(X, 1.3), Gaussian(0.7, 0.25).denoise(X, 1.3), atol=1e-7)
    two = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[-1.0], [1.0]]), torch.tensor([0.1, 0.2]))
    assert torch.allclose(two.denoise(X, 1.3, 1), Gaussian(1.0, 0.2).denoise(X, 1.3), atol=1e-7)


def test_a_correlated_gaussian_reduces_to_independent_ones() -> None:
    mean = torch.tensor([0.5, -0.5], dtype=torch.float64)
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = CorrelatedGaussian(mean, 0.25 * torch.eye(2, dtype=torch.float64)).denoise(x, 0.8)
    expected = torch.stack(
        [Gaussian(0.5, 0.25).denoise(x[:, 0], 0.8), Gaussian(-0.5, 0.25).denoise(x[:, 1], 0.8)], 1
    )
    assert torch.allclose(found, expected)


def test_a_data_set_is_a_mixture_without_width() -> None:
    items = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.3, 0.3]])
    data = Dataset(items, torch.tensor([0, 1, 1]))
    mixture = Mixture(torch.ones(3) / 3, items, torch.full((3,), 1e-12))
    x = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(data.denoise(x, 0.5), mixture.denoise(x, 0.5), atol=1e-6)
    assert torch.allclose(data.denoise(x, 0.01, 0), items[0].double().expand(6, 2))
    with pytest.raises(ValueError, match="labels are"):
        data.denoise(x, 1.0, 7)


def test_a_field_is_filtered_by_its_spectrum() -> None:
    field = Field(3.0)
    power = field.spectrum((16, 16))
    assert float(power.mean()) == pytest.approx(1)
    assert float(power[0, 0]) == 0
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(16) / 16).expand(1, 1, 16, 16).double()
    gain = float(power[0, 3] / (power[0, 3] + 0.7**2))
    assert torch.allclose(field.denoise(wave, 0.7), gain * wave, atol=1e-6)


def test_sampling_digits_lands_on_digits_of_the_asked_class() -> None:
    handles = describe("analytic://dataset", None, None)
    live = load(handles.model.checkpoint, None, "cpu")
    data = digits()
    sigmas = Sigmas(schedule("karras", handles.model.parametrization, 25))
    for word, label in (("three", 3), ("7", 7)):
        positive = live.text_encoder.encode(f"the digit {word}", {})
        step: Step | None = None
        for step in sample(live.denoiser, Latent(torch.zeros(8, 1, 8, 8)), sigmas, positive, name="heun", seed=1):
            pass
        assert step is not None
        distances, nearest = torch.cdist(step.x.flatten(1), data.items.flatten(1)).min(1)
        assert float(distances.max()) < 1e-3
        assert data.labels[nearest].tolist() == [label] * 8


def test_the_field_keeps_its_spectrum_through_sampling() -> None:
    handles = describe("analytic://field?size=32&slope=2", None, None)
    live = load(handles.model.checkpoint, None, "cpu")
    sigmas = Sigmas(schedule("karras", handles.model.parametrization, 60))
    nothing = live.text_encoder.encode("", {})
    for step in sample(live.denoiser, Latent(torch.zeros(64, 3, 32, 32)), sigmas, nothing, name="dpmpp_2m"):
        pass
    power = (torch.fft.fft2(step.x, norm="ortho").abs() ** 2).mean((0, 1))
    expected = Field(2.0).spectrum((32, 32))
    ratio = (power / expected)[1:16, 1:16]
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("analytic://gausian", "Did you mean 'gaussian'?"),
        ("analytic://gaussian?men=1", "Did you mean 'mean'?"),
        ("analytic://gaussian?mean=x", "must be a number"),
        ("analytic://gaussian?size=99999", "size is from 1 to 1024"),
        ("analytic://gaussian?variance=-1", "variance must be above 0"),
        ("https://example.org/model", "only analytic://"),
    ],
)
def test_a_name_that_makes_no_sense_is_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError) as refusal:
        describe(name, None, None)
    assert words in str(refusal.value)


def test_handles_say_what_is_known_without_loading() -> None:
    model, encoder, vae = describe("analytic://gaussian?size=16&channels=3", None, None)
    assert (vae.latent_channels, vae.downscale, vae.size) == (3, 1, 16)
    assert model.checkpoint == encoder.checkpoint == vae.checkpoint
    assert model.checkpoint.family == "analytic"


def test_noise_is_ready_for_latents_of_any_rank() -> None:
    for shape in ((2, 1, 5), (2, 1, 5, 4), (2, 1, 3, 4, 5)):
        assert unit_noise(torch.zeros(shape), 1).shape == shape
