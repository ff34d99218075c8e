"""Guidance beside the conditioning: terms that compose, linked one into the next and into a sampler."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nodegraph import Context, node
from nodegraph.diffusion.networks import classifier as training
from nodegraph.diffusion.sampling.analytic import digits
from nodegraph.diffusion.values import (
    Classifier,
    ClassifierTerm,
    Guidance,
    PerturbedAttention,
    ScaleWindow,
)
from nodegraph.fields import Fraction, Seed

Before = Annotated[Guidance | None, Field(description="Guidance that this one is added to.")]
Scale = Annotated[float, Field(ge=0, le=100, description="How strongly it guides; 0 is off.")]
Start = Annotated[float, Field(ge=0, le=1, description="Share of the schedule from which it acts.")]
End = Annotated[float, Field(ge=0, le=1, description="Share of the schedule up to which it acts.")]


@node(category="guidance")
def LimitGuidance(guidance: Before = None, start: Start = 0.2, end: End = 0.8) -> Guidance:
    """Let the sampler's guidance_scale hold only between two shares of the schedule; elsewhere it is 1.

    Guidance on the noisiest steps costs variety and on the last ones adds little (Kynkaanniemi et al. 2024); the
    steps without it take half the time.
    """
    return _added(guidance, ScaleWindow(*_ordered(start, end)))


@node(category="guidance")
def ClassifierGuidance(
    label: Annotated[int, Field(ge=0, le=100_000, description="The class to move towards.")],
    guidance: Before = None,
    classifier: Annotated[
        Classifier | None, Field(description="What tells classes; left out, an analytic model's own formula.")
    ] = None,
    scale: Scale = 1.0,
    start: Start = 0.0,
    end: End = 1.0,
) -> Guidance:
    """Move towards a class as a classifier of noisy pictures sees it (Dhariwal and Nichol 2021)."""
    return _added(guidance, ClassifierTerm(label, scale, classifier, *_ordered(start, end)))


@node(category="guidance")
def PerturbedAttentionGuidance(
    guidance: Before = None,
    scale: Scale = 1.0,
    blocks: Annotated[
        str,
        Field(
            max_length=200,
            pattern=r"^\s*(\d+(\s*,\s*\d+)*\s*)?$",
            description="Numbers of the blocks, from 0, with commas between them; empty leaves them to the model.",
        ),
    ] = "",
    start: Start = 0.0,
    end: End = 1.0,
) -> Guidance:
    """Move away from what the model paints when some of its blocks see each spot alone (Ahn et al. 2024).

    It sharpens structure without a negative, also at guidance_scale 1, and costs one more pass a step. A block is
    a layer of self-attention: 16 in Stable Diffusion 1 and 2, 70 in XL, 8 in the embedded model; 24 in Stable
    Diffusion 3 medium and 19 in Flux.1, where a spot keeps its view of the words; 30 or 40 in Wan.
    """
    numbers = tuple(sorted({int(part) for part in blocks.split(",") if part.strip()}))
    return _added(guidance, PerturbedAttention(scale, numbers, *_ordered(start, end)))


@node(category="training", needs={"sklearn": "scikit-learn"})
def TrainClassifier(
    context: Context,
    steps: Annotated[int, Field(ge=1, le=100_000, description="How many optimiser steps are taken.")] = 400,
    seed: Seed = 0,
) -> Classifier:
    """Train a small network to tell handwritten digits under any noise, for ClassifierGuidance.

    Its ten classes are the digits of `analytic://dataset`, whose latents it reads.
    """
    data = digits()
    trained: Classifier | None = None
    for trained, _ in context.track(training.train(data.items, data.labels, steps, seed=seed), steps):  # noqa: B007
        pass
    assert trained is not None
    return training.frozen(trained)


def _added(guidance: Guidance | None, term: ScaleWindow | PerturbedAttention | ClassifierTerm) -> Guidance:
    return Guidance((*(guidance.terms if guidance is not None else ()), term))


def _ordered(start: Fraction, end: Fraction) -> tuple[float, float]:
    if end <= start:
        raise ValueError(f"end ({end}) must be above start ({start})")
    return start, end
