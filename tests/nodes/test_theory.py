"""Nodes that show the process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from nodegraph.nodes import theory

from nodegraph import Context
from nodegraph.diffusion.values import Latent
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
