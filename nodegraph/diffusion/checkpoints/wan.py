"""Wan 2 (Wan team, 2025): frames of latents in 2 x 2 squares, words of umT5 in cross-attention.

Networks from picture to video are shown, beside the noise, four channels that are 1 for each of a latent's four
frames that is given, and the latents of a video of those frames and grey. Those of Wan 2.1 read CLIP's states too.
The network of 5 billion weights of 2.2 is given a first frame in its place, with the time 0, and paints the rest.
"""

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
from nodegraph.diffusion.checkpoints.blinding import PerturbableTransformer, blind_alone, places_alone
from nodegraph.diffusion.checkpoints.families import FAMILIES
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.t5 import T5
from nodegraph.diffusion.checkpoints.transformer import Transformer, Words
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.live import EncodesFrames, Loaded
from nodegraph.diffusion.values import Checkpoint, Condition, Conditioning, Parametrization

__all__ = ["NAMES", "ROLES", "assembled", "describe", "load"]
FIVE = "wan-5b"
NAMES = ("wan", FIVE)
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
        "image_dim": _width(part, "condition_embedder.image_embedder.norm1.weight", 0),
        "added_kv_proj_dim": _width(part, "blocks.0.attn2.add_k_proj.weight", 1),
        "pos_embed_seq_len": _width(part, "condition_embedder.image_embedder.pos_embed", 1),
    }


def _width(part: Part, name: str, axis: int) -> int | None:
    """How long a side of a weight is that not all networks have."""
    return configs.side(part, name, axis) if name in part.weights else None


def transformer(part: Part, dtype: torch.dtype, path: Path, parametrization: Parametrization) -> Transformer:
    """The live transformer of a file."""
    sizes = config(part)
    with IMPORTING:
        from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    network = fill(lambda: WanTransformer3DModel(**sizes), part.weights, dtype, path, "transformer")
    common: dict[str, Any] = {
        "network": network,
        "parametrization": parametrization,
        "channels": sizes["out_channels"],
        "width": sizes["text_dim"],
        "frames": True,
        "states_width": sizes["image_dim"],
        "asks": "this model starts from a picture; make the latent with ImageToVideo",
        "patches": Patches(network, "denoiser"),
        "blinding": blind_alone,
        "layers": places_alone,
    }
    own = sizes["out_channels"]
    if own == FAMILIES[FIVE].latent_channels:
        scale = FAMILIES[FIVE].downscale
        return PerturbableTransformer(
            forward=forward_around, extra_channels=1 + own, alone=True, downscale=scale, **common
        )
    return PerturbableTransformer(forward=forward, extra_channels=sizes["in_channels"] - own, **common)


def forward(network: Any, x: Tensor, time: Tensor, words: Words) -> Tensor:
    """The flow for latents of frames (N, C, f, h, w), or of a picture (N, C, h, w), at flow times (N,)."""
    taken = x if words.concat is None else torch.cat([x, words.concat], 1)
    frames, states = taken if x.ndim == 5 else taken[:, :, None], _seen(network, words.states)
    flow: Tensor = network(frames, 1000 * time, words.embedding, states, return_dict=False)[0]
    return flow if x.ndim == 5 else flow[:, :, 0]


def forward_around(network: Any, x: Tensor, time: Tensor, words: Words) -> Tensor:
    """The flow where some frames are given: they are shown as they are at the time 0, and stay so."""
    if words.concat is None:
        return forward(network, x, time, words)
    paints, known = words.concat[:, :1], words.concat[:, 1:]
    at = time.view(-1, 1, 1, 1, 1)
    times = (1000 * at * paints)[:, 0, :, ::2, ::2].flatten(1)  # of each square of 2 x 2
    flow: Tensor = network(paints * x + (1 - paints) * known, times, words.embedding, return_dict=False)[0]
    return paints * flow + (1 - paints) * (x - known) / at


def _seen(network: Any, states: Tensor | None) -> Tensor | None:
    """States of pictures (N, T, D) as the network takes them: where it was trained on two, each by itself."""
    positions = network.condition_embedder.image_embedder.pos_embed if states is not None else None
    if states is None or positions is None:
        return states
    if states.shape[1] != positions.shape[1]:
        raise ValueError("this model was trained on a first and a last picture; link both to ImageToVideo")
    return states.reshape(2 * len(states), -1, states.shape[2])


def shown(family: str, vae: EncodesFrames, video: Tensor, last: bool) -> Tensor:
    """What a network is shown to start from pictures: (1, 20, f, h, w), or (1, 49, f, h, w) of that of 5 billion.

    Args:
        family: of the network.
        vae: its own.
        video: frames (F, 3, H, W), the first picture, grey, and the last picture where there is one.
        last: whether there is.

    Raises:
        ValueError: there is, and the family knows none.
    """
    if family == FIVE:
        if last:
            raise ValueError(f"{FAMILIES[FIVE].title} starts from a picture and reaches none; unlink `last`")
        first = vae.encode_frames(video[:1])
        channels = first.new_zeros(1, 1 + first.shape[1], 1 + len(video) // 4, *first.shape[3:])
        channels[:, :1, 1:] = 1
        channels[:, 1:, :1] = first
        return channels
    known = vae.encode_frames(video)
    given = known.new_zeros(1, 4, *known.shape[2:])
    given[:, :, 0] = 1
    if last:
        given[:, 3, -1] = 1
    return torch.cat([given, known], 1)


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
