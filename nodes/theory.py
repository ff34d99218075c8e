"""Nodes that make the process visible: noise going in, schedules, and a sampler's steps."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from nodegraph import Context, node
from nodegraph.diffusion import images
from nodegraph.diffusion.noise import unit_noise
from nodegraph.diffusion.plot import Curve, line_plot
from nodegraph.diffusion.samplers import SamplerName
from nodegraph.diffusion.sampling import sample
from nodegraph.diffusion.schedules import SCHEDULES, schedule
from nodegraph.diffusion.values import VAE, Conditioning, Image, Latent, Model, Sigmas
from nodegraph.fields import GuidanceScale, Seed, Steps

from .models import denoiser_of


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
    latent: Latent,
    negative: Annotated[Conditioning | None, Field(description="What guidance moves away from.")] = None,
    sampler: Annotated[SamplerName, Field(description="The algorithm that walks down the sigmas.")] = "euler",
    seed: Seed = 0,
    guidance_scale: GuidanceScale = 4.0,
    frames: Annotated[int, Field(ge=2, le=64, description="How many of the steps are shown.")] = 8,
) -> Image:
    """Film a sampler: first what it holds at each step, then its estimate of the clean picture at that step."""
    decode = context.open(vae.checkpoint).vae.decode
    walk = sample(
        denoiser_of(context, model), latent, sigmas, positive, negative, name=sampler, seed=seed,
        guidance_scale=guidance_scale, device=context.device,
    )  # fmt: skip
    steps = list(context.track(walk, sigmas.steps))
    shown = [steps[round(i * (len(steps) - 1) / (frames - 1))] for i in range(min(frames, len(steps)))]
    held = [step.x[:1] / (1 + step.sigma_next**2) ** 0.5 for step in shown]
    estimates = [step.denoised[:1] for step in shown]
    pictures = decode(torch.cat([*held, *estimates]).float())
    return Image(images.on_white(pictures).float().clamp(0, 1).cpu().clone())
