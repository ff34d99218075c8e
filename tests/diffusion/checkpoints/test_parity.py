"""Checkpoints of every family, as a file and as a folder: every weight, and the same pictures as diffusers'."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from nodegraph.nodes.models import Encode, LoadModel, denoiser_of
from nodegraph.nodes.sampling import MaskInpaint, Sampler
from safetensors.torch import load_file, save_file
from torch import Tensor

from nodegraph import Context
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.values import Conditioning, Image, Latent, Mask, Sigmas
from nodegraph.files import Files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, SIDE = 3, 64
KINDS = [
    ("sd1", "epsilon"), ("sd2", "epsilon"), ("sd2", "v_prediction"), ("sdxl", "epsilon"), ("sdxl-refiner", "epsilon"),
]  # fmt: skip


@dataclass
class Made:
    """A tiny checkpoint with its two forms on disk."""

    tiny: tiny.Tiny
    folder: Path
    file: Path


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join(kind))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    family, prediction = request.param
    one = tiny.make(family, prediction=prediction)
    path = tmp_path_factory.mktemp(family)
    metadata = {"modelspec.prediction_type": prediction.replace("_prediction", "")}
    return Made(one, tiny.save_folder(one, path / "folder"), tiny.save_single(one, path / "x", metadata=metadata))


def opened(path: Path) -> Loaded:
    handles = describe(path.name, path, "digest")
    return load(handles.model.checkpoint, path, "cpu")


def test_the_layout_of_the_tests_is_the_one_that_diffusers_reads(made: Made) -> None:
    """The files of these tests are checked by another reader than ours."""
    unet, vae = made.tiny.networks["unet"], made.tiny.networks["vae"]
    tensors = tiny.single(made.tiny)
    for network, converted in (
        (unet, convert_ldm_unet_checkpoint(dict(tensors), unet.config)),
        (vae, convert_ldm_vae_checkpoint(dict(tensors), vae.config)),
    ):
        expected = network.state_dict()
        assert converted.keys() == expected.keys()
        assert all(torch.equal(converted[name], expected[name]) for name in expected)


def test_a_checkpoint_says_that_its_noise_ends_pure(tmp_path: Path) -> None:
    """As NoobAI's do: a tensor's name in a file, a line of the scheduler in a folder."""
    one = tiny.make("sdxl", prediction="v_prediction")
    file = tiny.save_single(one, tmp_path / "x")
    assert not describe(file.name, file, "a").model.parametrization.zero_snr
    save_file({**load_file(file), "v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}, file)
    folder = tiny.save_folder(one, tmp_path / "folder")
    settings = folder / "scheduler" / "scheduler_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "rescale_betas_zero_snr": True}))
    for path in (file, folder):
        found = describe(path.name, path, "b").model.parametrization
        assert (found.prediction, found.zero_snr) == ("v", True)
        assert schedule("simple", found, 4)[0] > 1000


@pytest.mark.parametrize("form", ["file", "folder"])
def test_every_weight_arrives(made: Made, form: str) -> None:
    live = opened(getattr(made, form))
    ours = {"unet": live.networks["denoiser"], "vae": live.networks["vae"]}
    names = [name for name in made.tiny.networks if name.startswith("text_encoder")]
    ours |= dict(zip(names, live.networks["text_encoder"], strict=True))  # type: ignore[call-overload]
    assert ours.keys() == made.tiny.networks.keys()
    for name, network in made.tiny.networks.items():
        expected, found = network.state_dict(), ours[name].state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_picture_is_that_of_diffusers(made: Made, form: str) -> None:
    path = getattr(made, form)
    live = opened(path)
    positive = live.text_encoder.encode("a photo of a cat, 8k", {})
    negative = live.text_encoder.encode("", {})
    if made.tiny.family == "sdxl-refiner":  # told that the negative is ugly
        ugly = replace(negative.conditions[0], numbers=(SIDE, SIDE, 0, 0, 2.5))
        negative = Conditioning((ugly,))
    ours = painted(live, positive, negative, scheduler(made.tiny))
    assert float((ours - theirs(made.tiny, positive, negative)).abs().max()) < 1e-3
    other = painted(live, negative, negative, scheduler(made.tiny))
    assert float((ours - other).abs().max()) > 1e-2  # the words count


def scheduler(one: tiny.Tiny) -> Any:
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=one.prediction,
        timestep_spacing="trailing",
        steps_offset=1,
    )


def noise(seed: int = 7) -> Tensor:
    return NoiseSource(seed, 1)(torch.zeros(1, 4, SIDE // 8, SIDE // 8))


def painted(live: Loaded, positive: Conditioning, negative: Conditioning, schedule: Any) -> Tensor:
    schedule.set_timesteps(STEPS)
    blank = Latent(torch.zeros(1, 4, SIDE // 8, SIDE // 8))
    sigmas = Sigmas(schedule.sigmas.double())
    for step in sample(live.denoiser, blank, sigmas, positive, negative, seed=7, guidance_scale=5.0):
        pass
    return live.vae.decode(step.x)


def theirs(one: tiny.Tiny, positive: Conditioning, negative: Conditioning) -> Tensor:
    """diffusers' own pipeline on the same networks, noise and embeddings."""
    first, second = positive.conditions[0], negative.conditions[0]
    call: dict[str, Any] = {
        "prompt_embeds": first.embedding, "negative_prompt_embeds": second.embedding, "num_inference_steps": STEPS,
        "guidance_scale": 5.0, "latents": noise(), "output_type": "pt", "height": SIDE, "width": SIDE,
    }  # fmt: skip
    parts = {name: one.networks.get(name) for name in ("unet", "vae", "text_encoder")}
    if not one.family.startswith("sdxl"):
        pipeline: Any = StableDiffusionPipeline(
            **parts, tokenizer=None, scheduler=scheduler(one), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip
    else:
        call |= {"pooled_prompt_embeds": first.pooled, "negative_pooled_prompt_embeds": second.pooled}
        parts |= {"text_encoder_2": one.networks["text_encoder_2"], "tokenizer": None, "tokenizer_2": None}
        parts |= {"scheduler": scheduler(one), "add_watermarker": False}
        if one.family == "sdxl":
            pipeline = StableDiffusionXLPipeline(**parts)
        else:
            pipeline = StableDiffusionXLImg2ImgPipeline(**parts, requires_aesthetics_score=True)
            for unused in ("latents", "height", "width"):
                del call[unused]
            call |= {"image": torch.zeros(1, 4, SIDE // 8, SIDE // 8), "strength": 1.0}
            call |= {"generator": torch.Generator().manual_seed(7)}
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(**call).images


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> tuple[tiny.Tiny, Path]:
    one = tiny.make("sd1", channels=9)
    return one, tiny.save_single(one, tmp_path_factory.mktemp("inpainting") / "base.safetensors")


def test_an_inpainting_checkpoint_paints_what_diffusers_paints(inpainting: tuple[tiny.Tiny, Path]) -> None:
    """The picture and the mask through our nodes, and through diffusers' inpainting pipeline."""
    one, path = inpainting
    picture = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 16:48, 24:64] = 1
    context = Context(files=Files({"checkpoints": [path.parent]}))
    model, text_encoder, vae = LoadModel(context, path.name)
    latent = MaskInpaint(context, vae, Image(picture), Mask(mask), "channels")
    positive, negative = Encode(context, text_encoder, "a cat"), Encode(context, text_encoder, "")
    schedule = scheduler(one)
    schedule.set_timesteps(STEPS)
    sigmas = Sigmas(schedule.sigmas.double())
    blank = replace(latent, tensor=torch.zeros_like(latent.tensor), mask=None)
    channels = torch.cat([latent.mask, latent.tensor], 1)  # type: ignore[list-item]
    told = [Conditioning((replace(one.conditions[0], concat=channels),)) for one in (positive, negative)]
    live = denoiser_of(context, model)
    for step in sample(live, blank, sigmas, told[0], told[1], seed=7, guidance_scale=5.0):
        pass
    ours = context.open(vae.checkpoint).vae.decode(step.x)
    pipeline = StableDiffusionInpaintPipeline(
        unet=one.networks["unet"], vae=one.networks["vae"], text_encoder=one.networks["text_encoder"], tokenizer=None,
        scheduler=scheduler(one), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        seen = picture * 2 - 1
        hidden = one.networks["vae"].encode(seen * (mask < 0.5)).latent_dist.mode() * 0.18215
    theirs = pipeline(
        prompt_embeds=positive.conditions[0].embedding, negative_prompt_embeds=negative.conditions[0].embedding,
        image=picture, mask_image=mask, masked_image_latents=hidden, num_inference_steps=STEPS, guidance_scale=5.0,
        latents=noise(), output_type="pt", height=SIDE, width=SIDE, strength=1.0,
    ).images  # fmt: skip
    assert float((ours - theirs).abs().max()) < 1e-3
    kept = Sampler(context, model, positive, latent, sigmas, negative, "euler", seed=7, guidance_scale=5.0).tensor
    inside = latent.mask.bool().expand_as(kept)  # type: ignore[union-attr]
    assert torch.equal(kept[~inside], latent.tensor[~inside])
    assert not torch.equal(kept[inside], latent.tensor[inside])


def test_an_inpainting_checkpoint_asks_for_the_picture(inpainting: tuple[tiny.Tiny, Path]) -> None:
    live = opened(inpainting[1])
    with pytest.raises(ValueError, match="MaskInpaint"):
        live.denoiser.predict(torch.zeros(1, 4, 8, 8), 1.0, live.text_encoder.encode("", {}).conditions)
