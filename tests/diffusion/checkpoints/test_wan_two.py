"""Wan 2.2's two networks, as a folder, as two files joined, and as two samplers one after the other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline
from nodegraph.nodes.adapters import LoadLora, LoadVAE
from nodegraph.nodes.models import Encode, LoadModel, LoadTextEncoder, Reparametrize, VAEDecode
from nodegraph.nodes.parts import NoNoise, PairNetworks, SplitNetworks, SplitSigmas
from nodegraph.nodes.sampling import EmptyVideo, Sampler
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from nodegraph import Context, events
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.models.memory import loading_bytes
from nodegraph.diffusion.models.pool import ModelPool
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.sampling.switching import apart
from nodegraph.diffusion.values import Model, Sigmas
from nodegraph.home import Home

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, WIDTH, HEIGHT, FRAMES = 4, 32, 48, 5
BOUNDARY, SCALE, LOW_SCALE = 0.875, 8.0, 2.0
PROMPT, NEGATIVE = "a cat walks", "a dog"


@pytest.fixture(scope="module")
def made() -> tiny.Tiny:
    return tiny_flow.wan(two=True)


@pytest.fixture(scope="module")
def models(made: tiny.Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with Wan 2.2 in every form."""
    models = tmp_path_factory.mktemp("home") / "models"
    tiny_flow.save_folder(made, models / "checkpoints" / "folder", "tokenizer", boundary_ratio=BOUNDARY)
    tiny_flow.save_tokenizer(models / "checkpoints" / "folder" / "tokenizer" / "tokenizer.json")
    for name, file in (("transformer", "high_noise"), ("transformer_2", "low_noise")):
        original = tiny_flow.original_wan(made.networks[name])
        tiny_flow.save(original, models / "diffusion_models" / f"{file}.safetensors")
    tiny_flow.save(tiny_flow.text(made.networks["text_encoder"]), models / "text_encoders" / "umt5.safetensors")
    tiny_flow.save(tiny_flow.original_frames_vae(made.networks["vae"]), models / "vae" / "wan.safetensors")
    tiny_flow.save_tokenizer(models / "tokenizers" / "umt5.json")
    return models


def context(home: Path, **how: Any) -> Context:
    return Context(files=Home(home.parent, home.parent / "cache").files(output=home), **how)


def spaced() -> Sigmas:
    """The sigmas of diffusers' scheduler: two steps above the boundary, two below."""
    schedule = FlowMatchEulerDiscreteScheduler(shift=5.0)
    schedule.set_timesteps(STEPS)
    assert [int(time >= 1000 * BOUNDARY) for time in schedule.timesteps] == [1, 1, 0, 0]
    time = schedule.sigmas.double().clamp(max=1 - 1e-6)
    return Sigmas(time / (1 - time))


def parts(context: Context, form: str) -> tuple[Model, Any, Any]:
    """The model, its text encoder and its VAE, from the folder or from files."""
    if form == "folder":
        model, text_encoder, vae = LoadModel(context, "folder")
        return PairNetworks(model, low_guidance_scale=LOW_SCALE), text_encoder, vae
    high, low = (LoadModel(context, f"{name}_noise.safetensors").model for name in ("high", "low"))
    text_encoder = LoadTextEncoder(context, "wan", "umt5.safetensors", tokenizer="umt5.json")
    vae = LoadVAE(context, high, "wan.safetensors")
    return PairNetworks(high, low, BOUNDARY, LOW_SCALE), text_encoder, vae


def painted(models: Path, form: str) -> Tensor:
    """Frames through the nodes."""
    here = context(models)
    model, text_encoder, vae = parts(here, "files" if form == "two samplers" else form)
    words, negative = Encode(here, text_encoder, PROMPT), Encode(here, text_encoder, NEGATIVE)
    latent, sigmas = EmptyVideo(vae, WIDTH, HEIGHT, FRAMES), spaced()
    if form == "two samplers":
        first, last = SplitSigmas(sigmas, 2)
        high, low = SplitNetworks(model)
        half = Sampler(here, high, words, latent, first, negative, "euler", 7, SCALE)
        video = Sampler(here, low, words, half, last, negative, "euler", 7, LOW_SCALE, noise=NoNoise(half))
    else:
        video = Sampler(here, model, words, latent, sigmas, negative, "euler", 7, SCALE)
    return VAEDecode(here, vae, video).tensor


@pytest.fixture(scope="module")
def theirs(made: tiny.Tiny, models: Path) -> Tensor:
    """diffusers' own pipeline with both transformers."""
    path = str(models / "tokenizers" / "umt5.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=path, pad_token="<pad>", eos_token="</s>")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    pipeline = WanPipeline(scheduler=scheduler, tokenizer=tokenizer, boundary_ratio=BOUNDARY, **made.networks)
    pipeline.set_progress_bar_config(disable=True)
    noise = NoiseSource(7, 1)(torch.zeros(1, 16, FRAMES // 4 + 1, HEIGHT // 8, WIDTH // 8))
    with torch.inference_mode():
        return pipeline(
            f"{PROMPT}</s>", negative_prompt=f"{NEGATIVE}</s>", num_inference_steps=STEPS, guidance_scale=SCALE,
            guidance_scale_2=LOW_SCALE, latents=noise, output_type="pt", height=HEIGHT, width=WIDTH,
            num_frames=FRAMES,
        ).frames[0]  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "files", "two samplers"])
def test_the_frames_are_those_of_diffusers(models: Path, theirs: Tensor, form: str) -> None:
    assert float((painted(models, form) - theirs).abs().max()) < 1e-3


def test_each_network_and_each_scale_counts(models: Path, theirs: Tensor) -> None:
    here, sigmas = context(models), spaced()
    model, text_encoder, vae = parts(here, "folder")
    high, low = SplitNetworks(model)
    words, negative = Encode(here, text_encoder, PROMPT), Encode(here, text_encoder, NEGATIVE)
    latent = EmptyVideo(vae, WIDTH, HEIGHT, FRAMES)
    for other in (high, low, PairNetworks(low, high, BOUNDARY, LOW_SCALE), PairNetworks(model)):
        video = Sampler(here, other, words, latent, sigmas, negative, "euler", 7, SCALE)
        assert float((VAEDecode(here, vae, video).tensor - theirs).abs().max()) > 5e-3


@pytest.mark.parametrize("second", [False, True])
def test_every_weight_of_the_folder_arrives(made: tiny.Tiny, models: Path, second: bool) -> None:
    path = models / "checkpoints" / "folder"
    model = describe("folder", path, "digest").model
    live = load(apart(model)[second].checkpoint, path, "cpu")
    expected = made.networks["transformer_2" if second else "transformer"].state_dict()
    found = live.networks["denoiser"].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert live.networks.keys() == ({"denoiser"} if second else {"denoiser", "vae", "text_encoder"})


def test_memory_is_asked_for_one_network_at_a_time(made: tiny.Tiny, models: Path) -> None:
    path = models / "checkpoints" / "folder"
    sizes = {name: sum(value.nbytes for value in one.parameters()) for name, one in made.networks.items()}
    assert loading_bytes(path, "float32", "transformer_2") == sizes["transformer_2"]
    assert loading_bytes(path, "float32") == sum(sizes.values()) - sizes["transformer_2"]


def test_room_for_one_network_is_enough(made: tiny.Tiny, models: Path) -> None:
    """Each network has the device to itself: there is room for it, the VAE and the text encoder, not for both."""
    sizes = {name: sum(value.nbytes for value in one.parameters()) for name, one in made.networks.items()}
    room = sum(sizes.values()) - sizes["transformer_2"] // 2
    pool = ModelPool({"cpu": room})
    here = context(models, models=lambda: pool)
    model, text_encoder, vae = parts(here, "folder")
    words = Encode(here, text_encoder, PROMPT)
    latent = EmptyVideo(vae, WIDTH, HEIGHT, FRAMES)
    tight = Sampler(here, PairNetworks(model), words, latent, spaced(), None, "euler", 7, 1.0)
    assert pool.used() <= room
    roomy = Sampler(context(models), PairNetworks(model), words, latent, spaced(), None, "euler", 7, 1.0)
    assert torch.equal(tight.tensor, roomy.tensor)


def lora(models: Path) -> str:
    generator = torch.Generator().manual_seed(1)
    down, up = (torch.randn(*shape, generator=generator) for shape in ((4, 128), (128, 4)))
    name = "diffusion_model.blocks.0.self_attn.q"
    pair = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    return tiny_flow.save(pair, models / "loras" / "lora.safetensors").name


def test_a_lora_changes_one_network_or_both(models: Path) -> None:
    here, name = context(models), lora(models)
    model, text_encoder, vae = LoadModel(here, "folder")
    words, latent, sigmas = Encode(here, text_encoder, PROMPT), EmptyVideo(vae, WIDTH, HEIGHT, 1), spaced()
    high, low = SplitNetworks(model)

    def run(model: Model) -> Tensor:
        return Sampler(here, model, words, latent, sigmas, None, "euler", 7, 1.0).tensor

    def with_lora(model: Model) -> Model:
        return LoadLora(here, model, text_encoder, name).model

    plain = run(model)
    apart = {
        "high": run(PairNetworks(with_lora(high), low, BOUNDARY)),
        "low": run(PairNetworks(high, with_lora(low), BOUNDARY)),
        "each": run(PairNetworks(with_lora(high), with_lora(low), BOUNDARY)),
    }
    first, last = SplitSigmas(sigmas, 2)
    half = Sampler(here, with_lora(high), words, latent, first, None, "euler", 7, 1.0)
    low_half = Sampler(here, low, words, half, last, None, "euler", 7, 1.0, noise=NoNoise(half))
    assert torch.equal(apart["high"], low_half.tensor)
    assert torch.equal(apart["each"], run(with_lora(model)))
    assert torch.equal(plain, run(PairNetworks(high, low, BOUNDARY)))  # taken out again exactly
    results = [plain, *apart.values()]
    assert not any(torch.allclose(a, b) for i, a in enumerate(results) for b in results[:i])


def test_what_changes_a_model_changes_both_networks(models: Path) -> None:
    model = Reparametrize(LoadModel(context(models), "folder").model, shift=3.0)
    assert {one.parametrization.shift for one in SplitNetworks(model)} == {3.0}


def test_previews_are_shown_by_both_networks_and_left_out_where_no_vae_is(models: Path) -> None:
    for form in ("folder", "files"):
        heard: list[events.Event] = []
        here = context(models, listen=heard.append, previews=True)
        model, text_encoder, vae = parts(here, form)
        words, latent = Encode(here, text_encoder, PROMPT), EmptyVideo(vae, WIDTH, HEIGHT, 1)
        Sampler(here, PairNetworks(model), words, latent, spaced(), None, "euler", 7, 1.0)
        assert any(isinstance(event, events.Preview) for event in heard) == (form == "folder")


@pytest.mark.parametrize("what", ["no boundary", "no index", "another second"])
def test_a_folder_that_is_not_whole_is_refused(models: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "folder"
    shutil.copytree(models / "checkpoints" / "folder", path)
    words = "says no boundary_ratio between 0 and 1"
    match what:
        case "no boundary":
            (path / "model_index.json").write_text(json.dumps({"boundary_ratio": 3}))
        case "no index":
            (path / "model_index.json").unlink()
        case _:
            for file in (path / "transformer_2").glob("*.safetensors"):
                file.unlink()
            tiny_flow.flux(False).networks["transformer"].save_pretrained(path / "transformer_2")
            words = (
                "do not belong together: Wan 2, text to video in transformer and Flux.1 schnell in transformer_2"
            )
    with pytest.raises(ModelRefused, match=words):
        describe("bad", path, "digest")


def test_what_is_no_pair_is_refused(models: Path) -> None:
    here = context(models)
    pair = LoadModel(here, "folder").model
    high, low = SplitNetworks(pair)
    emoji = LoadModel(here, "emoji").model
    for nodes, words in (
        (lambda: PairNetworks(high), "`low`"),
        (lambda: PairNetworks(pair, low, BOUNDARY), "`high` has two networks itself"),
        (lambda: PairNetworks(high, pair, BOUNDARY), "`low` has two networks itself"),
        (lambda: PairNetworks(high, emoji, BOUNDARY), "are no pair"),
        (lambda: PairNetworks(high, low), "set `boundary` to 0.875"),
        (lambda: SplitNetworks(high), "has one network"),
        (lambda: SplitSigmas(spaced(), 4), "the schedule has 4 steps"),
    ):
        with pytest.raises(ValueError, match=words):
            nodes()


def test_a_low_scale_needs_a_negative_too(models: Path) -> None:
    here = context(models)
    model, text_encoder, vae = parts(here, "folder")
    words, latent = Encode(here, text_encoder, PROMPT), EmptyVideo(vae, WIDTH, HEIGHT, 1)
    with pytest.raises(ValueError, match="guidance_scale is 2, but guidance moves away from a negative"):
        Sampler(here, model, words, latent, spaced(), None, "euler", 7, 1.0)
