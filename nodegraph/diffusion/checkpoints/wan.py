"""Wan 2.1 text to video (Wan team, 2025): frames of latents in 2 x 2 squares, words of umT5 in cross-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.checkpoints import configs, whole
from nodegraph.diffusion.checkpoints.assembly import describe
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.t5 import T5
from nodegraph.diffusion.checkpoints.transformer import Transformer, Words
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import Checkpoint, Condition, Conditioning, Parametrization

__all__ = ["FAMILIES", "ROLES", "assembled", "describe", "load"]
FAMILIES = ("wan",)
ROLES = ("t5",)
HEAD = 128  # numbers of a head of attention, whose norms span all heads and so do not tell
LENGTH = 512  # tokens of text that it reads


def config(part: Part) -> dict[str, Any]:
    """The configuration of the transformer, from the shapes of its weights."""
    width = configs.side(part, "patch_embedding.weight", 0)
    return {
        "in_channels": configs.side(part, "patch_embedding.weight", 1),
        "out_channels": configs.side(part, "proj_out.weight", 0) // 4,
        "num_attention_heads": max(1, width // HEAD),
        "attention_head_dim": min(width, HEAD),
        "text_dim": configs.side(part, "condition_embedder.text_embedder.linear_1.weight", 1),
        "freq_dim": configs.side(part, "condition_embedder.time_embedder.linear_1.weight", 1),
        "ffn_dim": configs.side(part, "blocks.0.ffn.net.0.proj.weight", 0),
        "num_layers": configs.bounded(part, r"blocks\.(\d+)\."),
        "cross_attn_norm": "blocks.0.norm2.weight" in part.weights,
    }


def transformer(part: Part, dtype: torch.dtype, path: Path, parametrization: Parametrization) -> Transformer:
    """The live transformer of a file."""
    sizes = config(part)
    with IMPORTING:
        from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    network = fill(lambda: WanTransformer3DModel(**sizes), part.weights, dtype, path, "transformer")
    return Transformer(
        network,
        parametrization,
        forward,
        sizes["in_channels"],
        sizes["text_dim"],
        frames=True,
        patches=Patches(network, "denoiser"),
    )


def forward(network: Any, x: Tensor, time: Tensor, words: Words) -> Tensor:
    """The flow for latents of frames (N, C, f, h, w), or of a picture (N, C, h, w), at flow times (N,)."""
    frames = x if x.ndim == 5 else x[:, :, None]
    flow: Tensor = network(frames, 1000 * time, words.embedding, return_dict=False)[0]
    return flow if x.ndim == 5 else flow[:, :, 0]


@dataclass(frozen=True, eq=False)
class WanText:
    """umT5's states of the tokens of a prompt, and zeros after them."""

    t5: T5

    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        """What a text says."""
        if styles:
            raise ValueError("this model knows no styles by name; say the style in the text, leave `style` empty")
        hidden, _ = self.t5.encode(text, 0, LENGTH)
        padded = functional.pad(hidden.float().cpu(), (0, 0, 0, LENGTH - hidden.shape[1]))
        return Conditioning((Condition(padded),))

    def unknown_words(self, text: str) -> list[str]:  # noqa: ARG002
        """None: every word is spelled out in pieces that are known."""
        return []

    def adapted(self, files: Sequence[tuple[Path, float]]) -> WanText:  # noqa: ARG002
        """The same: LoRAs of this family change its transformer alone."""
        return self

    def with_tokenizer(self, path: Path) -> WanText:
        """The same with its tokenizer from a file."""
        return replace(self, t5=self.t5.with_tokenizer(path))


def assembled(family: str, parts: Mapping[str, Any], part: Part | None = None) -> WanText:  # noqa: ARG001
    """The text encoder of the family from its network."""
    return WanText(parts["t5"])


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The networks that the file or folder has, on the host. Raises as `whole.load` does."""
    return whole.load(checkpoint, path, dtype, transformer, ROLES, assembled)
