"""Flux.1 Fill: the network for inpainting is shown the picture and its mask as in diffusers, and keeps what is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel
from nodegraph.nodes.models import LoadModel
from nodegraph.nodes.sampling import MaskInpaint, Sampler, Schedule

from nodegraph import Context
from nodegraph.diffusion.checkpoints import flux
from nodegraph.diffusion.checkpoints.detect import detect
from nodegraph.diffusion.checkpoints.parts import contents
from nodegraph.diffusion.checkpoints.transformer import Words
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.inpainting import channels
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Condition, Conditioning, Image, Latent, Mask, Sigmas
from nodegraph.home import Home

WIDTH, HEIGHT, STEPS = 64, 48, 3
SIDES = (HEIGHT // 8, WIDTH // 8)


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    found = tiny_flow.flux(True).networks
    torch.manual_seed(1)
    found["transformer"] = FluxTransformer2DModel(
        in_channels=384, out_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=32,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=64, guidance_embeds=True,
        axes_dims_rope=(4, 14, 14),
    ).eval()  # fmt: skip
    return found


@pytest.fixture(scope="module")
def file(networks: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home") / "models" / "checkpoints" / "fill.safetensors"
    vae = {f"vae.{name}": value for name, value in networks["vae"].state_dict().items()}
    original = tiny_flow.original_flux(networks["transformer"])
    tiny_flow.save({**{f"model.diffusion_model.{name}": value for name, value in original.items()}, **vae}, path)
    return path


def test_it_is_recognised_and_every_weight_arrives(networks: dict[str, Any], file: Path) -> None:
    assert detect(contents(file)).title == "Flux.1 dev, inpainting"
    live = load(describe("fill", file, "digest").model.checkpoint, file, "cpu")
    expected, found = networks["transformer"].state_dict(), live.networks["denoiser"].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_steps_are_those_of_diffusers(networks: dict[str, Any], file: Path) -> None:
    words, summary = torch.randn(1, 9, 32), torch.randn(1, 64)
    picture, mask = torch.rand(1, 3, HEIGHT, WIDTH), torch.zeros(1, 1, *SIDES)
    mask[..., 2:5, 1:6] = 1
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True)
    parts = {name: networks[name] for name in ("vae", "transformer", "text_encoder", "text_encoder_2")}
    pipeline = FluxFillPipeline(scheduler=scheduler, tokenizer=None, tokenizer_2=None, **parts)
    pipeline.set_progress_bar_config(disable=True)
    pixels = mask.repeat_interleave(8, 2).repeat_interleave(8, 3)
    noise = NoiseSource(7, 1)(torch.zeros(1, 16, *SIDES))
    with torch.inference_mode():
        # Their VAE draws the latent of the masked picture by chance: here the same one for both.
        seeded = torch.Generator().manual_seed(3)
        theirs_mask, packed = pipeline.prepare_mask_latents(
            pixels,
            (2 * picture - 1) * (1 - pixels),
            1,
            16,
            1,
            HEIGHT,
            WIDTH,
            torch.float32,
            torch.device("cpu"),
            seeded,
        )
        known = pipeline._unpack_latents(packed, HEIGHT, WIDTH, 8)
        expected = pipeline(
            image=picture, mask_image=pixels, prompt_embeds=words, pooled_prompt_embeds=summary,
            num_inference_steps=STEPS, latents=pipeline._pack_latents(noise, 1, 16, *SIDES), height=HEIGHT,
            width=WIDTH, output_type="latent", guidance_scale=30.0, generator=torch.Generator().manual_seed(3),
        ).images  # fmt: skip
    handles = describe("fill", file, "digest")
    live = load(handles.model.checkpoint, file, "cpu")
    times = pipeline.scheduler.sigmas.double().clamp(
        max=1 - 1e-6
    )  # theirs: of ours, `simple` takes whole timesteps
    sigmas = Sigmas(times / (1 - times))
    told = Conditioning((Condition(words, pooled=summary, concat=channels(known, mask)),))
    for step in sample(live.denoiser, Latent(torch.zeros_like(known)), sigmas, told, seed=7):
        pass
    pictures = [live.vae.decode(one) for one in (step.x, pipeline._unpack_latents(expected, HEIGHT, WIDTH, 8))]
    assert float((pictures[0] - pictures[1]).abs().max()) < 1e-3
    # One call alone, where no rounding of a run adds up.
    time, tokens = (
        torch.tensor([0.5]),
        torch.cat([pipeline._pack_latents(noise, 1, 16, *SIDES), packed, theirs_mask], -1),
    )
    with torch.inference_mode():
        once = networks["transformer"](
            tokens, words, summary, time, flux.positions(SIDES[0] // 2, SIDES[1] // 2, torch.device("cpu")),
            torch.zeros(9, 3), torch.tensor([30.0]), return_dict=False,
        )[0]  # fmt: skip
        ours = flux.forward(
            live.networks["denoiser"], noise, time, Words(words, summary, None, None, channels(known, mask))
        )
    assert torch.allclose(pipeline._pack_latents(ours, 1, 16, *SIDES), once, atol=1e-5)
    other = Conditioning((Condition(words, pooled=summary, concat=channels(known, 1 - mask)),))
    for step in sample(live.denoiser, Latent(torch.zeros_like(known)), sigmas, other, seed=7):
        pass
    assert float((live.vae.decode(step.x) - pictures[1]).abs().max()) > 2e-3  # the mask counts


def test_nodes_repaint_what_is_masked_alone(file: Path) -> None:
    home = file.parents[2]
    context = Context(files=Home(home, home / "cache").files(output=home))
    model, _, vae = LoadModel(context, "fill.safetensors")
    picture, mask = Image(torch.rand(1, 3, HEIGHT, WIDTH)), torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., :32] = 1
    words = Conditioning((Condition(torch.randn(1, 9, 32), pooled=torch.randn(1, 64)),))
    latent = MaskInpaint(context, vae, picture, Mask(mask), "channels")
    sigmas = Schedule(model, "simple", 2, latent=latent)
    painted = Sampler(context, model, words, latent, sigmas, sampler="euler", guidance_scale=1.0)
    assert torch.equal(painted.tensor[..., 4:], latent.tensor[..., 4:])
    assert float((painted.tensor - latent.tensor)[..., :4].abs().mean()) > 0.1
    with pytest.raises(ValueError, match="inpainting model, which is told the picture and its mask"):
        Sampler(context, model, words, Latent(latent.tensor), sigmas, sampler="euler", guidance_scale=1.0)
