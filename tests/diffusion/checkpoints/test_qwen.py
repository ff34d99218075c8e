"""Z-Image and Qwen-Image, whose words are a language model's: every weight, and the same pictures as diffusers'."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, QwenImagePipeline, ZImagePipeline
from diffusers.loaders.single_file_utils import (
    convert_wan_vae_to_diffusers,
    convert_z_image_transformer_checkpoint_to_diffusers,
)
from nodegraph.nodes.adapters import LoadVAE
from nodegraph.nodes.models import (
    Encode,
    EncodeEach,
    LoadModel,
    LoadTextEncoder,
    VAEDecode,
    VAEEncode,
    denoiser_of,
)
from nodegraph.nodes.sampling import EmptyLatent, Sampler, Schedule
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from nodegraph import Context
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.listing import listed
from nodegraph.diffusion.checkpoints.parts import contents
from nodegraph.diffusion.checkpoints.weights import Reader
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Image
from nodegraph.home import Home

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, WIDTH, HEIGHT = 4, 64, 96
PROMPT, NEGATIVE = "a photo of a cat, 8k", "a dog"
TITLES = {"z-image": "Z-Image", "qwen-image": "Qwen-Image"}


@dataclass(eq=False)  # so that what a pipeline painted can be kept by it
class Made:
    """A tiny checkpoint in every form, in a folder of models; and its networks."""

    tiny: tiny.Tiny
    models: Path

    @property
    def family(self) -> Any:
        return self.tiny.family

    def context(self) -> Context:
        return Context(files=Home(self.models.parent, self.models.parent / "cache").files(output=self.models))


@pytest.fixture(scope="module", params=TITLES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    models = tmp_path_factory.mktemp("home") / "models"
    small = request.param == "z-image"
    one = tiny_flow.z_image() if small else tiny_flow.qwen_image()
    network, vae = one.networks["transformer"], one.networks["vae"]
    # Files of Qwen-Image have diffusers' names.
    original = tiny_flow.original_z_image(network) if small else network.state_dict()
    tiny_flow.save_folder(one, models / "checkpoints" / "folder", "tokenizer")
    tiny_flow.save(original, models / "diffusion_models" / "bare.safetensors")
    text = one.networks["text_encoder"].state_dict()
    text = tiny_flow.prefixed("model.", text) if small else {old_name(name): value for name, value in text.items()}
    tiny_flow.save(text, models / "text_encoders" / "qwen.safetensors")
    vae_weights = tiny.original_vae(vae) if small else tiny_flow.original_frames_vae(vae)
    tiny_flow.save(vae_weights, models / "vae" / "vae.safetensors")
    tiny_flow.save_bytes_tokenizer(models / "tokenizers" / "qwen.json")
    return Made(one, models)


def old_name(name: str) -> str:
    """A weight of Qwen 2.5 VL as its first files name it."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def test_the_layout_of_the_tests_is_the_one_that_diffusers_reads(made: Made) -> None:
    file = made.models / ("diffusion_models/bare" if made.family == "z-image" else "vae/vae")
    found = contents(file.with_suffix(".safetensors"))
    part = found.parts["denoiser" if made.family == "z-image" else "vae"]
    raw = {source.key: source for source in part.weights.values()}
    reader = Reader()
    if made.family == "z-image":
        original = tiny_flow.original_z_image(made.tiny.networks["transformer"])
        expected = convert_z_image_transformer_checkpoint_to_diffusers(dict(original))
    else:
        full = tiny_flow.frames_vae()  # diffusers' converter knows two layers a level, as the real file has
        full = type(full)(base_dim=8, z_dim=16, num_res_blocks=2)
        original = tiny_flow.original_frames_vae(full)
        expected = convert_wan_vae_to_diffusers(dict(original))
        path = tiny_flow.save(original, made.models / "vae" / "full.safetensors")
        part = contents(path).parts["vae"]
        raw = {}
    assert part.weights.keys() == expected.keys()
    assert all(torch.equal(reader.tensor(part.weights[name]), expected[name]) for name in expected)
    assert raw.keys() <= original.keys()


@pytest.mark.parametrize("form", ["folder", "parts"])
def test_every_weight_arrives(made: Made, form: str) -> None:
    context = made.context()
    model, text_encoder, vae = opened(made, form, context)
    ours = {"vae": context.open(vae.checkpoint).vae.network}  # type: ignore[attr-defined]
    ours["transformer"] = context.open(model.checkpoint).denoiser.network  # type: ignore[attr-defined]
    for name, network in ours.items():
        expected, found = made.tiny.networks[name].state_dict(), network.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name
    (place, *_) = text_encoder.files or (text_encoder.checkpoint,)
    live: Any = context.open(place).text_encoder
    found = (live if form == "parts" else live.model).network.state_dict()
    theirs = made.tiny.networks["text_encoder"]
    expected = (theirs if made.family == "z-image" else theirs.model.language_model).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def opened(made: Made, form: str, context: Context) -> Any:
    if form == "folder":
        return LoadModel(context, "folder")
    model = LoadModel(context, "bare.safetensors").model
    text_encoder = LoadTextEncoder(context, made.family, "qwen.safetensors", tokenizer="qwen.json")
    return model, text_encoder, LoadVAE(context, model, "vae.safetensors")


def painted(made: Made, form: str) -> Tensor:
    """A picture through the nodes."""
    context = made.context()
    model, text_encoder, vae = opened(made, form, context)
    latent = EmptyLatent(vae, WIDTH, HEIGHT)
    sigmas = Schedule(model, "simple", STEPS, latent=latent)
    words, negative = Encode(context, text_encoder, PROMPT), Encode(context, text_encoder, NEGATIVE)
    painting = Sampler(
        context, model, words, latent, sigmas, negative, sampler="euler", seed=7, guidance_scale=4.0
    )  # fmt: skip
    return VAEDecode(context, vae, painting).tensor


@cache
def theirs(made: Made, prompt: str = PROMPT) -> Tensor:
    """diffusers' own pipeline with its own conversation, tokens, schedule and sampler."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(made.models / "tokenizers" / "qwen.json"), pad_token="<|endoftext|>"
    )
    noise = NoiseSource(7, 1)(torch.zeros(1, 16, HEIGHT // 8, WIDTH // 8))
    call = {"num_inference_steps": STEPS, "output_type": "pt", "height": HEIGHT, "width": WIDTH}
    if made.family == "z-image":
        tokenizer.chat_template = (
            "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
            "{{ '<|im_start|>assistant\n' }}"
        )
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        pipeline: Any = ZImagePipeline(scheduler=scheduler, tokenizer=tokenizer, **made.tiny.networks)
        call |= {"guidance_scale": 3.0, "latents": noise}  # what is added to the positive's own share of 1
    else:
        scheduler = FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192
        )
        pipeline = QwenImagePipeline(scheduler=scheduler, tokenizer=tokenizer, **made.tiny.networks)
        packed = pipeline._pack_latents(noise[:, None], 1, 16, HEIGHT // 8, WIDTH // 8)
        call |= {"true_cfg_scale": 4.0, "latents": packed}
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        return pipeline(prompt, negative_prompt=NEGATIVE, **call).images


@pytest.mark.parametrize("form", ["folder", "parts"])
def test_a_picture_is_that_of_diffusers(made: Made, form: str) -> None:
    ours = painted(made, form)
    assert ours.shape == (1, 3, HEIGHT, WIDTH)
    assert float((ours - theirs(made)).abs().max()) < 1e-3
    assert float((ours - theirs(made, "an apple")).abs().max()) > 1e-2  # the words count


def test_a_picture_goes_into_latents_and_comes_back_as_diffusers_has_it(made: Made) -> None:
    context = made.context()
    vae = LoadModel(context, "folder").vae
    picture = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    ours = VAEEncode(context, vae, Image(picture)).tensor
    network = made.tiny.networks["vae"]
    with torch.inference_mode():
        if made.family == "z-image":
            expected = (network.encode(picture * 2 - 1).latent_dist.mode() - 0.1159) * 0.3611
        else:
            mean, std = (
                torch.tensor(getattr(network.config, f"latents_{name}"))[None, :, None, None]
                for name in ("mean", "std")
            )
            expected = (network.encode(picture[:, :, None] * 2 - 1).latent_dist.mode()[:, :, 0] - mean) / std
    assert torch.allclose(ours, expected, atol=1e-5)


def test_lines_of_different_length_are_painted_as_each_alone(made: Made) -> None:
    context, lines = made.context(), (PROMPT, "a house", "a dog under a tree beside the old house by the sea")
    model, text_encoder, _ = LoadModel(context, "folder")
    each = EncodeEach(context, text_encoder, "\n".join(lines)).conditions[0]
    x = torch.randn(3, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    live = denoiser_of(context, model)
    with torch.inference_mode():
        (found,) = live.predict(x, 2.0, [each])
        for item in range(3):
            told = [Encode(context, text_encoder, line).conditions[0] for line in lines]
            alone = live.predict(x[item : item + 1], 2.0, told)
            apart = [float((found[item] - one[0]).abs().max()) for one in alone]
            assert apart[item] < 1e-4
            assert sorted(apart)[1] > 1e-2, "another line is another picture"


def test_it_is_known_by_its_header_and_listed(made: Made) -> None:
    files = made.context().files
    for kind, wanted in (("checkpoints", TITLES[made.family]), ("text_encoders", "text encoder"), ("vae", "VAE")):
        paths = {name: files.find(kind, name) for name in files.names(kind) if name != "emoji"}
        assert {(entry.family, entry.problem) for entry in listed(kind, paths)} == {(wanted, "")}


def test_a_prompt_without_its_tokenizer_or_too_long_is_refused(made: Made) -> None:
    context = made.context()
    alone = LoadTextEncoder(context, made.family, "qwen.safetensors")
    with pytest.raises(ModelRefused, match=r"qwen\.safetensors holds a text encoder without its tokenizer"):
        Encode(context, alone, PROMPT)
    with pytest.raises(ValueError, match="make it shorter"):
        Encode(context, LoadModel(context, "folder").text_encoder, "a" * 2000)


def test_a_text_encoder_of_another_kind_is_refused(made: Made) -> None:
    context = made.context()
    with pytest.raises(ModelRefused, match="of another kind; a text encoder is wanted here: CLIP L, T5"):
        LoadTextEncoder(context, "flux", "qwen.safetensors", tokenizer="qwen.json")


def test_a_file_that_lacks_a_weight_is_refused(made: Made, tmp_path: Path) -> None:
    weights = dict(made.tiny.networks["transformer"].state_dict())
    name = next(key for key in weights if "1.attention.to_out" in key or "1.attn.to_out" in key)
    weights.pop(name)
    path = tiny_flow.save(weights, tmp_path / "bad.safetensors")
    with pytest.raises(ModelRefused, match="lacks " + name.replace(".", r"\.")):
        load(describe("bad", path, "digest").model.checkpoint, path, "cpu")
