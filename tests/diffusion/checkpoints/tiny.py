"""Tiny checkpoints of random weights, made by diffusers, as folders and in the layout of original single files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

import nodegraph.diffusion

EMOJI = Path(nodegraph.diffusion.__path__[0]) / "embedded" / "emoji"
SIDES = {"sd1": (32, 64), "sd2": (64, 128), "sdxl": (64, 64, 128), "sdxl-refiner": (64, 64, 64, 64)}


@dataclass
class Tiny:
    """The networks of one checkpoint, by the name of their folder."""

    family: str
    prediction: str = "epsilon"
    networks: dict[str, Any] = field(default_factory=dict)


def make(family: str, *, channels: int = 4, prediction: str = "epsilon", seed: int = 0) -> Tiny:
    """A checkpoint of a family with small networks of random weights."""
    torch.manual_seed(seed)
    made = Tiny(family, prediction)
    sides = SIDES[family]
    large = family.startswith("sdxl")
    has = [not large or 0 < i < 3 for i in range(len(sides))]
    wide = {"sd1": 64, "sd2": 64, "sdxl": 192, "sdxl-refiner": 128}[family]
    options: dict[str, Any] = {}
    if large:
        numbers = 6 if family == "sdxl" else 5
        options = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 32 + numbers * 256,
            "transformer_layers_per_block": [1, 2, 3] if family == "sdxl" else 2,
        }
    made.networks["unet"] = UNet2DConditionModel(
        sample_size=64,
        in_channels=channels,
        out_channels=4,
        block_out_channels=sides,
        layers_per_block=2,
        down_block_types=["CrossAttnDownBlock2D" if one else "DownBlock2D" for one in has],
        up_block_types=["CrossAttnUpBlock2D" if one else "UpBlock2D" for one in reversed(has)],
        cross_attention_dim=wide,
        attention_head_dim=8 if family == "sd1" else [side // 64 for side in sides],
        use_linear_projection=family != "sd1",
        **options,
    )
    made.networks["vae"] = AutoencoderKL(
        block_out_channels=(32, 32, 32, 64),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=1,
        scaling_factor=0.13025 if large else 0.18215,
    )
    if family != "sdxl-refiner":
        made.networks["text_encoder"] = CLIPTextModel(clip(64, 3, "gelu" if family == "sd2" else "quick_gelu"))
    if large:
        made.networks["text_encoder_2"] = CLIPTextModelWithProjection(clip(128, 3, "gelu"))
    for network in made.networks.values():
        network.eval()
        louder(network)
    return made


def clip(width: int, layers: int, activation: str) -> CLIPTextConfig:
    """The configuration of a CLIP text encoder."""
    return CLIPTextConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=width // 64,
        hidden_act=activation, projection_dim=32, eos_token_id=49407, bos_token_id=49406,
    )  # fmt: skip


def louder(network: nn.Module) -> None:
    """Norms and biases that are not ones and zeros, so that a swapped pair shows."""
    for name, value in network.named_parameters():
        if value.ndim == 1:
            value.data.add_(0.1 * torch.randn_like(value))


def save_folder(tiny: Tiny, path: Path) -> Path:
    """The checkpoint as a diffusers folder."""
    for name, network in tiny.networks.items():
        network.save_pretrained(path / name, safe_serialization=True)
    (path / "scheduler").mkdir()
    scheduler = {"_class_name": "EulerDiscreteScheduler", "prediction_type": tiny.prediction}
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return path


def save_single(
    tiny: Tiny, path: Path, *, dtype: torch.dtype = torch.float32, metadata: dict[str, str] | None = None
) -> Path:
    """The checkpoint as one file with the original names."""
    tensors = {name: value.to(dtype).contiguous() for name, value in single(tiny).items()}
    save_file(tensors, path, metadata or {})
    return path


def single(tiny: Tiny) -> dict[str, Tensor]:
    """Every weight under its original name."""
    networks, family = tiny.networks, tiny.family
    found = {f"model.diffusion_model.{k}": v for k, v in original_unet(networks["unet"]).items()}
    found |= {f"first_stage_model.{k}": v for k, v in original_vae(networks["vae"]).items()}
    if family == "sd1":
        inner = networks["text_encoder"].state_dict()
        found |= {f"cond_stage_model.transformer.text_model.{k}": v for k, v in inner.items()}
    elif family == "sd2":
        inner = original_open_clip(networks["text_encoder"])
        # The last layer, which is never used, is in the file all the same.
        last = {
            k.replace(".2.", ".3."): v + 1 for k, v in inner.items() if k.startswith("transformer.resblocks.2.")
        }
        found |= {f"cond_stage_model.model.{k}": v for k, v in {**inner, **last}.items()}
        found["cond_stage_model.model.text_projection"] = torch.zeros(64, 64)
    elif family == "sdxl":
        inner = networks["text_encoder"].state_dict()
        found |= {f"conditioner.embedders.0.transformer.text_model.{k}": v for k, v in inner.items()}
    if family.startswith("sdxl"):
        slot = 1 if family == "sdxl" else 0
        inner = original_open_clip(networks["text_encoder_2"])
        found |= {f"conditioner.embedders.{slot}.model.{k}": v for k, v in inner.items()}
    found["alphas_cumprod"] = torch.ones(1000)  # what training leaves behind
    return {name: value.detach() for name, value in found.items()}


_RESNET = (
    ("norm1.", "in_layers.0."), ("conv1.", "in_layers.2."), ("norm2.", "out_layers.0."), ("conv2.", "out_layers.3."),
    ("time_emb_proj.", "emb_layers.1."), ("conv_shortcut.", "skip_connection."),
)  # fmt: skip
_UNET = (
    ("time_embedding.linear_1.", "time_embed.0."), ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."), ("add_embedding.linear_2.", "label_emb.0.2."),
    ("conv_in.", "input_blocks.0.0."), ("conv_norm_out.", "out.0."), ("conv_out.", "out.2."),
    ("mid_block.resnets.0.", "middle_block.0."), ("mid_block.attentions.0.", "middle_block.1."),
    ("mid_block.resnets.1.", "middle_block.2."),
)  # fmt: skip


def unet_prefixes(unet: Any) -> list[tuple[str, str]]:
    """Pairs of diffusers' and the original prefixes of every block of a U-Net."""
    found = list(_UNET)
    levels, layers = len(unet.config.block_out_channels), unet.config.layers_per_block
    for level in range(levels):
        base = 1 + level * (layers + 1)
        for layer in range(layers):
            found.append((f"down_blocks.{level}.resnets.{layer}.", f"input_blocks.{base + layer}.0."))
            found.append((f"down_blocks.{level}.attentions.{layer}.", f"input_blocks.{base + layer}.1."))
        found.append((f"down_blocks.{level}.downsamplers.0.conv.", f"input_blocks.{base + layers}.0.op."))
        if not hasattr(unet, "up_blocks"):
            continue
        attentive = hasattr(unet.up_blocks[level], "attentions")
        for layer in range(layers + 1):
            out = f"output_blocks.{level * (layers + 1) + layer}"
            found.append((f"up_blocks.{level}.resnets.{layer}.", f"{out}.0."))
            found.append((f"up_blocks.{level}.attentions.{layer}.", f"{out}.1."))
        slot = 2 if attentive else 1
        out = f"output_blocks.{level * (layers + 1) + layers}.{slot}.conv."
        found.append((f"up_blocks.{level}.upsamplers.0.conv.", out))
    return found


def original_unet(unet: Any) -> dict[str, Tensor]:
    """A U-Net's weights under the names of the first Stable Diffusion files."""
    return {_renamed(key, unet_prefixes(unet)): value for key, value in unet.state_dict().items()}


def _renamed(key: str, prefixes: list[tuple[str, str]]) -> str:
    for new, old in prefixes:
        if key.startswith(new):
            rest = key.removeprefix(new)
            if ".resnets." in key:
                rest = next((o + rest.removeprefix(n) for n, o in _RESNET if rest.startswith(n)), rest)
            return old + rest
    raise AssertionError(key)


def original_vae(vae: Any) -> dict[str, Tensor]:
    """A VAE's weights under the names of the first Stable Diffusion files, attention as 1 x 1 convolutions."""
    levels = len(vae.config.block_out_channels)
    found = {}
    for key, value in vae.state_dict().items():
        name = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
        if "mid_block.attentions.0" in name:
            name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
            for old in ("q", "k", "v"):
                name = name.replace(f"to_{old}", old)
            name = name.replace("to_out.0", "proj_out")
            value = value[:, :, None, None] if value.ndim == 2 else value
        for i in range(levels):
            name = name.replace(f"down_blocks.{i}.resnets", f"down.{i}.block")
            name = name.replace(f"down_blocks.{i}.downsamplers.0", f"down.{i}.downsample")
            name = name.replace(f"up_blocks.{i}.resnets", f"up.{levels - 1 - i}.block")
            name = name.replace(f"up_blocks.{i}.upsamplers.0", f"up.{levels - 1 - i}.upsample")
        found[name] = value
    return found


def original_open_clip(network: Any) -> dict[str, Tensor]:
    """A text encoder's weights under OpenCLIP's names, its three projections as one."""
    weights = {key.removeprefix("text_model."): value for key, value in network.state_dict().items()}
    found = {
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "ln_final.weight": weights["final_layer_norm.weight"],
        "ln_final.bias": weights["final_layer_norm.bias"],
        "logit_scale": torch.ones(()),
    }
    if "text_projection.weight" in weights:
        found["text_projection"] = weights["text_projection.weight"].T
    for i in range(network.config.num_hidden_layers):
        layer, block = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for leaf in ("weight", "bias"):
            joint = [weights[f"{layer}self_attn.{letter}_proj.{leaf}"] for letter in "qkv"]
            found[f"{block}attn.in_proj_{leaf}"] = torch.cat(joint)
            for new, old in (
                ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
                ("self_attn.out_proj", "attn.out_proj"),
            ):  # fmt: skip
                found[f"{block}{old}.{leaf}"] = weights[f"{layer}{new}.{leaf}"]
    return found


def tokens(prompt: str, padding: int = 49407) -> Tensor:
    """CLIP's tokens of a prompt (1, 77) filled up with padding, as transformers' tokenizer numbers them."""
    from instant_clip_tokenizer import Tokenizer

    inner = Tokenizer().encode(prompt)
    ids = [49406, *inner, 49407]
    return torch.tensor([ids + [padding] * (77 - len(ids))])
