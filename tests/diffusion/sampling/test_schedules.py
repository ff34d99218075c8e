"""Schedules: the known ends of each law, formulas, strict decrease, strength."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nodegraph.diffusion.sampling.schedules import (
    SCHEDULES,
    betas,
    schedule,
    sigma_table,
    sigma_to_timestep,
    timestep_to_sigma,
    with_zero_terminal_snr,
    zero_terminal_snr,
)
from nodegraph.diffusion.values import Law, Parametrization

STABLE = Parametrization("eps", "scaled_linear", 0.0291672, 14.6146)
FLOW = Parametrization("flow", "flow", 0.005, 80.0)
PURE = Parametrization("flow", "flow", 0.001, 1e6, shift=3.0)  # from pure noise
FREE = Parametrization("x0", "continuous", 0.02, 20.0)


@pytest.mark.parametrize(
    ("law", "last_alpha", "high", "low"),
    [
        ("linear", 4.0358e-5, 157.407, 0.0100005),
        ("scaled_linear", 4.660099e-3, 14.6146, 0.0291672),
        ("cosine", 2.43e-9, 20291, 0.00642541),
    ],
)
def test_the_ends_of_each_law(law: Law, last_alpha: float, high: float, low: float) -> None:
    table = sigma_table(Parametrization("eps", law, 0.01, 1.0))
    assert len(table) == 1000
    assert np.cumprod(1 - betas(law))[-1] == pytest.approx(last_alpha, rel=1e-3)
    assert (table[-1], table[0]) == (pytest.approx(high, rel=5e-5), pytest.approx(low, rel=5e-6))


def test_zero_terminal_snr_ends_at_zero_and_keeps_the_start() -> None:
    a = np.cumprod(1 - betas("scaled_linear"))
    rescaled = zero_terminal_snr(a)
    assert math.sqrt(rescaled[0]) == pytest.approx(0.9995749, abs=1e-7)
    assert rescaled[-1] == 0
    assert (np.diff(rescaled) < 0).all()


def test_timesteps_and_sigmas_are_inverses() -> None:
    for parametrization in (STABLE, FLOW, FREE):
        for place in (0.0, 0.25, 500.5, 990.0):
            sigma = float(timestep_to_sigma(parametrization, np.array([place]))[0])
            assert sigma_to_timestep(parametrization, sigma) == pytest.approx(place, abs=1e-9)


def test_flow_shift_moves_times_towards_noise() -> None:
    plain = sigma_table(Parametrization("flow", "flow", 0.01, 10.0))
    shifted = sigma_table(Parametrization("flow", "flow", 0.01, 10.0, shift=3.0))
    assert shifted[499] / (1 + shifted[499]) == pytest.approx(0.75)  # t = 1/2 goes to 3/4
    assert np.allclose(shifted[:-1], 3 * plain[:-1])  # the shift is a factor on sigma


def test_karras_against_its_formula() -> None:
    found = schedule("karras", FREE, 5)
    for index in range(5):
        expected = (20 ** (1 / 7) + index / 4 * (0.02 ** (1 / 7) - 20 ** (1 / 7))) ** 7
        assert float(found[index]) == pytest.approx(expected, rel=1e-12)


def test_exponential_and_kl_optimal_have_even_steps_in_their_variable() -> None:
    assert np.allclose(np.diff(np.log(schedule("exponential", STABLE, 9)[:-1].numpy()), n=2), 0, atol=1e-12)
    assert np.allclose(np.diff(np.arctan(schedule("kl_optimal", STABLE, 9)[:-1].numpy()), n=2), 0, atol=1e-12)


def test_timestep_spacings() -> None:
    table = sigma_table(STABLE)
    assert schedule("simple", STABLE, 4)[:-1].tolist() == table[[999, 749, 499, 249]].tolist()
    assert schedule("ddim_uniform", STABLE, 4)[:-1].tolist() == table[[751, 501, 251, 1]].tolist()
    normal, sgm = schedule("normal", STABLE, 5), schedule("sgm_uniform", STABLE, 4)
    assert sgm[:-1].tolist() == pytest.approx(normal[:4].tolist())
    assert float(normal[4]) == pytest.approx(STABLE.sigma_min)


def test_beta_places_are_the_quantiles_of_the_distribution() -> None:
    from scipy import stats

    found = [sigma_to_timestep(STABLE, sigma) / 999 for sigma in schedule("beta", STABLE, 8)[:-1].tolist()]
    assert stats.beta.cdf(found, 0.6, 0.6) == pytest.approx(1 - np.arange(8) / 8, abs=1e-6)


def test_linear_quadratic_starts_with_even_small_steps() -> None:
    found = schedule("linear_quadratic", FLOW, 10).numpy()
    for share in (found / (1 + found) * 81 / 80, schedule("linear_quadratic", STABLE, 10).numpy() / 14.6146):
        assert np.allclose(np.diff(share)[:5], -0.025 / 5)
        assert (np.diff(share, n=2)[4:] < 1e-12).all()
        assert share[0] == pytest.approx(1)


@pytest.mark.parametrize("parametrization", [PURE, with_zero_terminal_snr(replace(STABLE, prediction="v"))])
@pytest.mark.parametrize("kind", ["karras", "exponential", "linear_quadratic"])
def test_pure_noise_takes_one_step_and_the_rest_go_where_something_is_seen(
    kind: str, parametrization: Parametrization
) -> None:
    sigmas = schedule(kind, parametrization, 20).numpy()
    assert sigmas[0] == pytest.approx(1e6, rel=1e-6)
    assert int((sigmas > 49).sum()) <= 9, "above t = 0.98 there is nothing but noise to be seen"
    assert int((sigmas[:-1] < 9).sum()) >= 6


def test_karras_and_exponential_of_pure_noise_end_where_the_shift_puts_the_last_timestep() -> None:
    for kind in ("karras", "exponential"):
        times = [float(sigmas[-2] / (1 + sigmas[-2])) for sigmas in (
            schedule(kind, replace(PURE, shift=shift), 10) for shift in (1.0, 3.0)
        )]  # fmt: skip
        assert times == pytest.approx([0.001, 3 * 0.001 / 1.002])


@pytest.mark.parametrize("law", ["linear", "scaled_linear", "cosine"])
def test_a_law_as_a_schedule_spans_the_models_own_ends(law: str) -> None:
    found = schedule(law, FREE, 11)
    high = min(FREE.sigma_max, float(sigma_table(Parametrization("eps", law, 0.1, 1.0))[-1]))  # type: ignore[arg-type]
    assert float(found[0]) == pytest.approx(high, rel=1e-6)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 37, 100])
@pytest.mark.parametrize("parametrization", [STABLE, FLOW, PURE, FREE], ids=["scaled", "flow", "pure", "free"])
def test_every_schedule_decreases_strictly_to_zero(
    kind: str, steps: int, parametrization: Parametrization
) -> None:
    found = schedule(kind, parametrization, steps)
    assert found.shape == (steps + 1,)
    assert found.dtype == torch.float64
    assert bool((found[:-1] > found[1:]).all())
    assert float(found[-1]) == 0
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(("strength", "kept"), [(1.0, 20), (0.5, 10), (0.3, 6), (0.001, 1)])
def test_strength_keeps_the_end_of_the_schedule(strength: float, kept: int) -> None:
    whole, part = schedule("karras", STABLE, 20), schedule("karras", STABLE, 20, strength)
    assert torch.equal(part, whole[-kept - 1 :])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'karras'\?"):
        schedule("karas", STABLE, 5)
    for strength in (0.0, -1.0, 1.5):
        with pytest.raises(ValueError, match="strength"):
            schedule("karras", STABLE, 5, strength)
    with pytest.raises(ValueError, match="at least 1 step"):
        schedule("karras", STABLE, 0)
    with pytest.raises(ValueError, match="use fewer"):
        schedule("simple", STABLE, 2000)


def test_zero_terminal_snr_reaches_schedules() -> None:
    plain = Parametrization("v", "scaled_linear", 0.0291672, 14.6146)
    rescaled = with_zero_terminal_snr(plain)
    table = sigma_table(rescaled)
    assert table[-1] == 1e6
    assert table[0] == pytest.approx(0.0291672, rel=1e-5)
    assert (np.diff(table) > 0).all()
    for kind in SCHEDULES:
        found = schedule(kind, rescaled, 10)
        assert bool((found[:-1] > found[1:]).all()), kind
    assert float(schedule("simple", rescaled, 10)[0]) == 1e6


@pytest.mark.parametrize(
    ("parametrization", "words"),
    [(FLOW, "already reaches"), (FREE, "already reaches"), (STABLE, "needs a v or x0")],
)
def test_zero_terminal_snr_is_refused_where_it_makes_no_sense(
    parametrization: Parametrization, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        with_zero_terminal_snr(parametrization)


def test_aligned_sigmas_are_those_of_whole_timesteps() -> None:
    table = sigma_table(STABLE)
    found = schedule("karras", STABLE, 12, align=True)[:-1].numpy()
    free = schedule("karras", STABLE, 12)[:-1].numpy()
    assert set(found) <= set(table)
    for aligned, wanted in zip(found, free, strict=True):
        place = sigma_to_timestep(STABLE, wanted)
        assert abs(sigma_to_timestep(STABLE, aligned) - place) <= 0.5 + 1e-9
    with pytest.raises(ValueError, match="use fewer"):
        schedule("karras", STABLE, 400, align=True)


@pytest.mark.parametrize("steps", [2, 4, 10, 25, 40])
@pytest.mark.parametrize("parametrization", [STABLE, FLOW], ids=lambda p: p.law)
def test_schedules_against_the_formulas_that_other_engines_use(
    parametrization: Parametrization, steps: int
) -> None:
    """ComfyUI's definitions, written from their formulas: entries of the table, arctangents, a cubic's half."""
    from scipy import stats

    table = sigma_table(parametrization)
    high, low = parametrization.sigma_max, parametrization.sigma_min

    def near(kind: str, expected: list[float], align: bool = False) -> None:
        found = schedule(kind, parametrization, steps, align=align).numpy()
        assert found == pytest.approx([*expected, 0.0], rel=1e-5), kind

    near("simple", [float(table[-(1 + int(k * (1000 / steps)))]) for k in range(steps)])
    near("ddim_uniform", [float(sigma) for sigma in table[1 :: 1000 // steps][::-1]])
    quantiles = stats.beta.ppf(1 - np.linspace(0, 1, steps, endpoint=False), 0.6, 0.6)
    near("beta", [float(table[round(float(q) * 999)]) for q in quantiles], align=True)
    shares = np.arange(steps) / (steps - 1)
    near("kl_optimal", np.tan(shares * np.arctan(low) + (1 - shares) * np.arctan(high)).tolist())
    half, rest = steps // 2, steps - steps // 2
    bend = (half - 0.025 * steps) / (half * rest**2)
    quadratic = [bend * (k - half) ** 2 + 0.025 / half * k for k in range(half, steps)]
    noise = [0.025 * k / half for k in range(half)] + quadratic
    if parametrization is STABLE:
        near("linear_quadratic", [high * (1 - share) for share in noise])
    else:  # what they call sigma is a flow's t
        times = [high / (1 + high) * (1 - share) for share in noise]
        near("linear_quadratic", [time / (1 - time) for time in times])


def test_ddim_uniform_takes_as_many_steps_as_asked_for() -> None:
    """Where the steps do not divide 1,000 others round the distance down and take more steps than they were asked."""
    for steps in (37, 28, 150):
        assert len(schedule("ddim_uniform", STABLE, steps)) == steps + 1
