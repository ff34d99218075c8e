"""Nodes that make the process visible: noise going in, schedules, and a sampler's steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from nodegraph import Context, node
from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.pictures import images
from nodegraph.diffusion.pictures.distribution import histogram, shape
from nodegraph.diffusion.pictures.plot import Curve, line_plot
from nodegraph.diffusion.proofs.oracles import exact_moments, rms_error
from nodegraph.diffusion.proofs.process import SHAPES
from nodegraph.diffusion.sampling.conditioning import on_device
from nodegraph.diffusion.sampling.guidance import guided
from nodegraph.diffusion.sampling.likelihood import log_likelihood
from nodegraph.diffusion.sampling.loop import fitted, sample
from nodegraph.diffusion.sampling.noise import unit_noise
from nodegraph.diffusion.sampling.samplers import ETA, SAMPLERS, SamplerName
from nodegraph.diffusion.sampling.schedules import SCHEDULES, schedule
from nodegraph.diffusion.values import VAE, Conditioning, Image, Latent, Model, Sigmas
from nodegraph.fields import GuidanceScale, Seed, Steps

from .models import denoiser_of
from .sampling import Painted


@node(category="theory")
def PlotSchedule(
    model: Model,
    kinds: Annotated[
        str, Field(max_length=500, description="Names of schedules, with commas between them.")
    ] = "karras, exponential, normal, kl_optimal",
    steps: Steps = 20,
) -> Image:
    """Plot the sigmas of several schedules for a model, on a logarithmic axis."""
    names = [name.strip() for name in kinds.split(",") if name.strip()] or list(SCHEDULES)
    curves = []
    for name in names:
        sigmas = schedule(name, model.parametrization, steps)[:-1].tolist()
        curves.append(Curve(name, range(len(sigmas)), sigmas))
    return Image(line_plot(curves, title="Schedules", x_label="step", y_label="sigma", log_y=True))


@node(category="theory", on_device=True)
def NoiseStrip(
    context: Context,
    model: Model,
    vae: VAE,
    latent: Latent,
    count: Annotated[int, Field(ge=2, le=32, description="Pictures in the strip.")] = 8,
    seed: Seed = 0,
) -> Image:
    """The forward process: a latent under ever more noise, from clean to the model's largest sigma.

    Each picture is x / sqrt(1 + sigma^2), the sample as a variance-preserving process has it.
    """
    noise = unit_noise(latent.tensor, seed)
    sigmas = [0.0, *schedule("karras", model.parametrization, count - 1)[:-1].flip(0).tolist()]
    live = context.open(vae.checkpoint).vae
    noisy = torch.cat([(latent.tensor[:1] + sigma * noise[:1]) / (1 + sigma**2) ** 0.5 for sigma in sigmas])
    return Image(live.decode(noisy.to(context.device)).float().clamp(0, 1).cpu())


@node(category="theory", on_device=True)
def StepFilm(
    context: Context,
    model: Model,
    vae: VAE,
    positive: Conditioning,
    sigmas: Sigmas,
    latent: Painted,
    negative: Annotated[Conditioning | None, Field(description="What guidance moves away from.")] = None,
    sampler: Annotated[SamplerName, Field(description="The algorithm that walks down the sigmas.")] = "euler",
    seed: Seed = 0,
    guidance_scale: GuidanceScale = 4.0,
    frames: Annotated[int, Field(ge=2, le=64, description="How many of the steps are shown.")] = 8,
) -> Image:
    """Film a sampler: what it holds at each step, its estimate of the clean picture, and what guidance adds.

    The last row, where there is guidance, shows how far positive and negative estimates are apart at each spot,
    white where farthest in the film.
    """
    decode = context.open(vae.checkpoint).vae.decode
    latest: deque[Sequence[Tensor]] = deque(maxlen=1)
    walk = sample(
        denoiser_of(context, model, positive, negative), latent, sigmas, positive, negative, name=sampler,
        seed=seed, guidance_scale=guidance_scale, observe=latest.append, device=context.device,
    )  # fmt: skip
    steps, apart = [], []
    for step in context.track(walk, sigmas.steps):
        steps.append(step)
        positives, *others = latest[-1]
        apart.append((positives[:1] - others[-1][:1]).abs().mean(1, keepdim=True) if others else None)
    places = [round(i * (len(steps) - 1) / (frames - 1)) for i in range(min(frames, len(steps)))]
    shown = [steps[place] for place in places]
    held = [step.x[:1] / (1 + step.sigma_next**2) ** 0.5 for step in shown]
    estimates = [step.denoised[:1] for step in shown]
    pictures = images.on_white(decode(torch.cat([*held, *estimates]).float())).float().clamp(0, 1).cpu()
    differences = [found for place in places if (found := apart[place]) is not None]
    if len(differences) == len(places):
        maps = torch.cat(differences).float().cpu()
        height, width = pictures.shape[2:]
        maps = images.resize(maps / maps.max().clamp(min=1e-12), (height, width), "nearest")
        pictures = torch.cat([pictures, maps.expand(-1, 3, -1, -1)])
    return Image(pictures.clone())


@node(category="theory")
def PlotConvergence(
    samplers: Annotated[
        str, Field(max_length=500, description="Names of samplers that add no noise, with commas between them.")
    ] = "euler, heun, dpm_2, dpmpp_2m, unipc, lms",
    dimensions: Annotated[int, Field(ge=1, le=4, description="Of the latents: 1 sound, 2 pictures, 4 video.")] = 2,
    most_steps: Annotated[int, Field(ge=20, le=640, description="The largest number of steps.")] = 160,
) -> Image:
    """Measure how a sampler's error falls with its steps, on data whose exact path is known.

    Both axes are logarithmic: a sampler of order p is a line that falls p decades in one.
    """
    sides = (4, 1, *SHAPES[dimensions - 1])
    counts = [n for n in (5, 10, 20, 40, 80, 160, 320, 640) if n <= most_steps]
    curves = []
    for name in _names(samplers, SAMPLERS):
        if name in ETA or name in ("ddpm", "ddpm_fixed_large", "ddpm_learned_range", "lcm"):
            raise ValueError(f"{name} adds noise, so that it has no one path; leave it out")
        errors = [rms_error(name, n, shape=sides) for n in counts]
        order = math.log2(errors[-2] / errors[-1])
        curves.append(Curve(f"{name}, order {order:.2f}", [math.log10(n) for n in counts], errors))
    return Image(
        line_plot(
            curves, title=f"Error by number of steps, {dimensions}-D latents", x_label="log10(steps)",
            y_label="error", log_y=True,
        )
    )  # fmt: skip


@node(category="theory")
def PlotVariance(
    samplers: Annotated[
        str, Field(max_length=500, description="Names of samplers that add noise, with commas between them.")
    ] = "euler_ancestral, dpmpp_2s_ancestral, dpmpp_sde, dpmpp_2m_sde, dpmpp_3m_sde, ddpm_learned_range",
) -> Image:
    """Plot the exact variance of what stochastic samplers make of data of variance 0.25, by number of steps.

    `ddpm_learned_range` is given the best variance that could be learned.
    """
    counts = (10, 14, 20, 28, 40, 80, 160)
    places = [math.log10(n) for n in counts]
    curves = [
        Curve(name, places, [exact_moments(name, n)[1] for n in counts]) for name in _names(samplers, SAMPLERS)
    ]
    curves.append(Curve("the data", places, [0.25] * len(counts)))
    return Image(
        line_plot(curves, title="Variance by number of steps", x_label="log10(steps)", y_label="variance")
    )


class Distribution(NamedTuple):
    """How the numbers of a latent are distributed."""

    mean: Annotated[float, Field(description="Their mean.")]
    variance: Annotated[float, Field(description="Their variance.")]
    kurtosis: Annotated[float, Field(description="Their fourth moment; 3 for a Gaussian.")]
    p_value: Annotated[float, Field(description="Of the Kolmogorov-Smirnov test against the Gaussian.")]
    picture: Annotated[Image, Field(description="The histogram beside the Gaussian.")]


@node(category="theory")
def DistributionProbe(
    latent: Latent,
    mean: Annotated[float, Field(ge=-1e6, le=1e6, description="Mean of the Gaussian to compare with.")] = 0.0,
    deviation: Annotated[float, Field(gt=0, le=1e6, description="Its standard deviation.")] = 1.0,
    bins: Annotated[int, Field(ge=5, le=500, description="Bars of the histogram.")] = 60,
) -> Distribution:
    """Measure how a latent's numbers are distributed, beside a Gaussian."""
    found = shape(latent.tensor, mean, deviation)
    title = f"mean {found.mean:.4f}, variance {found.variance:.4f}, KS p {found.p_value:.3f}"
    picture = Image(histogram(latent.tensor, mean, deviation, bins, title))
    return Distribution(found.mean, found.variance, found.kurtosis, found.p_value, picture)


class Likelihoods(NamedTuple):
    """How likely latents are under a model."""

    log_p: Annotated[float, Field(description="Mean log density in nats.")]
    bits: Annotated[float, Field(description="Mean of -log2 p for each number of a latent.")]
    lines: Annotated[str, Field(description="Each item's log density on a line, as labels of a grid.")]


@node(category="theory", on_device=True)
def LogLikelihood(
    context: Context,
    model: Model,
    conditioning: Conditioning,
    latent: Latent,
    steps: Annotated[int, Field(ge=4, le=1000, description="Of the integration, four evaluations each.")] = 24,
    sigma: Annotated[
        float | None,
        Field(gt=0, le=100, description="Noise under which the density is taken; left out, the model's least."),
    ] = None,
    seed: Seed = 0,
) -> Likelihoods:
    """How likely latents are, from how the sampler's flow changes volume (Song et al. 2021).

    Exact for up to 128 numbers a latent; above, estimated with random signs.
    """
    p = model.parametrization
    low, high = sigma or p.sigma_min, min(p.sigma_max, 1e3)
    live = denoiser_of(context, model, conditioning)
    conditioning = on_device(context.device)(fitted(live, conditioning, latent))
    denoise = guided(live.predict, conditioning, None, 1.0, [high, low])
    walk = log_likelihood(denoise, latent.tensor.to(context.device), low, high, steps=steps, seed=seed)
    *_, found = context.track(walk, steps)
    each = found.log_p.cpu()
    bits = -each / (math.log(2) * latent.tensor[0].numel())
    return Likelihoods(
        float(each.mean()), float(bits.mean()), "\n".join(f"log p = {value:.1f}" for value in each.tolist())
    )


def _names(text: str, choices: Mapping[str, object]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        choose("sampler", name, choices)
    return names
