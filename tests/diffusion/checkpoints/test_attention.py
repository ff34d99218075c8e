"""Perturbed-attention guidance on U-Nets: the same pictures as diffusers', exact limits, and nothing left behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPAGPipeline, StableDiffusionXLPAGPipeline
from nodegraph.nodes import guidance as g
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from torch import Tensor

from nodegraph import Context
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Conditioning, Guidance, Latent, PerturbedAttention, Sigmas
from nodegraph.files import Files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, SIDE = 3, 64
BLANK = Latent(torch.zeros(1, 4, SIDE // 8, SIDE // 8))


@dataclass
class Made:
    """A tiny checkpoint, its file, and what was loaded from it."""

    tiny: tiny.Tiny
    file: Path
    live: Loaded

    @property
    def words(self) -> tuple[Conditioning, Conditioning]:
        return self.live.text_encoder.encode("a photo of a cat", {}), self.live.text_encoder.encode("", {})

    @property
    def layers(self) -> list[Any]:
        """The self-attention of the network, in the order that it runs in."""
        found: list[Any] = []
        unet: Any = self.live.networks["denoiser"]
        blocks = [module for name, module in unet.named_modules() if name.endswith("attn1")]
        hooks = [block.register_forward_hook(lambda module, *_: found.append(module)) for block in blocks]
        self.live.denoiser.predict(BLANK.tensor, 2.0, self.words[0].conditions)
        for hook in hooks:
            hook.remove()
        assert len(found) == len(blocks)
        return found


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make("sd1", tmp_path_factory.mktemp("sd1"))


def make(family: str, folder: Path) -> Made:
    one = tiny.make(family)
    metadata = {"modelspec.prediction_type": "epsilon"}
    file = tiny.save_single(one, folder / "base.safetensors", metadata=metadata)
    return Made(one, file, load(describe(file.name, file, "digest").model.checkpoint, file, "cpu"))


def scheduler() -> Any:
    return EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing", steps_offset=1
    )  # fmt: skip


def ours(made: Made, term: PerturbedAttention | None, scale: float = 5.0) -> Tensor:
    """The latent after a few steps."""
    made_scheduler = scheduler()
    made_scheduler.set_timesteps(STEPS)
    positive, negative = made.words
    for step in sample(
        made.live.denoiser, BLANK, Sigmas(made_scheduler.sigmas.double()), positive, negative, seed=7,
        guidance_scale=scale, guidance=Guidance(() if term is None else (term,)),
    ):  # fmt: skip
        pass
    return step.x


def theirs(made: Made, scale: float, applied: list[str]) -> Tensor:
    """The same by diffusers' pipeline for this guidance, on the same networks, words and noise."""
    positive, negative = (words.conditions[0] for words in made.words)
    networks = made.tiny.networks
    call: dict[str, Any] = {
        "prompt_embeds": positive.embedding, "negative_prompt_embeds": negative.embedding,
        "num_inference_steps": STEPS, "guidance_scale": 5.0, "pag_scale": scale, "output_type": "latent",
        "latents": NoiseSource(7, 1)(BLANK.tensor), "height": SIDE, "width": SIDE,
    }  # fmt: skip
    parts: dict[str, Any] = {name: networks[name] for name in ("unet", "vae", "text_encoder")}
    parts |= {"tokenizer": None, "scheduler": scheduler(), "pag_applied_layers": applied}
    if made.tiny.family == "sdxl":
        call |= {"pooled_prompt_embeds": positive.pooled, "negative_pooled_prompt_embeds": negative.pooled}
        parts |= {"text_encoder_2": networks["text_encoder_2"], "tokenizer_2": None, "add_watermarker": False}
        pipeline: Any = StableDiffusionXLPAGPipeline(**parts)
    else:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = StableDiffusionPAGPipeline(**parts)
    pipeline.set_progress_bar_config(disable=True)
    found: Tensor = pipeline(**call).images
    return found


def test_with_guidance_it_is_the_picture_of_diffusers(made: Made) -> None:
    guided, plain = ours(made, PerturbedAttention(3.0)), ours(made, None)
    expected = theirs(made, 3.0, ["mid"])
    assert float((guided - expected).abs().max()) < 1e-3
    assert float((guided - plain).abs().max()) > 1e-2


def test_other_blocks_are_those_of_diffusers(made: Made) -> None:
    """The first block of the way up, in their names, is the one after the middle."""
    live: Any = made.live.denoiser
    number = max(live.usual_blocks) + 1
    layer = made.layers[number]
    name = next(name for name, one in made.live.networks["denoiser"].named_modules() if one is layer)
    guided = ours(made, PerturbedAttention(3.0, (number,)))
    expected = theirs(made, 3.0, [name.removesuffix(".attn1").replace(".", r"\.") + r"\."])
    assert float((guided - expected).abs().max()) < 1e-3
    assert float((guided - ours(made, PerturbedAttention(3.0))).abs().max()) > 1e-3


def test_blocks_are_counted_as_they_run(made: Made) -> None:
    live: Any = made.live.denoiser
    layers = made.layers
    assert live.attention_blocks == len(layers)
    assert all(a is b for a, b in zip(live._attention.layers, layers, strict=True))
    middle = {id(module) for module in made.live.networks["denoiser"].mid_block.modules()}  # type: ignore[union-attr]
    assert live.usual_blocks == tuple(i for i, layer in enumerate(layers) if id(layer) in middle)


def test_scale_zero_is_the_unguided_picture_bit_for_bit(made: Made) -> None:
    for scale in (1.0, 5.0):
        assert torch.equal(ours(made, PerturbedAttention(0.0), scale), ours(made, None, scale))


def test_a_place_that_is_alone_sees_itself_anyway(sd1: Made) -> None:
    """Of a latent of 2 x 2 the middle of this network has one place: its attention is the identity already."""
    live: Any = sd1.live.denoiser
    x, conditions = NoiseSource(1, 2)(torch.zeros(2, 4, 2, 2)), sd1.words[0].conditions
    (plain,), (worse,) = live.predict(x, 2.0, conditions), live.predict_perturbed(x, 2.0, conditions, (2 * 2,))
    assert live.usual_blocks == (4,)
    assert torch.allclose(plain, worse, atol=1e-6)
    (other,) = live.predict_perturbed(x, 2.0, conditions, (0,))
    assert float((plain - other).abs().max()) > 1e-4


def test_the_network_is_left_as_it_was(made: Made) -> None:
    live: Any = made.live.denoiser
    before = [(layer, layer.processor) for layer in made.layers]
    conditions = made.words[0].conditions
    (plain,) = live.predict(BLANK.tensor, 2.0, conditions)
    live.predict_perturbed(BLANK.tensor, 2.0, conditions, range(live.attention_blocks))
    with pytest.raises(ValueError, match="paints latents"):
        live.predict_perturbed(torch.zeros(1, 5, 8, 8), 2.0, conditions, (0, 1))
    assert all(layer.processor is processor for layer, processor in before)
    assert torch.equal(live.predict(BLANK.tensor, 2.0, conditions)[0], plain)


def test_through_the_nodes(sd1: Made) -> None:
    context = Context(files=Files({"checkpoints": [sd1.file.parent]}))
    model, encoder, vae = m.LoadModel(context, sd1.file.name)
    words, nothing = m.Encode(context, encoder, "a cat"), m.Encode(context, encoder, "")
    blank, sigmas = s.EmptyLatent(vae, SIDE, SIDE), s.Schedule(model, steps=3)

    def painted(guidance: Guidance | None) -> Tensor:
        return s.Sampler(context, model, words, blank, sigmas, nothing, guidance_scale=2, guidance=guidance).tensor

    plain = painted(None)
    assert torch.equal(painted(g.PerturbedAttentionGuidance(scale=0.0)), plain)
    usual = painted(g.PerturbedAttentionGuidance())
    assert not torch.allclose(usual, plain, atol=1e-3)
    assert torch.equal(painted(g.PerturbedAttentionGuidance(blocks="4")), usual)
    with pytest.raises(ValueError, match="blocks 0 to 10; got \\[11\\]"):
        painted(g.PerturbedAttentionGuidance(blocks="11"))
