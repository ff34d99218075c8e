"""Perturbed-attention guidance on Stable Diffusion 3, Flux.1 and Wan: diffusers' pictures, exact limits, nothing left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3PAGPipeline
from torch import Tensor

from nodegraph.diffusion.checkpoints.blinding import PerturbableTransformer
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Condition, Conditioning, Guidance, Latent, PerturbedAttention, Sigmas

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, SIDES = 3, (12, 8)
BLANK = Latent(torch.zeros(1, 16, *SIDES))
MAKERS: dict[str, tuple[Callable[[], Any], Callable[[Any], dict[str, Tensor]]]] = {
    "sd3": (lambda: tiny_flow.sd3("3"), tiny_flow.original_sd3),
    "sd3.5": (lambda: tiny_flow.sd3("3.5 medium"), tiny_flow.original_sd3),
    "flux": (lambda: tiny_flow.flux(True), tiny_flow.original_flux),
    "wan": (tiny_flow.wan, tiny_flow.original_wan),
}
WIDTHS = {"flux": 32, "wan": tiny_flow.T5_WIDTH}


@dataclass
class Made:
    """A tiny transformer, and what was loaded from its file."""

    family: str
    network: Any
    live: PerturbableTransformer

    @property
    def words(self) -> tuple[Conditioning, Conditioning]:
        width, pooled = WIDTHS.get(self.family, 256), self.network.config.get("pooled_projection_dim", 64)
        generator = torch.Generator().manual_seed(1)
        both = []
        for _ in range(2):
            embedding = torch.randn(1, 9, width, generator=generator)
            both.append(Conditioning((Condition(embedding, pooled=torch.randn(1, pooled, generator=generator)),)))
        return both[0], both[1]

    def painted(self, term: PerturbedAttention | None, scale: float = 1.0) -> Tensor:
        time = torch.tensor([0.99, 0.7, 0.3, 0.0], dtype=torch.float64)
        positive, negative = self.words
        terms = Guidance(() if term is None else (term,))
        for step in sample(
            self.live, BLANK, Sigmas(time / (1 - time)), positive, negative, seed=7, guidance=terms,
            guidance_scale=scale,
        ):  # fmt: skip
            pass
        return step.x


@pytest.fixture(scope="module", params=MAKERS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    make, original = MAKERS[request.param]
    network = make().networks["transformer"]
    path = tiny_flow.save(original(network), tmp_path_factory.mktemp("one") / "one.safetensors")
    live = load(describe("one", path, "digest").model.checkpoint, path, "cpu").denoiser
    assert isinstance(live, PerturbableTransformer)
    return Made(request.param, network, live)


def test_pictures_are_those_of_diffusers(tmp_path: Path) -> None:
    """Of Stable Diffusion 3: of 3.5 their pipeline forgets the norms, of Flux.1 there is none."""
    one = tiny_flow.sd3("3")
    path = tiny_flow.save(tiny_flow.original_sd3(one.networks["transformer"]), tmp_path / "one.safetensors")
    live: Any = load(describe("one", path, "digest").model.checkpoint, path, "cpu").denoiser
    positive, negative = Made("sd3", one.networks["transformer"], live).words
    empty = dict.fromkeys(("tokenizer", "tokenizer_2", "tokenizer_3", "text_encoder", "text_encoder_2"))
    pipeline = StableDiffusion3PAGPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), transformer=one.networks["transformer"], vae=None,
        text_encoder_3=None, pag_applied_layers=["blocks.1"], **empty,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    (wanted,), (unwanted,) = positive.conditions, negative.conditions
    with torch.inference_mode():
        expected = pipeline(
            prompt_embeds=wanted.embedding, pooled_prompt_embeds=wanted.pooled, pag_scale=2.0, guidance_scale=4.0,
            negative_prompt_embeds=unwanted.embedding, negative_pooled_prompt_embeds=unwanted.pooled,
            num_inference_steps=STEPS, latents=NoiseSource(7, 1)(BLANK.tensor), height=8 * SIDES[0],
            width=8 * SIDES[1], output_type="latent",
        ).images  # fmt: skip
    time = pipeline.scheduler.sigmas.double().clamp(max=1 - 1e-6)
    sigmas = Sigmas(time / (1 - time))

    def painted(scale: float, blocks: tuple[int, ...]) -> Tensor:
        terms = Guidance((PerturbedAttention(scale, blocks),))
        for step in sample(live, BLANK, sigmas, positive, negative, seed=7, guidance_scale=4.0, guidance=terms):
            pass
        return step.x

    assert float((painted(2.0, (1,)) - expected).abs().max()) < 1e-3
    for other in ((0.0, (1,)), (2.0, (0,))):
        assert float((painted(*other) - expected).abs().max()) > 1e-2


def test_a_scale_of_nothing_changes_nothing_and_the_network_is_as_before(made: Made) -> None:
    before = made.painted(None)
    processors = [layer.processor for block in made.live._blocks for layer in block]
    guided = made.painted(PerturbedAttention(2.0))
    assert not torch.allclose(guided, before, atol=1e-3)
    assert [layer.processor for block in made.live._blocks for layer in block] == processors
    assert torch.equal(made.painted(PerturbedAttention(0.0)), before)
    assert torch.equal(made.painted(None), before)


def test_perturbed_places_see_the_words_and_themselves_alone(made: Made) -> None:
    """What one place is given in a perturbed block does not change with the others; in a usual one it does."""
    width = 128 if made.family == "wan" else made.network.inner_dim
    generator = torch.Generator().manual_seed(3)
    places, words = torch.randn(1, 6, width, generator=generator), torch.randn(1, 4, width, generator=generator)
    moved = places.clone()
    moved[:, 1:] = torch.randn(1, 5, width, generator=generator)
    other = words + 1

    def first(places: Tensor, words: Tensor) -> Tensor:
        with torch.inference_mode():
            if made.family == "wan":  # its words are looked at apart
                unmoved = torch.ones(1, 6, 1, width), torch.zeros(1, 6, 1, width)
                return made.live.network.blocks[0](places, words, torch.zeros(1, 6, width), unmoved)[:, 0]
            return made.live._blocks[0][0](places, words)[0][:, 0]

    assert not torch.allclose(first(places, words), first(moved, words), atol=1e-3)
    with made.live._blind((0,)):
        alone = first(places, words)
        assert torch.allclose(alone, first(moved, words), atol=1e-5)
        assert not torch.allclose(alone, first(places, other), atol=1e-3)


def test_blocks_are_counted_and_the_middle_one_is_usual(made: Made) -> None:
    count = len(made.network.blocks if made.family == "wan" else made.network.transformer_blocks)
    assert (made.live.attention_blocks, made.live.usual_blocks) == (count, (count // 2,))
    usual = made.painted(PerturbedAttention(2.0))
    assert torch.equal(usual, made.painted(PerturbedAttention(2.0, (count // 2,))))
    with pytest.raises(ValueError, match=f"attention blocks 0 to {count - 1}"):
        made.painted(PerturbedAttention(2.0, (count,)))


def test_a_failure_in_between_leaves_the_network_as_it_was(made: Made) -> None:
    processors = [layer.processor for block in made.live._blocks for layer in block]
    with pytest.raises(ValueError, match="multiples of"):
        made.live.predict_perturbed(torch.zeros(1, 16, 3, 3), 1.0, made.words[0].conditions, (0, 1))
    assert [layer.processor for block in made.live._blocks for layer in block] == processors


@pytest.mark.parametrize("made", ["wan"], indirect=True)
def test_a_place_of_wan_alone_is_attention_under_a_mask_that_hides_the_others(made: Made) -> None:
    (layer,) = made.live._blocks[0]
    places = torch.randn(2, 6, 128, generator=torch.Generator().manual_seed(4))
    turned = torch.rand(2, 1, 6, 1, 128, generator=torch.Generator().manual_seed(5)).unbind(0)
    with torch.inference_mode():
        expected = layer(places, None, torch.eye(6, dtype=torch.bool), turned)
        with made.live._blind((0,)):
            found = layer(places, None, None, turned)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, layer(places, None, None, turned), atol=1e-3)
