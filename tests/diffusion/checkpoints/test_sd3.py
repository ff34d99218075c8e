"""Stable Diffusion 3 and 3.5, as files, folders and parts: every weight, and the same pictures as diffusers'."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
from nodegraph.nodes.adapters import LoadVAE
from nodegraph.nodes.models import Encode, EncodeEach, LoadModel, LoadTextEncoder, VAEDecode
from nodegraph.nodes.sampling import EmptyLatent, Sampler, Schedule
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from nodegraph import Context
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.listing import listed
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.home import Home

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, WIDTH, HEIGHT = 3, 64, 96
PROMPT = "a photo of a cat, 8k"
TEXTS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"}


@dataclass(eq=False)  # so that what a pipeline painted can be kept by it
class Made:
    """A tiny checkpoint in every form, in a folder of models; and its networks."""

    kind: str
    tiny: tiny.Tiny
    models: Path

    def context(self) -> Context:
        return Context(files=Home(self.models.parent, self.models.parent / "cache").files(output=self.models))


@pytest.fixture(scope="module", params=["3", "3.5 medium", pytest.param("3.5 large", marks=pytest.mark.slow)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    one = tiny_flow.sd3(request.param)
    models = tmp_path_factory.mktemp("home") / "models"
    original = tiny_flow.original_sd3(one.networks["transformer"])
    tiny_flow.save_folder(one, models / "checkpoints" / "folder", "tokenizer_3")
    tiny_flow.save(tiny_flow.whole(one, original, TEXTS), models / "checkpoints" / "whole.safetensors")
    small = {name: TEXTS[name] for name in ("text_encoder", "text_encoder_2")}
    tiny_flow.save(tiny_flow.whole(one, original, small), models / "checkpoints" / "clips.safetensors")
    tiny_flow.save(original, models / "unet" / "bare.safetensors")
    for name, file in TEXTS.items():
        tiny_flow.save(tiny_flow.text(one.networks[name]), models / "text_encoders" / f"{file}.safetensors")
    tiny_flow.save(tiny.original_vae(one.networks["vae"]), models / "vae" / "sd3.safetensors")
    tiny_flow.save_tokenizer(models / "tokenizers" / "t5.json")
    return Made(request.param, one, models)


def test_the_layout_of_the_tests_is_the_one_that_diffusers_reads(made: Made) -> None:
    expected = made.tiny.networks["transformer"].state_dict()
    found = convert_sd3_transformer_checkpoint_to_diffusers(load_file(made.models / "unet" / "bare.safetensors"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("form", ["checkpoints/folder", "checkpoints/whole.safetensors", "unet/bare.safetensors"])
def test_every_weight_arrives(made: Made, form: str) -> None:
    path = made.models / form
    live = load(describe(form, path, "digest").model.checkpoint, path, "cpu")
    ours: dict[str, Any] = {"transformer": live.networks["denoiser"]}
    if form.startswith("checkpoints"):
        ours["vae"] = live.networks["vae"]
        ours |= dict(zip(TEXTS, live.networks["text_encoder"], strict=True))  # type: ignore[call-overload]
        assert ours.keys() == made.tiny.networks.keys()
    for name, network in ours.items():
        expected, found = made.tiny.networks[name].state_dict(), network.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name


def painted(made: Made, form: str) -> Tensor:
    """A picture through the nodes, from a whole checkpoint or from its parts in files of their own."""
    context = made.context()
    if form == "parts":
        model = LoadModel(context, "bare.safetensors").model
        files = [f"{name}.safetensors" for name in ("clip_g", "t5xxl", "clip_l")]
        text_encoder = LoadTextEncoder(context, made.tiny.family, *files, tokenizer="t5.json")  # type: ignore[arg-type]
        vae = LoadVAE(context, model, "sd3.safetensors")
    else:
        model, text_encoder, vae = LoadModel(context, form, "t5.json" if form == "whole.safetensors" else None)
    latent = EmptyLatent(vae, WIDTH, HEIGHT)
    sigmas = Schedule(model, "simple", STEPS + 1)
    words, negative = Encode(context, text_encoder, PROMPT), Encode(context, text_encoder, "a dog")
    painting = Sampler(
        context, model, words, latent, sigmas, negative, sampler="euler", seed=7, guidance_scale=5.0
    )  # fmt: skip
    return VAEDecode(context, vae, painting).tensor


@cache
def theirs(made: Made, prompt: str = PROMPT, *, t5: bool = True) -> Tensor:
    """diffusers' own pipeline with its own joining of the three encoders, schedule and sampler."""
    pipeline = pipeline_of(made, t5=t5)
    noise = NoiseSource(7, 1)(torch.zeros(1, 16, HEIGHT // 8, WIDTH // 8))
    with torch.inference_mode():
        return pipeline(
            prompt, negative_prompt="a dog", prompt_3=f"{prompt}</s>", negative_prompt_3="a dog</s>",
            sigmas=np.linspace(1, 1 / (STEPS + 1), STEPS + 1).tolist(), num_inference_steps=STEPS + 1,
            guidance_scale=5.0, latents=noise, output_type="pt", height=HEIGHT, width=WIDTH,
        ).images  # fmt: skip


def pipeline_of(made: Made, *, t5: bool = True) -> Any:
    networks = dict(made.tiny.networks) if t5 else {**made.tiny.networks, "text_encoder_3": None}
    words = PreTrainedTokenizerFast(
        tokenizer_file=str(made.models / "tokenizers" / "t5.json"), pad_token="<pad>", eos_token="</s>"
    )
    pipeline = StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), tokenizer=Clip(49407), tokenizer_2=Clip(0),
        tokenizer_3=words, **networks,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    pipeline.tokenizer_max_length = 77
    return pipeline


class Clip:
    """CLIP's tokens as transformers gives them, for a pipeline."""

    model_max_length = 77

    def __init__(self, padding: int) -> None:
        self.padding = padding

    def __call__(self, prompts: list[str], **_: object) -> Any:
        ids = torch.cat([tiny.tokens(prompt, self.padding) for prompt in prompts])
        return type("Batch", (), {"input_ids": ids})


@pytest.mark.parametrize("form", ["folder", "whole.safetensors", "parts"])
def test_a_picture_is_that_of_diffusers(made: Made, form: str) -> None:
    ours = painted(made, form)
    assert float((ours - theirs(made)).abs().max()) < 1e-3
    assert float((ours - theirs(made, "an apple")).abs().max()) > 1e-2  # the words count


@pytest.mark.parametrize("t5", [True, False])
def test_the_words_are_joined_as_diffusers_joins_them(made: Made, t5: bool) -> None:
    """Their order too, of which the attention of this network takes no note."""
    context = made.context()
    file = "whole.safetensors" if t5 else "clips.safetensors"
    told = Encode(context, LoadModel(context, file, "t5.json").text_encoder, PROMPT).conditions[0]
    with torch.inference_mode():
        embedding, _, pooled, _ = pipeline_of(made, t5=t5).encode_prompt(
            PROMPT, PROMPT, f"{PROMPT}</s>", do_classifier_free_guidance=False
        )
    assert torch.allclose(told.embedding, embedding, atol=1e-5)  # type: ignore[arg-type]
    assert torch.allclose(told.pooled, pooled, atol=1e-5)  # type: ignore[arg-type]


def test_without_t5_its_place_is_zeros(made: Made) -> None:
    ours = painted(made, "clips.safetensors")
    assert float((ours - theirs(made, t5=False)).abs().max()) < 1e-3
    assert float((ours - theirs(made)).abs().max()) > 1e-3


def test_text_encoders_alone_without_t5_are_as_wide_as_the_family(made: Made) -> None:
    context = made.context()
    alone = LoadTextEncoder(context, "sd3", "clip_l.safetensors", "clip_g.safetensors")
    embedding = Encode(context, alone, PROMPT).conditions[0].embedding
    assert embedding is not None
    assert embedding.shape == (1, 77 + 256, 4096)
    with pytest.raises(ModelRefused, match="CLIP G is missing"):
        LoadTextEncoder(context, "sd3", "clip_l.safetensors", "t5xxl.safetensors")


def test_the_schedule_is_that_of_the_paper(made: Made) -> None:
    """Times at equal distance from 1 to 1 / 1,000, shifted by 3 (Esser et al. 2024, eq. 23)."""
    sigmas = Schedule(LoadModel(made.context(), "whole.safetensors").model, "normal", 10).tensor
    time = torch.linspace(1, 0.001, 10, dtype=torch.float64)
    shifted = 3 * time / (1 + 2 * time)
    assert torch.allclose((sigmas / (1 + sigmas))[:-1], shifted, atol=2e-5)


def test_a_longer_prompt_is_read_to_its_end(made: Made) -> None:
    context = made.context()
    _, text_encoder, _ = LoadModel(context, "whole.safetensors", "t5.json")
    embedding = Encode(context, text_encoder, "0 " * 140).conditions[0].embedding
    assert embedding is not None
    assert embedding.shape[1] == 2 * 77 + 2 * 140 + 1  # two windows of CLIP, and two tokens of T5 for each word
    with pytest.raises(ValueError, match="reads 512; make it shorter"):
        Encode(context, text_encoder, "0 " * 600)


def test_a_long_line_beside_a_short_one_is_refused(made: Made) -> None:
    context = made.context()
    model, text_encoder, vae = LoadModel(context, "folder")
    each = EncodeEach(context, text_encoder, "a cat\n" + "a very long story of a dog " * 15)
    blank = EmptyLatent(vae, WIDTH, HEIGHT, 2)
    with pytest.raises(ValueError, match="more tokens than CLIP reads at once"):
        Sampler(context, model, each, blank, Schedule(model, "simple", 2), guidance_scale=1)


def test_it_is_known_by_its_header_and_listed(made: Made) -> None:
    files = made.context().files
    title = "Stable Diffusion 3" if made.kind == "3" else "Stable Diffusion 3.5"
    paths = {name: files.find("checkpoints", name) for name in files.names("checkpoints") if name != "emoji"}
    assert {entry.family for entry in listed("checkpoints", paths)} == {title}


DAMAGE = {
    "a weight is missing": (lambda t: t.pop("joint_blocks.1.x_block.mlp.fc2.weight"), "lacks transformer_blocks.1.ff"),
    "a weight too many": (lambda t: t.update({"joint_blocks.0.extra": torch.ones(2)}), "no place for joint_blocks.0"),
    "places that are no square": (lambda t: t.update(pos_embed=torch.ones(1, 140, 128)), "140 places"),
    "latents of 4 channels": (
        lambda t: t.update({"x_embedder.proj.weight": torch.ones(128, 4, 2, 2)}), "convolution of 16 channels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_refused_with_the_weight_that_is_wrong(made: Made, tmp_path: Path, what: str) -> None:
    change, words = DAMAGE[what]
    tensors = load_file(made.models / "unet" / "bare.safetensors")
    change(tensors)
    path = tmp_path / "bad.safetensors"
    save_file(tensors, path)
    with pytest.raises(ModelRefused, match=words) as caught:
        load(describe("bad", path, "digest").model.checkpoint, path, "cpu")
    assert str(path) in str(caught.value)


def test_a_picture_that_is_too_large_is_refused(made: Made) -> None:
    context = made.context()
    model, text_encoder, vae = LoadModel(context, "clips.safetensors")
    words = Encode(context, text_encoder, PROMPT)
    latent = EmptyLatent(vae, 256, 64)
    with pytest.raises(ValueError, match="sides of up to 192 pixels; got 256 x 64"):
        Sampler(context, model, words, latent, Schedule(model, "simple", 2), sampler="euler", guidance_scale=1.0)
