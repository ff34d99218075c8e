"""Flux.1 Canny and Depth: the network is shown the picture that it follows as in diffusers, in every form of file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxControlPipeline, FluxTransformer2DModel
from nodegraph.nodes.models import FluxGuidance, LoadModel, VAEDecode
from nodegraph.nodes.sampling import EmptyLatent, MaskInpaint, Sampler
from nodegraph.nodes.shown import FollowPicture
from torch import Tensor

from nodegraph import Context
from nodegraph.diffusion.checkpoints.detect import detect
from nodegraph.diffusion.checkpoints.parts import contents
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Condition, Conditioning, Image, Latent, Mask, Sigmas
from nodegraph.home import Home

WIDTH, HEIGHT, STEPS = 64, 48, 3
FORMS = ("folder", "file.safetensors")


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    found = tiny_flow.flux(True).networks
    torch.manual_seed(1)
    found["transformer"] = FluxTransformer2DModel(
        in_channels=128, out_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=32,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=64, guidance_embeds=True,
        axes_dims_rope=(4, 14, 14),
    ).eval()  # fmt: skip
    found["transformer"].x_embedder.weight.data[:, 64:].mul_(8)  # so that the picture counts
    # Their pipeline draws the picture's latent by chance: here from a spread of nothing.
    last = found["vae"].encoder.conv_out
    last.weight.data[16:] = 0
    last.bias.data[16:] = -60
    return found


@pytest.fixture(scope="module")
def models(networks: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("home") / "models"
    made = tiny_flow.flux(True)
    made.networks = networks
    tiny_flow.save_folder(made, models / "checkpoints" / "folder", "tokenizer_2")
    texts = {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"}
    original = tiny_flow.whole(made, tiny_flow.original_flux(networks["transformer"]), texts)
    tiny_flow.save(original, models / "checkpoints" / "file.safetensors")
    return models


def context(models: Path) -> Context:
    return Context(files=Home(models.parent, models.parent / "cache").files(output=models))


@pytest.mark.parametrize("form", FORMS)
def test_it_is_recognised_and_every_weight_arrives(networks: dict[str, Any], models: Path, form: str) -> None:
    path = models / "checkpoints" / form
    assert detect(contents(path)).title == "Flux.1 dev, control"
    live = load(describe(form, path, "digest").model.checkpoint, path, "cpu")
    expected, found = networks["transformer"].state_dict(), live.networks["denoiser"].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def pipeline(networks: dict[str, Any]) -> FluxControlPipeline:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True)
    parts = {name: networks[name] for name in ("vae", "transformer", "text_encoder", "text_encoder_2")}
    made = FluxControlPipeline(scheduler=scheduler, tokenizer=None, tokenizer_2=None, **parts)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(("form", "told"), [("folder", 10.0), ("file.safetensors", None)])
def test_pictures_are_those_of_diffusers(
    networks: dict[str, Any], models: Path, form: str, told: float | None
) -> None:
    words, summary, picture = torch.randn(1, 9, 32), torch.randn(1, 64), torch.rand(1, 3, HEIGHT, WIDTH)
    theirs = pipeline(networks)
    sides = HEIGHT // 8, WIDTH // 8
    noise = NoiseSource(7, 1)(torch.zeros(1, 16, *sides))
    with torch.inference_mode():
        expected = theirs(
            control_image=2 * picture - 1, prompt_embeds=words, pooled_prompt_embeds=summary, num_inference_steps=STEPS,
            latents=theirs._pack_latents(noise, 1, 16, *sides), height=HEIGHT, width=WIDTH, output_type="pt",
            guidance_scale=told or 30.0,
        ).images  # fmt: skip
    time = theirs.scheduler.sigmas.double().clamp(max=1 - 1e-6)
    sigmas = Sigmas(time / (1 - time))
    here = context(models)
    model, _, vae = LoadModel(here, form)
    conditioning = Conditioning((Condition(words, pooled=summary),))
    conditioning = conditioning if told is None else FluxGuidance(conditioning, told)

    def painted(picture: Tensor) -> Tensor:
        latent = FollowPicture(here, vae, Image(picture))
        video = Sampler(here, model, conditioning, latent, sigmas, None, "euler", 7, 1.0)
        return VAEDecode(here, vae, video).tensor

    assert float((painted(picture) - expected).abs().max()) < 1e-3
    assert float((painted(1 - picture) - expected).abs().max()) > 1e-2  # the picture counts


def test_a_picture_can_be_painted_over_another_one_and_in_a_batch(models: Path) -> None:
    here = context(models)
    model, _, vae = LoadModel(here, "folder")
    pictures = torch.rand(2, 3, HEIGHT, WIDTH)
    words = Conditioning((Condition(torch.randn(1, 9, 32), pooled=torch.randn(1, 64)),))
    sigmas = Sigmas(torch.tensor([2.0, 1.0, 0.0]))

    def painted(picture: Tensor, under: Latent, seed: int) -> Tensor:
        latent = FollowPicture(here, vae, Image(picture), under)
        return Sampler(here, model, words, latent, sigmas, None, "euler", seed, 1.0).tensor

    blank = EmptyLatent(vae, WIDTH, HEIGHT, 2)
    both = painted(pictures, blank, 3)
    for i in range(2):
        alone = painted(pictures[i : i + 1], EmptyLatent(vae, WIDTH, HEIGHT), 3 + i)
        assert torch.allclose(both[i : i + 1], alone, atol=1e-4)
    assert not torch.allclose(both, painted(pictures, Latent(blank.tensor + 1), 3), atol=1e-2)


def test_what_does_not_fit_is_refused(models: Path) -> None:
    here = context(models)
    model, _, vae = LoadModel(here, "folder")
    words = Conditioning((Condition(torch.randn(1, 9, 32), pooled=torch.randn(1, 64)),))
    sigmas, picture = Sigmas(torch.tensor([2.0, 1.0, 0.0])), Image(torch.rand(1, 3, HEIGHT, WIDTH))
    inpaint = MaskInpaint(here, vae, picture, Mask(torch.ones(1, 1, HEIGHT, WIDTH)), "channels")
    other = FollowPicture(here, vae, picture, EmptyLatent(vae, 2 * WIDTH, HEIGHT))
    for latent, message in (
        (other, r"sides are \(6, 16\) and those of the picture beside it \(6, 8\)"),
        (
            EmptyLatent(vae, WIDTH, HEIGHT),
            "follows a picture of edges or depth; make the latent with FollowPicture",
        ),
        (inpaint, "needs a network made for it, with 17 channels.*this model takes 16"),
    ):
        with pytest.raises(ValueError, match=message):
            Sampler(here, model, words, latent, sigmas, None, "euler", 0, 1.0)
    with pytest.raises(ValueError, match="width is 100 pixels"):
        FollowPicture(here, vae, Image(torch.rand(1, 3, HEIGHT, 100)))
