"""Flux.1 dev and schnell (Black Forest Labs, 2024): a transformer over 2 x 2 tokens of the latent and T5's words.

The latent's tokens carry positions (0, row, column), the text's all zero. The dev network is distilled from
guidance and told its scale; both networks also read CLIP's summary of the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nodegraph.diffusion.checkpoints import configs, t5, texts, whole
from nodegraph.diffusion.checkpoints.assembly import describe
from nodegraph.diffusion.checkpoints.blinding import PerturbableTransformer, blind_after, two_streams
from nodegraph.diffusion.checkpoints.clip import Encoder
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.transformer import INPAINTING, Transformer, Words
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import Checkpoint, Condition, Conditioning, Parametrization

__all__ = ["LENGTHS", "assembled", "describe", "load"]
GUIDANCE, SHOWN = 3.5, 30.0  # what the dev network, and those that are shown a picture, are told where nobody says
SQUARE = 64  # pixels of the mask behind each latent pixel, which are channels to the network for inpainting
FOLLOWING = "this model follows a picture of edges or depth; make the latent with FollowPicture"
LENGTHS = {"flux": 512, "flux-schnell": 256}  # tokens of text that each was trained with


def config(part: Part) -> dict[str, Any]:
    """The configuration of the transformer, from the shapes of its weights."""
    head = configs.side(part, "transformer_blocks.0.attn.norm_q.weight", 0)
    width = configs.side(part, "x_embedder.weight", 0)
    rest = (head - head // 8) // 2  # an eighth of a head turns with no position, the rest with row and column
    return {
        "in_channels": configs.side(part, "x_embedder.weight", 1),
        "out_channels": configs.side(part, "proj_out.weight", 0),
        "num_layers": configs.bounded(part, r"transformer_blocks\.(\d+)\."),
        "num_single_layers": configs.bounded(part, r"single_transformer_blocks\.(\d+)\."),
        "attention_head_dim": head,
        "num_attention_heads": max(1, width // max(1, head)),
        "joint_attention_dim": configs.side(part, "context_embedder.weight", 1),
        "pooled_projection_dim": configs.side(part, "time_text_embed.text_embedder.linear_1.weight", 1),
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in part.weights,
        "axes_dims_rope": [head - 2 * rest, rest, rest],
    }


def transformer(part: Part, dtype: torch.dtype, path: Path, parametrization: Parametrization) -> Transformer:
    """The live transformer of a file."""
    sizes = config(part)
    with IMPORTING:
        from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
    network = fill(lambda: FluxTransformer2DModel(**sizes), part.weights, dtype, path, "transformer")
    own, whole = sizes["out_channels"] // 4, sizes["in_channels"] // 4
    follows = whole == 2 * own  # a picture; else one and its mask
    return PerturbableTransformer(
        network,
        parametrization,
        forward,
        own,
        sizes["joint_attention_dim"],
        summarised=True,
        numbers=1,
        extra_channels=0 if whole == own else own if follows else 1 + own,
        asks=FOLLOWING if follows else INPAINTING,
        patches=Patches(network, "denoiser"),
        blinding=blind_after,
        layers=two_streams,
    )


def forward(network: Any, x: Tensor, time: Tensor, words: Words) -> Tensor:
    """The flow that the network predicts for latents (N, C, h, w) at flow times (N,)."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    tokens, guidance, usual = pack(x), None, GUIDANCE
    if words.concat is not None:
        tokens, usual = torch.cat([tokens, *_packed(words.concat, x.shape[1])], 2), SHOWN
    if network.config["guidance_embeds"]:
        guidance = x.new_full((len(x),), usual) if words.numbers is None else words.numbers[:, 0].to(x.dtype)
    flow = network(
        tokens,
        encoder_hidden_states=words.embedding,
        pooled_projections=words.pooled,
        timestep=time.to(x.dtype),
        img_ids=positions(height, width, x.device),
        txt_ids=torch.zeros(words.embedding.shape[1], 3, device=x.device),
        guidance=guidance,
        return_dict=False,
    )[0]
    return unpack(flow, height, width)


def _packed(shown: Tensor, channels: int) -> list[Tensor]:
    """What is shown beside the latent as tokens: a picture's latent, or a mask and the latent of what is known."""
    if shown.shape[1] == channels:
        return [pack(shown)]
    return [pack(shown[:, 1:]), pack(shown[:, :1].expand(-1, SQUARE, -1, -1).contiguous())]


def pack(x: Tensor) -> Tensor:
    """Latents (N, C, 2 h, 2 w) as tokens (N, h w, 4 C): each 2 x 2 square, its channels slowest."""
    n, channels, height, width = x.shape
    squares = x.view(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(n, height // 2 * (width // 2), 4 * channels)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack` for h x w tokens."""
    n, _, channels = tokens.shape
    squares = tokens.view(n, height, width, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(n, channels // 4, 2 * height, 2 * width)


def positions(height: int, width: int, device: torch.device) -> Tensor:
    """Where the tokens are: (h w, 3), zero, row and column."""
    sides = (torch.arange(side, device=device, dtype=torch.float32) for side in (height, width))
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class FluxText:
    """T5's words and CLIP's summary. Either may be missing in a file, and is then asked for when it is needed."""

    clip: Encoder
    t5: t5.T5
    length: int

    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        """What a text says."""
        if styles:
            raise ValueError("this model knows no styles by name; say the style in the text, leave `style` empty")
        embedding, _ = self.t5.encode(text, self.length)
        _, pooled = self.clip.encode(text)
        assert pooled is not None  # asked for in `assembled`
        return Conditioning((Condition(embedding.float().cpu(), pooled=pooled.float().cpu()),))

    def unknown_words(self, text: str) -> list[str]:  # noqa: ARG002
        """None: every word is spelled out in pieces that are known."""
        return []

    def adapted(self, files: Sequence[tuple[Path, float]]) -> FluxText:
        """The same encoders with LoRAs, each with its strength; T5 is the second, and for kohya the third."""
        if not files:
            return self
        return replace(
            self, clip=self.clip.adapted(files), t5=self.t5.adapted(files, "text_encoder_2", "text_encoder_3")
        )

    def with_tokenizer(self, path: Path) -> FluxText:
        """The same encoders with T5's tokenizer from a file."""
        return replace(self, t5=self.t5.with_tokenizer(path))


def assembled(family: str, parts: Mapping[str, Any], part: Part | None = None) -> FluxText:  # noqa: ARG001
    """The text encoder of a family from its networks by their role."""
    return FluxText(texts.used(parts["clip-l"], pooled="plain"), parts["t5"], LENGTHS[family])


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The networks that the file or folder has, on the host. Raises as `whole.load` does."""
    return whole.load(checkpoint, path, dtype, transformer, ("clip-l", "t5"), assembled)
