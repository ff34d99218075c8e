"""The sampling loop beside k-diffusion's and diffusers': one network, one run, turn about.

`python bench/sampler.py` prints a Markdown table. Each round runs all loops once, in changing order; a ratio is
taken within a round, and its median and quartiles over rounds are shown. Above 1 ours is the faster. The time of
one thread of this process is counted, so that what else the machine does is not. The rows without a network show
what a loop itself costs. Peers that are not installed are left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from peers import BETAS, STABLE, k_diffusion, network
from torch import Tensor, nn

from nodegraph.diffusion.proofs.probing import last
from nodegraph.diffusion.sampling.denoisers import denoiser
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.sampling.samplers import SAMPLERS
from nodegraph.diffusion.sampling.schedules import schedule

STEPS, ROUNDS = 20, 31
WIDTHS = (0, 16, 96)  # of no network, of one that costs little beside the loop, and of one that costs much
LEAST = 0.97  # of the faster peer's speed
Loop = Callable[[], Tensor]
# Our name, k-diffusion's, and diffusers' scheduler.
COMPARED = (
    ("euler", "euler", "EulerDiscrete"),
    ("heun", "heun", "HeunDiscrete"),
    ("dpmpp_2m", "dpmpp_2m", "DPMSolverMultistep"),
    ("euler_ancestral", "euler_ancestral", "EulerAncestralDiscrete"),
)


class Nothing(nn.Module):
    """In place of a network: what a loop then takes is its own."""

    def forward(self, x: Tensor, timestep: Tensor, **_: Any) -> Tensor:  # noqa: ARG002
        """The sample itself."""
        return x


class Row(NamedTuple):
    """Milliseconds of each loop by round, and what was compared."""

    sampler: str
    width: int
    milliseconds: dict[str, list[float]]

    @property
    def ratios(self) -> list[float]:
        """By round: the faster peer's time over ours."""
        ours = self.milliseconds["nodegraph"]
        peers = [times for name, times in self.milliseconds.items() if name != "nodegraph"]
        return [min(at) / own for own, *at in zip(ours, *peers, strict=True)]


def our_loop(name: str, net: nn.Module, start: Tensor) -> Loop:
    """Our sampler over our denoiser."""
    sigmas = schedule("karras", STABLE, STEPS).tolist()
    denoise = denoiser(net, STABLE)

    def run() -> Tensor:
        with torch.inference_mode():
            return last(SAMPLERS[name](denoise, start * sigmas[0], sigmas, NoiseSource(0, len(start)))).x

    return run


def k_diffusion_loop(name: str, net: nn.Module, start: Tensor) -> Loop:
    """Its sampler over its own wrapper."""
    sampling, external = k_diffusion("sampling"), k_diffusion("external")
    wrapped = external.DiscreteEpsDDPMDenoiser(net, torch.cumprod(1 - BETAS, 0), quantize=False)
    sigmas = sampling.get_sigmas_karras(STEPS, STABLE.sigma_min, STABLE.sigma_max)
    function = getattr(sampling, f"sample_{name}")

    def run() -> Tensor:
        with torch.inference_mode():
            found: Tensor = function(wrapped, start * sigmas[0], sigmas, disable=True)
        return found

    return run


def diffusers_loop(name: str, net: nn.Module, start: Tensor) -> Loop:
    """Its scheduler in the loop that its pipelines have."""
    import diffusers

    made = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    spaced: dict[str, Any] = {} if "Ancestral" in name else {"use_karras_sigmas": True}
    scheduler = getattr(diffusers, f"{name}Scheduler")(**made, **spaced)

    def run() -> Tensor:
        with torch.inference_mode():
            scheduler.set_timesteps(STEPS)
            x: Tensor = start * scheduler.init_noise_sigma
            for timestep in scheduler.timesteps:
                output = net(scheduler.scale_model_input(x, timestep), timestep.expand(len(x)))
                x = scheduler.step(output, timestep, x).prev_sample
        return x

    return run


def measure(
    sampler: str,
    theirs: str,
    scheduler: str,
    width: int,
    rounds: int = ROUNDS,
) -> Row:
    """Time all loops that there are, turn about."""
    net = network(width) if width else Nothing()
    start = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    loops = {"nodegraph": our_loop(sampler, net, start)}
    for name, make, what in (
        ("k-diffusion", k_diffusion_loop, theirs),
        ("diffusers", diffusers_loop, scheduler),
    ):
        try:
            loops[name] = make(what, net, start)
        except ImportError:
            continue
    if len(loops) == 1:
        raise ImportError("neither k-diffusion nor diffusers is installed: there is nothing to compare with")
    milliseconds: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        loop()
    names = list(loops)
    for index in range(rounds):
        for name in names[index % len(names) :] + names[: index % len(names)]:
            started = time.process_time()
            loops[name]()
            milliseconds[name].append((time.process_time() - started) * 1e3)
    return Row(sampler, width, milliseconds)


def table(rows: list[Row]) -> str:
    """A Markdown table of measurements."""
    names = list(rows[0].milliseconds)
    lines = [
        f"| sampler, {STEPS} steps | network width | {' | '.join(f'{name}, ms' for name in names)} "
        "| faster peer / ours (quartiles) |",
        f"|---|---|{'---|' * (len(names) + 1)}",
    ]
    for row in rows:
        low, middle, high = statistics.quantiles(row.ratios, n=4)
        times = " | ".join(f"{statistics.median(row.milliseconds[name]):.1f}" for name in names)
        lines.append(
            f"| {row.sampler} | {row.width or 'none'} | {times} | {middle:.2f} ({low:.2f} to {high:.2f}) |"
        )
    return "\n".join(lines)


def measurements(rounds: int = ROUNDS) -> list[Row]:
    """Every comparison, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [measure(*compared, width, rounds) for width in WIDTHS for compared in COMPARED]
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    print(table(measurements()))
