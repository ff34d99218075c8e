"""Model, latent and sampling nodes, with exact models whose answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from torch import Tensor

from nodegraph import Context, events
from nodegraph.diffusion.values import Image, Latent, Mask
from nodegraph.files import Files

GAUSSIAN = "analytic://gaussian?mean=0.4&variance=0.01&size=8&channels=3"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context("node", files=Files(output=tmp_path))


def painted(
    context: Context, latent: Latent | None = None, *, strength: float = 1.0, seed: int = 0, batch: int = 1
) -> Tensor:
    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    sigmas = s.Schedule(model, "karras", 20, strength)
    latent = latent or s.EmptyLatent(vae, batch_size=batch)
    return s.Sampler(
        context, model, m.Encode(context, encoder), latent, sigmas, seed=seed, guidance_scale=1
    ).tensor


def test_a_sample_has_the_models_distribution(context: Context) -> None:
    found = painted(context, batch=64)
    assert found.shape == (64, 3, 8, 8)
    assert float(found.mean()) == pytest.approx(0.4, abs=0.01)
    assert float(found.std()) == pytest.approx(0.1, abs=0.01)


def test_image_i_of_a_batch_is_the_single_image_of_seed_plus_i(context: Context) -> None:
    batch = painted(context, seed=5, batch=3)
    assert torch.allclose(batch[2:], painted(context, seed=7), atol=1e-5)


def test_strength_says_how_much_of_the_picture_stays(context: Context) -> None:
    picture = Latent(torch.full((1, 3, 8, 8), 0.8))
    distances = [float((painted(context, picture, strength=t) - 0.8).abs().mean()) for t in (0.1, 0.4, 0.7, 1.0)]
    assert distances == sorted(distances)
    assert distances[0] < 0.1 < 0.35 < distances[-1]


def test_labels_come_from_words(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, "analytic://dataset")
    sigmas = s.Schedule(model, steps=15)
    three = s.Sampler(
        context, model, m.Encode(context, encoder, "a three"), s.EmptyLatent(vae), sigmas, guidance_scale=1
    )
    image = m.VAEDecode(context, vae, three)
    assert image.tensor.shape == (1, 3, 8, 8)
    assert torch.allclose(m.VAEEncode(context, vae, image).tensor, three.tensor, atol=1e-4)


def test_unknown_words_are_told(tmp_path: Path) -> None:
    seen: list[events.Event] = []
    context = Context("node", files=Files(output=tmp_path), listen=seen.append)
    _, encoder, _ = m.LoadModel(context, "analytic://dataset")
    m.Encode(context, encoder, "three zebras")
    assert [event.note for event in seen if isinstance(event, events.Progress)] == [
        "words that this model does not know are left out: zebras"
    ]


def test_the_sampler_tells_steps_and_shows_previews(tmp_path: Path) -> None:
    seen: list[events.Event] = []
    context = Context("node", files=Files(output=tmp_path), listen=seen.append, previews=True)
    painted(context)
    steps = [event for event in seen if isinstance(event, events.Progress) and event.total == 20]
    assert [event.step for event in steps] == list(range(21))
    assert any(isinstance(event, events.Preview) for event in seen)


def test_an_empty_latent_has_the_asked_size(context: Context) -> None:
    vae = m.LoadModel(context, GAUSSIAN).vae
    assert s.EmptyLatent(vae).tensor.shape == (1, 3, 8, 8)
    assert s.EmptyLatent(vae, 16, 24, 2).tensor.shape == (2, 3, 24, 16)


def test_inpainting_keeps_what_is_not_masked(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    picture = Image(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    latent = s.MaskInpaint(context, vae, picture, Mask(mask))
    assert latent.mask is not None
    assert torch.equal(latent.mask, mask)
    done = s.Sampler(
        context, model, m.Encode(context, encoder), latent, s.Schedule(model, steps=10), guidance_scale=1
    )
    result = m.VAEDecode(context, vae, done).tensor
    assert torch.allclose(result[..., 4:], picture.tensor[..., 4:], atol=1e-6)
    assert not torch.allclose(result[..., :4], picture.tensor[..., :4], atol=0.1)


def test_a_mask_covers_every_latent_pixel_that_it_touches(context: Context) -> None:
    vae = m.LoadModel(context, GAUSSIAN).vae
    big = torch.zeros(1, 1, 16, 16)
    big[..., 5, 5] = 1
    latent = s.MaskInpaint(context, vae, Image(torch.zeros(1, 3, 8, 8)), Mask(big))
    assert latent.mask is not None
    assert latent.mask.nonzero().tolist() == [[0, 0, 2, 2]]


def test_latent_arithmetic() -> None:
    zeros, ones = Latent(torch.zeros(1, 2, 4, 4)), Latent(torch.ones(1, 2, 4, 4))
    assert float(s.LatentBlend(zeros, ones, 0.25).tensor.mean()) == 0.25
    assert s.LatentBatch([zeros, ones, ones]).tensor.mean((1, 2, 3)).tolist() == [0, 1, 1]
    assert s.LatentScale(ones, 1.5).tensor.shape == (1, 2, 6, 6)
    noisy = s.AddNoise(Latent(torch.zeros(1, 4, 64, 64)), 3.0, seed=1)
    assert float(noisy.tensor.std()) == pytest.approx(3, abs=0.1)
    with pytest.raises(ValueError, match="differ in size"):
        s.LatentBlend(zeros, Latent(torch.zeros(1, 2, 5, 5)))
    with pytest.raises(ValueError, match="differ in size"):
        s.LatentBatch([zeros, Latent(torch.zeros(1, 2, 5, 5))])


def test_conditioning_is_combined_and_limited(context: Context) -> None:
    _, encoder, _ = m.LoadModel(context, "analytic://dataset")
    a, b = m.Encode(context, encoder, "1"), m.Encode(context, encoder, "2")
    late = m.LimitConditioning(b, strength=2.0, start=0.5)
    both = m.CombineConditioning([a, late])
    assert [(c.label, c.strength, c.start, c.end) for c in both.conditions] == [(1, 1, 0, 1), (2, 2, 0.5, 1)]
    with pytest.raises(ValueError, match="must be above"):
        m.LimitConditioning(a, start=0.5, end=0.5)


def test_styles_are_mixed_by_weight(context: Context, tmp_path: Path) -> None:
    from nodegraph.home import Home

    context = Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))
    encoder = m.LoadModel(context, "emoji").text_encoder

    def code(weight: float) -> Tensor:
        found = m.StyleMix(context, encoder, "cat", "3d", "noto", weight).conditions[0].embedding
        assert found is not None
        return found

    pure = m.Encode(context, encoder, "cat", "3d").conditions[0].embedding
    assert pure is not None
    assert torch.allclose(code(0.0), pure, atol=1e-6)
    shifts = [float((code(w) - code(0.0)).norm()) for w in (0.25, 0.5, 1.0)]
    assert 0 < shifts[0] < shifts[1] < shifts[2]


def test_transparency_is_encoded_as_white(context: Context) -> None:
    vae = m.LoadModel(context, GAUSSIAN).vae
    clear = Image(torch.zeros(1, 4, 8, 8))
    assert torch.equal(m.VAEEncode(context, vae, clear).tensor, torch.ones(1, 3, 8, 8))


def test_guidance_without_a_negative_is_refused_with_the_way_out(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    with pytest.raises(ValueError, match="set guidance_scale to 1"):
        s.Sampler(
            context, model, m.Encode(context, encoder), s.EmptyLatent(vae), s.Schedule(model), guidance_scale=3
        )


def test_a_size_that_the_embedded_model_cannot_paint_is_said(tmp_path: Path) -> None:
    from nodegraph.home import Home

    context = Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))
    model, encoder, vae = m.LoadModel(context, "emoji")
    blank = s.EmptyLatent(vae, width=128, height=128)
    with pytest.raises(ValueError, match="this model paints 64 x 64 pixels"):
        s.Sampler(context, model, m.Encode(context, encoder), blank, s.Schedule(model), guidance_scale=1)
