"""Nodes that show the process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from nodegraph.nodes import theory

from nodegraph import Context
from nodegraph.diffusion.values import Inpainting, Latent
from nodegraph.files import Files

GAUSSIAN = "analytic://gaussian?mean=0.4&variance=0.01&size=8&channels=3"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context("node", files=Files(output=tmp_path))


def test_schedules_are_plotted_and_unknown_ones_refused(context: Context) -> None:
    model = m.LoadModel(context, GAUSSIAN).model
    one, two = (theory.PlotSchedule(model, kinds).tensor for kinds in ("karras", "karras, exponential"))
    assert one.shape == (1, 3, 420, 800)
    assert not torch.equal(one, two)
    with pytest.raises(ValueError, match=r"Did you mean 'karras'\?"):
        theory.PlotSchedule(model, "karas")


def test_the_strip_goes_from_clean_to_noise(context: Context) -> None:
    model, _, vae = m.LoadModel(context, GAUSSIAN)
    clean = Latent(torch.full((1, 3, 8, 8), 0.5))
    strip = theory.NoiseStrip(context, model, vae, clean, count=6).tensor
    assert torch.allclose(strip[0], torch.tensor(0.75))
    spread = strip.std((1, 2, 3)).tolist()
    assert spread == sorted(spread)
    assert spread[-1] > 0.25


def test_the_film_shows_samples_and_estimates(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    sigmas = s.Schedule(model, steps=12)
    film = theory.StepFilm(
        context,
        model,
        vae,
        m.Encode(context, encoder),
        sigmas,
        s.EmptyLatent(vae),
        seed=2,
        frames=5,
        guidance_scale=1,
    ).tensor
    assert film.shape == (10, 3, 8, 8)
    result = s.Sampler(
        context,
        model,
        m.Encode(context, encoder),
        s.EmptyLatent(vae),
        sigmas,
        sampler="euler",
        seed=2,
        guidance_scale=1,
    )
    assert torch.allclose(film[4], (result.tensor[0] + 1) / 2, atol=1e-5)
    assert torch.allclose(film[9], film[4], atol=1e-5)  # the last step is the last estimate
    spread = film[5:].std((1, 2, 3))
    assert float(spread[0]) < float(spread[-1])  # the first estimate is nearly the mean


def test_the_film_shows_what_guidance_adds(context: Context) -> None:
    name = "analytic://gaussian?mean=-0.5&variance=0.01&label_shift=0.5&size=8&channels=3"
    model, encoder, vae = m.LoadModel(context, name)
    film = theory.StepFilm(
        context, model, vae, m.Encode(context, encoder, "2"), s.Schedule(model, steps=12), s.EmptyLatent(vae),
        negative=m.Encode(context, encoder, "0"), frames=4, guidance_scale=2,
    ).tensor  # fmt: skip
    assert film.shape == (12, 3, 8, 8)
    # The two means are 1 apart; the denoised estimates are that far apart in the noise and alike at its end.
    brightness = film[8:].mean((1, 2, 3)).tolist()
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] == pytest.approx(1, abs=1e-3)
    assert brightness[-1] < 0.1


def test_the_film_of_a_repainted_picture_is_what_the_sampler_makes(context: Context) -> None:
    """Watching takes nothing from the model: its exact posterior, which no other denoiser has, is still there."""
    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    known = torch.full((1, 3, 8, 8), -0.5)
    latent = Latent(known, mask, Inpainting("exact"))
    words, sigmas = m.Encode(context, encoder), s.Schedule(model, steps=6)
    film = theory.StepFilm(context, model, vae, words, sigmas, latent, frames=2, guidance_scale=1).tensor
    made = s.Sampler(context, model, words, latent, sigmas, sampler="euler", guidance_scale=1)
    assert torch.allclose(film[1], m.VAEDecode(context, vae, made).tensor[0], atol=1e-6)
    assert torch.allclose(film[1][..., :4], torch.tensor(0.25), atol=1e-6)


def test_convergence_is_measured_and_plotted() -> None:
    one = theory.PlotConvergence("euler, heun", most_steps=40).tensor
    assert one.shape == (1, 3, 420, 800)
    assert not torch.equal(one, theory.PlotConvergence("euler", most_steps=40).tensor)
    with pytest.raises(ValueError, match="adds noise"):
        theory.PlotConvergence("euler_ancestral")
    with pytest.raises(ValueError, match=r"Did you mean 'euler'\?"):
        theory.PlotConvergence("eulr")


def test_variances_are_plotted_beside_the_datas() -> None:
    assert theory.PlotVariance("euler_ancestral").tensor.shape == (1, 3, 420, 800)


def test_a_probe_tells_gaussian_from_uniform() -> None:
    blank = Latent(torch.zeros(1, 1, 200, 200))
    gaussian, uniform = (theory.DistributionProbe(s.Noise(blank, kind, 7)) for kind in ("gaussian", "uniform"))  # type: ignore[arg-type]
    for found in (gaussian, uniform):
        assert found.mean == pytest.approx(0, abs=0.025)
        assert found.variance == pytest.approx(1, abs=0.04)
    assert gaussian.p_value > 0.001
    assert uniform.p_value < 1e-9
    assert gaussian.kurtosis == pytest.approx(3, abs=0.15)
    assert uniform.kurtosis == pytest.approx(1.8, abs=0.05)


def test_the_probes_test_is_the_known_one() -> None:
    from scipy import stats

    from nodegraph.diffusion.pictures.distribution import shape

    values = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 + 0.3
    for mean, deviation in ((0.3, 2.0), (0.0, 2.0), (0.5, 1.5)):
        theirs = stats.kstest(values.numpy(), stats.norm(mean, deviation).cdf, mode="asymp")
        found = shape(values, mean, deviation)
        assert found.distance == pytest.approx(theirs.statistic, abs=1e-12)
        assert found.p_value == pytest.approx(theirs.pvalue, abs=1e-9)


def test_the_likelihood_of_a_gaussian_latent(context: Context) -> None:
    name = "analytic://gaussian?mean=0.7&variance=0.25&size=4&channels=1"
    model, encoder, _ = m.LoadModel(context, name)
    latent = Latent(torch.full((2, 1, 4, 4), 0.3))
    found = theory.LogLikelihood(context, model, m.Encode(context, encoder), latent, steps=60)
    # The density is that of the data under the model's smallest sigma, here N(0.7, 0.25 + 0.02^2).
    assert found.log_p == pytest.approx(-0.5458 * 16, abs=0.05)
    assert found.bits == pytest.approx(0.5458 / 0.6931, abs=0.01)
    assert len(found.lines.splitlines()) == 2
