"""Guidance nodes: they collect terms, and the embedded model obeys them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nodegraph.nodes import guidance as g
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from torch import Tensor

from nodegraph import Context
from nodegraph.diffusion.values import ClassifierTerm, Guidance, PerturbedAttention, ScaleWindow
from nodegraph.files import Files
from nodegraph.home import Home


def test_terms_are_added_in_order() -> None:
    chain = g.PerturbedAttentionGuidance(g.ClassifierGuidance(3, g.LimitGuidance(None, 0.1, 0.9)), 1.5, "6, 2,2")
    assert [type(term) for term in chain.terms] == [ScaleWindow, ClassifierTerm, PerturbedAttention]
    assert chain.terms[2] == PerturbedAttention(1.5, (2, 6))
    with pytest.raises(ValueError, match="must be above"):
        g.LimitGuidance(None, 0.5, 0.5)


def test_a_classifier_is_trained_and_steers(tmp_path: Path) -> None:
    context = Context("n", files=Files(output=tmp_path))
    model, encoder, vae = m.LoadModel(context, "analytic://dataset")
    classifier = g.TrainClassifier(context, 150)
    sigmas, blank, nothing = (
        s.Schedule(model, steps=12),
        s.EmptyLatent(vae, batch_size=4),
        m.Encode(context, encoder),
    )

    def painted(guidance: Guidance | None) -> Tensor:
        return s.Sampler(
            context, model, nothing, blank, sigmas, guidance_scale=1, guidance=guidance, sampler="heun"
        ).tensor

    plain, exact = painted(None), painted(g.ClassifierGuidance(2))
    three = s.Sampler(
        context, model, m.Encode(context, encoder, "2"), blank, sigmas, guidance_scale=1, sampler="heun"
    ).tensor
    assert torch.allclose(exact, three, atol=1e-3)
    assert not torch.allclose(painted(g.ClassifierGuidance(2, None, classifier, 3.0)), plain, atol=0.1)


def test_the_embedded_models_attention_can_be_perturbed(tmp_path: Path) -> None:
    context = Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))
    model, encoder, vae = m.LoadModel(context, "emoji")
    sigmas, blank = s.Schedule(model, steps=3), s.EmptyLatent(vae)

    def painted(guidance: Guidance | None) -> Tensor:
        return s.Sampler(
            context, model, m.Encode(context, encoder, "red apple"), blank, sigmas, guidance_scale=1,
            guidance=guidance,
        ).tensor  # fmt: skip

    plain = painted(None)
    assert torch.equal(painted(g.PerturbedAttentionGuidance(scale=0.0)), plain)
    assert not torch.allclose(painted(g.PerturbedAttentionGuidance()), plain, atol=0.05)
    with pytest.raises(ValueError, match="blocks 0 to 7"):
        painted(g.PerturbedAttentionGuidance(blocks="8"))


def test_the_embedded_model_is_inpainted_by_its_gradient(tmp_path: Path) -> None:
    context = Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))
    model, encoder, vae = m.LoadModel(context, "emoji")
    picture = s.Image(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    latent = s.MaskInpaint(context, vae, picture, s.Mask(mask), "guided")
    words = m.Encode(context, encoder, "red apple")
    found = s.Sampler(context, model, words, latent, s.Schedule(model, steps=3), guidance_scale=1).tensor
    assert torch.allclose(found[..., 8:], latent.tensor[..., 8:], atol=1e-6)
    assert torch.isfinite(found).all()
    channels = s.MaskInpaint(context, vae, picture, s.Mask(mask), "channels")
    with pytest.raises(ValueError, match="takes 0"):
        s.Sampler(context, model, words, channels, s.Schedule(model, steps=3), guidance_scale=1)
