"""Wan 2.2 of 5 billion weights: a VAE of 48 channels, from text and from a picture whose frame keeps the time 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline, WanPipeline
from nodegraph.nodes.adapters import LoadVAE
from nodegraph.nodes.models import Encode, LoadModel, LoadTextEncoder, VAEDecode, VAEEncode
from nodegraph.nodes.sampling import EmptyVideo, Sampler
from nodegraph.nodes.shown import ImageToVideo
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from nodegraph import Context
from nodegraph.diffusion.checkpoints import vaes
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.listing import listed
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Image, Sigmas
from nodegraph.home import Home

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, WIDTH, HEIGHT, FRAMES, SCALE = 3, 64, 96, 9, 5.0
SIDES = (HEIGHT // 16, WIDTH // 16)
PROMPT, NEGATIVE = "a cat walks", "a dog"
FORMS = ("folder", "parts")


@pytest.fixture(scope="module")
def made() -> tiny.Tiny:
    one = tiny_flow.wan(in_channels=48, out_channels=48)
    one.networks["vae"] = tiny_flow.residual_vae(vaes.MEAN_48, vaes.DEVIATION_48).eval()
    return tiny_flow._finished(one)


@pytest.fixture(scope="module")
def models(made: tiny.Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("home") / "models"
    folder = tiny_flow.save_folder(made, models / "checkpoints" / "folder", "tokenizer", expand_timesteps=True)
    tiny_flow.save_tokenizer(folder / "tokenizer" / "tokenizer.json")
    original = tiny_flow.original_wan(made.networks["transformer"])
    tiny_flow.save(original, models / "diffusion_models" / "bare.safetensors")
    tiny_flow.save(tiny_flow.text(made.networks["text_encoder"]), models / "text_encoders" / "umt5.safetensors")
    tiny_flow.save(tiny_flow.original_frames_vae(made.networks["vae"]), models / "vae" / "wan22.safetensors")
    tiny_flow.save(tiny_flow.original_frames_vae(tiny_flow.frames_vae()), models / "vae" / "wan21.safetensors")
    tiny_flow.save_tokenizer(models / "tokenizers" / "umt5.json")
    return models


def context(models: Path) -> Context:
    return Context(files=Home(models.parent, models.parent / "cache").files(output=models))


def test_names_are_those_of_the_original_files(models: Path) -> None:
    """As the VAE that Wan published has them, where levels have layers of their own."""
    names = load_file(models / "vae" / "wan22.safetensors").keys()
    assert names >= {
        "conv1.weight", "conv2.weight", "encoder.conv1.weight", "encoder.downsamples.0.downsamples.0.residual.2.weight",
        "encoder.downsamples.1.downsamples.0.shortcut.weight", "encoder.downsamples.1.downsamples.1.resample.1.weight",
        "encoder.downsamples.1.downsamples.1.time_conv.weight", "encoder.middle.1.to_qkv.weight",
        "decoder.upsamples.0.upsamples.2.time_conv.weight", "decoder.upsamples.3.upsamples.1.residual.6.weight",
        "decoder.head.2.weight",
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_arrives(made: tiny.Tiny, models: Path, form: str) -> None:
    here = context(models)
    if form == "folder":
        path = models / "checkpoints" / "folder"
        found = load(describe(form, path, "digest").model.checkpoint, path, "cpu").networks
        pairs: dict[str, Any] = {"transformer": found["denoiser"], "vae": found["vae"]}
    else:
        model = LoadModel(here, "bare.safetensors").model
        vae = LoadVAE(here, model, "wan22.safetensors")
        pairs = {
            "transformer": here.open(model.checkpoint).denoiser.network,  # type: ignore[attr-defined]
            "vae": here.open(vae.checkpoint).vae.network,  # type: ignore[attr-defined]
        }
    for name, network in pairs.items():
        expected, ours = made.networks[name].state_dict(), network.state_dict()
        assert ours.keys() == expected.keys()
        assert all(torch.equal(ours[key], expected[key]) for key in expected), name


def painted(models: Path, form: str, picture: Image | None) -> Tensor:
    """Frames through the nodes."""
    here = context(models)
    if form == "folder":
        model, text_encoder, vae = LoadModel(here, "folder")
    else:
        model = LoadModel(here, "bare.safetensors").model
        text_encoder = LoadTextEncoder(here, "wan", "umt5.safetensors", tokenizer="umt5.json")
        vae = LoadVAE(here, model, "wan22.safetensors")
    schedule = FlowMatchEulerDiscreteScheduler(shift=5.0)
    schedule.set_timesteps(STEPS)
    time = schedule.sigmas.double().clamp(max=1 - 1e-6)
    words, negative = Encode(here, text_encoder, PROMPT), Encode(here, text_encoder, NEGATIVE)
    latent = (
        EmptyVideo(vae, WIDTH, HEIGHT, FRAMES)
        if picture is None
        else ImageToVideo(here, vae, picture, WIDTH, HEIGHT, FRAMES)
    )
    assert latent.tensor.shape == (1, 48, FRAMES // 4 + 1, *SIDES)
    video = Sampler(here, model, words, latent, Sigmas(time / (1 - time)), negative, "euler", 7, SCALE)
    if picture is not None:
        assert torch.allclose(video.tensor[:, :, 0], VAEEncode(here, vae, picture).tensor, atol=1e-4)
    return VAEDecode(here, vae, video).tensor


def theirs(made: tiny.Tiny, models: Path, picture: Image | None) -> Tensor:
    """diffusers' own pipelines."""
    path = str(models / "tokenizers" / "umt5.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=path, pad_token="<pad>", eos_token="</s>")
    kind: Any = WanPipeline if picture is None else WanImageToVideoPipeline
    pipeline = kind(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0), tokenizer=tokenizer, expand_timesteps=True,
        **made.networks,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    reads = WanPipeline(scheduler=None, tokenizer=tokenizer, vae=None, text_encoder=made.networks["text_encoder"])
    words, negative = reads.encode_prompt(f"{PROMPT}</s>", f"{NEGATIVE}</s>", max_sequence_length=512)
    noise = NoiseSource(7, 1)(torch.zeros(1, 48, FRAMES // 4 + 1, *SIDES))
    shown = {} if picture is None else {"image": picture.tensor}
    with torch.inference_mode():
        return pipeline(
            prompt_embeds=words, negative_prompt_embeds=negative, num_inference_steps=STEPS, guidance_scale=SCALE,
            latents=noise, output_type="pt", height=HEIGHT, width=WIDTH, num_frames=FRAMES, **shown,
        ).frames[0]  # fmt: skip


@pytest.mark.parametrize("start", ["text", "picture"])
def test_the_frames_are_those_of_diffusers(made: tiny.Tiny, models: Path, start: str) -> None:
    picture = None if start == "text" else Image(torch.rand(1, 3, HEIGHT, WIDTH))
    expected = theirs(made, models, picture)
    for form in FORMS:
        ours = painted(models, form, picture)
        assert ours.shape == (FRAMES, 3, HEIGHT, WIDTH)
        assert float((ours - expected).abs().max()) < 1e-3
    other = None if picture is None else Image(1 - picture.tensor)
    if other is not None:
        assert float((painted(models, "folder", other)[1:] - expected[1:]).abs().max()) > 5e-3


def test_it_is_known_by_its_header_and_listed(models: Path) -> None:
    files = context(models).files
    paths = {name: files.find("checkpoints", name) for name in files.names("checkpoints") if name != "emoji"}
    assert {(entry.family, entry.problem) for entry in listed("checkpoints", paths)} == {
        ("Wan 2.2 of 5 billion weights", "")
    }


def test_what_does_not_fit_is_refused(models: Path) -> None:
    here = context(models)
    model, _, vae = LoadModel(here, "folder")
    with pytest.raises(
        ModelRefused, match=r"a VAE of 16 latent channels, and Wan 2\.2 of 5 billion weights paints 48"
    ):
        LoadVAE(here, model, "wan21.safetensors")
    with pytest.raises(ValueError, match="multiples of 32: use 96 or 128"):
        EmptyVideo(vae, 100, 96, 5)
    picture = Image(torch.rand(1, 3, HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="starts from a picture and reaches none; unlink `last`"):
        ImageToVideo(here, vae, picture, WIDTH, HEIGHT, FRAMES, picture)
    alone = LoadModel(here, "bare.safetensors").vae
    assert (alone.latent_channels, alone.downscale, alone.multiple) == (48, 16, 2)
