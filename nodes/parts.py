"""Painting in parts: two networks of one model, and several samplers one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from nodegraph import node
from nodegraph.diffusion.sampling.switching import apart
from nodegraph.diffusion.values import Latent, LowNoise, Model, Sigmas
from nodegraph.fields import GuidanceScale


class Networks(NamedTuple):
    """The networks of a model that has two."""

    high: Annotated[Model, Field(description="That for much noise, with which a sampler begins.")]
    low: Annotated[Model, Field(description="That for little noise.")]


@node(category="model")
def SplitNetworks(model: Model) -> Networks:
    """Take a model of two networks apart, such as a folder of Wan 2.2, to give one a LoRA; then PairNetworks."""
    if model.low is None:
        raise ValueError(f"{model.checkpoint.name} has one network; link it to what comes next as it is")
    return Networks(*apart(model))


@node(category="model")
def PairNetworks(
    high: Annotated[Model, Field(description="The network for much noise, or a model of two networks.")],
    low: Annotated[
        Model | None, Field(description="The network for little noise; left out, the model's own second one.")
    ] = None,
    boundary: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="The share of noise below which the second takes over: 0.875 for Wan 2.2 text to video, "
            "0.9 for picture to video. A model of two networks knows its own.",
        ),
    ] = None,
    low_guidance_scale: Annotated[
        GuidanceScale | None, Field(description="guidance_scale of the second one; left out, the sampler's.")
    ] = None,
) -> Model:
    """Sample with two networks as Wan 2.2 does, one for much noise and one for little; each may have LoRAs."""
    if low is None:
        if high.low is None:
            raise ValueError(f"{high.checkpoint.name} has one network; link the one for little noise to `low`")
        checkpoint, adapters, boundary = high.low.checkpoint, high.low.adapters, boundary or high.low.boundary
    else:
        for name, one in (("high", high), ("low", low)):
            if one.low is not None:
                raise ValueError(f"`{name}` has two networks itself; link one output of a SplitNetworks to it")
        if high.checkpoint.family != low.checkpoint.family or high.parametrization.law != "flow":
            raise ValueError(
                f"{high.checkpoint.name} ({high.checkpoint.family}) and {low.checkpoint.name} "
                f"({low.checkpoint.family}) are no pair; link the two networks of one flow, such as Wan 2.2's"
            )
        checkpoint, adapters = low.checkpoint, low.adapters
    if boundary is None:
        raise ValueError(
            "no file of weights says where the second network takes over; set `boundary` to 0.875 for Wan 2.2 "
            "text to video, to 0.9 for picture to video"
        )
    return replace(high, low=LowNoise(checkpoint, boundary, adapters, low_guidance_scale))


class Stretches(NamedTuple):
    """Sigmas for two samplers, one after the other."""

    first: Annotated[Sigmas, Field(description="From the start to the step; what is painted is still noisy.")]
    last: Annotated[Sigmas, Field(description="From the step to the end.")]


@node(category="sampling")
def SplitSigmas(
    sigmas: Sigmas,
    step: Annotated[int, Field(ge=1, le=1000, description="How many steps the first sampler takes.")] = 10,
) -> Stretches:
    """Split a schedule between two samplers. The second one's latent is noisy already: link NoNoise to `noise`."""
    if step >= sigmas.steps:
        raise ValueError(f"the schedule has {sigmas.steps} steps; split it after fewer than that, not {step}")
    return Stretches(Sigmas(sigmas.tensor[: step + 1].clone()), Sigmas(sigmas.tensor[step:].clone()))


@node(category="latent")
def NoNoise(latent: Latent) -> Latent:
    """Zeros for a sampler's `noise`, where its latent was left noisy by another sampler."""
    return Latent(torch.zeros_like(latent.tensor))
