"""Schedules, sampling and inpainting."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from nodegraph import Context, node
from nodegraph.diffusion import images
from nodegraph.diffusion.noise import NoiseKind, unit_noise
from nodegraph.diffusion.samplers import SamplerName
from nodegraph.diffusion.sampling import sample
from nodegraph.diffusion.schedules import ScheduleName, schedule
from nodegraph.diffusion.values import VAE, Conditioning, Image, Latent, Mask, Model, Sigmas
from nodegraph.fields import BatchSize, GuidanceScale, Height, Seed, Steps, Strength, Width

from .models import VAEEncode


@node(category="sampling")
def Schedule(
    model: Model,
    kind: Annotated[ScheduleName, Field(description="How the sigmas are spaced.")] = "karras",
    steps: Steps = 25,
    strength: Strength = 1.0,
) -> Sigmas:
    """Space the sigmas, the noise levels that a sampler walks down."""
    return Sigmas(schedule(kind, model.parametrization, steps, strength))


@node(category="sampling", on_device=True)
def Sampler(
    context: Context,
    model: Model,
    positive: Conditioning,
    latent: Latent,
    sigmas: Sigmas,
    negative: Annotated[
        Conditioning | None,
        Field(description="What the picture should not show; guidance needs one."),
    ] = None,
    sampler: Annotated[SamplerName, Field(description="The algorithm that walks down the sigmas.")] = "dpmpp_2m",
    seed: Seed = 0,
    guidance_scale: GuidanceScale = 4.0,
    rescale: Annotated[
        float, Field(ge=0, le=1, description="How far guidance's growth of contrast is taken back.")
    ] = 0.0,
    eta: Annotated[
        float | None, Field(ge=0, le=2, description="Share of fresh noise, for samplers that add some.")
    ] = None,
) -> Latent:
    """Paint: start from noise (and the latent, where the sigmas start low) and remove it step by step."""
    steps = sample(
        context.open(model.checkpoint).denoiser,
        latent,
        sigmas,
        positive,
        negative,
        name=sampler,
        seed=seed,
        guidance_scale=guidance_scale,
        rescale=rescale,
        eta=eta,
        device=context.device,
    )
    result = latent.tensor
    for step in context.track(steps, sigmas.steps):
        result = step.x
        if context.wants_preview:
            vae = context.open(model.checkpoint).vae
            context.preview(Image(vae.decode(step.denoised[:1].float()).float().cpu()))
    return Latent(result.float().cpu().clone())


@node(category="latent")
def EmptyLatent(
    vae: VAE,
    width: Annotated[Width | None, Field(description="Width in pixels; left out, the model's own size.")] = None,
    height: Annotated[
        Height | None, Field(description="Height in pixels; left out, the model's own size.")
    ] = None,
    batch_size: BatchSize = 1,
) -> Latent:
    """A blank latent to paint on."""
    sides = [(side or vae.size) // vae.downscale for side in (height, width)]
    if 0 in sides:
        raise ValueError(f"each side needs at least {vae.downscale} pixels")
    return Latent(torch.zeros(batch_size, vae.latent_channels, *sides))


@node(category="inpaint", on_device=True)
def MaskInpaint(context: Context, vae: VAE, image: Image, mask: Mask) -> Latent:
    """A picture's latent that is repainted only where the mask is 1 (white); the rest is kept."""
    latent = VAEEncode(context, vae, image)
    small = images.resize(mask.tensor, (latent.tensor.shape[2], latent.tensor.shape[3]), "area")
    # A latent pixel that any part of the mask touches is repainted whole: it cannot be kept in part.
    return Latent(latent.tensor, (small > 0.01).float())


@node(category="latent")
def AddNoise(
    latent: Latent,
    sigma: Annotated[float, Field(ge=0, le=1e6, description="Standard deviation of the noise.")] = 1.0,
    seed: Seed = 0,
    kind: Annotated[NoiseKind, Field(description="The distribution of the noise, of variance 1.")] = "gaussian",
) -> Latent:
    """Add noise to a latent."""
    return Latent(latent.tensor + sigma * unit_noise(latent.tensor, seed, kind), latent.mask)


@node(category="latent")
def LatentBlend(
    a: Latent,
    b: Latent,
    weight: Annotated[float, Field(ge=0, le=1, description="0 is all of the first, 1 all of the second.")] = 0.5,
) -> Latent:
    """Mix two latents of one size."""
    if a.tensor.shape[1:] != b.tensor.shape[1:]:
        raise ValueError(f"the latents differ in size: {tuple(a.tensor.shape)} and {tuple(b.tensor.shape)}")
    return Latent(torch.lerp(a.tensor, b.tensor, weight), a.mask)


@node(category="latent")
def LatentScale(
    latent: Latent,
    factor: Annotated[float, Field(gt=0, le=8, description="How many times as large each side becomes.")] = 2.0,
) -> Latent:
    """Make a latent larger or smaller."""
    height, width = (max(1, round(side * factor)) for side in latent.tensor.shape[2:])
    mask = None if latent.mask is None else images.resize(latent.mask, (height, width), "nearest")
    return Latent(images.resize(latent.tensor, (height, width), "bicubic"), mask)


@node(category="latent")
def LatentBatch(latents: Annotated[list[Latent], Field(description="The latents, in order.")]) -> Latent:
    """Put latents of one size into one batch."""
    if len({latent.tensor.shape[1:] for latent in latents}) != 1:
        raise ValueError("the latents differ in size; scale them first")
    return Latent(torch.cat([latent.tensor for latent in latents]))
