"""Stable Diffusion 3 and 3.5 (Esser et al. 2024): words and squares of the latent in one attention.

Of the text both CLIPs give their last layer but one, side by side and filled up with zeros to T5's width; T5's
embedding follows. Without T5 its place is zeros, as in training, where each encoder was left out at times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.checkpoints import configs, texts, whole
from nodegraph.diffusion.checkpoints.assembly import Missing, describe
from nodegraph.diffusion.checkpoints.blinding import PerturbableTransformer, blind_before, two_streams
from nodegraph.diffusion.checkpoints.clip import Encoder
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.t5 import T5
from nodegraph.diffusion.checkpoints.transformer import Transformer, Words
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import Checkpoint, Condition, Conditioning, Parametrization

__all__ = ["FAMILIES", "assembled", "describe", "load"]
FAMILIES = ("sd3", "sd35")
HEAD = 64  # numbers of a head of attention
LENGTH, LONGEST = 256, 512  # tokens of T5 that short texts are filled up to, and that the network still reads
WIDTH = 4096  # of the embedding, where no transformer is beside the text encoders


def config(part: Part) -> dict[str, Any]:
    """The configuration of the transformer, from the shapes of its weights."""
    width = configs.side(part, "pos_embed.proj.weight", 0)
    patch = configs.side(part, "pos_embed.proj.weight", 2)
    layers = configs.bounded(part, r"transformer_blocks\.(\d+)\.")
    normed = part.shape("transformer_blocks.0.attn.norm_q.weight")
    head = normed[0] if normed else HEAD
    return {
        "patch_size": patch,
        "in_channels": configs.side(part, "pos_embed.proj.weight", 1),
        "out_channels": configs.side(part, "proj_out.weight", 0) // max(1, patch * patch),
        "num_layers": layers,
        "attention_head_dim": head,
        "num_attention_heads": max(1, width // max(1, head)),
        "joint_attention_dim": configs.side(part, "context_embedder.weight", 1),
        "caption_projection_dim": configs.side(part, "context_embedder.weight", 0),
        "pooled_projection_dim": configs.side(part, "time_text_embed.text_embedder.linear_1.weight", 1),
        "dual_attention_layers": [
            i for i in range(layers) if f"transformer_blocks.{i}.attn2.to_q.weight" in part.weights
        ],
        "qk_norm": "rms_norm" if normed else None,
    }


def transformer(part: Part, dtype: torch.dtype, path: Path, parametrization: Parametrization) -> Transformer:
    """The live transformer of a file."""
    sizes = config(part)
    positions = configs.side(part, "pos_embed.pos_embed", 1)
    if math.isqrt(positions) ** 2 != positions:
        source = part.weights["pos_embed.pos_embed"]
        raise ModelRefused(f"{path}: {source.key} has {positions} places, which make no square")
    with IMPORTING:
        from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

    def make() -> Any:
        # The table of positions is read from the file: a gigabyte of sines need not be computed to be replaced.
        network = SD3Transformer2DModel(**sizes, sample_size=sizes["patch_size"], pos_embed_max_size=1)
        network.pos_embed.pos_embed = torch.empty(1, positions, network.inner_dim, device="meta")
        network.pos_embed.pos_embed_max_size = math.isqrt(positions)
        return network

    network = fill(make, part.weights, dtype, path, "transformer")
    return PerturbableTransformer(
        network,
        parametrization,
        forward,
        sizes["in_channels"],
        sizes["joint_attention_dim"],
        summarised=True,
        multiple=sizes["patch_size"],
        largest=math.isqrt(positions) * sizes["patch_size"],
        patches=Patches(network, "denoiser"),
        blinding=blind_before,
        layers=two_streams,
    )


def forward(network: Any, x: Tensor, time: Tensor, words: Words) -> Tensor:
    """The flow that the network predicts for latents (N, C, h, w) at flow times (N,)."""
    if words.mask is not None:
        raise ValueError(
            "this model paints a batch from texts of one length, and one line of EncodeEach has more tokens than "
            "CLIP reads at once (75) while another has not; shorten it, or paint its picture alone"
        )
    flow: Tensor = network(
        x,
        encoder_hidden_states=words.embedding,
        pooled_projections=words.pooled,
        timestep=1000 * time,
        return_dict=False,
    )[0]
    return flow


@dataclass(frozen=True, eq=False)
class TripleText:
    """Both CLIPs and, where it is there, T5.

    Args:
        small, large: CLIP L and G.
        t5: T5, None where there is none.
        width: of the embedding.
    """

    small: Encoder
    large: Encoder
    t5: T5 | None
    width: int

    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        """What a text says."""
        if styles:
            raise ValueError("this model knows no styles by name; say the style in the text, leave `style` empty")
        (first, summary), (second, other) = self.small.encode(text), self.large.encode(text)
        assert summary is not None
        assert other is not None  # as `texts.one` asks for it
        both = torch.cat([first, second], -1).float().cpu()
        both = functional.pad(both, (0, self.width - both.shape[-1]))
        words = torch.zeros(1, LENGTH, self.width)
        if self.t5 is not None:
            words = self.t5.encode(text, LENGTH, LONGEST)[0].float().cpu()
        pooled = torch.cat([summary, other], -1).float().cpu()
        return Conditioning((Condition(torch.cat([both, words], 1), pooled=pooled),))

    def unknown_words(self, text: str) -> list[str]:  # noqa: ARG002
        """None: every word is spelled out in pieces that are known."""
        return []

    def adapted(self, files: Sequence[tuple[Path, float]]) -> TripleText:
        """The same encoders with LoRAs, each with its strength; T5 is the third of them."""
        if not files:
            return self
        t5 = None if self.t5 is None else self.t5.adapted(files, "text_encoder_3")
        return replace(self, small=self.small.adapted(files), large=self.large.adapted(files), t5=t5)

    def with_tokenizer(self, path: Path) -> TripleText:
        """The same encoders with T5's tokenizer from a file."""
        return self if self.t5 is None else replace(self, t5=self.t5.with_tokenizer(path))


def assembled(family: str, parts: Mapping[str, Any], part: Part | None = None) -> TripleText:  # noqa: ARG001
    """The text encoder of a family from its networks by their role, beside a transformer or alone."""
    words = parts["t5"]
    words = None if isinstance(words, Missing) else words
    width = WIDTH if part is None else configs.side(part, "context_embedder.weight", 1)
    if words is not None:
        width = words.network.config.d_model
    # Of CLIP L it was trained on the summary as it is, whatever projection a file brings.
    return TripleText(texts.used(parts["clip-l"], pooled="plain"), parts["clip-g"], words, width)


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The networks that the file or folder has, on the host. Raises as `whole.load` does."""
    return whole.load(checkpoint, path, dtype, transformer, ("clip-l", "clip-g", "t5"), assembled)
