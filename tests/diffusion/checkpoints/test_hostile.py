"""Files made to break what reads them: sizes that no network has, ranks that do not meet, tokenizers that explode.

Each is refused in words that name the file; none takes long, or memory out of proportion to its own size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_flow
import torch
from nodegraph.nodes.models import Encode, LoadModel, VAEDecode
from nodegraph.nodes.sampling import Sampler
from safetensors.torch import load_file, save_file
from torch import Tensor

from nodegraph import Context
from nodegraph.diffusion.checkpoints import clip, controlnet
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.lora import Patches, terms
from nodegraph.diffusion.checkpoints.tokens import numbers_of, tokenizer_of
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.values import Checkpoint, Latent, Sigmas
from nodegraph.files import Files

Tensors = dict[str, Tensor]
UNET, CLIP = "model.diffusion_model.", "cond_stage_model.transformer.text_model."
CONV = UNET + "input_blocks.1.0.in_layers.2.weight"
ONE = torch.ones(1)


def half(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.float16)


def opened(path: Path) -> None:
    load(describe(path.name, path, "digest").model.checkpoint, path, "cpu")


@pytest.fixture(scope="module")
def sound_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_single(tiny.make("sd1"), tmp_path_factory.mktemp("sound") / "sound.safetensors")


CHECKPOINTS: dict[str, tuple[Tensors, str]] = {
    "a billion levels": ({UNET + "input_blocks.999999999.0.in_layers.0.weight": ONE}, "a network has 1 to 8"),
    "64 levels": ({UNET + "input_blocks.189.0.in_layers.0.weight": ONE}, "a network has 1 to 8"),
    "a hundred million blocks": (
        {UNET + "input_blocks.1.1.transformer_blocks.99999999.norm1.weight": ONE}, "a network has 1 to 16",
    ),
    "a number of 5000 digits": (
        {f"{UNET}input_blocks.1.1.transformer_blocks.{'9' * 5000}.norm1.weight": ONE}, "has no place for",
    ),
    "levels of the VAE": (
        {"first_stage_model.decoder.up.99999999.block.0.norm1.weight": ONE}, "a network has 1 to 8",
    ),
    "a side of 10^9 without numbers": ({CONV: torch.empty(10**9, 0, 3, 3)}, "holds no numbers"),
    "sides of nothing": ({CONV: torch.empty(0, 0, 0, 0)}, "down_blocks.0.resnets.0.conv1.weight is missing"),
    "a level of 10^6 channels": ({CONV: half(10**6, 1, 1, 1)}, "sizes that no U-Net has"),
    "a text encoder of ten places": (
        {CLIP + "embeddings.position_embedding.weight": torch.ones(10, 64)}, "has 10 places, and CLIP's windows 77",
    ),
    "channels that do not divide": ({CONV: torch.ones(33, 32, 3, 3)}, "sizes that no U-Net has"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_a_checkpoint_of_impossible_sizes_is_refused(sound_one: Path, tmp_path: Path, what: str) -> None:
    changed, words = CHECKPOINTS[what]
    path = tmp_path / "model.safetensors"
    save_file({**load_file(sound_one), **changed}, path)
    with pytest.raises(ModelRefused) as refused:
        opened(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


CONTROLS: dict[str, tuple[Tensors, str]] = {
    "blocks": ({"down_blocks.0.attentions.0.transformer_blocks.99999999.norm1.weight": ONE}, "1 to 16"),
    "hints": ({"controlnet_cond_embedding.blocks.99999999.weight": ONE}, "is missing"),
    "a scalar": ({"conv_in.weight": torch.tensor(1.0)}, "is missing"),
    "a wide hint": (
        {f"controlnet_cond_embedding.{name}.weight": half(10**6, 1, 1, 1) for name in ("conv_in", "blocks.1")},
        "sizes that no ControlNet has",
    ),
}


@pytest.mark.parametrize("what", CONTROLS)
def test_a_controlnet_of_impossible_sizes_is_refused(tmp_path: Path, what: str) -> None:
    from diffusers.models.controlnets.controlnet import ControlNetModel

    changed, words = CONTROLS[what]
    unet = tiny.make("sd1").networks["unet"]
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
    path = tmp_path / "control.safetensors"
    save_file({**{name: value.detach().clone() for name, value in network.state_dict().items()}, **changed}, path)
    with pytest.raises(ModelRefused) as refused:
        controlnet.load(Checkpoint("control", "digest", "controlnet"), path, "cpu")
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


FLUX: dict[str, tuple[Tensors, str]] = {
    "a wide picture": ({UNET + "img_in.weight": half(10**6, 64)}, "sizes that no transformer has"),
    "a network for inpainting by its first weight alone": (
        {UNET + "img_in.weight": torch.ones(64, 320)}, "img_in.weight has the shape [64, 320]",
    ),
    "a vector": ({UNET + "img_in.weight": torch.ones(64)}, "img_in.weight has the shape [64]"),
    "a head of 10^7": (
        {UNET + "double_blocks.0.img_attn.norm.query_norm.scale": half(10**7)}, "sizes that no transformer has",
    ),
    "ten billion blocks": ({UNET + "double_blocks.9999999999.img_attn.proj.weight": ONE}, "has no place for"),
}  # fmt: skip


@pytest.mark.parametrize("what", FLUX)
def test_a_flux_of_impossible_sizes_is_refused(tmp_path: Path, what: str) -> None:
    changed, words = FLUX[what]
    weights = tiny_flow.prefixed(UNET, tiny_flow.original_flux(tiny_flow.flux(True).networks["transformer"]))
    path = tmp_path / "flux.safetensors"
    save_file({**{name: value.contiguous() for name, value in weights.items()}, **changed}, path)
    with pytest.raises(ModelRefused) as refused:
        opened(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


LINEAR = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
FOLDED = "lora_unet_down_blocks_0_resnets_0_conv1"


def pair(down: Tensor, up: Tensor, **more: Tensor) -> Tensors:
    return {
        f"{LINEAR}.lora_down.weight": down, f"{LINEAR}.lora_up.weight": up,
        **{f"{LINEAR}.{name}": value for name, value in more.items()},
    }  # fmt: skip


def loha(*shapes: tuple[int, ...]) -> Tensors:
    names = ("w1_a", "w1_b", "w2_a", "w2_b")
    return {f"{LINEAR}.hada_{name}": torch.ones(shape) for name, shape in zip(names, shapes, strict=True)}


LORAS: dict[str, tuple[Tensors, str]] = {
    "ranks that do not meet": (pair(torch.ones(4, 64), torch.ones(64, 5)), "no rank of 1 to 8192 in common"),
    "a rank of nothing": (
        {f"{LINEAR}.lora_down.weight": torch.empty(0, 0), f"{LINEAR}.lora_up.weight": torch.empty(0, 0)}, "no rank",
    ),
    "a rank of 100,000": (pair(half(10**5, 64), half(64, 10**5)), "no rank of 1 to 8192 in common"),
    "a number for a matrix": (pair(torch.ones(4, 64), torch.tensor(1.0)), "has the shape []"),
    "vectors": (pair(torch.ones(64), torch.ones(64)), "has the shape [64]"),
    "an alpha of many": (pair(torch.ones(4, 64), torch.ones(64, 4), alpha=torch.ones(3)), "one number"),
    "whole numbers": (
        pair(torch.ones(4, 64, dtype=torch.int8), torch.ones(64, 4, dtype=torch.int8)), "is I8; LoRAs hold floating",
    ),
    "no numbers": (pair(torch.full((4, 64), torch.nan), torch.ones(64, 4)), "adds is no number"),
    "an alpha that is no number": (
        pair(torch.ones(4, 64), torch.ones(64, 4), alpha=torch.tensor(torch.nan)), "adds is no number",
    ),
    "a middle that explodes": (
        {f"{FOLDED}.lora_up.weight": half(32, 1, 1, 1), f"{FOLDED}.lora_mid.weight": half(1, 10**6, 3, 3),
         f"{FOLDED}.lora_down.weight": half(10**6, 32, 1, 1)}, "no rank of 1 to 8192 in common",
    ),
    "a middle of two sides": (
        {f"{FOLDED}.lora_up.weight": half(32, 4, 1, 1), f"{FOLDED}.lora_mid.weight": half(4, 4),
         f"{FOLDED}.lora_down.weight": half(4, 32, 3, 3)}, "has the shape [4, 4]",
    ),
    "a second product of other sizes": (loha((64, 4), (4, 64), (3, 4), (4, 7)), "made for another model"),
    "a second product that does not meet": (loha((64, 4), (4, 64), (64, 5), (6, 64)), "no rank"),
    "a product of convolutions": (loha((64, 4), (4, 64, 1, 1), (64, 4), (4, 64, 1, 1)), "no rank"),
    "a difference of one number": ({f"{LINEAR}.diff": torch.tensor(1.0)}, "has the shape []"),
}  # fmt: skip


@pytest.fixture(scope="module")
def unet() -> Any:
    return tiny.make("sd1").networks["unet"]


@pytest.mark.parametrize("what", LORAS)
def test_a_lora_that_cannot_be_added_is_refused_and_the_network_stays_as_it_was(
    unet: Any, tmp_path: Path, what: str
) -> None:
    tensors, words = LORAS[what]
    sound_lora, path = tmp_path / "sound.safetensors", tmp_path / "lora.safetensors"
    save_file(pair(torch.ones(4, 64), torch.ones(64, 4)), sound_lora)
    save_file(tensors, path)
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    patches = Patches(unet, "denoiser")
    patches.set([(sound_lora, 1.0)])
    with pytest.raises(ModelRefused) as refused:
        patches.set([(sound_lora, 1.0), (path, 1.0)])
    assert words in str(refused.value)
    assert str(path) in str(refused.value)
    patches.set([])
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


def test_a_lora_for_the_middle_of_a_convolution_is_added(unet: Any, tmp_path: Path) -> None:
    path, weight = tmp_path / "lora.safetensors", "down_blocks.0.resnets.0.conv1.weight"
    up, middle, down = (torch.randn(shape) for shape in ((32, 3, 1, 1), (3, 5, 3, 3), (5, 32, 1, 1)))
    save_file(
        {f"{FOLDED}.lora_up.weight": up, f"{FOLDED}.lora_mid.weight": middle, f"{FOLDED}.lora_down.weight": down},
        path,
    )
    shapes = {name: tuple(value.shape) for name, value in unet.state_dict().items()}
    assert terms(path, ("denoiser",), shapes).keys() == {weight}
    before = unet.state_dict()[weight].clone()
    patches = Patches(unet, "denoiser")
    patches.set([(path, 1.0)])
    steps = torch.eye(32)[:, :, None, None]
    for factor, padding in ((down, 0), (middle, 1), (up, 0)):
        steps = torch.nn.functional.conv2d(steps, factor, padding=padding)
    change = unet.state_dict()[weight] - before
    torch.testing.assert_close(change[:, :, 1, 1].T, steps[:, :, 0, 0], atol=1e-4, rtol=0)
    patches.remove()


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (torch.ones(2, 65), "emb_params [2, 65]"),
        (torch.tensor(1.0), "emb_params []"),
        (torch.ones(2, 2, 64), "emb_params [2, 2, 64]"),
        (half(10**6, 64), "1,000,000 vectors"),
        (torch.ones(2, 64, dtype=torch.int8), "is I8"),
        (torch.full((2, 64), torch.nan), "no numbers"),
    ],
    ids=str,
)
def test_a_word_that_is_none_is_refused(tmp_path: Path, vectors: Tensor, words: str) -> None:
    path = tmp_path / "word.safetensors"
    save_file({"emb_params": vectors}, path)
    with pytest.raises(ModelRefused) as refused:
        clip.learned(path, 64)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


WORDS: dict[str, Any] = {"type": "WordLevel", "vocab": {"a": 0, "<unk>": 1}, "unk_token": "<unk>"}


def document(model: object = WORDS, normalizer: object = None, **more: object) -> dict[str, object]:
    empty = dict.fromkeys(("truncation", "padding", "pre_tokenizer", "post_processor", "decoder"))
    return {"version": "1.0", "added_tokens": [], "normalizer": normalizer, "model": model, **empty, **more}


def chain(count: int, **step: object) -> dict[str, object]:
    return {"type": "Sequence", "normalizers": [step] * count}


DOUBLING = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
TOKENIZERS: dict[str, tuple[object, str]] = {
    "a list": ([], "is no tokenizer.json"),
    "a number": (5, "is no tokenizer.json"),
    "no model": (document(None), "is no tokenizer.json"),
    "a nest": (b'{"model":' + b"[" * 100_000, "is no tokenizer.json"),
    "bytes": (b"\xff\xfe\0", "is no tokenizer.json"),
    "tokens of other models": (document({**WORDS, "vocab": {"a": 4294967295, "<unk>": 1}}), "token 4,294,967,295"),
    "a token below 0": (document({**WORDS, "vocab": {"a": -1, "<unk>": 1}}), "is no tokenizer.json"),
    "an unknown word that is none": (document({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 99}), "tokenizer"),
    "40 doublings": (document(normalizer=chain(40, **DOUBLING)), "more than 64 times as long"),
    "doublings between": (
        document(normalizer=chain(40, type="Replace", pattern={"Regex": ""}, content="a")), "more than 64 times",
    ),
    "long beginnings": (document(normalizer=chain(3, type="Prepend", prepend="a" * 50)), "more than 64 times"),
    "a table of nonsense": (
        document(normalizer={"type": "Precompiled", "precompiled_charsmap": "/////w=="}), "is no tokenizer.json",
    ),
    "a pattern that is none": (
        document(pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}),
        "is no tokenizer.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TOKENIZERS)
def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, what: str) -> None:
    content, words = TOKENIZERS[what]
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ModelRefused) as refused:
        numbers_of(tokenizer_of(path, tmp_path / "t5.safetensors", 1000), "a", 1000)
    assert words in str(refused.value)


def test_a_tokenizer_that_replaces_as_those_known_do_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    steps = [
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]
    told = document({**WORDS, "vocab": {"▁a▁a": 7, "<unk>": 1}}, {"type": "Sequence", "normalizers": steps})
    path.write_text(json.dumps(told))
    assert numbers_of(tokenizer_of(path, tmp_path / "t5.safetensors", 1000), "a  a", 1000) == [7]


@pytest.mark.parametrize(
    ("where", "what"),
    [("out.2.weight", "the latent"), ("first_stage_model.decoder.conv_out.weight", "the picture")],
)
def test_a_picture_of_no_numbers_is_refused_and_not_painted_black(
    sound_one: Path, tmp_path: Path, where: str, what: str
) -> None:
    tensors = load_file(sound_one)
    key = where if where in tensors else UNET + where
    tensors[key].fill_(torch.nan)
    save_file(tensors, tmp_path / "damaged.safetensors")
    context = Context(files=Files({"checkpoints": [tmp_path]}))
    model, text_encoder, vae = LoadModel(context, "damaged.safetensors")
    words = Encode(context, text_encoder, "a cat")
    latent = Latent(torch.zeros(1, 4, 8, 8))
    sigmas = Sigmas(torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64))
    with pytest.raises(ValueError, match=f"values of {what} are no numbers") as refused:
        VAEDecode(context, vae, Sampler(context, model, words, latent, sigmas, guidance_scale=1.0))
    assert "weights of damaged.safetensors are damaged or too large" in str(refused.value)
