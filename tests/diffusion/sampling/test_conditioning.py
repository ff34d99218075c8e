"""Conditionings of a batch: each picture follows its own."""

from __future__ import annotations

import pytest
import torch

from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.analytic import digits
from nodegraph.diffusion.sampling.conditioning import stacked
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.values import Condition, Conditioning, Latent, Sigmas


def one(**parts: object) -> Conditioning:
    return Conditioning((Condition(**parts),))  # type: ignore[arg-type]


def test_each_picture_of_a_batch_has_its_own_label() -> None:
    handles = describe("analytic://dataset", None, None)
    live = load(handles.model.checkpoint, None, "cpu")
    wanted = (3, 7, 0, 3)
    sigmas = Sigmas(schedule("karras", handles.model.parametrization, 20))
    each = stacked([one(label=label) for label in wanted])
    for step in sample(live.denoiser, Latent(torch.zeros(4, 1, 8, 8)), sigmas, each, name="heun", seed=2):
        pass
    data = digits()
    nearest = torch.cdist(step.x.flatten(1), data.items.flatten(1)).argmin(1)
    assert tuple(data.labels[nearest].tolist()) == wanted
    for single in sample(
        live.denoiser, Latent(torch.zeros(1, 1, 8, 8)), sigmas, one(label=7), name="heun", seed=3
    ):
        pass
    assert torch.allclose(step.x[1], single.x[0], atol=1e-5)


def test_shorter_texts_are_filled_up() -> None:
    short = one(embedding=torch.ones(1, 2, 3), mask=torch.ones(1, 2, dtype=torch.bool), pooled=torch.ones(1, 3))
    long = one(embedding=torch.ones(1, 4, 3), mask=torch.ones(1, 4, dtype=torch.bool), pooled=torch.ones(1, 3))
    (both,) = stacked([short, long]).conditions
    assert both.embedding is not None
    assert both.mask is not None
    assert both.embedding.shape == (2, 4, 3)
    assert both.mask.tolist() == [[True, True, False, False], [True] * 4]


def test_texts_without_a_mask_are_masked_where_they_are_filled_up() -> None:
    short, long = (one(embedding=torch.ones(1, length, 3)) for length in (2, 4))
    (both,) = stacked([short, long]).conditions
    assert both.mask is not None
    assert both.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert stacked([short, short]).conditions[0].mask is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="in every line, or in none"):
        stacked([one(label=1), one()])
    with pytest.raises(ValueError, match="different text encoders"):
        stacked([one(pooled=torch.ones(1, 3)), one()])
    with pytest.raises(ValueError, match="must be a single one"):
        stacked([Conditioning((Condition(), Condition()))])
    live = load(describe("analytic://dataset", None, None).model.checkpoint, None, "cpu")
    with pytest.raises(ValueError, match="for 2 pictures and the latent is a batch of 3"):
        next(
            sample(
                live.denoiser,
                Latent(torch.zeros(3, 1, 8, 8)),
                Sigmas(torch.tensor([1.0, 0.0])),
                stacked([one(label=1), one(label=2)]),
            )
        )
