"""Pictures in motion: walks between seeds, and animated files."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field

from nodegraph import Context, node, pictures
from nodegraph.diffusion.models.memory import afford
from nodegraph.diffusion.pictures.images import on_white
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.noise import between, unit_noise
from nodegraph.diffusion.values import VAE, Conditioning, Image, Latent, Model, Sigmas
from nodegraph.fields import FileName, GuidanceScale

from .models import denoiser_of

TOGETHER = 8  # frames that are painted in one batch
LONGEST = 3000  # frames of a walk; all begin in memory


@node(category="animation", on_device=True)
def LatentWalk(
    context: Context,
    model: Model,
    vae: VAE,
    positive: Conditioning,
    sigmas: Sigmas,
    negative: Annotated[Conditioning | None, Field(description="What guidance moves away from.")] = None,
    seeds: Annotated[
        str, Field(max_length=1000, description="Whose pictures the walk passes, two or more, with commas.")
    ] = "0, 1",
    frames: Annotated[int, Field(ge=2, le=600, description="Pictures from one seed to the next.")] = 12,
    loop: Annotated[bool, Field(description="Walk back to the first seed at the end.")] = True,
    sampler: Annotated[
        Literal["euler", "heun", "dpmpp_2m"], Field(description="A sampler without noise of its own.")
    ] = "dpmpp_2m",
    guidance_scale: GuidanceScale = 4.0,
) -> Latent:
    """Walk through the model's pictures: the starting noise turns from one seed's into the next one's.

    The noise keeps its variance all the way, so that every frame is as likely a picture as the seeds' own.
    """
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError:
        raise ValueError(f"seeds are whole numbers with commas between them; got {seeds!r}") from None
    if len(numbers) < 2 or min(numbers) < 0:
        raise ValueError("a walk needs two seeds or more, none below 0")
    if len(numbers) * frames > LONGEST:
        raise ValueError(f"{len(numbers)} seeds with {frames} frames each are more than {LONGEST:,}; give fewer")
    side = vae.size // vae.downscale
    blank = torch.zeros(1, vae.latent_channels, side, side)
    stops = [unit_noise(blank, number % 2**63) for number in numbers]
    stops += stops[:1] if loop else []
    starts = [between(a, b, k / frames) for a, b in pairwise(stops) for k in range(frames)]
    starts += [] if loop else stops[-1:]
    denoiser = denoiser_of(context, model, positive, negative)
    painted = []
    for first in context.track(range(0, len(starts), TOGETHER)):
        start = torch.cat(starts[first : first + TOGETHER])
        empty = Latent(blank.expand_as(start))
        result = start
        for step in sample(
            denoiser, empty, sigmas, positive, negative,
            name=sampler, guidance_scale=guidance_scale, start=start, device=context.device,
        ):  # fmt: skip
            result = step.x
            context.check_cancelled()
        painted.append(result.float().cpu())
    return Latent(torch.cat(painted).clone())


@node(category="animation", effect="files")
def SaveAnimation(
    context: Context,
    image: Annotated[Image, Field(description="The frames, in order.")],
    name: FileName = "animation",
    format: Annotated[
        Literal["WEBP", "GIF"], Field(description="WebP has all colours; GIF has 256 and opens everywhere.")
    ] = "WEBP",
    frames_per_second: Annotated[float, Field(ge=0.1, le=60, description="How fast it runs.")] = 12.0,
    scale: Annotated[int, Field(ge=1, le=16, description="Times each frame is enlarged, pixel by pixel.")] = 1,
) -> None:
    """Write a batch of pictures as one animated file that repeats for ever."""
    pictures.refuse_no_numbers(image.tensor)
    height, width = (scale * side for side in image.tensor.shape[2:])
    afford("an animation", len(image.tensor), 3, height, width)
    frames = on_white(image.tensor).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    context.save(name, f".{format.lower()}", pictures.encode_animation(frames, format, frames_per_second))
