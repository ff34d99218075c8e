"""The same results as diffusers' schedulers, and where theirs are wrong."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from peer_walks import BETAS, FLOW, NETWORK, STABLE, START
from torch import Tensor

from nodegraph.diffusion.proofs.probing import last
from nodegraph.diffusion.sampling.denoisers import denoised, denoiser, input_scale
from nodegraph.diffusion.sampling.samplers import SAMPLERS
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.values import Parametrization

# What their code warns of is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")
diffusers = pytest.importorskip("diffusers")


class Walk(NamedTuple):
    """What a scheduler did: its end, and the sigmas and timesteps at which it asked the network."""

    end: Tensor
    asked: list[tuple[float, float]]


def theirs(scheduler: Any, steps: int, scaled: bool, seed: int = 1) -> Walk:
    """Run a scheduler's own loop. `scaled` says that it works on sqrt(a) x, as DDPM does."""
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    asked: list[tuple[float, float]] = []
    x = START
    for index, timestep in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "sigmas"):
            sigma = float(scheduler.sigmas[index])
        else:
            alpha = float(scheduler.alphas_cumprod[int(timestep)])
            sigma = ((1 - alpha) / alpha) ** 0.5
        if not index:
            x = START * sigma / (1 + sigma**2) ** 0.5 if scaled else START * sigma
        asked.append((sigma, float(timestep)))
        seen = scheduler.scale_model_input(x, timestep)
        output = NETWORK(seen, timestep.expand(len(x)))
        takes = "generator" in scheduler.step.__code__.co_varnames
        x = scheduler.step(output, timestep, x, **({"generator": generator} if takes else {})).prev_sample
    return Walk(x, asked)


def ours(name: str, asked: list[tuple[float, float]], sigmas: list[float], **options: Any) -> Tensor:
    """Our sampler over the same sigmas; the network is given their timesteps, which they round."""

    def denoise(x: Tensor, sigma: float) -> Tensor:
        known, timestep = min(asked, key=lambda pair: abs(pair[0] - sigma))
        assert known == pytest.approx(sigma, rel=1e-3)
        output = NETWORK(x * input_scale(STABLE, sigma), torch.full((len(x),), timestep))
        return denoised("eps", output, x, sigma)

    generator = torch.Generator().manual_seed(1)

    def noise(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator)

    with torch.no_grad():
        return last(SAMPLERS[name](denoise, START * sigmas[0], sigmas, noise, **options)).x


def unique(asked: list[tuple[float, float]]) -> list[float]:
    """The sigmas of a walk, each once, and the final zero."""
    found: list[float] = []
    for sigma, _ in asked:
        if not found or sigma < found[-1] * (1 - 1e-6):
            found.append(sigma)
    return [*found, 0.0]


def scheduler(name: str, **options: Any) -> Any:
    return getattr(diffusers, f"{name}Scheduler")(**{**BETAS, **options})


KARRAS = {"use_karras_sigmas": True}
PLAIN = {"clip_sample": False}


@pytest.mark.parametrize(
    ("name", "options", "their", "their_options", "scaled"),
    [
        ("ddim", {}, "DDIM", {**PLAIN, "timestep_spacing": "trailing"}, True),
        ("euler", {}, "DDIM", PLAIN, True),
        ("ddpm", {}, "DDPM", PLAIN, True),
        ("ddpm", {"variance": "fixed_large"}, "DDPM", {**PLAIN, "variance_type": "fixed_large"}, True),
        ("euler", {}, "EulerDiscrete", KARRAS, False),
        ("euler_ancestral", {}, "EulerAncestralDiscrete", {}, False),
        ("lms", {}, "LMSDiscrete", KARRAS, False),
        ("dpmpp_2m", {}, "DPMSolverMultistep", KARRAS, True),
        ("dpmpp_2m_sde", {}, "DPMSolverMultistep", {**KARRAS, "algorithm_type": "sde-dpmsolver++"}, True),
        (
            "dpmpp_2m_sde",
            {"heun": True},
            "DPMSolverMultistep",
            {**KARRAS, "algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
            True,
        ),
        ("unipc", {"order": 1}, "UniPCMultistep", {**KARRAS, "solver_order": 1}, True),
        ("unipc", {"order": 2}, "UniPCMultistep", KARRAS, True),
        ("lcm", {}, "LCM", {}, True),
    ],
)
def test_one_evaluation_a_step(
    name: str, options: dict[str, Any], their: str, their_options: dict[str, Any], scaled: bool
) -> None:
    walk = theirs(scheduler(their, **their_options), 20, scaled)
    found = ours(name, walk.asked, unique(walk.asked), **options)
    assert float(found.std()) > 0.3
    assert float((found - walk.end).abs().max()) <= 1e-4


@pytest.mark.parametrize(
    ("name", "their", "middle"),
    [
        ("heun", "HeunDiscrete", 0),
        ("dpm_2", "KDPM2Discrete", 0),
        ("dpm_2_ancestral", "KDPM2AncestralDiscrete", -1),
    ],
)
def test_two_evaluations_a_step(name: str, their: str, middle: int) -> None:
    """Their schedulers interleave both evaluations and keep the sigmas of the second ones in a list beside."""
    made = scheduler(their, **KARRAS)
    walk = theirs(made, 12, False)
    sigmas = schedule("karras", STABLE, 12).tolist()
    middles = getattr(made, "sigmas_interpol", None)
    asked = walk.asked
    if middles is not None:
        asked = [
            (float(middles[index + middle]) if index % 2 else sigma, timestep)
            for index, (sigma, timestep) in enumerate(asked)
        ]
    found = ours(name, asked, sigmas)
    assert float((found - walk.end).abs().max()) <= 1e-4


@pytest.mark.parametrize("order", [2, 3])
def test_deis_ends_at_its_smallest_sigma(order: int) -> None:
    """Theirs repeats the last sigma in place of a zero, so it is compared where it stops, on scaled samples."""
    walk = theirs(scheduler("DEISMultistep", **KARRAS, solver_order=order, lower_order_final=False), 20, True)
    sigmas = unique(walk.asked)[:-1]
    found = ours("deis", walk.asked, sigmas, order=order) / (1 + sigmas[-1] ** 2) ** 0.5
    assert float((found - walk.end).abs().max()) <= 1e-4


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching(shift: float) -> None:
    made = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    made.set_timesteps(12)
    x = START
    for timestep in made.timesteps:
        x = made.step(NETWORK(x, timestep.expand(2)), timestep, x).prev_sample
    times = made.sigmas.double()
    sigmas = [min(1e6, float(time / (1 - time))) for time in times]

    def network_of(scaled: Tensor, time: Tensor) -> Tensor:
        return NETWORK(scaled, time * 1000)

    with torch.no_grad():
        found = last(SAMPLERS["euler"](denoiser(network_of, FLOW), START * (1 + sigmas[0]), sigmas, noise_free)).x
    assert float((found - x).abs().max()) <= 1e-4


@pytest.mark.parametrize("kind", ["karras", "exponential"])
@pytest.mark.parametrize("steps", [4, 20, 50])
def test_spacings_of_a_flow_from_pure_noise(kind: str, steps: int) -> None:
    """They space t, from 1 to the shifted time of the last timestep; Flux.1 dev's shift for 1024 x 1024 pixels."""
    options = {"use_dynamic_shifting": True, f"use_{kind}_sigmas": True}
    made = diffusers.FlowMatchEulerDiscreteScheduler(**options)
    made.set_timesteps(steps, mu=1.15)
    found = schedule(kind, Parametrization("flow", "flow", 0.001, 1e6, shift=math.exp(1.15)), steps)
    assert (found / (1 + found)).tolist() == pytest.approx(made.sigmas.tolist(), abs=2e-6)


@pytest.mark.parametrize("steps", [8, 25, 50])
def test_linear_quadratic_is_the_published_curve_of_t(steps: int) -> None:
    from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule

    found = schedule("linear_quadratic", Parametrization("flow", "flow", 0.001, 1e6), steps)
    times = (found / (1 + found)).tolist()
    assert times[:-1] == pytest.approx(list(linear_quadratic_schedule(steps, 0.025)), abs=2e-6)


def noise_free(_: Tensor) -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


def test_learned_variances() -> None:
    """A network of twice the channels; the second half says where in its range the variance lies, at each place."""

    def twice(scaled: Tensor, timestep: Tensor) -> Tensor:
        output = NETWORK(scaled, timestep)
        return torch.cat([output, torch.sin(3 * output)], 1)

    made = scheduler("DDPM", **PLAIN, variance_type="learned_range")
    made.set_timesteps(20)
    generator, asked, x = torch.Generator().manual_seed(1), list[tuple[float, float]](), START
    with torch.no_grad():
        for timestep in made.timesteps:
            alpha = float(made.alphas_cumprod[int(timestep)])
            x = x if asked else START * (1 - alpha) ** 0.5
            asked.append((((1 - alpha) / alpha) ** 0.5, float(timestep)))
            x = made.step(twice(x, timestep.expand(2)), timestep, x, generator=generator).prev_sample

    class Denoiser:
        def __call__(self, y: Tensor, sigma: float) -> Tensor:
            return denoised("eps", self.output(y, sigma)[0], y, sigma)

        def placed(self, y: Tensor, sigma: float, _: float) -> Tensor:
            return self.output(y, sigma)[1]

        def output(self, y: Tensor, sigma: float) -> tuple[Tensor, ...]:
            timestep = dict(asked)[min(dict(asked), key=lambda one: abs(one - sigma))]
            return twice(y * input_scale(STABLE, sigma), torch.full((2,), timestep)).chunk(2, 1)

    sigmas, fresh = unique(asked), torch.Generator().manual_seed(1)

    def noise(y: Tensor) -> Tensor:
        return torch.randn(y.shape, generator=fresh)

    with torch.no_grad():
        found = last(SAMPLERS["ddpm_learned_range"](Denoiser(), START * sigmas[0], sigmas, noise)).x
    assert float((found - x).abs().max()) <= 1e-4
    assert float((found - ours("ddpm", asked, sigmas)).abs().max()) > 0.05


# Where diffusers is wrong, or was when this was written: a test that fails here says that it no longer is.


def test_their_ddim_steps_to_timesteps_that_do_not_follow() -> None:
    """With a number of steps that does not divide 1,000 each step ends where the next one does not begin."""
    made = scheduler("DDIM", **PLAIN, timestep_spacing="trailing")
    made.set_timesteps(160)
    ends = [int(t) - 1000 // 160 for t in made.timesteps[:-1]]
    gaps = [abs(end - int(start)) for end, start in zip(ends, made.timesteps[1:], strict=True)]
    assert max(gaps) == 1
    made.set_timesteps(200)
    assert all(int(t) - 5 == int(after) for t, after in zip(made.timesteps[:-1], made.timesteps[1:], strict=True))


def test_their_multistep_solver_repeats_its_last_sigma_and_gives_nan() -> None:
    made = scheduler("DPMSolverMultistep", **KARRAS, final_sigmas_type="sigma_min")
    made.set_timesteps(10)
    assert float(made.sigmas[-1]) == pytest.approx(float(made.sigmas[-2]), rel=1e-6)
    broken = scheduler(
        "DPMSolverMultistep", **KARRAS, final_sigmas_type="sigma_min", solver_type="heun", lower_order_final=False
    )
    assert not torch.isfinite(theirs(broken, 10, True).end).all()


def test_their_fixed_large_ddpm_adds_noise_at_the_very_end() -> None:
    """Where the last timestep is not 0 (trailing spacing) their last step adds sqrt(beta) of noise to the picture."""
    made = scheduler("DDPM", **PLAIN, variance_type="fixed_large", timestep_spacing="trailing")
    ends = [theirs(made, 1, True, seed=seed).end for seed in (1, 2)]
    assert float((ends[0] - ends[1]).abs().max()) > 0.1
    sigma = float(((1 - made.alphas_cumprod[-1]) / made.alphas_cumprod[-1]) ** 0.5)
    ends = [ours("ddpm", [(sigma, 999.0)], [sigma, 0.0], variance="fixed_large") for _ in range(2)]
    assert torch.equal(ends[0], ends[1])
