"""LoRAs of transformers in every naming: applied equals merged into the original file, and taken out again exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_flow
import torch
from nodegraph.nodes.adapters import LoadLora
from nodegraph.nodes.models import Encode, LoadModel, denoiser_of
from nodegraph.nodes.sampling import EmptyLatent, EmptyVideo
from torch import Tensor

from nodegraph import Context, events
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.values import Condition
from nodegraph.home import Home

RANK, ALPHA = 4, 2.0
Tensors = dict[str, Tensor]
# Each family with its original file, and the modules of it that are changed.
FAMILIES: dict[str, tuple[Callable[[], Any], Callable[[Any], Tensors], tuple[str, ...]]] = {
    "flux": (
        lambda: tiny_flow.flux(True).networks["transformer"],
        tiny_flow.original_flux,
        (
            "double_blocks.0.img_attn.qkv", "double_blocks.1.txt_attn.qkv", "double_blocks.0.txt_mlp.2",
            "single_blocks.1.linear1", "single_blocks.0.linear2", "single_blocks.0.modulation.lin",
            "final_layer.adaLN_modulation.1", "final_layer.linear", "txt_in",
        ),
    ),
    "sd3": (
        lambda: tiny_flow.sd3("3.5 medium").networks["transformer"],
        tiny_flow.original_sd3,
        (
            "joint_blocks.0.x_block.attn2.qkv", "joint_blocks.1.context_block.attn.qkv",
            "joint_blocks.2.context_block.adaLN_modulation.1", "joint_blocks.0.x_block.mlp.fc1",
        ),
    ),
    "z-image": (
        lambda: tiny_flow.z_image().networks["transformer"],
        tiny_flow.original_z_image,
        ("layers.1.attention.qkv", "noise_refiner.0.attention.out", "layers.0.feed_forward.w1"),
    ),
    "qwen-image": (
        lambda: tiny_flow.qwen_image().networks["transformer"],
        lambda network: dict(network.state_dict()),
        ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.img_mlp.net.2", "txt_in"),
    ),
    "wan": (
        lambda: tiny_flow.wan().networks["transformer"],
        tiny_flow.original_wan,
        ("blocks.0.self_attn.q", "blocks.1.cross_attn.o", "blocks.0.ffn.2", "text_embedding.0"),
    ),
}  # fmt: skip
NAMINGS = ("kohya", "dotted", "diffusers", pytest.param("OneTrainer", marks=pytest.mark.slow))


@dataclass
class Made:
    """A transformer's file, the same with a LoRA merged into it, and the LoRA in each naming."""

    family: str
    models: Path

    def context(self) -> Context:
        return Context(files=Home(self.models.parent, self.models.parent / "cache").files(output=self.models))

    def weights(self, name: str) -> Tensors:
        path = self.models / "diffusion_models" / name
        live = load(describe(name, path, "digest").model.checkpoint, path, "cpu")
        return dict(live.networks["denoiser"].state_dict())


@pytest.fixture(scope="module", params=FAMILIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    network, original, modules = FAMILIES[request.param]
    models = tmp_path_factory.mktemp("home") / "models"
    # Unlike those of other tests: the pool holds one network for one content, with the LoRAs that were last asked for.
    weights = {name: 0.99 * value for name, value in original(network()).items()}
    generator = torch.Generator().manual_seed(3)
    pairs = {}
    for module in modules:
        rows, columns = weights[f"{module}.weight"].shape
        down, up = (torch.randn(*shape, generator=generator) * 0.1 for shape in ((RANK, columns), (rows, RANK)))
        pairs[module] = (down, up)
    merged = dict(weights)
    for module, (down, up) in pairs.items():
        merged[f"{module}.weight"] = weights[f"{module}.weight"] + ALPHA / RANK * up @ down
    tiny_flow.save(weights, models / "diffusion_models" / "base.safetensors")
    tiny_flow.save(merged, models / "diffusion_models" / "merged.safetensors")
    kohya, dotted = {}, {}
    for module, (down, up) in pairs.items():
        name = f"lora_unet_{module.replace('.', '_')}"
        kohya |= {
            f"{name}.lora_down.weight": down,
            f"{name}.lora_up.weight": up,
            f"{name}.alpha": torch.tensor(ALPHA),
        }
        name = f"diffusion_model.{module}"
        dotted |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up * ALPHA / RANK}
    tiny_flow.save(kohya, models / "loras" / "kohya.safetensors")
    tiny_flow.save(dotted, models / "loras" / "dotted.safetensors")
    one = Made(request.param, models)
    # In diffusers' names each weight has a pair of its own: here of full rank, made of the difference.
    base, changed = one.weights("base.safetensors"), one.weights("merged.safetensors")
    trainer, theirs = {}, {}
    for name in [name for name in base if not torch.equal(base[name], changed[name])]:
        module, difference = name.removesuffix(".weight"), changed[name] - base[name]
        identity = torch.eye(difference.shape[1])
        theirs |= {
            f"transformer.{module}.lora_A.weight": identity,
            f"transformer.{module}.lora_B.weight": difference,
        }
        flat = f"lora_transformer_{module.replace('.', '_')}"
        trainer |= {f"{flat}.lora_down.weight": identity, f"{flat}.lora_up.weight": difference}
    tiny_flow.save(theirs, models / "loras" / "diffusers.safetensors")
    tiny_flow.save(trainer, models / "loras" / "OneTrainer.safetensors")
    return one


def condition(context: Context, model: Any) -> tuple[Tensor, Condition]:
    live = context.open(model.checkpoint).denoiser
    channels, width = live.channels, live.width  # type: ignore[attr-defined]
    pooled = torch.zeros(1, live.network.config.get("pooled_projection_dim", 64))  # type: ignore[attr-defined]
    return torch.zeros(1, channels, 8, 8), Condition(torch.zeros(1, 6, width), pooled=pooled)


@pytest.mark.parametrize("naming", NAMINGS)
def test_applied_equals_merged_and_is_taken_out_exactly(made: Made, naming: str) -> None:
    context = made.context()
    loaded = LoadModel(context, "base.safetensors")
    changed = LoadLora(context, loaded.model, loaded.text_encoder, f"{naming}.safetensors").model
    latent, told = condition(context, loaded.model)
    network: Any = context.open(loaded.model.checkpoint).denoiser.network  # type: ignore[attr-defined]
    base = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        denoiser_of(context, changed).predict(latent, 1.0, [told])
    merged = made.weights("merged.safetensors")
    found = network.state_dict()
    assert all(torch.allclose(found[name], merged[name], atol=1e-5) for name in merged)
    assert sum(not torch.equal(found[name], base[name]) for name in base) >= 3
    with torch.inference_mode():
        denoiser_of(context, loaded.model).predict(latent, 1.0, [told])
    found = network.state_dict()
    assert all(torch.equal(found[name], base[name]) for name in base)


def test_strengths_add_up(made: Made) -> None:
    context = made.context()
    loaded = LoadModel(context, "base.safetensors")
    once = LoadLora(context, loaded.model, loaded.text_encoder, "kohya.safetensors", 0.75)
    twice = LoadLora(context, once.model, once.text_encoder, "dotted.safetensors", 0.25).model
    latent, told = condition(context, loaded.model)
    with torch.inference_mode():
        live = denoiser_of(context, twice)
        live.predict(latent, 1.0, [told])
    merged, found = made.weights("merged.safetensors"), live.network.state_dict()  # type: ignore[attr-defined]
    assert all(torch.allclose(found[name], merged[name], atol=1e-5) for name in merged)


def test_a_lora_of_another_family_is_refused(made: Made, tmp_path: Path) -> None:
    context = made.context()
    loaded = LoadModel(context, "base.safetensors")
    name = "lora_unet_down_blocks_0_attentions_0_proj_in"
    strange = {f"{name}.lora_down.weight": torch.zeros(4, 8), f"{name}.lora_up.weight": torch.zeros(8, 4)}
    tiny_flow.save(strange, made.models / "loras" / "strange.safetensors")
    with pytest.raises(ModelRefused, match="made for another model"):
        LoadLora(context, loaded.model, loaded.text_encoder, "strange.safetensors")
    module = FAMILIES[made.family][2][0].replace(".", "_")
    name = f"lora_unet_{module}"
    wrong = {f"{name}.lora_down.weight": torch.zeros(4, 9), f"{name}.lora_up.weight": torch.zeros(24, 4)}
    tiny_flow.save(wrong, made.models / "loras" / "wrong.safetensors")
    with pytest.raises(ModelRefused, match=r"has the shape \[4, 9\]"):
        LoadLora(context, loaded.model, loaded.text_encoder, "wrong.safetensors")


def pair(module: str, columns: int, rows: int) -> Tensors:
    return {
        f"{module}.lora_down.weight": torch.randn(4, columns),
        f"{module}.lora_up.weight": torch.randn(rows, 4),
    }


def words_of(tmp_path: Path, name: str, lora: Tensors) -> tuple[Condition, Condition]:
    """What a whole file of Flux or Stable Diffusion 3 says of a prompt, without a LoRA and with it."""
    flux = name == "flux"
    made = tiny_flow.flux(False) if flux else tiny_flow.sd3("3")
    models = tmp_path / "models"
    texts = {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"}
    if not flux:
        texts = {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"}
    original = (tiny_flow.original_flux if flux else tiny_flow.original_sd3)(made.networks["transformer"])
    changed = "txt_in.bias" if flux else "context_embedder.bias"
    original[changed] = original[changed] + len(next(iter(lora)))  # unlike the file of any other test
    tiny_flow.save(tiny_flow.whole(made, original, texts), models / "checkpoints" / "whole.safetensors")
    tiny_flow.save_tokenizer(models / "tokenizers" / "t5.json")
    tiny_flow.save(lora, models / "loras" / "words.safetensors")
    context = Context(files=Home(tmp_path, tmp_path / "cache").files(output=models))
    loaded = LoadModel(context, "whole.safetensors", "t5.json")
    changed_encoder = LoadLora(context, loaded.model, loaded.text_encoder, "words.safetensors").text_encoder
    plain, told, again = (
        Encode(context, encoder, "a cat").conditions[0]
        for encoder in (loaded.text_encoder, changed_encoder, loaded.text_encoder)
    )
    assert torch.equal(plain.embedding, again.embedding)  # type: ignore[arg-type]
    assert torch.equal(plain.pooled, again.pooled)  # type: ignore[arg-type]
    return plain, told


def test_a_lora_of_flux_reaches_clip(tmp_path: Path) -> None:
    """kohya's names for CLIP L beside those for the transformer."""
    plain, told = words_of(tmp_path, "flux", pair("lora_te1_text_model_encoder_layers_0_mlp_fc1", 64, 128))
    assert not torch.allclose(plain.pooled, told.pooled)  # type: ignore[arg-type]
    assert torch.equal(plain.embedding, told.embedding)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "module"),
    [
        ("flux", "lora_te2_encoder_block_0_layer_0_SelfAttention_q"),
        ("flux", "text_encoder_2.encoder.block.1.layer.1.DenseReluDense.wi_0"),
        ("flux", "lora_te3_encoder_block_0_layer_0_SelfAttention_q"),
        ("sd3", "lora_te3_encoder_block_1_layer_0_SelfAttention_v"),
    ],
)
def test_a_lora_reaches_t5(tmp_path: Path, family: str, module: str) -> None:
    width = 32 if family == "flux" else 256
    plain, told = words_of(tmp_path, family, pair(module, width, 48 if "wi_0" in module else 64))
    assert torch.equal(plain.pooled, told.pooled)  # type: ignore[arg-type]
    assert not torch.allclose(plain.embedding, told.embedding)  # type: ignore[arg-type]


def test_what_is_for_a_text_encoder_that_is_not_changed_is_told(tmp_path: Path) -> None:
    models, seen = tmp_path / "models", []
    tiny_flow.save(
        tiny_flow.original_wan(tiny_flow.wan().networks["transformer"]), models / "unet" / "w.safetensors"
    )
    rest = pair("lora_te_encoder_block_0_layer_0_SelfAttention_q", 32, 32)
    tiny_flow.save(rest, models / "loras" / "words.safetensors")
    tiny_flow.save(
        {**rest, **pair("lora_unet_blocks_0_self_attn_q", 128, 128)}, models / "loras" / "b.safetensors"
    )
    files = Home(tmp_path, tmp_path / "cache").files(output=models)
    context = Context("lora", files=files, listen=seen.append)
    loaded = LoadModel(context, "w.safetensors")
    LoadLora(context, loaded.model, loaded.text_encoder, "b.safetensors")
    assert [event.note for event in seen if isinstance(event, events.Progress)] == [
        "b.safetensors: 2 of its tensors are for a text encoder that no LoRA changes here, and are left out; the "
        "first is lora_te_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight"
    ]
    with pytest.raises(ModelRefused, match="all of its 2 tensors are for text encoders"):
        LoadLora(context, loaded.model, loaded.text_encoder, "words.safetensors")


def test_numbers_for_another_family_are_refused(made: Made) -> None:
    """Flux would take the height that SDXL is told for how strongly to follow the text."""
    context = made.context()
    live: Any = denoiser_of(context, LoadModel(context, "base.safetensors").model)
    told = Condition(torch.zeros(1, 4, live.width), pooled=torch.zeros(1, 4), numbers=(1024.0,) * 6)
    with pytest.raises(ValueError, match=f"tells 6 numbers; this model reads {int(made.family == 'flux')}"):
        live.predict(torch.zeros(1, live.channels, 8, 8), 1.0, [told])


@pytest.mark.parametrize(("width", "height"), [(1000, 1024), (1024, 1000), (8, 16)])
def test_sides_that_cannot_be_painted_are_refused_in_pixels(made: Made, width: int, height: int) -> None:
    vae = LoadModel(made.context(), "base.safetensors").vae
    side, name = (width, "width") if width % 16 else (height, "height")
    words = f"{name} is {side} pixels, and base.safetensors paints sides that are multiples of 16: use "
    with pytest.raises(ValueError, match=words):
        EmptyLatent(vae, width, height)
    with pytest.raises(ValueError, match=words):
        EmptyVideo(vae, width, height, 5)
    assert EmptyLatent(vae, 1008, 16).tensor.shape[-2:] == (2, 126)
