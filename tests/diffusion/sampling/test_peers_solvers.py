"""The same results as the rest of diffusers' schedulers: those that carry more than a list of sigmas with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from peer_walks import BETAS, FLOW, NETWORK, STABLE, START
from torch import Tensor

from nodegraph.diffusion.proofs.probing import last
from nodegraph.diffusion.sampling.denoisers import denoised, denoiser, input_scale
from nodegraph.diffusion.sampling.inpainting import resampled
from nodegraph.diffusion.sampling.samplers import SAMPLERS, invert
from nodegraph.diffusion.sampling.stepping import Denoise

# What their code warns of is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")
diffusers = pytest.importorskip("diffusers")
STEPS = 12


def noises(seed: int = 1) -> Callable[..., Tensor]:
    """Fresh noise, the same sequence each time this is called."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *_: torch.randn(START.shape, generator=generator)


def at(timesteps: dict[float, float]) -> Denoise:
    """D(x; sigma), the network being given the timestep that belongs to the nearest of these sigmas."""

    def denoise(x: Tensor, sigma: float) -> Tensor:
        known = min(timesteps, key=lambda one: abs(one - sigma))
        assert known == pytest.approx(sigma, rel=1e-3)
        output = NETWORK(x * input_scale(STABLE, sigma), torch.full((len(x),), timesteps[known]))
        return denoised("eps", output, x, sigma)

    return denoise


def ours(
    name: str, denoise: Denoise, start: Tensor, sigmas: Sequence[float], noise: Any = None, **options: Any
) -> Tensor:
    with torch.no_grad():
        return last(SAMPLERS[name](denoise, start, sigmas, noise or noises(), **options)).x


def same(found: Tensor, theirs: Tensor, limit: float = 1e-4) -> None:
    assert found.dtype == theirs.dtype == torch.float32
    assert float(found.std()) > 0.2
    assert float((found - theirs).abs().max()) <= limit


def stepped(made: Any, x: Tensor, predict: Callable[[Tensor, Tensor], Tensor] = NETWORK, **options: Any) -> Tensor:
    """Their loop from here to the end."""
    with torch.no_grad():
        for timestep in made.timesteps:
            output = predict(made.scale_model_input(x, timestep), timestep.float().expand(len(x)))
            x = made.step(output, timestep, x, **options).prev_sample
    return x


def test_the_two_stage_sde_solver() -> None:
    """DPMSolverSDE draws from a Brownian tree; here both are given the same numbers one by one."""
    made = diffusers.DPMSolverSDEScheduler(**BETAS, use_karras_sigmas=True)
    made.set_timesteps(STEPS)
    made.noise_sampler = noises()
    sigmas = [float(made.sigmas[0]), *map(float, made.sigmas[1:-1:2]), 0.0]
    middles = [math.sqrt(a * b) for a, b in pairwise(sigmas[:-1])]
    places = dict(zip(sigmas[:-1], map(float, made.timesteps[::2]), strict=True))
    places |= dict(zip(middles, map(float, made.timesteps[1::2]), strict=True))
    start = START * sigmas[0]
    same(ours("dpmpp_sde", at(places), start, sigmas), stepped(made, start))


@pytest.mark.parametrize("order", [1, 2])
def test_the_singlestep_solver(order: int) -> None:
    """DPMSolverSinglestep spends two of its steps on one of ours; on sigmas even in ln its middle is ours."""
    made = diffusers.DPMSolverSinglestepScheduler(
        **BETAS, use_exponential_sigmas=True, solver_order=order, lower_order_final=False,
        final_sigmas_type="sigma_min",
    )  # fmt: skip
    made.set_timesteps(STEPS)
    made.sigmas[-1] = (
        made.sigmas[-2] ** 2 / made.sigmas[-3]
    )  # theirs repeats the last sigma, over which nothing can be divided
    sigmas = [float(sigma) for sigma in made.sigmas]
    places = dict(zip(sigmas[:-1], map(float, made.timesteps), strict=True))
    start = START * sigmas[0]
    theirs = stepped(made, start * input_scale(STABLE, sigmas[0])) / input_scale(STABLE, sigmas[-1])
    found = (
        ours("ddim", at(places), start, sigmas)
        if order == 1
        else ours("dpmpp_2s_ancestral", at(places), start, sigmas[::2], eta=0.0)
    )
    same(found, theirs)


@pytest.mark.parametrize("steps", [4, 12])
def test_heun_over_flow_times(steps: int) -> None:
    made = diffusers.FlowMatchHeunDiscreteScheduler(shift=3.0)
    made.set_timesteps(steps)
    times = [float(made.sigmas[0]), *map(float, made.sigmas[1:-1:2]), 0.0]
    sigmas = [min(1e6, t / (1 - t) if t < 1 else math.inf) for t in times]
    x = START
    with torch.no_grad():
        for timestep in made.timesteps:
            x = made.step(NETWORK(x, timestep.expand(2)), timestep, x).prev_sample
    denoise = denoiser(lambda scaled, time: NETWORK(scaled, time * 1000), FLOW)
    same(ours("heun_flow", denoise, START * (1 + sigmas[0]), sigmas), x)


@pytest.mark.parametrize(
    ("name", "their", "options"),
    [
        ("dpmpp_2m", "DPMSolverMultistep", {}),
        ("dpmpp_2m_sde", "DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}),
        ("unipc", "UniPCMultistep", {}),
    ],
)
def test_multistep_solvers_over_flow_times(name: str, their: str, options: dict[str, Any]) -> None:
    """Scaled as (1 - t) x0 + t noise or as x0 + sigma noise, it is one and the same algorithm."""
    made = getattr(diffusers, f"{their}Scheduler")(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, **options
    )
    made.set_timesteps(STEPS)
    times = list(map(float, made.sigmas))
    sigmas = [t / (1 - t) for t in times]
    places = dict(zip(sigmas[:-1], map(float, made.timesteps), strict=True))

    def denoise(x: Tensor, sigma: float) -> Tensor:
        timestep = places[min(places, key=lambda one: abs(one - sigma))]
        return denoised("flow", NETWORK(x * input_scale(FLOW, sigma), torch.full((2,), timestep)), x, sigma)

    theirs_noise = {"generator": torch.Generator().manual_seed(1)} if "sde" in name else {}
    same(ours(name, denoise, START * (1 + sigmas[0]), sigmas), stepped(made, START, **theirs_noise))


def test_lcm_over_flow_times() -> None:
    made = diffusers.FlowMatchLCMScheduler(shift=3.0)
    made.set_timesteps(6)
    times = list(map(float, made.sigmas))
    sigmas = [min(1e6, t / (1 - t) if t < 1 else math.inf) for t in times]
    x, generator = START, torch.Generator().manual_seed(1)
    with torch.no_grad():
        for timestep in made.timesteps:
            x = made.step(NETWORK(x, timestep.expand(2)), timestep, x, generator=generator).prev_sample
    denoise = denoiser(lambda scaled, time: NETWORK(scaled, time * 1000), FLOW)
    same(ours("lcm", denoise, START * (1 + sigmas[0]), sigmas), x)


def preconditioned(data: float, sign: float, time: Callable[[float], float]) -> Denoise:
    """Karras et al. (2022), table 1: D = c_skip x + c_out F(c_in x; time)."""

    def denoise(x: Tensor, sigma: float) -> Tensor:
        total = sigma**2 + data**2
        output = NETWORK(x / math.sqrt(total), torch.full((len(x),), time(sigma)))
        return data**2 / total * x + sign * sigma * data / math.sqrt(total) * output

    return denoise


@pytest.mark.parametrize(
    ("name", "their", "options"),
    [
        ("euler", "EDMEuler", {}),
        ("dpmpp_2m", "EDMDPMSolverMultistep", {}),
        ("dpmpp_2m_sde", "EDMDPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}),
    ],
)
def test_preconditioned_networks(name: str, their: str, options: dict[str, Any]) -> None:
    made = getattr(diffusers, f"{their}Scheduler")(sigma_min=0.02, sigma_max=20.0, **options)
    made.set_timesteps(STEPS)
    sigmas = list(map(float, made.sigmas))
    theirs_noise = {"generator": torch.Generator().manual_seed(1)} if options else {}
    theirs = stepped(made, START * sigmas[0], **theirs_noise)
    denoise = preconditioned(0.5, 1.0, lambda sigma: math.log(sigma) / 4)
    same(ours(name, denoise, START * sigmas[0], sigmas), theirs)


def test_the_solver_of_sounds() -> None:
    """CosineDPMSolverMultistep, of sound models: v over atan(sigma), and noise from a Brownian tree."""
    made = diffusers.CosineDPMSolverMultistepScheduler(sigma_max=80.0)
    made.set_timesteps(20)
    made.noise_sampler = noises()
    sigmas = list(map(float, made.sigmas))
    denoise = preconditioned(1.0, -1.0, lambda sigma: math.atan(sigma) / math.pi * 2)
    same(ours("dpmpp_2m_sde", denoise, START * sigmas[0], sigmas), stepped(made, START * sigmas[0]))


def test_unipc_of_order_three() -> None:
    """Theirs lowers its order over the last two steps, so they are compared before them."""
    made = diffusers.UniPCMultistepScheduler(**BETAS, use_karras_sigmas=True, solver_order=3)
    made.set_timesteps(STEPS)
    sigmas = list(map(float, made.sigmas))
    places = dict(zip(sigmas[:-1], map(float, made.timesteps), strict=True))
    start = START * sigmas[0]
    x = start * input_scale(STABLE, sigmas[0])
    with torch.no_grad():
        for timestep in made.timesteps[:-2]:
            x = made.step(NETWORK(x, timestep.float().expand(2)), timestep, x).prev_sample
    same(ours("unipc", at(places), start, sigmas[:-2], order=3), x / input_scale(STABLE, sigmas[-3]))


@pytest.mark.parametrize("name", ["DDIMParallel", "DDPMParallel"])
def test_schedulers_for_many_steps_at_once(name: str) -> None:
    made = getattr(diffusers, f"{name}Scheduler")(**BETAS, clip_sample=False, timestep_spacing="trailing")
    made.set_timesteps(20)
    alphas = [float(made.alphas_cumprod[int(t)]) for t in made.timesteps]
    sigmas = [*(math.sqrt((1 - a) / a) for a in alphas), 0.0]
    places = dict(zip(sigmas[:-1], map(float, made.timesteps), strict=True))
    generator = {"generator": torch.Generator().manual_seed(1)} if "DDPM" in name else {}
    theirs = stepped(made, START * sigmas[0] * input_scale(STABLE, sigmas[0]), **generator)
    same(ours("ddpm" if generator else "ddim", at(places), START * sigmas[0], sigmas), theirs)


def test_ddim_backwards() -> None:
    """Their network is told the timestep that a step goes to, ours the one that it comes from."""
    made = diffusers.DDIMInverseScheduler(**BETAS, clip_sample=False)
    made.set_timesteps(20)
    alphas = [float(made.alphas_cumprod[int(t)]) for t in made.timesteps]
    sigmas = [math.sqrt((1 - a) / a) for a in alphas]
    x = START * math.sqrt(alphas[0])
    with torch.no_grad():
        for timestep in made.timesteps[1:]:
            x = made.step(NETWORK(x, timestep.float().expand(2)), timestep, x).prev_sample
        places = dict(zip(sigmas[:-1], map(float, made.timesteps[1:]), strict=True))
        found = last(invert(at(places), START, sigmas, noises())).x
    same(found * math.sqrt(alphas[-1]), x)


def test_repaint() -> None:
    """RePaintScheduler repeats all steps but the first, and takes one draw for the new part and for the known one."""
    count, repeats = 12, 3
    made = diffusers.RePaintScheduler(count, 0.01, 0.2, "linear", eta=1.0, clip_sample=False)
    made.set_timesteps(count, jump_length=1, jump_n_sample=repeats)
    alphas = [float(made.alphas_cumprod[t]) for t in range(count)][::-1]
    sigmas = [math.sqrt((1 - a) / a) for a in alphas]
    known = torch.randn(START.shape, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    generator, before, x = torch.Generator().manual_seed(1), count, START
    drawn: list[Tensor] = []

    def draw(shape: torch.Size) -> Tensor:
        drawn.append(torch.randn(shape, generator=generator))
        return drawn[-1]

    with torch.no_grad():
        for t in made.timesteps.tolist():
            if t == 0:
                break
            state = generator.get_state()
            if t < before:
                output = NETWORK(x, torch.full((2,), float(t)))
                draw(x.shape)
                generator.set_state(state)
                x = made.step(output, t, x, known, 1 - mask, generator).prev_sample
                drawn.append(drawn[-1])
            else:
                draw(x.shape)
                generator.set_state(state)
                x = made.undo_step(x, before, generator)
            before = t
    fresh = iter(drawn)
    places = dict(zip(sigmas, range(count - 1, -1, -1), strict=True))
    # Their scaled start becomes ours; the first step is made once.
    found = START / math.sqrt(alphas[0])
    with torch.no_grad():
        for path, times in ((sigmas[:2], 1), (sigmas[1:], repeats)):
            walk = resampled(SAMPLERS["ddpm"], times, known, mask)
            found = last(walk(at(places), found, path, lambda _: next(fresh))).x
    same(found * math.sqrt(alphas[-1]), x)
    assert next(fresh, None) is None


def test_their_churn_adds_noise_that_the_network_never_sees() -> None:
    """Karras et al. (2022), algorithm 2, line 7: the network is asked after the noise is raised. Theirs before."""
    made = diffusers.EulerDiscreteScheduler(**BETAS, use_karras_sigmas=True)
    made.set_timesteps(STEPS)
    sigma, sigma_next, timestep = float(made.sigmas[0]), float(made.sigmas[1]), made.timesteps[0]
    x, churn = START * sigma, 3.0
    raised = sigma * (1 + churn / STEPS)
    above = x + math.sqrt(raised**2 - sigma**2) * noises()()
    with torch.no_grad():
        output = NETWORK(made.scale_model_input(x, timestep), timestep.float().expand(2))
        theirs = made.step(
            output, timestep, x, s_churn=churn, generator=torch.Generator().manual_seed(1)
        ).prev_sample
        same(above + (sigma_next - raised) * output, theirs, 1e-3)
    denoise = at({sigma: float(timestep), raised: float(timestep)})
    found = ours("euler", denoise, x, [sigma, sigma_next], churn=churn / STEPS)
    with torch.no_grad():
        same(above + (sigma_next - raised) * (above - denoise(above, raised)) / raised, found, 1e-3)
    assert float((found - theirs).abs().max()) > 0.1
