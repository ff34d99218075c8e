"""Samplers against closed forms: orders of convergence, exact variances, identities, every shape and dtype."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from nodegraph.diffusion.proofs import oracles
from nodegraph.diffusion.proofs.oracles import DATA, last, order, rms_error
from nodegraph.diffusion.proofs.probing import BestVariance, probed
from nodegraph.diffusion.sampling.analytic import Mixture
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.sampling.samplers import ETA, LEARNED, SAMPLERS, sampler
from nodegraph.diffusion.sampling.stepping import ancestral_split, pairs

DETERMINISTIC = {"euler", "heun", "dpm_2", "ddim", "dpmpp_2m", "lms", "deis", "unipc", "heun_flow"}


def karras(steps: int, high: float, low: float) -> list[float]:
    ends = high ** (1 / 7), low ** (1 / 7)
    found: list[float] = ((ends[0] + np.linspace(0, 1, steps) * (ends[1] - ends[0])) ** 7).tolist()
    return found


def known(name: str) -> Callable[[Tensor, float], Tensor]:
    """The exact denoiser, with what a sampler asks for beside it."""
    return BestVariance(DATA) if name in LEARNED else DATA.denoise


def silent(x: Tensor) -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


@pytest.mark.parametrize("oracle", oracles.ORDERS, ids=lambda oracle: f"{oracle.sampler} {oracle.options}")
def test_order_of_convergence(oracle: oracles.Order) -> None:
    assert order(oracle.sampler, **oracle.options) == pytest.approx(oracle.order, abs=oracle.tolerance)


def test_every_sampler_has_an_oracle() -> None:
    proven = {oracle.sampler for oracle in (*oracles.ORDERS, *oracles.VARIANCES)}
    # Identities, an exact consistency function, a high order: below.
    elsewhere = {"ddpm", "ddpm_fixed_large", "ddpm_learned_range", "lcm", "deis"}
    assert proven | elsewhere == set(SAMPLERS)


@pytest.mark.parametrize(("name", "options", "least"), oracles.HIGH_ORDERS)
def test_high_orders(name: str, options: dict[str, Any], least: float) -> None:
    assert order(name, steps=40, **options) >= least


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("euler", {}, 7.40e-2),
        ("heun", {}, 2.51e-2),
        ("dpm_2", {}, 1.44e-2),
        ("dpmpp_2m", {}, 2.37e-2),
        ("dpmpp_sde", {"eta": 0.0}, 1.14e-2),
        ("dpmpp_3m_sde", {"eta": 0.0}, 7.28e-3),
        ("lms", {}, 2.06e-2),
    ],
)
def test_errors_at_ten_steps_are_the_known_ones(name: str, options: dict[str, Any], error: float) -> None:
    """The constants, not only the slopes; 256 random starts leave about 2%."""
    assert rms_error(name, 10, **options) == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("oracle", oracles.VARIANCES, ids=lambda oracle: f"{oracle.sampler} {oracle.options}")
def test_stochastic_variances_to_four_digits(oracle: oracles.Variance) -> None:
    for steps, variance in zip(oracles.STEPS, oracle.variances, strict=True):
        mean, found = oracles.exact_moments(oracle.sampler, steps, **oracle.options)
        assert found == pytest.approx(variance, abs=1e-4)
        assert 0.69 < mean < 0.705
    assert abs(found - 0.24915) <= 0.012


@pytest.mark.parametrize("steps", [1, 3, 10, 160])
def test_with_the_best_variance_ddpm_leads_from_marginal_to_marginal(steps: int) -> None:
    """However few its steps: the variance at the end is the last marginal's, through one more step to 0."""
    high, low = 14.6146, 0.02917
    sigmas = [*np.geomspace(high, low, steps + 1), 0.0]
    start = torch.tensor([math.sqrt(0.25 + high**2)], dtype=torch.float64)
    found = probed(lambda x, noise: SAMPLERS["ddpm_learned_range"](BestVariance(DATA), x, sigmas, noise), start)
    assert found.variance == pytest.approx(0.25**2 / (0.25 + low**2), abs=1e-12)
    plain = probed(lambda x, noise: SAMPLERS["ddpm"](BestVariance(DATA), x, sigmas, noise), start)
    assert found.variance > plain.variance + 0.005
    assert oracles.exact_moments("ddpm_learned_range", 10)[1] == pytest.approx(oracles.BEST_VARIANCE, abs=1e-4)


@pytest.mark.parametrize(("place", "variance"), [(-1.0, "fixed_small"), (1.0, "fixed_large")])
def test_the_ends_of_the_learned_range_are_the_fixed_variances(place: float, variance: str) -> None:
    class Placed:
        def __call__(self, x: Tensor, sigma: float) -> Tensor:
            return DATA.denoise(x, sigma)

        def placed(self, x: Tensor, *_: float) -> Tensor:
            return torch.full_like(x, place)

    found, fixed = run("ddpm_learned_range", Placed()), run("ddpm", DATA.denoise, variance=variance)
    assert torch.allclose(found, fixed, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="has learned the variance"):
        run("ddpm_learned_range", DATA.denoise)


def run(name: str, denoise: Callable[[Tensor, float], Tensor], seed: int = 0, **options: Any) -> Tensor:
    x = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 10
    sigmas = [*karras(12, 10, 0.03), 0.0]
    return last(SAMPLERS[name](denoise, x, sigmas, NoiseSource(seed, 3), **options)).x


TWO_MODES = Mixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0] * 8, [1.0] * 8]), torch.tensor([0.04, 0.09]))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("ddim", {}), ("euler", {})),
        (("ddpm", {}), ("ddim", {"eta": 1.0})),
        (("euler_ancestral", {}), ("ddim", {"eta": 1.0})),
        (("euler_ancestral", {"eta": 0.0}), ("euler", {})),
        (("dpmpp_2m_sde", {"eta": 0.0}), ("dpmpp_2m", {})),
        (("dpmpp_sde", {"eta": 0.0}), ("dpmpp_2s_ancestral", {"eta": 0.0})),
    ],
)
def test_identities(a: tuple[str, dict[str, Any]], b: tuple[str, dict[str, Any]]) -> None:
    first, second = run(a[0], TWO_MODES.denoise, **a[1]), run(b[0], TWO_MODES.denoise, **b[1])
    assert torch.allclose(first, second, rtol=0, atol=1e-12)


def test_ddim_is_song_et_al_in_their_own_variables() -> None:
    """Equation 12 of the paper, written with alpha-bar, on scaled samples."""
    sigmas, eta = karras(6, 10, 0.1), 0.7
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10
    noises = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    fresh = iter(noises)
    ours = last(SAMPLERS["ddim"](TWO_MODES_FLAT.denoise, x, sigmas, lambda _: next(fresh), eta=eta)).x
    scaled = x / math.sqrt(1 + sigmas[0] ** 2)
    for index, sigma, sigma_next in pairs(sigmas):
        a, a_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
        clean = TWO_MODES_FLAT.denoise(scaled / math.sqrt(a), sigma)
        eps = (scaled - math.sqrt(a) * clean) / math.sqrt(1 - a)
        spread = eta * math.sqrt((1 - a_next) / (1 - a)) * math.sqrt(1 - a / a_next)
        scaled = math.sqrt(a_next) * clean + math.sqrt(1 - a_next - spread**2) * eps + spread * noises[index]
    assert torch.allclose(ours / math.sqrt(1 + sigmas[-1] ** 2), scaled, rtol=0, atol=1e-12)


TWO_MODES_FLAT = Mixture(
    torch.tensor([0.3, 0.7]), torch.tensor([[-1.0] * 3, [1.0] * 3]), torch.tensor([0.04, 0.09])
)


def test_ddpm_step_is_the_posterior_of_ho_et_al() -> None:
    """Mean and both variances from beta and alpha-bar (equations 7 and 11 of the paper)."""
    sigma, sigma_next = 2.0, 1.2
    a, a_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    beta = 1 - a / a_next
    x, clean = torch.tensor([[0.9]], dtype=torch.float64), torch.tensor([[0.4]], dtype=torch.float64)
    mean = (math.sqrt(a_next) * beta * clean + math.sqrt(1 - beta) * (1 - a_next) * x * math.sqrt(a)) / (1 - a)
    for variance, expected in (("fixed_small", beta * (1 - a_next) / (1 - a)), ("fixed_large", beta)):

        def step(unit: float, variance: str = variance) -> float:
            steps = SAMPLERS["ddpm"](
                lambda *_: clean, x, [sigma, sigma_next], lambda y: unit + 0 * y, variance=variance
            )
            return float(last(steps).x) * math.sqrt(a_next)

        assert step(0) == pytest.approx(float(mean), abs=1e-12)
        assert (step(1) - step(0)) ** 2 == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_lcm_keeps_mean_and_variance_with_an_exact_consistency_function(steps: int) -> None:
    assert oracles.consistency_moments(steps) == pytest.approx((0.7, 0.25), abs=5e-3)


def test_euler_in_flow_time_is_euler() -> None:
    sigmas = [9.0, 4.0, 1.0, 0.25, 0.0]
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 9
    ours = last(SAMPLERS["euler"](TWO_MODES_FLAT.denoise, x, sigmas, silent)).x
    flow = x / (1 + sigmas[0])
    for _, sigma, sigma_next in pairs(sigmas):
        time, time_next = sigma / (1 + sigma), sigma_next / (1 + sigma_next)
        velocity = (flow - TWO_MODES_FLAT.denoise(flow * (1 + sigma), sigma)) / time
        flow = flow + (time_next - time) * velocity
    assert torch.allclose(ours, flow, rtol=0, atol=1e-12)


def test_a_two_mode_mixture_against_a_reference_solver() -> None:
    mixture = Mixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0], [1.0]]), torch.tensor([0.04, 0.09]))
    start = torch.linspace(-20, 20, 41, dtype=torch.float64)[:, None]

    def slope(sigma: float, x: Any) -> Any:
        return ((torch.from_numpy(x)[:, None] - mixture.denoise(torch.from_numpy(x)[:, None], sigma)) / sigma)[
            :, 0
        ].numpy()

    exact = solve_ivp(slope, (10.0, 0.02), start[:, 0].numpy(), method="DOP853", rtol=1e-10, atol=1e-10).y[:, -1]
    for name, ceiling in (("heun", 2e-3), ("dpmpp_2m", 3e-3), ("euler", 4e-2), ("unipc", 2e-3), ("deis", 2e-3)):
        end = last(SAMPLERS[name](mixture.denoise, start, karras(321, 10, 0.02), silent)).x
        assert np.sqrt(np.mean((end[:, 0].numpy() - exact) ** 2)) < ceiling, name


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 3, 5), (5, 2, 4, 4), (1, 2, 3, 4, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_shape_dtype_and_length(name: str, steps: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    sigmas = [*karras(steps, 10, 0.03)[:steps], 0.0]
    start = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 10
    kept = start.clone()
    found = list(SAMPLERS[name](known(name), start, sigmas, NoiseSource(0, shape[0])))
    assert [step.index for step in found] == list(range(steps))
    assert [(step.sigma, step.sigma_next) for step in found] == list(pairwise(sigmas))
    end = found[-1].x
    assert (end.shape, end.dtype) == (start.shape, dtype)
    assert torch.isfinite(end).all()
    assert torch.equal(start, kept)  # inputs are never changed in place
    assert found[-1].denoised.shape == start.shape


@pytest.mark.parametrize("name", SAMPLERS)
def test_image_i_of_a_batch_is_the_single_image_of_seed_plus_i(name: str) -> None:
    sigmas = [*karras(7, 10, 0.03), 0.0]

    def picture(seed: int, batch: int) -> Tensor:
        source = NoiseSource(seed, batch)
        start = source(torch.zeros(batch, 2, 4, 4)) * sigmas[0]
        return last(SAMPLERS[name](known(name), start, sigmas, source)).x

    batch = picture(40, 3)
    for item in range(3):
        assert torch.allclose(batch[item], picture(40 + item, 1)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(DETERMINISTIC))
def test_deterministic_samplers_ask_for_no_noise(name: str) -> None:
    last(SAMPLERS[name](DATA.denoise, torch.ones(1, 2), [5.0, 1.0, 0.0], silent))


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_from_one_start_fresh_noise_alone_makes_the_difference(name: str) -> None:
    """The same in every bit from the same seed; from another, different only where noise is added."""
    first, again, other = (run(name, known(name), seed) for seed in (0, 0, 9))
    assert torch.equal(first, again)
    adds = name in {"lcm", "ddpm", "ddpm_fixed_large", *LEARNED} or ETA.get(name, 0.0) > 0
    assert torch.equal(first, other) != adds
    if adds:
        assert float((first - other).square().mean().sqrt()) > 0.1  # as far as samples of the data are


@pytest.mark.parametrize("name", sorted(ETA))
def test_eta_zero_asks_for_no_noise(name: str) -> None:
    last(SAMPLERS[name](DATA.denoise, torch.ones(1, 2), [5.0, 1.0, 0.0], silent, eta=0.0))


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_churn_adds_noise_that_is_taken_out_again(name: str) -> None:
    quiet, loud = run(name, DATA.denoise), run(name, DATA.denoise, churn=5.0)
    assert not torch.allclose(quiet, loud)
    assert abs(float(loud.mean()) - 0.7) < 0.3


def test_the_ancestral_split_adds_up() -> None:
    for eta in (0.0, 0.3, 1.0, 5.0):
        down, up = ancestral_split(3.0, 2.0, eta)
        assert down**2 + up**2 == pytest.approx(4.0)
    assert ancestral_split(3.0, 2.0, 0.0) == (2.0, 0.0)
    assert ancestral_split(3.0, 0.0, 1.0) == (0.0, 0.0)


def test_an_unknown_sampler_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'euler'\?"):
        sampler("eulre")
