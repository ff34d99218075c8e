"""Z-Image (Tongyi, 2025): one stream of words and squares of the latent, words from Qwen 3, Flux's VAE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nodegraph.diffusion.checkpoints import configs, whole
from nodegraph.diffusion.checkpoints.assembly import describe
from nodegraph.diffusion.checkpoints.llm import Conversation
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.transformer import Transformer, Words
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import Checkpoint, Parametrization

__all__ = ["FAMILIES", "ROLES", "assembled", "describe", "load"]
FAMILIES = ("z-image",)
ROLES = ("qwen3",)
TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
LENGTH = 512  # tokens of text that it reads
_HEAD = "layers.0.attention.norm_q.weight"


def config(part: Part) -> dict[str, Any]:
    """The configuration of the transformer, from the shapes of its weights."""
    head = configs.side(part, _HEAD, 0)
    rest = 3 * head // 8  # a quarter of a head turns with the place in the text, the rest with row and column
    return {
        "in_channels": configs.side(part, "all_x_embedder.2-1.weight", 1) // 4,
        "dim": configs.side(part, "all_x_embedder.2-1.weight", 0),
        "n_layers": configs.bounded(part, r"layers\.(\d+)\."),
        "n_refiner_layers": configs.bounded(part, r"noise_refiner\.(\d+)\."),
        "n_heads": max(1, configs.side(part, "layers.0.attention.to_q.weight", 0) // max(1, head)),
        "n_kv_heads": max(1, configs.side(part, "layers.0.attention.to_k.weight", 0) // max(1, head)),
        "cap_feat_dim": configs.side(part, "cap_embedder.1.weight", 1),
        "axes_dims": [head - 2 * rest, rest, rest],
        "axes_lens": [1536, 512, 512],
    }


def transformer(part: Part, dtype: torch.dtype, path: Path, parametrization: Parametrization) -> Transformer:
    """The live transformer of a file."""
    sizes = config(part)
    with IMPORTING:
        from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
    network = fill(lambda: ZImageTransformer2DModel(**sizes), part.weights, dtype, path, "transformer")
    return Transformer(
        network,
        parametrization,
        forward,
        sizes["in_channels"],
        sizes["cap_feat_dim"],
        largest=2 * sizes["axes_lens"][1],
        patches=Patches(network, "denoiser"),
    )


def forward(network: Any, x: Tensor, time: Tensor, words: Words) -> Tensor:
    """The flow for latents (N, C, h, w) at flow times (N,); the network counts time from noise and flows back."""
    frames = list(x[:, :, None].unbind(0))
    texts = list(words.embedding.unbind(0))
    if words.mask is not None:
        texts = [text[real] for text, real in zip(texts, words.mask, strict=True)]
    back = network(frames, 1 - time, texts, return_dict=False)[0]
    return -torch.stack(back)[:, :, 0]


def assembled(family: str, parts: Mapping[str, Any], part: Part | None = None) -> Conversation:  # noqa: ARG001
    """The text encoder of the family from its network."""
    return Conversation(parts["qwen3"], TEMPLATE, layer=-2, skipped=0, most=LENGTH)


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The networks that the file or folder has, on the host. Raises as `whole.load` does."""
    return whole.load(checkpoint, path, dtype, transformer, ROLES, assembled)
