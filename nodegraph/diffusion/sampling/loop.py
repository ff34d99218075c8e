"""Sampling from start to end: noise, guidance, mask and sampler put together, one `Step` at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nodegraph.diffusion.live import KnowsPosterior, LiveDenoiser, Rescales, TakesChannels
from nodegraph.diffusion.pictures.images import resize, same_shape
from nodegraph.diffusion.sampling import inpainting
from nodegraph.diffusion.sampling.conditioning import check_batch, on_device
from nodegraph.diffusion.sampling.guidance import Predict, guided, progress_of
from nodegraph.diffusion.sampling.guiders import Remembered, Run, wrapped
from nodegraph.diffusion.sampling.noise import NoiseSource, going_on
from nodegraph.diffusion.sampling.samplers import CHURN, ETA, LEARNED, sampler
from nodegraph.diffusion.sampling.stepping import Denoise, Noise, Sampler, Step
from nodegraph.diffusion.sampling.variance import Placed, Uncertain
from nodegraph.diffusion.values import Condition, Conditioning, Guidance, Latent, ScaleWindow, Shown, Sigmas


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
    guidance: Guidance | None = None,
    eta: float | None = None,
    churn: float = 0.0,
    s_noise: float = 1.0,
    start: Tensor | None = None,
    observe: Callable[[Sequence[Tensor]], None] | None = None,
    device: str = "cpu",
) -> Iterator[Step]:
    """Start from latent + sigma_0 * noise and walk down the sigmas.

    Args:
        model: gives denoised estimates under conditions.
        latent: zeros to paint anew; a picture's latent to change it; with a mask only that part changes.
        sigmas: the schedule; where it starts low, the latent shines through.
        positive, negative, guidance_scale, rescale: see `guidance.guided`.
        guidance: terms beside them, see `guiders`.
        name: of the sampler.
        seed: of the noise; item i of the batch uses seed + i.
        eta: share of fresh noise, for samplers that take it; None is the sampler's own default.
        churn: noise that is added and taken out again, over all steps, for samplers that take it.
        s_noise: standard deviation of the fresh noise of a stochastic sampler; 1 is what theory asks for.
        start: unit noise of the latent's shape to start from; None draws it from the seed. Zeros say that the
            latent is noisy already: fresh noise is then of another stream, so that none comes twice.
        observe: told the estimates of each evaluation, positive ones first.
        device: where the steps are computed.

    Yields:
        each step. The last one's `x` is the result.

    Raises:
        ValueError: an unknown sampler, an option for one that does not take it, guidance without negative, or
            something that this model cannot do.
    """
    walk, options = sampler(name), _options(name, eta, churn)
    sigma_list: list[float] = sigmas.tensor.tolist()

    def scale(sigma: float) -> float:
        return model.scaled(guidance_scale, sigma) if isinstance(model, Rescales) else guidance_scale

    for sigma in sigma_list[:-1]:
        _check(positive, negative, scale(sigma), len(latent.tensor))
    clean, kept = latent.tensor.to(device), latent.kept.to(device)
    source = NoiseSource(seed, len(clean))
    first = source(clean)  # drawn in any case: what is linked may be this very noise, and is not to come twice
    noise = first if start is None else start.to(clean)
    if start is not None and not start.any():  # another sampler left the latent noisy, perhaps of this seed too
        source = NoiseSource(going_on(seed, sigma_list[0]), len(clean))
    if noise.shape != clean.shape:
        raise ValueError(f"the noise is {tuple(noise.shape)} and the latent {tuple(clean.shape)}; make both alike")
    fresh: Noise = source if s_noise == 1 else lambda like: s_noise * source(like)
    predict: Predict = model.predict
    mask = None if latent.mask is None else latent.mask.to(clean)
    place = on_device(device)
    positive = place(fitted(model, positive, latent))
    negative = None if negative is None else place(fitted(model, negative, latent))
    if mask is not None and latent.inpainting.method == "exact":
        predict = _posterior(model, kept, mask, latent.inpainting.tolerance)
    known = _placed(model, mask) if name in LEARNED else None
    predict = known or predict
    if observe is not None:
        predict = _observed(predict, observe)
    terms = guidance or Guidance()
    if terms.terms:
        predict = Remembered(predict)
    denoise = guided(predict, positive, negative, scale, sigma_list, rescale=rescale, window=_window(terms))
    denoise = wrapped(denoise, terms, Run(model, predict, positive, progress_of(sigma_list)))
    if known is not None:
        denoise = Uncertain(denoise, known, positive, progress_of(sigma_list))
    x = clean + sigma_list[0] * noise
    if mask is not None:
        # Where another sampler began, the known part stays under the noise that it was left with.
        under = noise if latent.known is None else (x - kept) / sigma_list[0]
        denoise, walk = _inpainting(denoise, walk, latent, kept, mask, under)
    yield from _without_gradients(walk(denoise, x, sigma_list, fresh, **options))


def _check(positive: Conditioning, negative: Conditioning | None, guidance_scale: float, count: int) -> None:
    if negative is None and guidance_scale != 1:
        raise ValueError(
            f"guidance_scale is {guidance_scale:g}, but guidance moves away from a negative conditioning and "
            "there is none; link an Encode (its text may be empty) to `negative`, or set guidance_scale to 1"
        )
    for conditioning in (positive, negative):
        if conditioning is not None:
            check_batch(conditioning, count)


def _without_gradients(steps: Iterator[Step]) -> Iterator[Step]:
    while True:
        # Entered for each step: a generator that is left between two steps, as by cancellation, must not leave
        # its caller's thread in inference mode.
        with torch.inference_mode():
            step = next(steps, None)
        if step is None:
            return
        yield step


def _options(name: str, eta: float | None, churn: float) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if eta is not None:
        if name not in ETA:
            raise ValueError(f"{name} takes no eta; the samplers that do are {', '.join(ETA)}")
        options["eta"] = eta
    if churn:
        if name not in CHURN:
            raise ValueError(f"{name} takes no churn; the samplers that do are {', '.join(CHURN)}")
        options["churn"] = churn
    return options


def _placed(model: LiveDenoiser, mask: Tensor | None) -> Placed:
    if mask is not None:
        raise ValueError("ddpm_learned_range does not inpaint: the known part has another variance; use ddpm")
    return Placed(model)


def _window(guidance: Guidance) -> tuple[float, float]:
    """What all windows have in common."""
    windows = [term for term in guidance.terms if isinstance(term, ScaleWindow)]
    start, end = max([0.0, *(w.start for w in windows)]), min([1.0, *(w.end for w in windows)])
    if end <= start:
        raise ValueError("the windows of LimitGuidance have no step in common; make them overlap, or keep one")
    return start, end


def _inpainting(
    denoise: Denoise, walk: Sampler, latent: Latent, known: Tensor, mask: Tensor, noise: Tensor
) -> tuple[Denoise, Sampler]:
    how = latent.inpainting
    match how.method:
        case "blend":
            return inpainting.blended(denoise, known, mask, noise), walk
        case "repaint":
            return denoise, inpainting.resampled(walk, how.repeats, known, mask)
        case "guided":
            return inpainting.steered(denoise, known, mask, how.tolerance), walk
        case "channels" | "exact":
            return inpainting.kept(denoise, known, mask), walk


def fitted(model: LiveDenoiser, conditioning: Conditioning, latent: Latent) -> Conditioning:
    """A conditioning for a latent: with regions of its size, and what the network is shown beside the noise.

    That is what the latent brings, or what it keeps. Raises ValueError where a region is of another shape, or what
    is shown is of another size or not what the network takes.
    """
    conditioning = Conditioning(tuple(_covering(one, latent.tensor) for one in conditioning.conditions))
    shown, size = latent.shown, latent.tensor.shape[2:]
    inpaints = latent.mask is not None and latent.inpainting.method == "channels"
    if latent.mask is not None and inpaints:
        shown = Shown(inpainting.channels(latent.kept, latent.mask.to(latent.kept)))
    if shown is None:
        return conditioning
    if shown.channels.shape[2:] != size:
        raise ValueError(
            f"the latent's sides are {tuple(size)} and those of the picture beside it "
            f"{tuple(shown.channels.shape[2:])}; change the latent's size before the picture is put beside it"
        )
    takes = model.extra_channels if isinstance(model, TakesChannels) else 0
    brought = shown.channels.shape[1]
    if takes != brought:
        raise ValueError(
            f"inpainting by channels needs a network made for it, with {brought} channels for the mask and the "
            f"known latent; this model takes {takes}. Use another checkpoint, or the method `blend`"
            if inpaints
            else f"the latent brings {brought} channels of a picture, and this model takes {takes} beside the "
            "noise; use a network that is made for such pictures, or a latent without one"
        )
    return Conditioning(
        tuple(replace(one, concat=shown.channels, states=shown.states) for one in conditioning.conditions)
    )


def _covering(condition: Condition, latent: Tensor) -> Condition:
    region, size = condition.region, latent.shape[-2:]
    if region is None or region.shape[-2:] == size:
        return condition
    if latent.ndim < 4 or not same_shape(region, latent):
        raise ValueError(
            f"the region of a conditioning is {region.shape[-1]} x {region.shape[-2]} and the latent "
            f"{tuple(latent.shape)}, which is another shape; give RegionConditioning a mask of the picture's shape"
        )
    return replace(condition, region=resize(region, (size[0], size[1]), "area"))


def _observed(predict: Predict, observe: Callable[[Sequence[Tensor]], None]) -> Predict:
    def observed(x: Tensor, sigma: float, conditions: Sequence[Condition]) -> Sequence[Tensor]:
        found = predict(x, sigma, conditions)
        observe(found)
        return found

    return observed


def _posterior(model: LiveDenoiser, known: Tensor, mask: Tensor, tolerance: float) -> Predict:
    if not isinstance(model, KnowsPosterior):
        raise ValueError(
            "no formula gives this model's exact posterior; only analytic:// models have one. Use the method "
            "`guided`, which comes nearest to it for a network"
        )

    def predict(x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        return model.predict_posterior(x, sigma, conditions, known, mask, tolerance)

    return predict
