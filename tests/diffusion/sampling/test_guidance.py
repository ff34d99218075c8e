"""Guidance against the one case that has a closed form, and its exact edges."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from nodegraph.diffusion.proofs.control import guidance_error
from nodegraph.diffusion.sampling.analytic import Gaussian
from nodegraph.diffusion.sampling.guidance import guided, rescaled
from nodegraph.diffusion.values import Condition, Conditioning

POSITIVE, NEGATIVE = Conditioning((Condition(label=1),)), Conditioning((Condition(label=0),))
DATA = Gaussian(mean=0.7, variance=0.25, label_shift=1.0)  # 0.7 without the condition, 1.7 with it
X = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10


class Counting:
    """The exact conditional denoiser, counting evaluations."""

    def __init__(self) -> None:
        self.calls: list[int | None] = []

    def __call__(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        self.calls += [condition.label for condition in conditions]
        return [DATA.denoise(x, sigma, condition.label) for condition in conditions]


def test_guided_flow_of_equal_variances_is_exact() -> None:
    """The guided flow is the flow of N(mu + w (m_c - mu), V): for w = 3 its mean is 3.7."""
    assert guidance_error(3.0) < 1e-4


def test_guidance_far_off_would_be_noticed() -> None:
    """The oracle is not blind: without guidance the same distance is large."""
    sigmas = [10.0, 1.0, 0.02]
    plain = guided(Counting(), POSITIVE, NEGATIVE, 1.0, sigmas)
    assert float((plain(X, 1.0) - guided(Counting(), POSITIVE, NEGATIVE, 3.0, sigmas)(X, 1.0)).abs().max()) > 1


def test_scale_one_is_the_condition_and_evaluates_nothing_else() -> None:
    predict = Counting()
    found = guided(predict, POSITIVE, NEGATIVE, 1.0, [5.0, 0.0])(X, 5.0)
    assert torch.equal(found, DATA.denoise(X, 5.0, 1))
    assert predict.calls == [1]


def test_scale_zero_is_the_negative_bit_for_bit() -> None:
    predict = Counting()
    assert torch.equal(guided(predict, POSITIVE, NEGATIVE, 0.0, [5.0, 0.0])(X, 5.0), DATA.denoise(X, 5.0, 0))
    assert predict.calls == [0]


def test_without_a_negative_there_is_no_guidance() -> None:
    predict = Counting()
    assert torch.equal(guided(predict, POSITIVE, None, 7.0, [5.0, 0.0])(X, 5.0), DATA.denoise(X, 5.0, 1))
    assert predict.calls == [1]


def test_rescale_matches_spreads() -> None:
    estimate, reference = X * 3 + 1, X
    full = rescaled(estimate, reference, 1.0)
    assert torch.allclose(full.std(1), reference.std(1), atol=1e-12)
    assert torch.equal(rescaled(estimate, reference, 0.0), estimate)


def test_regions_and_strengths_average() -> None:
    left = torch.zeros(1, 1, 4)
    left[..., :2] = 1
    both = Conditioning((Condition(label=0, region=left), Condition(label=4, region=1 - left)))
    x = torch.zeros(1, 1, 4)
    found = guided(Counting(), both, None, 1.0, [1e9, 0.0])(x, 1e9)
    assert found.flatten().tolist() == pytest.approx([0.7, 0.7, 4.7, 4.7])
    weighted = Conditioning((Condition(label=0, strength=3.0), Condition(label=4, strength=1.0)))
    found = guided(Counting(), weighted, None, 1.0, [1e9, 0.0])(x, 1e9)
    assert found.flatten().tolist() == pytest.approx([1.7] * 4)


def test_a_lone_condition_keeps_to_its_region() -> None:
    left = torch.zeros(1, 1, 4)
    left[..., :2] = 1
    here = Conditioning((Condition(label=4, region=left),))
    x = torch.zeros(1, 1, 4)
    found = guided(Counting(), here, NEGATIVE, 1.0, [1e9, 0.0])(x, 1e9)
    assert found.flatten().tolist() == pytest.approx([4.7, 4.7, 0.7, 0.7])
    found = guided(Counting(), here, NEGATIVE, 2.0, [1e9, 0.0])(x, 1e9)
    assert found.flatten().tolist() == pytest.approx([8.7, 8.7, 0.7, 0.7])
    soft = Conditioning((Condition(label=4, region=left / 4),))
    found = guided(Counting(), soft, NEGATIVE, 1.0, [1e9, 0.0])(x, 1e9)
    assert found.flatten().tolist() == pytest.approx([1.7, 1.7, 0.7, 0.7])


def test_a_lone_condition_has_its_strength() -> None:
    x = torch.zeros(1, 1, 4)
    for strength, mean in ((0.25, 1.7), (0.5, 2.7), (1.0, 4.7), (3.0, 4.7)):
        weak = Conditioning((Condition(label=4, strength=strength),))
        found = guided(Counting(), weak, NEGATIVE, 1.0, [1e9, 0.0])(x, 1e9)
        assert found.flatten().tolist() == pytest.approx([mean] * 4)


def test_a_weak_condition_without_an_opposite_has_the_whole_say() -> None:
    x = torch.zeros(1, 1, 4)
    weak = Conditioning((Condition(label=4, strength=0.25),))
    found = guided(Counting(), weak, None, 1.0, [1e9, 0.0])(x, 1e9)
    assert found.flatten().tolist() == pytest.approx([4.7] * 4)


def test_a_strong_region_is_no_more_than_whole() -> None:
    left = torch.zeros(1, 1, 4)
    left[..., :2] = 1
    strong = Conditioning((Condition(label=4, strength=3.0, region=left),))
    found = guided(Counting(), strong, NEGATIVE, 1.0, [1e9, 0.0])(torch.zeros(1, 1, 4), 1e9)
    assert found.flatten().tolist() == pytest.approx([4.7, 4.7, 0.7, 0.7])


def test_a_condition_does_not_act_outside_its_steps() -> None:
    sigmas = [8.0, 4.0, 2.0, 1.0, 0.0]
    early = Conditioning((Condition(label=4, end=0.5),))
    predict = Counting()
    denoise = guided(predict, early, NEGATIVE, 3.0, sigmas)
    late = denoise(X, 2.0)
    assert torch.equal(late, DATA.denoise(X, 2.0, 0))
    assert predict.calls == [0]
    with pytest.raises(ValueError, match="nothing guides"):
        guided(Counting(), early, None, 1.0, sigmas)(X, 1.0)


def test_a_negative_that_does_not_act_leaves_the_positive_alone() -> None:
    sigmas = [8.0, 4.0, 2.0, 1.0, 0.0]
    early = Conditioning((Condition(label=0, end=0.5),))
    denoise = guided(Counting(), POSITIVE, early, 3.0, sigmas)
    assert torch.equal(denoise(X, 1.0), DATA.denoise(X, 1.0, 1))
    left = torch.zeros(1, 1, 4)
    left[..., :2] = 1
    x = torch.zeros(1, 1, 4)
    found = guided(Counting(), POSITIVE, Conditioning((Condition(label=0, region=left),)), 3.0, [1e9, 0.0])(x, 1e9)
    assert found.flatten().tolist() == pytest.approx([3.7, 3.7, 1.7, 1.7])


def test_a_place_that_no_region_reaches_is_refused_without_a_negative() -> None:
    left = torch.zeros(1, 1, 4)
    left[..., :2] = 1
    with pytest.raises(ValueError, match="nothing guides a part of the picture"):
        guided(Counting(), Conditioning((Condition(label=1, region=left),)), None, 1.0, [5.0, 0.0])(
            torch.zeros(1, 1, 4), 5.0
        )


def test_the_scale_holds_in_its_window_only() -> None:
    sigmas = [8.0, 4.0, 2.0, 1.0, 0.0]
    predict = Counting()
    denoise = guided(predict, POSITIVE, NEGATIVE, 3.0, sigmas, window=(0.25, 0.75))
    for sigma in sigmas[:-1]:
        denoise(X, sigma)
    assert predict.calls == [1, 1, 0, 1, 0, 1]
    assert torch.equal(denoise(X, 8.0), DATA.denoise(X, 8.0, 1))
    assert torch.equal(denoise(X, 4.0), guided(Counting(), POSITIVE, NEGATIVE, 3.0, sigmas)(X, 4.0))


def test_conditions_act_for_their_share_of_the_schedule() -> None:
    sigmas = [8.0, 4.0, 2.0, 1.0, 0.0]
    switched = Conditioning((Condition(label=0, end=0.5), Condition(label=4, start=0.5)))
    predict = Counting()
    denoise = guided(predict, switched, None, 1.0, sigmas)
    for sigma in sigmas[:-1]:
        denoise(X, sigma)
    assert predict.calls == [0, 0, 4, 4]
