"""Model, latent and sampling nodes, with exact models whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from nodegraph.nodes.parts import NoNoise, SplitSigmas
from torch import Tensor

from nodegraph import Context, events
from nodegraph.check import check
from nodegraph.diffusion.values import (
    Image,
    Inpainting,
    InpaintMethod,
    Latent,
    Mask,
    Parametrization,
    Shown,
    Sigmas,
)
from nodegraph.files import Files
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow

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


def test_what_the_vae_cuts_off_a_picture_is_cut_off_its_mask(tmp_path: Path) -> None:
    from nodegraph.home import Home

    context = Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))
    vae = m.LoadModel(context, "emoji").vae
    beyond = vae.downscale - 1
    picture = Image(torch.zeros(1, 3, 64, 64 + beyond))
    for scale in (1, 2):
        mask = torch.zeros(1, 1, scale * 64, scale * (64 + beyond))
        mask[..., -scale * beyond :] = 1
        latent = s.MaskInpaint(context, vae, picture, Mask(mask))
        assert latent.mask is not None
        assert not latent.mask.any(), scale
        mask[..., -scale * beyond - scale] = 1
        latent = s.MaskInpaint(context, vae, picture, Mask(mask))
        assert latent.mask is not None
        assert latent.mask[0, 0, 0].tolist() == [0.0] * (latent.mask.shape[-1] - 1) + [1.0]


def test_a_mask_for_channels_may_be_larger_or_smaller(context: Context) -> None:
    vae = m.LoadModel(context, GAUSSIAN).vae
    picture = Image(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    same = s.MaskInpaint(context, vae, picture, Mask(mask), "channels")
    for other in (mask.repeat_interleave(2, 2).repeat_interleave(2, 3), mask[..., ::2, ::2].contiguous()):
        found = s.MaskInpaint(context, vae, picture, Mask(other), "channels")
        assert torch.equal(found.tensor, same.tensor)
        assert same.mask is not None
        assert found.mask is not None
        assert torch.equal(found.mask, same.mask)


@pytest.mark.parametrize("method", get_args(InpaintMethod))
def test_a_second_sampler_keeps_what_the_first_one_kept(context: Context, method: InpaintMethod) -> None:
    model, encoder, _ = m.LoadModel(context, "analytic://dataset")
    known = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    latent = Latent(known, mask, Inpainting(method, repeats=2))
    sigmas, words = s.Schedule(model, steps=8), m.Encode(context, encoder)

    def painted(latent: Latent, sigmas: Sigmas, noise: Latent | None = None, seed: int = 3) -> Latent:
        return s.Sampler(
            context, model, words, latent, sigmas, sampler="euler", seed=seed, guidance_scale=1, noise=noise
        )

    first, last = SplitSigmas(sigmas, 4)
    noisy = painted(latent, first)
    # By another seed: the first one's noise is what the kept part lies under.
    found, whole = painted(noisy, last, NoNoise(noisy), seed=5), painted(latent, sigmas)
    assert torch.equal(found.tensor[..., :4], known[..., :4])
    assert (found.mask, found.known) == (None, None)
    if method != "repaint":  # which draws fresh noise
        assert torch.allclose(found.tensor, whole.tensor, atol=1e-5)
    larger = s.LatentScale(noisy, 2)
    assert larger.known is not None
    assert larger.known.shape == (1, 1, 16, 16)


def test_a_batch_of_latents_keeps_their_masks(context: Context) -> None:
    one, two = (
        Latent(torch.full((n, 1, 4, 4), float(n)), torch.full((1, 1, 4, 4), n / 2), Inpainting("repaint"))
        for n in (1, 2)
    )
    both = s.LatentBatch([one, two])
    assert both.mask is not None
    assert both.mask[:, 0, 0, 0].tolist() == [0.5, 1, 1]
    assert both.inpainting == Inpainting("repaint")
    shown = [
        replace(latent, shown=Shown(torch.full((1, 2, 4, 4), float(n)))) for n, latent in enumerate((one, two))
    ]
    beside = s.LatentBatch(shown).shown
    assert beside is not None
    assert (beside.channels[:, 0, 0, 0].tolist(), beside.states) == ([0, 1, 1], None)
    mixed = s.LatentBatch([Latent(two.tensor), one])  # without a mask all is repainted
    assert mixed.mask is not None
    assert (mixed.mask[:, 0, 0, 0].tolist(), mixed.inpainting) == ([1, 1, 0.5], Inpainting("repaint"))
    for other in (replace(two, inpainting=Inpainting("blend")), shown[1]):
        with pytest.raises(ValueError, match=r"give all the like|use one method for all"):
            s.LatentBatch([one, other])


def test_a_latent_has_a_mask_for_all_or_one_for_each() -> None:
    for count in (1, 3):
        Latent(torch.zeros(3, 4, 8, 8), torch.zeros(count, 1, 8, 8))
    with pytest.raises(ValueError, match=r"is \(N or 1, 1, ...\) of its size, one for all items or one for each"):
        Latent(torch.zeros(3, 4, 8, 8), torch.zeros(2, 1, 8, 8))


def test_a_mask_covers_every_latent_pixel_that_it_touches(context: Context) -> None:
    vae = m.LoadModel(context, GAUSSIAN).vae
    big = torch.zeros(1, 1, 16, 16)
    big[..., 5, 5] = 1
    latent = s.MaskInpaint(context, vae, Image(torch.zeros(1, 3, 8, 8)), Mask(big))
    assert latent.mask is not None
    assert latent.mask.nonzero().tolist() == [[0, 0, 2, 2]]


def test_a_mask_of_another_shape_than_the_picture_is_refused(context: Context) -> None:
    vae = m.LoadModel(context, GAUSSIAN).vae
    said = "`mask` is 808 x 208 and the input `image` 64 x 64, which is another shape.*resize the mask"
    with pytest.raises(ValueError, match=said):
        s.MaskInpaint(context, vae, Image(torch.zeros(1, 3, 64, 64)), Mask(torch.ones(1, 1, 208, 808)))
    with pytest.raises(ValueError, match="another shape"):
        s.MaskInpaint(context, vae, Image(torch.zeros(1, 3, 48, 64)), Mask(torch.ones(1, 1, 64, 48)))
    # Of the same shape in small or large, rounded to a pixel, it fits.
    for height, width in ((416, 1616), (52, 202), (26, 100), (26, 101)):
        latent = s.MaskInpaint(
            context, vae, Image(torch.zeros(1, 3, 208, 808)), Mask(torch.ones(1, 1, height, width))
        )
        assert latent.mask is not None
        assert latent.mask.all()


def test_latent_arithmetic() -> None:
    zeros, ones = Latent(torch.zeros(1, 2, 4, 4)), Latent(torch.ones(1, 2, 4, 4))
    assert float(s.LatentBlend(zeros, ones, 0.25).tensor.mean()) == 0.25
    assert s.LatentBatch([zeros, ones, ones]).tensor.mean((1, 2, 3)).tolist() == [0, 1, 1]
    assert s.LatentScale(ones, 1.5).tensor.shape == (1, 2, 6, 6)
    frames = torch.arange(3.0).view(1, 1, 3, 1, 1).expand(1, 2, 3, 4, 4)
    video = s.LatentScale(Latent(frames, torch.ones(1, 1, 3, 4, 4)), 1.5)
    assert video.mask is not None
    assert (video.tensor.shape, video.mask.shape) == ((1, 2, 3, 6, 6), (1, 1, 3, 6, 6))
    assert video.tensor.mean((0, 1, 3, 4)).tolist() == pytest.approx([0, 1, 2])
    with pytest.raises(ValueError, match="no height"):
        s.LatentScale(Latent(torch.zeros(1, 2, 4)), 2.0)
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


def test_limits_that_follow_each_other_hold_all(context: Context) -> None:
    _, encoder, _ = m.LoadModel(context, "analytic://dataset")
    early, late = (
        m.LimitConditioning(m.Encode(context, encoder, "1"), start=start, end=end)
        for start, end in ((0, 0.4), (0.4, 1))
    )
    both = m.LimitConditioning(m.CombineConditioning([early, late]), strength=0.5, start=0.2, end=0.8)
    assert [(c.start, c.end, c.strength) for c in both.conditions] == [(0.2, 0.4, 0.5), (0.4, 0.8, 0.5)]
    assert [(c.start, c.end) for c in m.LimitConditioning(both, end=0.3).conditions] == [(0.2, 0.3)]
    with pytest.raises(ValueError, match=r"acts from 0 to 0\.4, so that from 0.5 to 1 nothing is left"):
        m.LimitConditioning(early, start=0.5)


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


def test_masks_composite_latents_exactly() -> None:
    below, above = (torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:, :] = 1
    found = s.MaskComposite(Latent(below), Latent(above), Mask(mask)).tensor
    assert torch.equal(found[..., :2, :], below[..., :2, :])
    assert torch.equal(found[..., 2:, :], above[..., 2:, :])
    with pytest.raises(ValueError, match="differ in size"):
        s.MaskComposite(Latent(below), Latent(torch.zeros(1, 2, 5, 5)), Mask(mask))
    films = [Latent(one[:, :, None].repeat(1, 1, 3, 1, 1)) for one in (below, above)]
    film = s.MaskComposite(*films, Mask(mask)).tensor
    assert torch.equal(film, found[:, :, None].repeat(1, 1, 3, 1, 1))
    with pytest.raises(ValueError, match="no height"):
        s.MaskComposite(Latent(torch.zeros(1, 2, 4)), Latent(torch.zeros(1, 2, 4)), Mask(mask))


def test_noise_added_twice_is_noise_added_once_in_law() -> None:
    """Variances add: the sum of two has the moments of one of sqrt(a^2 + b^2), and is as Gaussian."""
    blank = Latent(torch.full((1, 1, 300, 300), 0.5))
    twice = s.AddNoise(s.AddNoise(blank, 3.0, seed=1), 4.0, seed=2).tensor - 0.5
    once = s.AddNoise(blank, 5.0, seed=3).tensor - 0.5
    for found in (twice, once):
        assert float(found.mean()) == pytest.approx(0, abs=5 * 5 / 300)
        assert float(found.std()) == pytest.approx(5, abs=5 * 5 / 2**0.5 / 300)
        assert float((found / 5).pow(4).mean()) == pytest.approx(3, abs=5 * 96**0.5 / 300)


def test_lost_places_are_restored_from_the_others(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, "analytic://dataset")
    digit = s.Sampler(
        context, model, m.Encode(context, encoder, "5"), s.EmptyLatent(vae, batch_size=3), s.Schedule(model),
        guidance_scale=1,
    )  # fmt: skip
    lost = s.CoordinateNoise(digit, 0.5, seed=4)
    assert lost.mask is not None
    assert lost.mask.flatten(1).sum(1).tolist() == [32.0] * 3
    assert not torch.equal(lost.mask[0], lost.mask[1])
    kept = lost.mask == 0
    assert torch.equal(lost.tensor[kept], digit.tensor[kept])
    restored = s.Sampler(context, model, m.Encode(context, encoder), lost, s.Schedule(model), guidance_scale=1)
    assert torch.allclose(restored.tensor, digit.tensor, atol=0.02)


def test_noise_of_every_kind_has_the_latents_size() -> None:
    like = Latent(torch.zeros(2, 3, 16, 16))
    found = {kind: s.Noise(like, kind, 3).tensor for kind in ("gaussian", "uniform", "pyramid", "brownian")}  # type: ignore[arg-type]
    assert {tensor.shape for tensor in found.values()} == {(2, 3, 16, 16)}
    assert float(found["uniform"].abs().max()) <= 3**0.5


def test_fresh_noise_can_be_scaled_and_churned(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    sigmas, nothing = s.Schedule(model, steps=12), m.Encode(context, encoder)

    def spread(**options: object) -> float:
        blank = s.EmptyLatent(vae, batch_size=64)
        return float(
            s.Sampler(context, model, nothing, blank, sigmas, guidance_scale=1, **options).tensor.std()  # type: ignore[arg-type]
        )

    ancestral = [spread(sampler="euler_ancestral", s_noise=scale) for scale in (0.8, 1.0, 1.2)]
    assert ancestral == sorted(ancestral)
    assert ancestral[2] > ancestral[0] * 1.2
    assert spread(sampler="euler", churn=6.0) != spread(sampler="euler")
    with pytest.raises(ValueError, match="takes no churn"):
        spread(sampler="dpmpp_2m", churn=1.0)


def test_zero_terminal_snr_cures_a_wrong_mean(context: Context) -> None:
    """A 20-step DDIM run misses the data's mean with the usual law and reaches it with the rescaled one."""
    name = "analytic://gaussian?mean=0.7&variance=0.25&size=8&channels=1&prediction=v&law=scaled_linear"
    model, encoder, vae = m.LoadModel(context, name)
    rescaled = m.Reparametrize(model, zero_terminal_snr=True)

    def mean(chosen: object) -> float:
        sigmas = s.Schedule(chosen, "simple", 200)  # type: ignore[arg-type]
        # From noise alone: the clean latent is blank, as if the network had never seen such dark noise.
        return float(
            s.Sampler(
                context, chosen, m.Encode(context, encoder), s.EmptyLatent(vae, batch_size=256), sigmas,  # type: ignore[arg-type]
                sampler="ddim", guidance_scale=1,
            ).tensor.mean()
        )  # fmt: skip

    assert abs(mean(rescaled) - 0.7) < 0.012  # 16,384 draws: a standard error of 0.004
    assert 0.7 - mean(model) > 0.015  # theory says 0.024
    with pytest.raises(ValueError, match="already reaches"):
        m.Reparametrize(m.LoadModel(context, GAUSSIAN).model, zero_terminal_snr=True)
    with pytest.raises(ValueError, match="Leave shift out"):
        m.Reparametrize(model, shift=2.0)


def test_a_wrong_prediction_spoils_the_picture(context: Context) -> None:
    """The handle's parametrization is what the network is read with."""
    name = "analytic://dataset?prediction=v&law=scaled_linear"
    model, encoder, vae = m.LoadModel(context, name)

    def painted(chosen: object) -> Tensor:
        return s.Sampler(
            context, chosen, m.Encode(context, encoder, "4"), s.EmptyLatent(vae), s.Schedule(model),  # type: ignore[arg-type]
            sampler="heun", guidance_scale=1,
        ).tensor  # fmt: skip

    same = painted(m.Reparametrize(model, "v"))
    assert torch.equal(same, painted(model))


def test_regions_let_two_prompts_share_a_picture(context: Context) -> None:
    name = "analytic://gaussian?mean=-0.5&variance=0.001&label_shift=0.5&size=8&channels=1"
    model, encoder, vae = m.LoadModel(context, name)
    left = torch.zeros(1, 1, 8, 8)
    left[..., :4] = 1
    here = m.RegionConditioning(m.Encode(context, encoder, "2"), Mask(left), vae)
    found = s.Sampler(
        context, model, here, s.EmptyLatent(vae), s.Schedule(model), negative=m.Encode(context, encoder, "0"),
        guidance_scale=1,
    ).tensor  # fmt: skip
    assert float(found[..., :4].mean()) == pytest.approx(0.5, abs=0.03)
    assert float(found[..., 4:].mean()) == pytest.approx(-0.5, abs=0.03)


def test_a_region_is_fitted_to_the_latent(context: Context) -> None:
    name = "analytic://gaussian?mean=-0.5&variance=0.001&label_shift=0.5&size=8&channels=1"
    model, encoder, vae = m.LoadModel(context, name)

    def painted(*shape: int) -> Tensor:
        left = torch.zeros(*shape)
        left[..., : shape[-1] // 2] = 1
        here = m.RegionConditioning(m.Encode(context, encoder, "2"), Mask(left), vae)
        return s.Sampler(
            context, model, here, s.EmptyLatent(vae), s.Schedule(model, steps=4),
            negative=m.Encode(context, encoder, "0"), guidance_scale=1,
        ).tensor  # fmt: skip

    exact = painted(1, 1, 8, 8)
    assert torch.equal(painted(1, 1, 32, 32), exact)
    assert torch.equal(painted(1, 1, 4, 4), exact)
    with pytest.raises(ValueError, match=r"is 32 x 8 and the latent \(1, 1, 8, 8\), which is another shape"):
        painted(1, 1, 8, 32)
    with pytest.raises(ValueError, match="holds 2 masks"):
        painted(2, 1, 8, 8)


def test_each_line_is_for_one_picture(context: Context) -> None:
    _, encoder, _ = m.LoadModel(context, "analytic://dataset")
    assert m.EncodeEach(context, encoder, "three\n\n 7 \n").conditions[0].label == (3, 7)
    with pytest.raises(ValueError, match="no text"):
        m.EncodeEach(context, encoder, "\n \n")


def test_a_sampler_that_is_left_in_the_middle_leaves_nothing_behind(context: Context) -> None:
    """Cancelled between two steps: what the thread does next may need gradients."""
    from nodegraph.diffusion.sampling.loop import sample

    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    steps = sample(
        context.open(model.checkpoint).denoiser, s.EmptyLatent(vae), s.Schedule(model), m.Encode(context, encoder)
    )
    next(steps)
    assert not torch.is_inference_mode_enabled()
    weight = torch.ones(1, requires_grad=True)
    (weight * 2).backward()
    assert weight.grad is not None
    assert float(weight.grad) == 2


@pytest.mark.parametrize("pure", [False, True], ids=["finite", "from pure noise"])
def test_ddim_backwards_finds_the_noise_of_a_picture(context: Context, pure: bool) -> None:
    """There and back again; the error falls with the steps at first order."""
    model, encoder, vae = m.LoadModel(context, "analytic://gaussian?mean=0.2&variance=0.3&size=8&channels=1")
    if pure:
        model = replace(model, parametrization=Parametrization("flow", "flow", 0.001, 1e6, shift=3.0))
    picture = Latent(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    words = m.Encode(context, encoder)

    def error(steps: int) -> float:
        noise = s.DDIMInvert(context, model, words, picture, steps)
        back = s.Sampler(
            context, model, words, s.EmptyLatent(vae, batch_size=2), s.Schedule(model, steps=steps),
            sampler="ddim", guidance_scale=1, noise=noise,
        )  # fmt: skip
        return float((back.tensor - picture.tensor).abs().max())

    errors = [error(steps) for steps in (25, 50, 100)]
    assert errors[0] > 1.7 * errors[1] > 1.7**2 * errors[2]
    assert errors[2] < 0.05


def test_a_sampler_starts_from_the_noise_that_it_is_given(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    blank, sigmas, words = s.EmptyLatent(vae), s.Schedule(model, steps=8), m.Encode(context, encoder)

    def painted(noise: Latent | None, seed: int) -> Tensor:
        return s.Sampler(context, model, words, blank, sigmas, guidance_scale=1, seed=seed, noise=noise).tensor

    assert torch.equal(painted(s.Noise(blank, "gaussian", 5), 0), painted(None, 5))
    assert not torch.equal(painted(s.Noise(blank, "uniform", 5), 0), painted(None, 5))
    with pytest.raises(ValueError, match="make both alike"):
        painted(Latent(torch.zeros(2, 3, 8, 8)), 0)


def test_noise_that_is_linked_does_not_come_again_as_fresh_noise(context: Context) -> None:
    """Noise that comes twice adds up: data of deviation 10 came out with 13.7."""
    model, encoder, vae = m.LoadModel(context, "analytic://gaussian?mean=0&variance=100&size=32&channels=3")
    blank, sigmas, words = s.EmptyLatent(vae), s.Schedule(model, steps=40), m.Encode(context, encoder)

    def painted(latent: Latent, sigmas: Sigmas, noise: Latent | None, seed: int = 0) -> Latent:
        return s.Sampler(
            context,
            model,
            words,
            latent,
            sigmas,
            sampler="euler_ancestral",
            guidance_scale=1,
            noise=noise,
            seed=seed,
        )

    alone = painted(blank, sigmas, None).tensor
    assert torch.equal(painted(blank, sigmas, s.Noise(blank)).tensor, alone)
    for step in (5, 10, 20):
        first, last = SplitSigmas(sigmas, step)
        noisy = painted(blank, first, None)
        found = painted(noisy, last, NoNoise(noisy))
        assert float(found.tensor.std()) == pytest.approx(float(alone.std()), rel=0.05)


def test_a_batch_that_goes_on_where_another_sampler_stopped_is_its_single_pictures(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, GAUSSIAN)
    (first, last), words = SplitSigmas(s.Schedule(model, steps=8), 4), m.Encode(context, encoder)

    def painted(count: int, seed: int) -> Tensor:
        latent = s.EmptyLatent(vae, batch_size=count)
        for sigmas in (first, last):
            latent = s.Sampler(
                context, model, words, latent, sigmas, sampler="euler_ancestral", guidance_scale=1, seed=seed,
                noise=None if sigmas is first else NoNoise(latent),
            )  # fmt: skip
        return latent.tensor

    assert torch.allclose(painted(3, 7)[2:], painted(1, 9), atol=1e-6)


def test_ddim_backwards_needs_a_step_to_take() -> None:
    node = {"type": "DDIMInvert", "values": {"steps": 1}}
    document = Workflow.model_validate({"format": "nodegraph", "version": 1, "nodes": {"back": node}})
    found = [one.message for one in check(document, Registry.load().catalog).problems if one.input == "steps"]
    assert found == ["1 is too small; give at least 2"]


def test_a_vae_refuses_latents_of_another_kind_with_the_way_out(tmp_path: Path) -> None:
    from nodegraph.home import Home

    context = Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))
    emoji = m.LoadModel(context, "emoji").vae
    with pytest.raises(ValueError, match=r"the latent is a video's, and the VAE of emoji makes pictures; link"):
        m.VAEDecode(context, emoji, s.EmptyVideo(emoji, 64, 64, 5))
    with pytest.raises(ValueError, match=r"the latent has 16 channels, and the VAE of emoji reads 12; link"):
        m.VAEDecode(context, emoji, Latent(torch.zeros(1, 16, 16, 16)))
