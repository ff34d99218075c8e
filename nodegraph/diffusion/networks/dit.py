"""A small diffusion transformer with cross-attention to text.

Peebles and Xie, "Scalable Diffusion Models with Transformers" (2022), with one modulation shared by all blocks
as in PixArt-alpha (Chen et al. 2023) and normalised queries and keys (Dehghani et al. 2023). A text also gives
every position an embedding of its own: where the noise says nothing yet, cross-attention to three words is a
narrow way to learn what is where, and a linear map from the text is a wide one that costs next to nothing.
Where asked for, a text also recalls a whole latent, the mean of what it was seen with, as a prior (Ramesh et
al. 2022, section 2.2): two layers learn that from thousands of pictures a second, and the transformer is left
with what the mean leaves open. Each token predicts its own patch, so neighbours may disagree along their
border; where asked for, a few convolutions over the whole prediction see both sides of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYOUT_WIDTH = 96


class DiT(nn.Module):
    """Predicts a tensor of its input's size from a noisy latent, a time and a text embedding.

    Args:
        channels: latent channels.
        size: latent height and width.
        patch: side of the square of latent pixels that makes a token.
        width: width of the tokens; a multiple of `heads`.
        depth: number of blocks.
        text_width: width of the text embedding.
        outputs: channels of the prediction; left out, as many as the latent has.
        smoothing: hidden channels of the convolutions across the borders of patches; 0 for none.
        memory: hidden width of the layers that recall a latent from the text; 0 for none.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        patch: int = 2,
        width: int = 288,
        depth: int = 8,
        heads: int = 6,
        text_width: int = 256,
        outputs: int | None = None,
        smoothing: int = 0,
        memory: int = 0,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.outputs = outputs or channels
        self.width = width
        self.inward = nn.Linear(channels * patch * patch, width)
        self.positions = nn.Parameter(_grid_embedding(size // patch, width))
        self.layout = nn.Linear(text_width, (size // patch) ** 2 * LAYOUT_WIDTH)
        self.layout_outward = nn.Linear(LAYOUT_WIDTH, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Linear(text_width, width)
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(_Block(width, heads, text_width) for _ in range(depth))
        self.final_modulation = nn.Linear(width, 2 * width)
        self.outward = nn.Linear(width, self.outputs * patch * patch)
        for layer in (self.layout_outward, self.modulation, self.final_modulation, self.outward):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.smoothing = _Smoothing(channels, self.outputs, smoothing, width) if smoothing else None
        self.memory = _Memory(channels, size, text_width, memory) if memory else None
        if self.memory is not None:
            self.recalled = nn.Linear(channels * patch * patch, width)
            nn.init.zeros_(self.recalled.weight)
            nn.init.zeros_(self.recalled.bias)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        text: Tensor,
        mask: Tensor,
        pooled: Tensor,
        perturbed: Sequence[int] = (),
    ) -> Tensor:
        """Predict.

        Args:
            x: noisy latent (N, channels, size, size).
            time: (N,) in [0, 1].
            text: (N, T, text_width); mask: (N, T), true where there is a token; pooled: (N, text_width).
            perturbed: numbers of blocks whose self-attention is the identity: a token sees itself alone.

        Returns:
            the prediction (N, outputs, size, size).
        """
        n, _, height, width = x.shape
        layout = self.layout_outward(self.layout(pooled).view(n, -1, LAYOUT_WIDTH))
        tokens = self.inward(_to_patches(x, self.patch)) + self.positions + layout
        if self.memory is not None:
            tokens = tokens + self.recalled(_to_patches(self.memory(pooled), self.patch))
        signal = functional.silu(self.time(time_embedding(time, 256).to(x.dtype)) + self.pooled(pooled))
        shared = self.modulation(signal).view(n, 6, self.width)
        allowed = mask[:, None, None, :]
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, shared, text, allowed, index in perturbed)
        shift, scale = self.final_modulation(signal)[:, None].chunk(2, dim=-1)
        tokens = functional.layer_norm(tokens, (self.width,)) * (1 + scale) + shift
        predicted = _from_patches(self.outward(tokens), self.patch, self.outputs, height, width)
        return predicted if self.smoothing is None else self.smoothing(predicted, x, signal)


class _Memory(nn.Module):
    """The latent (N, channels, size, size) that a pooled text (N, text_width) brings to mind."""

    def __init__(self, channels: int, size: int, text_width: int, hidden: int) -> None:
        super().__init__()
        self.shape = (channels, size, size)
        self.inward = nn.Linear(text_width, hidden)
        self.outward = nn.Linear(hidden, channels * size * size)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.outward(functional.silu(self.inward(pooled))).view(-1, *self.shape)


class _Smoothing(nn.Module):
    """Corrects a prediction by what stands beside it: it sees no patches."""

    def __init__(self, channels: int, outputs: int, hidden: int, width: int) -> None:
        super().__init__()
        self.inward = nn.Conv2d(outputs + channels, hidden, 3, padding=1)
        self.signal = nn.Linear(width, hidden)
        self.between = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.outward = nn.Conv2d(hidden, outputs, 3, padding=1)
        for parameter in (*self.signal.parameters(), *self.outward.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, predicted: Tensor, x: Tensor, signal: Tensor) -> Tensor:
        hidden = (
            self.inward(torch.cat([predicted, x.to(predicted.dtype)], dim=1))
            + self.signal(signal)[..., None, None]
        )
        hidden = self.between(functional.gelu(hidden, approximate="tanh"))
        return predicted + self.outward(functional.gelu(hidden, approximate="tanh"))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.table = nn.Parameter(torch.randn(6, width) / math.sqrt(width))
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.cross_query = nn.Linear(width, width)
        self.cross_key_value = nn.Linear(text_width, 2 * width)
        self.cross_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        nn.init.zeros_(self.cross_out.weight)

    def forward(self, x: Tensor, shared: Tensor, text: Tensor, allowed: Tensor, perturbed: bool = False) -> Tensor:
        n, length, width = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = (shared + self.table).unsqueeze(2).unbind(1)
        hidden = functional.layer_norm(x, (width,)) * (1 + scale1) + shift1
        q, k, v = self.qkv(hidden).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = v if perturbed else functional.scaled_dot_product_attention(_unit(q), _unit(k), v)
        x = x + gate1 * self.out(seen.transpose(1, 2).reshape(n, length, width))
        q = self.cross_query(functional.layer_norm(x, (width,))).view(n, length, self.heads, -1).transpose(1, 2)
        k, v = self.cross_key_value(text).view(n, text.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(_unit(q), _unit(k), v, attn_mask=allowed)
        x = x + self.cross_out(seen.transpose(1, 2).reshape(n, length, width))
        hidden = functional.layer_norm(x, (width,)) * (1 + scale2) + shift2
        return x + gate2 * self.mlp(hidden)


def time_embedding(time: Tensor, width: int) -> Tensor:
    """Sines and cosines of a time in [0, 1] at geometrically spaced frequencies: (N, width)."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=time.device) / half
    angles = time.float()[:, None] * 1000 * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _unit(x: Tensor) -> Tensor:
    # Root-mean-square normalised queries and keys keep attention from saturating early in training.
    return functional.rms_norm(x, (x.shape[-1],))


def _grid_embedding(side: int, width: int) -> Tensor:
    quarter = width // 4
    frequencies = torch.exp(-math.log(10_000) * torch.arange(quarter) / quarter)
    angles = torch.arange(side)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=-1)
    rows = line[:, None].expand(side, side, -1)
    columns = line[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, -1)


def _to_patches(x: Tensor, patch: int) -> Tensor:
    return functional.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def _from_patches(tokens: Tensor, patch: int, channels: int, height: int, width: int) -> Tensor:
    grid = tokens.transpose(1, 2).reshape(-1, channels * patch * patch, height // patch, width // patch)
    return functional.pixel_shuffle(grid, patch)
