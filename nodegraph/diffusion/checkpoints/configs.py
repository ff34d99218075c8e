"""The sizes of networks from the shapes of their weights, as diffusers and transformers want to be told.

What no shape can tell is a constant of the family: how many heads share a layer, which activation it has.
"""

from __future__ import annotations

import math
from typing import Any

from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.parts import Part

CLIP_VOCABULARY, CLIP_PLACES = 49408, 77
LIMIT = 64  # blocks one after another; the largest network known has 60
# Levels of a U-Net or VAE, layers of a level, blocks of one attention: the largest known have 4, 3 and 10. Their
# product is how much is made before weights are compared.
LEVELS, LAYERS, DEPTH = 8, 8, 16


def unet(part: Part, family: str) -> dict[str, Any]:
    """The configuration of a U-Net of Stable Diffusion, or of a ControlNet's copy of its first half."""
    levels = bounded(part, r"down_blocks\.(\d+)\.", LEVELS)
    channels = [side(part, f"down_blocks.{i}.resnets.0.conv1.weight", 0) for i in range(levels)]
    attention = [part.count(rf"down_blocks\.{i}\.attentions\.(\d+)\.") > 0 for i in range(levels)]
    depths = [max(1, _depth(part, f"down_blocks.{i}.attentions.0")) for i in range(levels)]
    middle = part.count(r"mid_block\.attentions\.(\d+)\.") > 0
    if middle:
        depths[-1] = max(depths[-1], _depth(part, "mid_block.attentions.0"))
    crossing = next((name for name in part.weights if name.endswith("attn2.to_k.weight")), None)
    config: dict[str, Any] = {
        "in_channels": side(part, "conv_in.weight", 1),
        "block_out_channels": channels,
        "layers_per_block": bounded(part, r"down_blocks\.0\.resnets\.(\d+)\.", LAYERS),
        "down_block_types": ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attention],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else None,
        "transformer_layers_per_block": depths,
        "cross_attention_dim": side(part, crossing, 1) if crossing is not None else 0,
        # diffusers calls the number of heads a head's dimension.
        "attention_head_dim": 8 if family == "sd1" else [max(1, side // 64) for side in channels],
        "use_linear_projection": family != "sd1",
        "act_fn": "silu",
    }
    if "add_embedding.linear_1.weight" in part.weights:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": side(part, "add_embedding.linear_1.weight", 1),
        }
    return config


def whole_unet(part: Part, family: str) -> dict[str, Any]:
    """The configuration of a U-Net with both halves."""
    config = unet(part, family)
    config["out_channels"] = side(part, "conv_out.weight", 0)
    types = reversed(config["down_block_types"])
    config["up_block_types"] = ["CrossAttnUpBlock2D" if "Cross" in kind else "UpBlock2D" for kind in types]
    return config


def control(part: Part) -> dict[str, Any]:
    """The configuration of a ControlNet."""
    first = part.shape("down_blocks.0.attentions.0.proj_in.weight")
    config = unet(part, "sd1" if first is not None and len(first) == 4 else "")
    hints = [side(part, "controlnet_cond_embedding.conv_in.weight", 0)]
    steps = part.count(r"controlnet_cond_embedding\.blocks\.(\d+)\.")
    hints += [side(part, f"controlnet_cond_embedding.blocks.{i}.weight", 0) for i in range(1, steps, 2)]
    config["conditioning_embedding_out_channels"] = hints
    config["mid_block_type"] = config["mid_block_type"] or "UNetMidBlock2DCrossAttn"
    return config


def vae(part: Part) -> dict[str, Any]:
    """The configuration of an AutoencoderKL."""
    levels = bounded(part, r"decoder\.up_blocks\.(\d+)\.", LEVELS)
    channels = [side(part, f"encoder.down_blocks.{i}.resnets.0.conv1.weight", 0) for i in range(levels)]
    return {
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": bounded(part, r"encoder\.down_blocks\.0\.resnets\.(\d+)\.", LAYERS),
        "latent_channels": vae_channels(part),
        "use_quant_conv": "quant_conv.weight" in part.weights,
        "use_post_quant_conv": "post_quant_conv.weight" in part.weights,
        "mid_block_add_attention": "decoder.mid_block.attentions.0.to_q.weight" in part.weights,
    }


def vae_channels(part: Part) -> int:
    """How many channels a VAE's latents have."""
    return side(part, "decoder.conv_in.weight", 1)


def vae_downscale(part: Part) -> int:
    """How many pixels of a side become one of the latent."""
    return int(2 ** (bounded(part, r"decoder\.up_blocks\.(\d+)\.", LEVELS) - 1)) * vae_patch(part)


def vae_patch(part: Part) -> int:
    """The side of the squares of pixels that a VAE sees as one; most see each by itself."""
    shape = part.shape("encoder.conv_in.weight")
    return 1 if shape is None or len(shape) < 2 else max(1, math.isqrt(shape[1] // 3))


def clip(part: Part, activation: str) -> dict[str, Any]:
    """The configuration of a CLIP text encoder.

    Raises:
        ModelRefused: its vocabulary is not CLIP's: token numbers would mean other words; or it has too few places.
    """
    vocabulary = side(part, "embeddings.token_embedding.weight", 0)
    if vocabulary != CLIP_VOCABULARY:
        source = part.weights["embeddings.token_embedding.weight"]
        raise ModelRefused(
            f"{source.path}: {source.key} has {vocabulary:,} tokens and CLIP's vocabulary has "
            f"{CLIP_VOCABULARY:,}; every "
            "word would be read as another. Get the checkpoint with the text encoder that it was trained with"
        )
    if (places := side(part, "embeddings.position_embedding.weight", 0)) < CLIP_PLACES:
        source = part.weights["embeddings.position_embedding.weight"]
        raise ModelRefused(
            f"{source.path}: {source.key} has {places} places, and CLIP's windows {CLIP_PLACES}. Get the "
            "checkpoint with the text encoder that it was trained with"
        )
    width = side(part, "embeddings.token_embedding.weight", 1)
    config: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": side(part, "encoder.layers.0.mlp.fc1.weight", 0),
        "num_hidden_layers": bounded(part, r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": places,
        "hidden_act": str(part.config.get("hidden_act", activation)),
        "eos_token_id": 49407,
        "bos_token_id": 49406,
    }
    if "text_projection.weight" in part.weights:
        config["projection_dim"] = side(part, "text_projection.weight", 0)
    return config


def _depth(part: Part, module: str) -> int:
    pattern = module.replace(".", r"\.") + r"\.transformer_blocks\.(\d+)\."
    return bounded(part, pattern, DEPTH) if part.count(pattern) else 0


def side(part: Part, name: str, axis: int) -> int:
    """How long a side of a weight is. Raises ModelRefused where there is no such weight or side, or it is 0."""
    shape = part.shape(name)
    if shape is None or len(shape) <= axis or not shape[axis]:
        path = next(iter(part.weights.values())).path if part.weights else part.folder
        raise ModelRefused(f"{path}: {name} is missing; the file is not complete. Download it again")
    return shape[axis]


def bounded(part: Part, pattern: str, most: int = LIMIT) -> int:
    """How many layers have names that fit a pattern. Raises ModelRefused where there are none, or above `most`."""
    count = part.count(pattern)
    if not 0 < count <= most:
        path = next(iter(part.weights.values())).path if part.weights else part.folder
        raise ModelRefused(f"{path}: {count} layers match {pattern}, and a network has 1 to {most}")
    return count
