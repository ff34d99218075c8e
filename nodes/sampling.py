"""Schedules, sampling and inpainting."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from nodegraph import Context, node
from nodegraph.diffusion.models.memory import afford
from nodegraph.diffusion.pictures import images
from nodegraph.diffusion.pictures.previews import glance
from nodegraph.diffusion.sampling.conditioning import on_device
from nodegraph.diffusion.sampling.guidance import guided
from nodegraph.diffusion.sampling.loop import fitted, sample
from nodegraph.diffusion.sampling.noise import NoiseKind, NoiseSource, unit_noise
from nodegraph.diffusion.sampling.samplers import SamplerName, invert
from nodegraph.diffusion.sampling.schedules import ScheduleName, for_tokens, schedule
from nodegraph.diffusion.soundness import sound
from nodegraph.diffusion.values import (
    VAE,
    Conditioning,
    Guidance,
    Image,
    Inpainting,
    InpaintMethod,
    Latent,
    Mask,
    Model,
    Shown,
    Sigmas,
)
from nodegraph.fields import BatchSize, GuidanceScale, Height, Seed, Steps, Strength, Width, painted_by

from .models import VAEEncode, denoiser_of, latent_mask

Painted = Annotated[Latent, painted_by("model", "What is painted on: a blank one, or that of a picture.")]
PAINTING = 4  # latents that there are at once while one is painted: noise, the sample, its estimate, the result
Frames = Annotated[
    int,
    Field(
        ge=1,
        le=1025,
        description="How many; 1 more than a multiple of 4: 81 is 5 seconds.",
        json_schema_extra={"count": True},
    ),
]
Aspect = Literal[
    "1:1 square",
    "2:3 portrait",
    "3:2 landscape",
    "3:4 book cover",
    "4:3 slide",
    "4:5 social post",
    "9:16 story",
    "16:9 screen",
    "21:9 cinema",
    "2:1 panorama",
    "3:1 banner",
]


@node(category="sampling")
def Schedule(
    model: Model,
    kind: Annotated[ScheduleName, Field(description="How the sigmas are spaced.")] = "karras",
    steps: Steps = 25,
    strength: Strength = 1.0,
    align: Annotated[
        bool, Field(description="Use the sigmas of the model's own whole timesteps, the nearest to each.")
    ] = False,
    latent: Annotated[
        Latent | None,
        Field(
            description="What will be painted; Flux takes more noise for larger pictures. Left out: 1024 x 1024."
        ),
    ] = None,
) -> Sigmas:
    """Space the sigmas that a sampler walks down."""
    p = model.parametrization
    if latent is not None:
        p = for_tokens(p, latent.tensor.shape[-1] * latent.tensor.shape[-2] / 4)
    return Sigmas(schedule(kind, p, steps, strength, align=align))


@node(category="sampling", on_device=True)
def Sampler(
    context: Context,
    model: Model,
    positive: Conditioning,
    latent: Painted,
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
    churn: Annotated[
        float, Field(ge=0, le=1000, description="Noise added and taken out again, for `euler` and `heun`.")
    ] = 0.0,
    s_noise: Annotated[
        float, Field(ge=0, le=2, description="Standard deviation of fresh noise; theory asks for 1.")
    ] = 1.0,
    guidance: Annotated[
        Guidance | None, Field(description="What guides beside the conditioning, such as ClassifierGuidance.")
    ] = None,
    noise: Annotated[
        Latent | None, Field(description="Unit noise to start from; left out, it is drawn from the seed.")
    ] = None,
) -> Latent:
    """Paint: start from noise (and the latent, where the sigmas start low) and remove it step by step."""
    steps = sample(
        denoiser_of(context, model, positive, negative),
        latent,
        sigmas,
        positive,
        negative,
        name=sampler,
        seed=seed,
        guidance_scale=guidance_scale,
        rescale=rescale,
        guidance=guidance,
        eta=eta,
        churn=churn,
        s_noise=s_noise,
        start=None if noise is None else noise.tensor,
        device=context.device,
    )
    result = latent.tensor
    for step in context.track(steps, sigmas.steps):
        result = step.x
        context.preview_of(partial(_preview, context, model, step.denoised))
    painted = sound(result.float().cpu().clone(), "the latent", model.checkpoint.name)
    if float(sigmas.tensor[-1]) > 0:  # who goes on with what is still noisy is to be shown, and to keep, the same
        return replace(latent, tensor=painted, known=None if latent.mask is None else latent.kept)
    return Latent(painted)


def _preview(context: Context, model: Model, latent: Tensor) -> Image | None:
    """What a latent shows, in small; None where the checkpoint has no VAE."""
    live = context.open(model.checkpoint)
    return Image(live.vae.decode(glance(latent).float()).float().cpu()) if live.has_vae else None


@node(category="sampling", on_device=True)
def DDIMInvert(
    context: Context,
    model: Model,
    conditioning: Conditioning,
    latent: Painted,
    steps: Annotated[int, Field(ge=2, le=1000, description="How many steps the sampler will take.")] = 50,
) -> Latent:
    """The unit noise that a `ddim` sampler makes this latent from: link it to a sampler's `noise`.

    Sample it with as many steps, `karras` sigmas, a blank latent and guidance_scale 1 to get the latent back.
    """
    sigmas = schedule("karras", model.parametrization, steps)[:-1].flip(0).tolist()
    live = denoiser_of(context, model, conditioning)
    conditioning = on_device(context.device)(fitted(live, conditioning, latent))
    denoise = guided(live.predict, conditioning, None, 1.0, sigmas[::-1])
    x = latent.tensor.to(context.device)
    with torch.inference_mode():
        for step in context.track(invert(denoise, x, sigmas, torch.randn_like), len(sigmas) - 1):
            x = step.x
    return Latent((x / sigmas[-1]).float().cpu().clone())


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
    sides = vae.latent_sides(height=height or vae.size, width=width or vae.size)
    return _blank(batch_size, vae.latent_channels, *sides)


class Sides(NamedTuple):
    """The sides of a picture in pixels, for EmptyLatent."""

    width: int
    height: int


@node(category="latent")
def AspectPreset(
    vae: VAE,
    aspect: Annotated[Aspect, Field(description="Width to height, and what it is usual for.")] = "1:1 square",
    scale: Annotated[
        float, Field(gt=0, le=4, description="How many times as many pixels as the model was made for.")
    ] = 1.0,
    multiple: Annotated[
        int, Field(ge=8, le=256, multiple_of=8, description="What both sides are a multiple of.")
    ] = 64,
) -> Sides:
    """Sides in a usual aspect, with about as many pixels as the model was made for, where it paints best."""
    across, down = map(int, aspect.split()[0].split(":"))
    area = scale * vae.size**2

    def side(share: float) -> int:
        return max(1, round(math.sqrt(area * share) / multiple)) * multiple

    return Sides(side(across / down), side(down / across))


@node(category="latent")
def EmptyVideo(
    vae: VAE,
    width: Width = 832,
    height: Height = 480,
    frames: Frames = 81,
) -> Latent:
    """A blank latent of frames to paint a video on, for Wan; VAEDecode gives its frames as pictures, in order."""
    if frames % 4 != 1:
        raise ValueError(f"frames come in fours after the first; {frames} do not. Use {frames // 4 * 4 + 1}")
    sides = vae.latent_sides(height=height, width=width)
    return _blank(1, vae.latent_channels, frames // 4 + 1, *sides)


def _blank(*shape: int) -> Latent:
    afford("a blank latent", *shape, times=PAINTING)
    return Latent(torch.zeros(*shape))


@node(category="inpaint", on_device=True)
def MaskInpaint(
    context: Context,
    vae: VAE,
    image: Image,
    mask: Mask,
    method: Annotated[
        InpaintMethod,
        Field(
            description="How the new part is fitted to the rest: `blend` is quick and rough, `repaint` goes back "
            "and forth, `guided` steers by a gradient and fits best, `channels` is for inpainting checkpoints, "
            "`exact` for analytic models."
        ),
    ] = "blend",
    repeats: Annotated[int, Field(ge=1, le=100, description="How often `repaint` makes each step.")] = 10,
    tolerance: Annotated[
        float, Field(gt=0, le=10, description="How far off the known part may be, for `guided` and `exact`.")
    ] = 0.05,
) -> Latent:
    """A picture's latent that is repainted only where the mask is 1 (white); the rest is kept.

    The mask may be larger or smaller than the picture, but not of another shape.
    """
    images.refuse_other_shape(mask.tensor, image.tensor)
    sides = image.tensor.shape[2:]
    if method == "channels":  # such a network is shown the picture without what it is to repaint
        hidden = mask.tensor
        if hidden.shape[2:] != sides:
            hidden = images.resize(hidden, (sides[0], sides[1]), "bilinear")
        rgb, hidden = images.on_white(image.tensor), (hidden > 0.5).float()
        image = Image(images.composite(rgb, torch.full_like(rgb, 0.5), hidden))
    latent = VAEEncode(context, vae, image)
    small = latent_mask(mask.tensor, vae, sides)
    # A latent pixel that any part of the mask touches is repainted whole: it cannot be kept in part.
    return Latent(latent.tensor, (small > 0.01).float(), Inpainting(method, repeats, tolerance))


@node(category="latent")
def AddNoise(
    latent: Latent,
    sigma: Annotated[float, Field(ge=0, le=1e6, description="Standard deviation of the noise.")] = 1.0,
    seed: Seed = 0,
    kind: Annotated[NoiseKind, Field(description="The distribution of the noise, of variance 1.")] = "gaussian",
) -> Latent:
    """Add noise to a latent."""
    return replace(latent, tensor=latent.tensor + sigma * unit_noise(latent.tensor, seed, kind))


@node(category="latent")
def Noise(
    latent: Annotated[Latent, Field(description="Gives the size and the number of items.")],
    kind: Annotated[NoiseKind, Field(description="The distribution of the noise, of variance 1.")] = "gaussian",
    seed: Seed = 0,
) -> Latent:
    """Unit noise of a latent's size: independent, or correlated as in clouds (`pyramid`, `brownian`)."""
    return Latent(unit_noise(latent.tensor, seed, kind))


@node(category="latent")
def CoordinateNoise(
    latent: Latent,
    share: Annotated[float, Field(ge=0, le=1, description="How many of the places are lost.")] = 0.5,
    seed: Seed = 0,
    method: Annotated[InpaintMethod, Field(description="How a sampler restores them.")] = "exact",
) -> Latent:
    """Replace a share of the places by noise and mark them to be repainted: corruption one feature at a time."""
    source = NoiseSource(seed, len(latent.tensor))
    noise, order = source(latent.tensor), source(latent.tensor[:, :1], "uniform").flatten(1)
    lost = torch.zeros_like(order)
    lost.scatter_(1, order.argsort(1)[:, : round(share * order.shape[1])], 1.0)
    mask = lost.view_as(latent.tensor[:, :1])
    return Latent(latent.tensor * (1 - mask) + noise * mask, mask, Inpainting(method))


@node(category="latent")
def LatentBlend(
    a: Latent,
    b: Latent,
    weight: Annotated[float, Field(ge=0, le=1, description="0 is all of the first, 1 all of the second.")] = 0.5,
) -> Latent:
    """Mix two latents of one size."""
    if a.tensor.shape[1:] != b.tensor.shape[1:]:
        raise ValueError(f"the latents differ in size: {tuple(a.tensor.shape)} and {tuple(b.tensor.shape)}")
    return replace(a, tensor=torch.lerp(a.tensor, b.tensor, weight))


@node(category="latent")
def MaskComposite(
    below: Annotated[Latent, Field(description="Shows where the mask is 0.")],
    above: Annotated[Latent, Field(description="Shows where the mask is 1.")],
    mask: Annotated[Mask, Field(description="In pixels, or in the latent's own size.")],
) -> Latent:
    """Lay one latent over another through a mask; where the mask is 0 the lower one is untouched.

    Of videos every frame is.
    """
    shape = below.tensor.shape
    if len(shape) < 4:
        raise ValueError(f"the latent {tuple(shape)} has no height and width that a mask could cover")
    if above.tensor.shape[1:] != shape[1:]:
        raise ValueError(f"the latents differ in size: {tuple(shape)} and {tuple(above.tensor.shape)}")
    small = images.resize(mask.tensor, (shape[-2], shape[-1]), "area")
    small = small.view(len(small), *[1] * (len(shape) - 3), *shape[-2:]).expand(-1, -1, *shape[2:])
    return Latent(images.composite(below.tensor, above.tensor, small))


@node(category="latent")
def LatentScale(
    latent: Latent,
    factor: Annotated[
        float,
        Field(
            gt=0,
            le=8,
            description="How many times as large each side becomes.",
            json_schema_extra={"scales": "latent"},
        ),
    ] = 2.0,
) -> Latent:
    """Make a latent larger or smaller; of a video every frame."""
    if latent.tensor.ndim < 4:
        raise ValueError(f"the latent {tuple(latent.tensor.shape)} has no height and width that could be scaled")
    height, width = (max(1, round(side * factor)) for side in latent.tensor.shape[-2:])
    afford("a latent", *latent.tensor.shape[:-2], height, width)

    def scaled(tensor: Tensor, resampling: images.Resampling) -> Tensor:
        resized = images.resize(tensor.flatten(1, -3), (height, width), resampling)
        return resized.reshape(*tensor.shape[:-2], height, width)

    mask = None if latent.mask is None else scaled(latent.mask, "nearest")
    known = None if latent.known is None else scaled(latent.known, "bicubic")
    return replace(latent, tensor=scaled(latent.tensor, "bicubic"), mask=mask, known=known)


@node(category="latent")
def LatentBatch(latents: Annotated[list[Latent], Field(description="The latents, in order.")]) -> Latent:
    """Put latents of one size into one batch, with their masks and what a network is shown beside them."""
    if len({latent.tensor.shape[1:] for latent in latents}) != 1:
        raise ValueError("the latents differ in size; scale them first")

    def joined(parts: list[Tensor | None], what: str) -> Tensor | None:
        found = [
            (len(latent.tensor), part) for latent, part in zip(latents, parts, strict=True) if part is not None
        ]
        if found and (len(found) < len(latents) or len({part.shape[1:] for _, part in found}) > 1):
            raise ValueError(f"some of the latents have {what} and others none, or another; give all the like")
        return torch.cat([part.expand(count, *part.shape[1:]) for count, part in found]) if found else None

    masked = [one for one in latents if one.mask is not None]
    # Without a mask all is repainted.
    everywhere = torch.ones_like(masked[0].mask[:1]) if masked and masked[0].mask is not None else None
    mask = joined([everywhere if one.mask is None else one.mask for one in latents], "a mask")
    if len({one.inpainting for one in masked}) > 1:
        raise ValueError("the latents are to be inpainted in several ways; use one method for all")
    shown = [one.shown for one in latents]
    channels = joined([None if one is None else one.channels for one in shown], "a picture beside them")
    states = joined([None if one is None else one.states for one in shown], "a picture that was read")
    return Latent(
        torch.cat([one.tensor for one in latents]),
        mask,
        (masked or latents)[0].inpainting,
        None if channels is None else Shown(channels, states),
        joined([one.known for one in latents], "a known part, being noisy,"),
    )
