"""Sampling from start to end: noise, guidance, mask and sampler put together, one `Step` at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from nodegraph.diffusion.denoisers import masked
from nodegraph.diffusion.guidance import guided
from nodegraph.diffusion.live import LiveDenoiser
from nodegraph.diffusion.noise import NoiseSource
from nodegraph.diffusion.samplers import ETA, sampler
from nodegraph.diffusion.stepping import Step
from nodegraph.diffusion.values import Conditioning, Latent, Sigmas


def sample(
    model: LiveDenoiser,
    latent: Latent,
    sigmas: Sigmas,
    positive: Conditioning,
    negative: Conditioning | None = None,
    *,
    name: str = "euler",
    seed: int = 0,
    guidance_scale: float = 1.0,
    rescale: float = 0.0,
    eta: float | None = None,
    device: str = "cpu",
) -> Iterator[Step]:
    """Start from latent + sigma_0 * noise and walk down the sigmas.

    Args:
        model: gives denoised estimates under conditions.
        latent: zeros to paint anew; a picture's latent to change it; with a mask only that part changes.
        sigmas: the schedule; where it starts low, the latent shines through.
        positive, negative, guidance_scale, rescale: see `guidance.guided`.
        name: of the sampler.
        seed: of the noise; item i of the batch uses seed + i.
        eta: share of fresh noise, for samplers that take it; None is the sampler's own default.
        device: where the steps are computed.

    Yields:
        each step. The last one's `x` is the result.

    Raises:
        ValueError: an unknown sampler, an eta for one that takes none, or guidance without negative.
    """
    walk = sampler(name)
    if negative is None and guidance_scale != 1:
        raise ValueError(
            f"guidance_scale is {guidance_scale:g}, but guidance moves away from a negative conditioning and "
            "there is none; link an Encode (its text may be empty) to `negative`, or set guidance_scale to 1"
        )
    options = {}
    if eta is not None:
        if name not in ETA:
            raise ValueError(f"{name} takes no eta; the samplers that do are {', '.join(ETA)}")
        options["eta"] = eta
    levels: list[float] = sigmas.tensor.tolist()
    clean = latent.tensor.to(device)
    source = NoiseSource(seed, len(clean))
    noise = source(clean)
    denoise = guided(model.predict, positive, negative, guidance_scale, levels, rescale=rescale)
    if latent.mask is not None:
        denoise = masked(denoise, clean, latent.mask.to(clean), noise)
    with torch.inference_mode():
        yield from walk(denoise, clean + levels[0] * noise, levels, source, **options)
