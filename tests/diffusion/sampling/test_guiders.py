"""Guidance terms: exact identities, closed flows, composition, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.networks import classifier
from nodegraph.diffusion.proofs.control import classifier_error, perturbed_error, rescale_error
from nodegraph.diffusion.sampling.analytic import digits
from nodegraph.diffusion.sampling.guiders import Remembered
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.values import (
    ClassifierTerm,
    Condition,
    Conditioning,
    Guidance,
    Latent,
    PerturbedAttention,
    ScaleWindow,
    Sigmas,
)

ANYTHING = Conditioning((Condition(),))


def live(name: str) -> Loaded:
    return load(describe(name, None, None).model.checkpoint, None, "cpu")


def sigmas(steps: int = 12) -> Sigmas:
    return Sigmas(schedule("karras", describe("analytic://dataset", None, None).model.parametrization, steps))


def run(
    loaded: Loaded, *terms: ClassifierTerm | PerturbedAttention | ScaleWindow, positive: Conditioning = ANYTHING
) -> Tensor:
    blank = Latent(torch.zeros(8, 1, 8, 8))
    for step in sample(
        loaded.denoiser, blank, sigmas(20), positive, name="heun", seed=1, guidance=Guidance(terms)
    ):
        pass
    return step.x


def test_closed_forms() -> None:
    assert classifier_error() <= 1e-12
    assert perturbed_error() <= 1e-3
    assert rescale_error() <= 1e-12


def test_an_exact_classifier_at_scale_one_gives_the_conditional_samples() -> None:
    """Bayes: score of p(x) plus gradient of log p(y | x) is the score of p(x | y), also for a data set."""
    loaded = live("analytic://dataset")
    three = loaded.text_encoder.encode("three", {})
    assert torch.allclose(run(loaded, ClassifierTerm(3, 1.0)), run(loaded, positive=three), atol=1e-3)


def test_a_trained_classifier_steers_to_its_class() -> None:
    data = digits()
    trained = None
    for trained, _ in classifier.train(data.items, data.labels, 300, seed=0):
        pass
    assert trained is not None
    kept = classifier.frozen(trained)
    assert not any(weight.requires_grad for weight in kept.weights)
    noisy = data.items + 0.3 * torch.randn(data.items.shape, generator=torch.Generator().manual_seed(5))
    right = classifier.log_probability(kept, noisy, 0.3).argmax(1) == data.labels
    assert float(right.float().mean()) > 0.9
    loaded = live("analytic://dataset")
    found = run(loaded, ClassifierTerm(7, 3.0, kept))
    nearest = data.labels[torch.cdist(found.flatten(1), data.items.flatten(1)).argmin(1)]
    assert int((nearest == 7).sum()) >= 7
    assert int((data.labels[torch.cdist(run(loaded).flatten(1), data.items.flatten(1)).argmin(1)] == 7).sum()) <= 3


def test_training_is_the_same_for_the_same_seed() -> None:
    data = digits()

    def weights(seed: int) -> Tensor:
        *_, (trained, _) = classifier.train(data.items, data.labels, 3, seed=seed)
        return classifier.frozen(trained).weights[0]

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_terms_compose_and_zero_scales_change_nothing() -> None:
    loaded = live("analytic://dataset")
    plain = run(loaded)
    assert torch.equal(run(loaded, ClassifierTerm(3, 0.0)), plain)
    both = run(loaded, ClassifierTerm(3, 0.5), ClassifierTerm(3, 0.5))
    assert torch.allclose(both, run(loaded, ClassifierTerm(3, 1.0)), atol=1e-3)
    assert not torch.allclose(both, plain, atol=1e-2)
    assert torch.equal(run(loaded, ClassifierTerm(3, 1.0, start=0.99, end=0.995)), plain)


class Attentive:
    """Two exact Gaussians stand for a network and its perturbed self; counts what is asked."""

    attention_blocks, usual_blocks = 3, (1,)

    def __init__(self) -> None:
        self.asked: list[object] = []

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        self.asked += [("plain", c.label) for c in conditions]
        return [x / (1 + sigma**2) + (c.label if isinstance(c.label, int) else 0) for c in conditions]

    def predict_perturbed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition], blocks: Sequence[int]
    ) -> list[Tensor]:
        self.asked += [("perturbed", tuple(blocks)) for _ in conditions]
        return [x / (2 + sigma**2) for _ in conditions]


def test_perturbed_attention_is_evaluated_once_and_shares_the_positive() -> None:
    model = Attentive()
    positive, negative = Conditioning((Condition(label=1),)), Conditioning((Condition(label=0),))
    x = torch.full((1, 1, 4), 2.0)
    (step,) = sample(
        model, Latent(x), Sigmas(torch.tensor([1.0, 0.0])), positive, negative, guidance_scale=2.0,
        guidance=Guidance((PerturbedAttention(3.0, (0, 2)),)),
    )  # fmt: skip
    assert sorted(map(str, model.asked)) == ["('perturbed', (0, 2))", "('plain', 0)", "('plain', 1)"]
    noisy = x + torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    plain, worse = noisy / 2 + 1, noisy / 3
    assert torch.allclose(step.x, noisy / 2 + 2 * 1 + 3 * (plain - worse))


@pytest.mark.parametrize(("scale", "asked"), [(3.0, [("plain", 0), ("perturbed", (1,))]), (0.0, [("plain", 0)])])
def test_perturbed_attention_left_to_the_model_and_turned_off(scale: float, asked: list[object]) -> None:
    model = Attentive()
    levels, positive = Sigmas(torch.tensor([1.0, 0.0])), Conditioning((Condition(label=0),))
    term = PerturbedAttention(scale)
    list(sample(model, Latent(torch.ones(1, 1, 4)), levels, positive, guidance=Guidance((term,))))
    assert model.asked == asked


def test_what_a_model_cannot_do_is_refused() -> None:
    blank = Latent(torch.zeros(1, 1, 8, 8))
    exact = live("analytic://dataset")

    def refused(term: ClassifierTerm | PerturbedAttention, model: object = exact.denoiser) -> str:
        with pytest.raises(ValueError) as refusal:
            next(sample(model, blank, sigmas(), ANYTHING, guidance=Guidance((term,))))  # type: ignore[arg-type]
        return str(refusal.value)

    assert "cannot be perturbed" in refused(PerturbedAttention(1.0, (0,)))
    assert "0 to 2; got [7]" in refused(PerturbedAttention(1.0, (7,)), Attentive())
    assert "no classifier of its own" in refused(ClassifierTerm(1, 1.0), Attentive())
    assert "no item has the label 12" in refused(ClassifierTerm(12, 1.0))
    wrong = classifier.frozen(next(classifier.train(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), 1))[0])
    assert "trained on latents (1, 4, 4)" in refused(ClassifierTerm(1, 1.0, wrong))
    assert "classes 0 to 1" in refused(
        ClassifierTerm(
            5, 1.0, classifier.frozen(next(classifier.train(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), 1))[0])
        )
    )


def test_several_windows_leave_what_they_have_in_common() -> None:
    model = Attentive()
    positive, negative = Conditioning((Condition(label=1),)), Conditioning((Condition(label=0),))
    levels = Sigmas(torch.tensor([8.0, 4.0, 2.0, 1.0, 0.0]))

    def asked(*terms: ScaleWindow) -> list[object]:
        model.asked.clear()
        blank = Latent(torch.zeros(1, 1, 4))
        list(sample(model, blank, levels, positive, negative, guidance_scale=2.0, guidance=Guidance(terms)))
        return [what for what in model.asked if what == ("plain", 0)]

    assert len(asked()) == 4
    assert len(asked(ScaleWindow(0.0, 0.75), ScaleWindow(0.25, 1.0))) == 2
    with pytest.raises(ValueError, match="no step in common"):
        asked(ScaleWindow(0.0, 0.25), ScaleWindow(0.5, 1.0))


def test_what_guides_is_stored_and_read_again() -> None:
    from nodegraph.cache.codec import decode, encode
    from nodegraph.diffusion.values import Inpainting

    data = digits()
    *_, (trained, _) = classifier.train(data.items, data.labels, 1)
    terms = Guidance(
        (
            ScaleWindow(0.1, 0.9),
            PerturbedAttention(1.0, (0, 2)),
            ClassifierTerm(3, 1.0, classifier.frozen(trained)),
        )
    )
    again = decode(encode({"guidance": terms}))["guidance"]
    assert again.terms[:2] == terms.terms[:2]
    assert torch.equal(again.terms[2].classifier.weights[0], trained.weights[0])
    latent = decode(
        encode({"x": Latent(torch.zeros(1, 1, 2), torch.ones(1, 1, 2), Inpainting("guided", 3, 0.1))})
    )["x"]
    assert latent.inpainting == Inpainting("guided", 3, 0.1)
    labels = decode(encode({"c": Conditioning((Condition(label=(1, 2)),))}))["c"]
    assert labels.conditions[0].label == (1, 2)


def test_remembered_estimates_are_forgotten_at_the_next_place() -> None:
    calls: list[int] = []

    def predict(x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        calls.append(len(conditions))
        return [x * sigma + i for i, _ in enumerate(conditions)]

    remembered = Remembered(predict)
    a, b = Condition(label=1), Condition(label=2)
    x = torch.ones(1)
    first = remembered(x, 2.0, [a, b])
    assert torch.equal(remembered(x, 2.0, [b])[0], first[1])
    assert calls == [2]
    remembered(x, 3.0, [b])
    remembered(x + 1, 3.0, [b])
    assert calls == [2, 1, 1]
