"""Flux.1 dev and schnell, as files, folders and parts: every weight, and the same pictures as diffusers'."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_flow
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from nodegraph.nodes.adapters import LoadVAE
from nodegraph.nodes.models import Encode, FluxGuidance, LoadModel, LoadTextEncoder, Reparametrize, VAEDecode
from nodegraph.nodes.sampling import EmptyLatent, Sampler, Schedule
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from nodegraph import Context, Workflow
from nodegraph.cache import DiskTier, ResultCache
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.layouts import FLUX
from nodegraph.diffusion.checkpoints.listing import listed
from nodegraph.diffusion.checkpoints.parts import contents
from nodegraph.diffusion.checkpoints.weights import Reader
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.noise import NoiseSource
from nodegraph.diffusion.values import Checkpoint, TextEncoder
from nodegraph.engine import Engine
from nodegraph.home import Home

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
STEPS, WIDTH, HEIGHT = 4, 64, 96
PROMPT = "a photo of a cat, 8k"


@dataclass(eq=False)  # so that what a pipeline painted can be kept by it
class Made:
    """A tiny Flux in every form, in a folder of models; and its networks."""

    tiny: tiny.Tiny
    models: Path

    @property
    def guided(self) -> bool:
        return self.tiny.family == "flux"

    def context(self) -> Context:
        return Context(files=Home(self.models.parent, self.models.parent / "cache").files(output=self.models))


@pytest.fixture(scope="module", params=[True, False], ids=["dev", "schnell"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    one = tiny_flow.flux(request.param)
    models = tmp_path_factory.mktemp("home") / "models"
    original = tiny_flow.original_flux(one.networks["transformer"])
    tiny_flow.save_folder(one, models / "checkpoints" / "folder", "tokenizer_2")
    texts = {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"}
    tiny_flow.save(tiny_flow.whole(one, original, texts), models / "checkpoints" / "whole.safetensors")
    tiny_flow.save(original, models / "unet" / "bare.safetensors")
    tiny_flow.save(one.networks["transformer"].state_dict(), models / "unet" / "modern.safetensors")
    for name, file in (("text_encoder", "l"), ("text_encoder_2", "t5")):
        tiny_flow.save(tiny_flow.text(one.networks[name]), models / "text_encoders" / f"{file}.safetensors")
    tiny_flow.save(tiny.original_vae(one.networks["vae"]), models / "vae" / "ae.safetensors")
    tiny_flow.save_tokenizer(models / "tokenizers" / "t5.json")
    return Made(one, models)


def test_the_table_of_names_is_that_of_diffusers(tmp_path: Path) -> None:
    """Weights of the full width but one column, read by our table and by diffusers' own converter."""
    width = 3072
    small = tiny_flow.original_flux(tiny_flow.flux(True).networks["transformer"])
    wide = {}
    for name, value in small.items():
        rows = {"linear1": 7 * width, "qkv": 3 * width, "adaLN_modulation": 2 * width}
        count = next((rows[word] for word in rows if word in name), width if name.startswith("img_in") else 2)
        wide[name] = torch.randn(count, *[1] * (value.ndim - 1))
    path = tiny_flow.save(wide, tmp_path / "wide.safetensors")
    expected = convert_flux_transformer_checkpoint_to_diffusers(dict(wide))
    found = contents(path).parts["denoiser"].weights
    assert found.keys() == expected.keys()
    assert all(torch.equal(Reader().tensor(found[name]), expected[name]) for name in expected)
    assert any(piece.swapped for piece in FLUX.pieces("final_layer.adaLN_modulation.1.bias", (2 * width,), width))


@pytest.mark.parametrize(
    "form",
    ["checkpoints/folder", "checkpoints/whole.safetensors", "unet/bare.safetensors", "unet/modern.safetensors"],
)
def test_every_weight_arrives(made: Made, form: str) -> None:
    path = made.models / form
    live = load(describe(form, path, "digest").model.checkpoint, path, "cpu")
    ours: dict[str, Any] = {"transformer": live.networks["denoiser"]}
    if form.startswith("checkpoints"):
        ours["vae"] = live.networks["vae"]
        ours |= dict(zip(("text_encoder", "text_encoder_2"), live.networks["text_encoder"], strict=True))  # type: ignore[call-overload]
        assert ours.keys() == made.tiny.networks.keys()
    if "text_encoder_2" in ours:  # T5's embedding is held once
        held = ours["text_encoder_2"]
        assert held.shared.weight is held.encoder.embed_tokens.weight
    for name, network in ours.items():
        expected, found = made.tiny.networks[name].state_dict(), network.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name


def painted(made: Made, form: str) -> tuple[Tensor, TextEncoder]:
    """A picture through the nodes, from a whole checkpoint or from its parts in files of their own."""
    context = made.context()
    tokenizer = None if form == "folder" else "t5.json"
    if form == "parts":
        model = LoadModel(context, "bare.safetensors").model
        text_encoder = LoadTextEncoder(
            context,
            made.tiny.family,
            "t5.safetensors",
            "l.safetensors",
            tokenizer=tokenizer,  # type: ignore[arg-type]
        )
        vae = LoadVAE(context, model, "ae.safetensors")
    else:
        model, text_encoder, vae = LoadModel(context, form, tokenizer)
    latent = EmptyLatent(vae, WIDTH, HEIGHT)
    sigmas = Schedule(model, "simple", STEPS, latent=latent)
    words = FluxGuidance(Encode(context, text_encoder, PROMPT), 2.0)
    painting = Sampler(context, model, words, latent, sigmas, sampler="euler", seed=7, guidance_scale=1.0)
    return VAEDecode(context, vae, painting).tensor, text_encoder


@cache
def theirs(made: Made, prompt: str = PROMPT, guidance: float = 2.0) -> Tensor:
    """diffusers' own pipeline with its own tokens of T5, schedule and sampler, from the same noise."""
    networks = made.tiny.networks
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(made.models / "tokenizers" / "t5.json"), pad_token="<pad>", eos_token="</s>"
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=made.guided)
    pipeline = FluxPipeline(
        scheduler=scheduler, tokenizer=None, tokenizer_2=tokenizer, **networks
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    clip = tiny.tokens(prompt)
    words = pipeline._get_t5_prompt_embeds(prompt + "</s>", max_sequence_length=512 if made.guided else 256)
    noise = NoiseSource(7, 1)(torch.zeros(1, 16, HEIGHT // 8, WIDTH // 8))
    packed = pipeline._pack_latents(noise, 1, 16, HEIGHT // 8, WIDTH // 8)
    with torch.inference_mode():
        summary = networks["text_encoder"](input_ids=clip).pooler_output
        return pipeline(
            prompt_embeds=words, pooled_prompt_embeds=summary, num_inference_steps=STEPS, guidance_scale=guidance,
            latents=packed, output_type="pt", height=HEIGHT, width=WIDTH,
        ).images  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "whole.safetensors", "parts"])
def test_a_picture_is_that_of_diffusers(made: Made, form: str) -> None:
    ours, _ = painted(made, form)
    assert float((ours - theirs(made)).abs().max()) < 1e-3
    assert float((ours - theirs(made, "an apple")).abs().max()) > 1e-2  # the words count
    told = float((ours - theirs(made, guidance=9.0)).abs().max())
    assert told > 1e-3 if made.guided else told < 1e-3  # dev alone is told its guidance


def test_the_shift_grows_with_the_picture(made: Made) -> None:
    """The schedule of diffusers with its own dynamic shifting, at two sizes."""
    context = made.context()
    model, _, vae = LoadModel(context, "whole.safetensors")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=made.guided)
    for side in (256, 2048):
        tokens = (side // 16) ** 2
        mu = 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)
        scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / 8, 8).numpy(), mu=mu)
        sigmas = Schedule(model, "simple", 8, latent=EmptyLatent(vae, side, side)).tensor
        assert torch.allclose((sigmas / (1 + sigmas)).float(), scheduler.sigmas, atol=2e-6)
    fixed = Schedule(Reparametrize(model, shift=3.0), "simple", 4, latent=EmptyLatent(vae, 2048, 2048)).tensor
    assert float(fixed[1] / (1 + fixed[1])) == pytest.approx(3 * 0.75 / (1 + 2 * 0.75), abs=1e-6)


def test_a_file_is_known_by_its_header_and_listed(made: Made) -> None:
    title = "Flux.1 dev" if made.guided else "Flux.1 schnell"
    files = made.context().files
    found = {
        e.name: e
        for e in listed("checkpoints", {n: files.find("checkpoints", n) for n in files.names("checkpoints")})
    }
    for name in ("folder", "whole.safetensors", "bare.safetensors", "modern.safetensors"):
        assert (found[name].family, found[name].problem) == (title, "")
    assert [
        e.family
        for e in listed(
            "text_encoders", {n: files.find("text_encoders", n) for n in ("l.safetensors", "t5.safetensors")}
        )
    ] == ["text encoder"] * 2


def test_a_prompt_without_its_tokenizer_is_refused_by_the_missing_path(made: Made) -> None:
    context = made.context()
    with pytest.raises(ModelRefused, match=r"whole\.safetensors holds a text encoder without its tokenizer"):
        Encode(context, LoadModel(context, "whole.safetensors").text_encoder, PROMPT)
    tokenizer = made.models / "checkpoints" / "folder" / "tokenizer_2" / "tokenizer.json"
    content = tokenizer.read_bytes()
    tokenizer.unlink()
    try:
        fresh = made.context()
        with pytest.raises(ModelRefused, match=r"tokenizer_2/tokenizer\.json is missing"):
            Encode(fresh, LoadModel(fresh, "folder").text_encoder, PROMPT)
    finally:
        tokenizer.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no tokenizer.json"),
        (b"[1, 2]", "is no tokenizer.json"),
        (b'{"model": {"type": "Unigram", "vocab": 3}}', "is no tokenizer.json"),
        (b"{" * 5000, "is no tokenizer.json"),
    ],
)
def test_what_is_no_tokenizer_is_refused(made: Made, content: bytes, words: str) -> None:
    path = made.models / "tokenizers" / "bad.json"
    path.write_bytes(content)
    context = made.context()
    with pytest.raises(ModelRefused, match=words):
        Encode(context, LoadModel(context, "whole.safetensors", "bad.json").text_encoder, PROMPT)


def test_the_tokenizer_of_another_model_is_refused(made: Made) -> None:
    document = json.loads((made.models / "tokenizers" / "t5.json").read_text("utf-8"))
    document["model"]["vocab"] += [[f"word{i}", -1.0] for i in range(64)]
    (made.models / "tokenizers" / "large.json").write_text(json.dumps(document))
    context = made.context()
    with pytest.raises(ModelRefused, match="tokenizer of another model"):
        Encode(context, LoadModel(context, "whole.safetensors", "large.json").text_encoder, PROMPT)


def test_words_have_weights_and_a_prompt_that_is_too_long_is_refused(made: Made) -> None:
    context = made.context()
    _, text_encoder, _ = LoadModel(context, "whole.safetensors", "t5.json")

    def encoded(text: str) -> Tensor:
        embedding = Encode(context, text_encoder, text).conditions[0].embedding
        assert embedding is not None
        return embedding

    plain, heavy = encoded("a cat"), encoded("a (cat:1.5)")
    assert torch.equal(plain, encoded(r"a (cat:1)"))
    assert not torch.equal(plain, heavy)
    assert torch.equal(plain[:, 0], heavy[:, 0])  # "a" is as it was
    with pytest.raises(ValueError, match="make it shorter"):
        encoded("0 " * 600)


def test_files_that_are_not_the_text_encoders_of_the_family_are_refused(made: Made) -> None:
    context = made.context()
    with pytest.raises(ModelRefused, match="T5 is missing"):
        LoadTextEncoder(context, made.tiny.family, "l.safetensors")  # type: ignore[arg-type]
    with pytest.raises(ModelRefused, match="are both T5"):
        LoadTextEncoder(context, "flux", "t5.safetensors", "t5.safetensors", "l.safetensors")
    for name in ("l", "t5"):
        path = made.models / "text_encoders" / f"{name}.safetensors"
        with pytest.raises(ModelRefused, match="`text_encoders` and choose it in LoadTextEncoder"):
            describe(name, path, "digest")


@pytest.mark.parametrize("part", ["text encoder", "VAE"])
def test_a_part_that_is_not_in_the_file_is_asked_for(made: Made, part: str) -> None:
    context = made.context()
    model, text_encoder, vae = LoadModel(context, "bare.safetensors", "t5.json")
    ask = {
        "VAE": lambda: VAEDecode(context, vae, EmptyLatent(vae, 32, 32)),
        "text encoder": lambda: Encode(context, text_encoder, PROMPT),
    }[part]
    with pytest.raises(ValueError, match=rf"holds no {part}.*link one from another file"):
        ask()
    assert model.checkpoint.family == made.tiny.family


def damaged(made: Made, path: Path, change: Any) -> Path:
    tensors = load_file(made.models / "unet" / "bare.safetensors")
    change(tensors)
    save_file(tensors, path)
    return path


DAMAGE = {
    "a weight is missing": (lambda t: t.pop("double_blocks.1.img_mlp.2.weight"), "lacks transformer_blocks.1.ff.net.2"),
    "a weight too many": (lambda t: t.update(extra=torch.ones(2)), "no place for extra"),
    "a shape": (
        lambda t: t.update({"single_blocks.0.linear2.weight": torch.ones(64, 8)}), "single_blocks.0.linear2.weight has",
    ),
    "a projection is short": (
        lambda t: t.update({"double_blocks.0.img_attn.qkv.weight": torch.ones(70, 64)}), "img_attn.qkv.weight has",
    ),
    "channels of nothing known": (
        lambda t: t.update({"img_in.weight": torch.ones(64, 96)}), "should be a matrix of 64, 128 or 384 columns",
    ),
    "quantised": (
        lambda t: t.update({"txt_in.weight": torch.ones(64, 32, dtype=torch.int8)}), "quantised files are not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_refused_with_the_weight_that_is_wrong(made: Made, tmp_path: Path, what: str) -> None:
    change, words = DAMAGE[what]
    path = damaged(made, tmp_path / "bad.safetensors", change)
    with pytest.raises(ModelRefused, match=words) as caught:
        load(describe("bad", path, "digest").model.checkpoint, path, "cpu")
    assert str(path) in str(caught.value)


def test_one_vae_file_serves_two_families_in_one_place(made: Made) -> None:
    """The pool holds the network once; each family reads its latents with its own scale."""
    context = made.context()
    path = context.files.find("vae", "ae.safetensors")
    assert path is not None
    digest = context.files.digest(path)
    families = (made.tiny.family, "sdxl")
    first, second = (context.open(Checkpoint("ae", digest, family)).vae for family in families)
    assert first.network is second.network  # type: ignore[attr-defined]
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shifted, plain = first.encode(picture), second.encode(picture)
    assert torch.allclose(shifted / 0.3611 + 0.1159, plain / 0.13025, atol=1e-5)


def test_a_workflow_of_parts_runs(made: Made, tmp_path: Path) -> None:
    """Through documents, keys, caches and files, as a user runs it."""
    family = made.tiny.family
    nodes: dict[str, Any] = {
        "model": {"type": "LoadModel", "values": {"checkpoint": "bare.safetensors"}},
        "texts": {
            "type": "LoadTextEncoder",
            "values": {"family": family, "first": "l.safetensors", "second": "t5.safetensors", "tokenizer": "t5.json"},
        },
        "vae": {"type": "LoadVAE", "values": {"vae": "ae.safetensors"}, "links": {"model": link("model", "model")}},
        "words": {"type": "Encode", "values": {"text": PROMPT}, "links": {"text_encoder": link("texts")}},
        "told": {"type": "FluxGuidance", "values": {"scale": 2.0}, "links": {"conditioning": link("words")}},
        "blank": {"type": "EmptyLatent", "values": {"width": WIDTH, "height": HEIGHT}, "links": {"vae": link("vae")}},
        "sigmas": {
            "type": "Schedule", "values": {"kind": "simple", "steps": STEPS},
            "links": {"model": link("model", "model"), "latent": link("blank")},
        },
        "paint": {
            "type": "Sampler", "values": {"sampler": "euler", "seed": 7, "guidance_scale": 1.0},
            "links": {
                "model": link("model", "model"), "positive": link("told"), "latent": link("blank"),
                "sigmas": link("sigmas"),
            },
        },
        "picture": {"type": "VAEDecode", "links": {"vae": link("vae"), "latent": link("paint")}},
    }  # fmt: skip
    workflow = Workflow.model_validate({"format": "nodegraph", "version": 1, "nodes": nodes})
    for seed in (3, 7):  # the second engine finds the handles on disk
        home = Home(made.models.parent, tmp_path / "cache")
        engine = Engine(home=home, cache=ResultCache(disk=DiskTier(home.cache)), device="cpu")
        done = engine.run(workflow, values={"paint.seed": seed})
    assert "texts" not in done.ran
    assert float((done["picture"]["image"].tensor - theirs(made)).abs().max()) < 1e-3


def link(node: str, output: str = "") -> dict[str, str]:
    outputs = {"texts": "text_encoder", "vae": "vae", "words": "conditioning", "told": "conditioning"}
    outputs |= {"blank": "latent", "sigmas": "sigmas", "paint": "latent"}
    return {"node": node, "output": output or outputs[node]}
