"""Tiny checkpoints of the families with transformers and T5: networks of diffusers, and their original single files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tiny
import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import save_file
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import Unigram
from torch import Tensor
from transformers import T5Config
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.t5.modeling_t5 import T5EncoderModel

T5_WIDTH, CLIP_WIDTH = 32, 64
Weights = Mapping[str, Tensor]


def vae(scale: float, shift: float) -> AutoencoderKL:
    """A VAE of 16 channels without the convolutions of the first ones."""
    return AutoencoderKL(
        block_out_channels=(32, 32, 32, 64),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=1,
        latent_channels=16,
        scaling_factor=scale,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def t5() -> T5EncoderModel:
    """A T5 encoder of two gated layers."""
    return T5EncoderModel(
        T5Config(
            vocab_size=64, d_model=T5_WIDTH, d_kv=16, d_ff=48, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


def save_tokenizer(path: Path) -> Path:
    """A tokenizer of letters and some pairs, in the form of T5's."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz,0123456789", "▁a", "ph", "cat"]
    tokenizer = Tokenizer(Unigram([(piece, -float(len(pieces) > 3)) for piece in pieces], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path


def flux(guided: bool) -> tiny.Tiny:
    """Flux.1 dev (`guided`) or schnell, with two blocks of each kind."""
    torch.manual_seed(0)
    made = tiny.Tiny("flux" if guided else "flux-schnell")
    made.networks["transformer"] = FluxTransformer2DModel(
        in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2,
        joint_attention_dim=T5_WIDTH, pooled_projection_dim=CLIP_WIDTH, guidance_embeds=guided,
        axes_dims_rope=(4, 14, 14),
    )  # fmt: skip
    made.networks["vae"] = vae(0.3611, 0.1159)
    made.networks["text_encoder"] = CLIPTextModel(tiny.clip(CLIP_WIDTH, 2, "quick_gelu"))
    made.networks["text_encoder_2"] = t5()
    for network in made.networks.values():
        tiny.louder(network.eval())
    return made


def save_folder(made: tiny.Tiny, path: Path, tokenizer: str) -> Path:
    """A checkpoint as a diffusers folder, with T5's tokenizer in the folder of that name."""
    for name, network in made.networks.items():
        network.save_pretrained(path / name, safe_serialization=True)
    save_tokenizer(path / tokenizer / "tokenizer.json")
    (path / "model_index.json").write_text(json.dumps({"_class_name": "Pipeline"}))
    return path


def save(weights: Weights, path: Path) -> Path:
    """Weights as one file, none sharing memory with another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().clone().contiguous() for name, value in weights.items()}, path)
    return path


def prefixed(prefix: str, weights: Weights) -> dict[str, Tensor]:
    """The same weights under longer names."""
    return {prefix + name: value for name, value in weights.items()}


def whole(made: tiny.Tiny, original: Weights, texts: Mapping[str, str]) -> dict[str, Tensor]:
    """Everything in one file, as ComfyUI packs it; `texts` gives each text encoder's name there."""
    found = prefixed("model.diffusion_model.", original)
    found |= prefixed("vae.", tiny.original_vae(made.networks["vae"]))
    for folder, name in texts.items():
        found |= prefixed(f"text_encoders.{name}.transformer.", text(made.networks[folder]))
    return found


def text(network: Any) -> dict[str, Tensor]:
    """A text encoder's weights as its own file has them."""
    weights = dict(network.state_dict())
    if "shared.weight" in weights:
        weights.pop("encoder.embed_tokens.weight")
        return weights
    return {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": value
        for name, value in weights.items()
    }


def swap(weight: Tensor) -> Tensor:
    """The halves of the rows in each other's place."""
    return torch.cat(weight.chunk(2)[::-1])


def original_flux(network: Any) -> dict[str, Tensor]:
    """A Flux transformer's weights as Black Forest Labs name them."""
    return dict(_flux(network.state_dict(), network.config))


def _flux(w: Weights, config: Any) -> Iterator[tuple[str, Tensor]]:
    def both(new: str, old: str) -> Iterator[tuple[str, Tensor]]:
        for leaf in ("weight", "bias"):
            yield f"{old}.{leaf}", w[f"{new}.{leaf}"]

    def joint(old: str, *new: str) -> Iterator[tuple[str, Tensor]]:
        for leaf in ("weight", "bias"):
            yield f"{old}.{leaf}", torch.cat([w[f"{name}.{leaf}"] for name in new])

    ends = [("timestep", "time"), ("text", "vector"), *([("guidance", "guidance")] * config.guidance_embeds)]
    for new, old in ends:
        yield from both(f"time_text_embed.{new}_embedder.linear_1", f"{old}_in.in_layer")
        yield from both(f"time_text_embed.{new}_embedder.linear_2", f"{old}_in.out_layer")
    yield from both("context_embedder", "txt_in")
    yield from both("x_embedder", "img_in")
    for i in range(config.num_layers):
        new, old = f"transformer_blocks.{i}", f"double_blocks.{i}"
        for side, norm, add, ff in (("img", "norm1", "", "ff"), ("txt", "norm1_context", "added_", "ff_context")):
            yield from both(f"{new}.{norm}.linear", f"{old}.{side}_mod.lin")
            names = [f"{new}.attn.add_{letter}_proj" if add else f"{new}.attn.to_{letter}" for letter in "qkv"]
            yield from joint(f"{old}.{side}_attn.qkv", *names)
            yield f"{old}.{side}_attn.norm.query_norm.scale", w[f"{new}.attn.norm_{add}q.weight"]
            yield f"{old}.{side}_attn.norm.key_norm.scale", w[f"{new}.attn.norm_{add}k.weight"]
            yield from both(f"{new}.attn.{'to_add_out' if add else 'to_out.0'}", f"{old}.{side}_attn.proj")
            yield from both(f"{new}.{ff}.net.0.proj", f"{old}.{side}_mlp.0")
            yield from both(f"{new}.{ff}.net.2", f"{old}.{side}_mlp.2")
    for i in range(config.num_single_layers):
        new, old = f"single_transformer_blocks.{i}", f"single_blocks.{i}"
        yield from both(f"{new}.norm.linear", f"{old}.modulation.lin")
        yield from joint(f"{old}.linear1", *(f"{new}.attn.to_{letter}" for letter in "qkv"), f"{new}.proj_mlp")
        yield f"{old}.norm.query_norm.scale", w[f"{new}.attn.norm_q.weight"]
        yield f"{old}.norm.key_norm.scale", w[f"{new}.attn.norm_k.weight"]
        yield from both(f"{new}.proj_out", f"{old}.linear2")
    yield from both("proj_out", "final_layer.linear")
    for leaf in ("weight", "bias"):
        yield f"final_layer.adaLN_modulation.1.{leaf}", swap(w[f"norm_out.linear.{leaf}"])
