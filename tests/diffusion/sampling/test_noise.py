"""Noise: unit variance of every kind, the batch rule, the same on every dtype."""

from __future__ import annotations

import pytest
import torch

from nodegraph.diffusion.sampling.noise import NoiseSource, unit_noise


@pytest.mark.parametrize("kind", ["gaussian", "uniform", "pyramid"])
def test_every_kind_has_mean_zero_and_variance_one(kind: str) -> None:
    noise = unit_noise(torch.zeros(8, 4, 128, 128), 0, kind)  # type: ignore[arg-type]
    assert abs(float(noise.mean())) < (0.02 if kind != "pyramid" else 0.3)
    assert float(noise.var()) == pytest.approx(1, abs=0.02 if kind != "pyramid" else 0.15)


def test_gaussian_moments_within_five_standard_errors() -> None:
    draws = unit_noise(torch.zeros(1, 1_000_000), 7)
    assert abs(float(draws.mean())) < 5e-3
    assert abs(float(draws.var()) - 1) < 5 * 2**0.5 * 1e-3
    assert abs(float((draws**4).mean()) - 3) < 5 * 96**0.5 * 1e-3


def test_uniform_stays_within_its_bounds() -> None:
    assert float(unit_noise(torch.zeros(1, 10_000), 0, "uniform").abs().max()) <= 3**0.5


def test_item_i_uses_seed_plus_i_also_in_later_draws() -> None:
    like = torch.zeros(3, 2, 4)
    batch = NoiseSource(10, 3)
    first, second = batch(like), batch(like)
    assert not torch.equal(first, second)
    for item in range(3):
        single = NoiseSource(10 + item, 1)
        assert torch.equal(single(like[:1])[0], first[item])
        assert torch.equal(single(like[:1])[0], second[item])


def test_a_seed_means_the_same_noise_in_every_dtype() -> None:
    like = torch.zeros(2, 3)
    assert torch.equal(unit_noise(like, 3).double(), unit_noise(like.double(), 3))
    assert torch.equal(unit_noise(like, 3).half(), unit_noise(like.half(), 3))


def test_the_largest_seed_still_has_a_batch() -> None:
    assert torch.isfinite(unit_noise(torch.zeros(3, 2), 2**63 - 1)).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="batch of 2"):
        NoiseSource(0, 2)(torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"Did you mean 'gaussian'\?"):
        unit_noise(torch.zeros(1, 2), 0, "gausian")  # type: ignore[arg-type]


def test_brownian_noise_falls_with_the_square_of_frequency() -> None:
    noise = unit_noise(torch.zeros(200, 1, 32, 32), 0, "brownian")
    assert float(noise.var()) == pytest.approx(1, abs=0.1)
    power = torch.fft.fft2(noise).abs().square().mean((0, 1))
    assert float(power[0, 2] / power[0, 8]) == pytest.approx(16, rel=0.3)
    assert float(power[4, 0] / power[0, 4]) == pytest.approx(1, rel=0.3)
    assert float(power[0, 0]) > 0  # no item is centred by force
    for shape in ((2, 1, 7), (2, 3, 4, 6, 5), (1, 1, 1)):
        assert torch.isfinite(unit_noise(torch.zeros(shape), 1, "brownian")).all()
