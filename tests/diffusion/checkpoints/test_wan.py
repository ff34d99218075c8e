"""Wan's text to video, as a folder and in parts: every weight, and the same frames as diffusers'."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from nodegraph.nodes.adapters import LoadVAE
from nodegraph.nodes.models import Encode, LoadModel, LoadTextEncoder, VAEDecode
from nodegraph.nodes.sampling import EmptyLatent, EmptyVideo, Sampler, Schedule
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from nodegraph import Context
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.listing import listed
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Sigmas
from nodegraph.home import Home

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, WIDTH, HEIGHT, FRAMES = 3, 32, 48, 5
PROMPT, NEGATIVE = "a cat walks", "a dog"


@dataclass
class Made:
    """A tiny Wan in every form, in a folder of models; and its networks."""

    tiny: tiny.Tiny
    models: Path

    def context(self) -> Context:
        return Context(files=Home(self.models.parent, self.models.parent / "cache").files(output=self.models))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    models = tmp_path_factory.mktemp("home") / "models"
    one = tiny_flow.wan()
    tiny_flow.save_folder(one, models / "checkpoints" / "folder", "tokenizer")
    tiny_flow.save_tokenizer(models / "checkpoints" / "folder" / "tokenizer" / "tokenizer.json")
    original = tiny_flow.original_wan(one.networks["transformer"])
    tiny_flow.save(original, models / "diffusion_models" / "bare.safetensors")
    prefixed = tiny_flow.prefixed("model.diffusion_model.", original)
    tiny_flow.save(prefixed, models / "diffusion_models" / "prefixed.safetensors")
    tiny_flow.save(tiny_flow.text(one.networks["text_encoder"]), models / "text_encoders" / "umt5.safetensors")
    tiny_flow.save(tiny_flow.original_frames_vae(one.networks["vae"]), models / "vae" / "wan.safetensors")
    tiny_flow.save_tokenizer(models / "tokenizers" / "umt5.json")
    return Made(one, models)


def test_the_layout_of_the_tests_is_the_one_that_diffusers_reads(made: Made) -> None:
    found = convert_wan_transformer_to_diffusers(load_file(made.models / "diffusion_models" / "bare.safetensors"))
    expected = made.tiny.networks["transformer"].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "form", ["checkpoints/folder", "diffusion_models/bare.safetensors", "diffusion_models/prefixed.safetensors"]
)
def test_every_weight_arrives(made: Made, form: str) -> None:
    path = made.models / form
    live = load(describe(form, path, "digest").model.checkpoint, path, "cpu")
    ours: dict[str, Any] = {"transformer": live.networks["denoiser"]}
    if form == "checkpoints/folder":
        ours |= {"vae": live.networks["vae"], "text_encoder": live.networks["text_encoder"][0]}  # type: ignore[index]
    for name, network in ours.items():
        expected, found = made.tiny.networks[name].state_dict(), network.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name


def painted(made: Made, form: str, prompt: str = PROMPT) -> Tensor:
    """Frames through the nodes."""
    context = made.context()
    if form == "folder":
        model, text_encoder, vae = LoadModel(context, "folder")
    else:
        model = LoadModel(context, "bare.safetensors").model
        text_encoder = LoadTextEncoder(context, "wan", "umt5.safetensors", tokenizer="umt5.json")
        vae = LoadVAE(context, model, "wan.safetensors")
    schedule = scheduler()
    schedule.set_timesteps(STEPS)
    time = schedule.sigmas.double().clamp(max=1 - 1e-6)
    sigmas = Sigmas(time / (1 - time))
    latent = EmptyVideo(vae, WIDTH, HEIGHT, FRAMES)
    words, negative = Encode(context, text_encoder, prompt), Encode(context, text_encoder, NEGATIVE)
    painting = Sampler(
        context, model, words, latent, sigmas, negative, sampler="euler", seed=7, guidance_scale=5.0
    )
    return VAEDecode(context, vae, painting).tensor


def scheduler() -> Any:
    return FlowMatchEulerDiscreteScheduler(shift=5.0)


def theirs(made: Made) -> Tensor:
    """diffusers' own pipeline with its own tokens and sampler."""
    path = str(made.models / "tokenizers" / "umt5.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=path, pad_token="<pad>", eos_token="</s>")
    pipeline = WanPipeline(scheduler=scheduler(), tokenizer=tokenizer, **made.tiny.networks)
    pipeline.set_progress_bar_config(disable=True)
    noise = NoiseSource(7, 1)(torch.zeros(1, 16, FRAMES // 4 + 1, HEIGHT // 8, WIDTH // 8))
    with torch.inference_mode():
        return pipeline(
            f"{PROMPT}</s>", negative_prompt=f"{NEGATIVE}</s>", num_inference_steps=STEPS, guidance_scale=5.0,
            latents=noise, output_type="pt", height=HEIGHT, width=WIDTH, num_frames=FRAMES,
        ).frames[0]  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "parts"])
def test_the_frames_are_those_of_diffusers(made: Made, form: str) -> None:
    ours = painted(made, form)
    assert ours.shape == (FRAMES, 3, HEIGHT, WIDTH)
    assert float((ours - theirs(made)).abs().max()) < 1e-3
    assert float((ours - painted(made, form, "an apple")).abs().max()) > 1e-2  # the words count


def test_a_picture_is_one_frame(made: Made) -> None:
    context = made.context()
    model, text_encoder, vae = LoadModel(context, "folder")
    words, latent = Encode(context, text_encoder, PROMPT), EmptyLatent(vae, WIDTH, HEIGHT)
    sigmas = Schedule(model, "simple", 2)
    flat = Sampler(context, model, words, latent, sigmas, sampler="euler", guidance_scale=1.0).tensor
    video = EmptyVideo(vae, WIDTH, HEIGHT, 1)
    deep = Sampler(context, model, words, video, sigmas, sampler="euler", guidance_scale=1.0).tensor
    assert torch.equal(flat, deep[:, :, 0])


def test_frames_that_do_not_come_in_fours_are_refused(made: Made) -> None:
    context = made.context()
    vae = LoadModel(context, "folder").vae
    with pytest.raises(ValueError, match="Use 5"):
        EmptyVideo(vae, WIDTH, HEIGHT, 6)


def test_it_is_known_by_its_header_and_listed(made: Made) -> None:
    files = made.context().files
    paths = {name: files.find("checkpoints", name) for name in files.names("checkpoints") if name != "emoji"}
    assert {(entry.family, entry.problem) for entry in listed("checkpoints", paths)} == {
        ("Wan 2, text to video", "")
    }


@pytest.mark.parametrize("what", ["other channels", "a weight is missing"])
def test_what_is_not_text_to_video_is_refused(made: Made, tmp_path: Path, what: str) -> None:
    weights = load_file(made.models / "diffusion_models" / "bare.safetensors")
    path = tmp_path / "bad.safetensors"
    match what:
        case "other channels":
            weights["patch_embedding.weight"] = torch.ones(128, 20, 1, 2, 2)
            words = "should be a convolution of 16 or 36 channels over frames"
        case _:
            weights.pop("blocks.1.ffn.2.bias")
            words = r"lacks blocks\.1\.ffn\.net\.2\.bias"
    tiny_flow.save(weights, path)
    with pytest.raises(ModelRefused, match=words):
        load(describe("bad", path, "digest").model.checkpoint, path, "cpu")
