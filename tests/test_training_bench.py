"""The benchmark of faster training measures what it says: the same time for each, a distance that is one."""

from __future__ import annotations

import sys
import time

import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))

from training import (  # type: ignore[import-not-found]
    DIGITS,
    Found,
    frechet,
    in_latents,
    on_digits,
    parts_of,
    row,
)

from nodegraph.diffusion.training.datasets import digits


def test_the_distance_of_two_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4000, 3, generator=generator)
    scale, shift = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([1.0, 0.0, -2.0])
    # |m|^2 + sum (1 - s)^2, for covariances that commute
    assert frechet(a, a * scale + shift) == pytest.approx(5 + 1 + 0.25, rel=0.1)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_what_is_held_out_is_never_trained_on() -> None:
    data = digits()
    known, fresh = parts_of(data, 3)
    assert len(known.captions) + len(fresh.captions) == len(data.captions)
    together = torch.cat([known.pictures, fresh.pictures]).flatten(1).long().sum(1).sort().values
    assert torch.equal(together, data.pictures.flatten(1).long().sum(1).sort().values)
    assert known.captions[5] == data.classes[int(known.labels[5])]
    assert not torch.equal(parts_of(data, 4)[1].pictures, fresh.pictures)


def test_a_row_says_how_the_loss_compares() -> None:
    plain = [Found(100, 0.5, 3.0), Found(110, 0.4, 2.0)]
    found = [Found(200, 0.25, 1.5), Found(200, 0.4, 1.0)]
    assert row("better", found, plain) == "| better | 200 | 0.3250 | 0.750 (0.500 to 1.000) | 1.25 |"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_trainings_get_the_time_that_they_are_given() -> None:
    began = time.process_time()
    plain = on_digits(DIGITS[0], 5.0, 0)
    assert time.process_time() - began < 60
    assert plain.steps > 5
    assert 0 < plain.loss < 1.5
    assert plain.distance > 0
    anew, cached = in_latents(False, 8.0, 0), in_latents(True, 8.0, 0)
    assert cached.steps > anew.steps
