"""Qwen-Image (Qwen team, 2025): words of Qwen 2.5 VL and 2 x 2 tokens of the latent in one attention."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nodegraph.diffusion.checkpoints import configs, whole
from nodegraph.diffusion.checkpoints.assembly import describe
from nodegraph.diffusion.checkpoints.flux import pack, unpack
from nodegraph.diffusion.checkpoints.llm import Conversation
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.transformer import Transformer, Words
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import Checkpoint, Parametrization

__all__ = ["FAMILIES", "ROLES", "assembled", "describe", "load"]
FAMILIES = ("qwen-image",)
ROLES = ("qwen2.5-vl",)
# The words around a prompt that the network was trained with, and the tokens before the prompt, left out after.
TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
SKIPPED = 34
LENGTH = 1024  # tokens of text that it reads


def config(part: Part) -> dict[str, Any]:
    """The configuration of the transformer, from the shapes of its weights."""
    head = configs.side(part, "transformer_blocks.0.attn.norm_q.weight", 0)
    rest = (head - head // 8) // 2  # an eighth of a head turns with the frame, the rest with row and column
    return {
        "in_channels": configs.side(part, "img_in.weight", 1),
        "out_channels": configs.side(part, "proj_out.weight", 0) // 4,
        "num_layers": configs.bounded(part, r"transformer_blocks\.(\d+)\."),
        "attention_head_dim": head,
        "num_attention_heads": max(1, configs.side(part, "img_in.weight", 0) // max(1, head)),
        "joint_attention_dim": configs.side(part, "txt_in.weight", 1),
        "axes_dims_rope": [head - 2 * rest, rest, rest],
    }


def transformer(part: Part, dtype: torch.dtype, path: Path, parametrization: Parametrization) -> Transformer:
    """The live transformer of a file."""
    sizes = config(part)
    with IMPORTING:
        from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
    network = fill(lambda: QwenImageTransformer2DModel(**sizes), part.weights, dtype, path, "transformer")
    return Transformer(
        network,
        parametrization,
        forward,
        sizes["in_channels"] // 4,
        sizes["joint_attention_dim"],
        patches=Patches(network, "denoiser"),
    )


def forward(network: Any, x: Tensor, time: Tensor, words: Words) -> Tensor:
    """The flow that the network predicts for latents (N, C, h, w) at flow times (N,)."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    flow = network(
        pack(x),
        encoder_hidden_states=words.embedding,
        encoder_hidden_states_mask=words.mask,
        timestep=time.to(x.dtype),
        img_shapes=[[(1, height, width)]] * len(x),
        return_dict=False,
    )[0]
    return unpack(flow, height, width)


def assembled(family: str, parts: Mapping[str, Any], part: Part | None = None) -> Conversation:  # noqa: ARG001
    """The text encoder of the family from its network."""
    return Conversation(parts["qwen2.5-vl"], TEMPLATE, layer=-1, skipped=SKIPPED, most=LENGTH)


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The networks that the file or folder has, on the host. Raises as `whole.load` does."""
    return whole.load(checkpoint, path, dtype, transformer, ROLES, assembled)
