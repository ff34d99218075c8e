"""Guidance beside the conditioning: each term wraps a denoiser, so that terms compose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nodegraph.diffusion.live import Classifies, LiveDenoiser, Perturbable
from nodegraph.diffusion.networks.classifier import log_probability
from nodegraph.diffusion.sampling.guidance import Predict, Progress, Weighing, acts, mixed
from nodegraph.diffusion.sampling.stepping import Denoise
from nodegraph.diffusion.values import ClassifierTerm, Condition, Conditioning, Guidance, PerturbedAttention


class Remembered:
    """A conditional denoiser that keeps its last estimates: terms that need the same ones share them."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._place: tuple[Tensor, float] | None = None
        self._known: dict[Condition, Tensor] = {}

    def __call__(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        if self._place is None or self._place[0] is not x or self._place[1] != sigma:
            self._place, self._known = (x, sigma), {}
        missing = [condition for condition in conditions if condition not in self._known]
        if missing:
            self._known.update(zip(missing, self._predict(x, sigma, missing), strict=True))
        return [self._known[condition] for condition in conditions]


@dataclass(frozen=True, eq=False)
class Run:
    """What terms may ask for: the model, its (remembered) estimates, the positive conditioning, the progress."""

    model: LiveDenoiser
    predict: Predict
    positive: Conditioning
    progress: Progress


def wrapped(denoise: Denoise, guidance: Guidance, run: Run) -> Denoise:
    """Wrap a denoiser by each term in order; a term acts between its start and its end.

    Raises ValueError where the model cannot do what a term needs.
    """
    for term in guidance.terms:
        if isinstance(term, PerturbedAttention):
            denoise = _limited(denoise, perturbed_attention(denoise, term, run), term, run)
        elif isinstance(term, ClassifierTerm):
            denoise = _limited(denoise, classifier_guidance(denoise, term, run), term, run)
    return denoise


def perturbed_attention(denoise: Denoise, term: PerturbedAttention, run: Run) -> Denoise:
    """D + scale * (D_positive - D_perturbed) (Ahn et al. 2024, eq. 16)."""
    model = run.model
    if not isinstance(model, Perturbable):
        raise ValueError("this model's attention cannot be perturbed; leave PerturbedAttentionGuidance out")
    beyond = [block for block in term.blocks if block >= model.attention_blocks]
    if beyond:
        raise ValueError(f"this model has attention blocks 0 to {model.attention_blocks - 1}; got {beyond}")
    if not term.scale:
        return denoise
    blocks, weighing = term.blocks or model.usual_blocks, Weighing()

    def perturbed(x: Tensor, sigma: float) -> Tensor:
        conditions = [c for c in run.positive.conditions if acts(c.start, c.end, run.progress(sigma))]
        if not conditions:
            return denoise(x, sigma)
        plain = mixed(x, conditions, run.predict(x, sigma, conditions), weighing)
        worse = mixed(x, conditions, model.predict_perturbed(x, sigma, conditions, blocks), weighing)
        return denoise(x, sigma) + term.scale * (plain - worse)

    return perturbed


def classifier_guidance(denoise: Denoise, term: ClassifierTerm, run: Run) -> Denoise:
    """D + scale * sigma^2 * grad log p(label | x) (Dhariwal and Nichol 2021, section 4, in sigma)."""
    model = run.model
    if term.classifier is None and not isinstance(model, Classifies):
        raise ValueError("this model is no classifier of its own; link a classifier to ClassifierGuidance")
    classes = None if term.classifier is None else len(term.classifier.biases[-1])
    if classes is not None and not 0 <= term.label < classes:
        raise ValueError(f"the classifier knows the classes 0 to {classes - 1}; got {term.label}")

    def steered(x: Tensor, sigma: float) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            free = x.clone().requires_grad_()
            if term.classifier is not None:
                known = log_probability(term.classifier, free, sigma)[:, term.label]
            else:
                assert isinstance(model, Classifies)
                known = model.log_probability(free, sigma, term.label)
            (gradient,) = torch.autograd.grad(known.sum(), free)
        return denoise(x, sigma) + term.scale * sigma**2 * gradient

    return steered


def _limited(outside: Denoise, inside: Denoise, term: PerturbedAttention | ClassifierTerm, run: Run) -> Denoise:
    def denoise(x: Tensor, sigma: float) -> Tensor:
        return (inside if acts(term.start, term.end, run.progress(sigma)) else outside)(x, sigma)

    return denoise
