"""A diffusion transformer as a denoiser: conditions of one length of text in one batch, the rest in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.unet import DOWNSCALE
from nodegraph.diffusion.sampling.denoisers import denoiser
from nodegraph.diffusion.sampling.noise import sent
from nodegraph.diffusion.sampling.rolling import Offset, back, offset, rolled
from nodegraph.diffusion.values import Condition, Parametrization, Wrap


class Words(NamedTuple):
    """What a network is told beside the latent.

    Args:
        embedding: (N, T, D).
        pooled: (N, P), where the family has a summary.
        mask: (N, T), true where there is a token, where the family has one.
        numbers: (N, K), where a conditioning has some.
        concat: (N, K, ...), what a network sees beside the latent: for inpainting see `inpainting.channels`, else
            `Shown`.
        states: (N, T, D), what an image encoder says of pictures.
    """

    embedding: Tensor
    pooled: Tensor | None
    mask: Tensor | None
    numbers: Tensor | None
    concat: Tensor | None = None
    states: Tensor | None = None


INPAINTING = (
    "this is an inpainting model, which is told the picture and its mask; make the latent with MaskInpaint and "
    "its method `channels`"
)
Forward = Callable[[Any, Tensor, Tensor, Words], Tensor]


@dataclass(frozen=True, eq=False)
class Transformer:
    """D(x; sigma) of a transformer.

    Args:
        network: of diffusers.
        parametrization: how it was trained.
        forward: calls it: (network, x as in training, time (N,), words) to its prediction, all in its dtype.
        channels: of its latents.
        width: of the embeddings that it reads.
        summarised: whether it reads a text's summary too.
        numbers: how many a conditioning may tell it.
        frames: whether its latents may have frames, (N, C, f, h, w).
        extra_channels: how many it takes beside the latent's own.
        alone: whether it also paints without them.
        asks: what is said where it is not shown them.
        states_width: of what an image encoder says, where it reads that.
        multiple, largest: what the sides of a latent are multiples of, and how long they may be.
        downscale: pixels of a side to one of the latent's.
        patches, files: LoRAs, see `lora`.
        wrap: along which sides its pictures continue at the opposite one.
    """

    network: Any
    parametrization: Parametrization
    forward: Forward
    channels: int
    width: int
    summarised: bool = False
    numbers: int = 0
    frames: bool = False
    extra_channels: int = 0
    alone: bool = False
    asks: str = INPAINTING
    states_width: int | None = None
    multiple: int = 2
    largest: int | None = None
    downscale: int = DOWNSCALE
    patches: Patches | None = None
    files: tuple[tuple[Path, float], ...] = ()
    wrap: Wrap | None = None

    def under(self, parametrization: Parametrization) -> Transformer:
        """The same network, understood differently."""
        return replace(self, parametrization=parametrization)

    def adapted(self, files: Sequence[tuple[Path, float]]) -> Transformer:
        """The same network with LoRAs, each with its strength."""
        return replace(self, files=tuple(files))

    def wrapping(self, wrap: Wrap) -> Transformer:
        """The same network for pictures that continue at their opposite side."""
        return replace(self, wrap=wrap)

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        """Denoised estimates of latents (N, C, ..., h, w)."""
        self._check(x, conditions)
        if self.patches is not None:
            self.patches.set(self.files)
        by = offset(sigma, x, self.wrap)
        estimates: list[Tensor] = []
        for _, group in groupby(conditions, key=_kind):
            estimates += back(self._together(rolled(x, by), sigma, list(group), by), by)
        return estimates

    def _together(self, x: Tensor, sigma: float, conditions: list[Condition], by: Offset) -> list[Tensor]:
        dtype = next(self.network.parameters()).dtype

        def rows(parts: list[Tensor | None], kind: torch.dtype) -> Tensor | None:
            found = [part.expand(len(x), *part.shape[1:]) for part in parts if part is not None]
            return torch.cat(found).to(x.device, kind) if found else None

        embedding = rows([one.embedding for one in conditions], dtype)
        assert embedding is not None  # checked
        told = [
            None if one.numbers is None else sent(torch.tensor([one.numbers]), x.device, torch.float32)
            for one in conditions
        ]
        words = Words(
            embedding,
            rows([one.pooled for one in conditions], dtype) if self.summarised else None,
            rows([one.mask for one in conditions], torch.bool),
            rows(told, torch.float32),
            rows([None if one.concat is None else rolled(one.concat, by) for one in conditions], dtype),
            rows([one.states for one in conditions], dtype),
        )

        def network(scaled: Tensor, time: Tensor) -> Tensor:
            return self.forward(self.network, scaled.to(dtype), time, words).to(x.dtype)

        repeated = x.repeat(len(conditions), *[1] * (x.ndim - 1))
        return list(denoiser(network, self.parametrization)(repeated, sigma).chunk(len(conditions)))

    def _check(self, x: Tensor, conditions: Sequence[Condition]) -> None:
        if x.shape[1] != self.channels or x.ndim not in ((4, 5) if self.frames else (4,)):
            raise ValueError(
                f"this model paints latents of {self.channels} channels; got {tuple(x.shape)}. Make the latent "
                "with EmptyLatent or VAEEncode from this model's own VAE"
            )
        got = " x ".join(str(side * self.downscale) for side in (x.shape[-1], x.shape[-2]))
        step = self.multiple * self.downscale
        if any(side % self.multiple for side in x.shape[-2:]):
            raise ValueError(
                f"this model paints sides that are multiples of {step} pixels; got {got}. Choose another width "
                "and height, or resize the picture"
            )
        if self.largest is not None and max(x.shape[-2:]) > self.largest:
            raise ValueError(
                f"this model paints sides of up to {self.largest * self.downscale} pixels; got {got}. Make a "
                "smaller picture and enlarge it"
            )
        for one in conditions:
            told = one.embedding is not None and one.embedding.shape[-1] == self.width
            if not told or (self.summarised and one.pooled is None):
                raise ValueError(
                    "the conditioning was not made by a text encoder of this model's family; link Encode to this "
                    "model's own, or to a LoadTextEncoder that is set for its family"
                )
            shown = 0 if one.concat is None else one.concat.shape[1]
            if shown != self.extra_channels and not (self.alone and not shown):
                raise ValueError(
                    self.asks
                    if self.extra_channels
                    else "this model sees nothing beside the noise; link it a latent of EmptyLatent or EmptyVideo"
                )
            if (None if one.states is None else one.states.shape[-1]) != self.states_width:
                raise ValueError(
                    "this model reads no image encoder; unlink `image_encoder` of ImageToVideo"
                    if self.states_width is None
                    else f"this model reads an image encoder of {self.states_width} numbers a patch; link a "
                    "LoadImageEncoder of CLIP ViT-H to ImageToVideo"
                )
            if one.numbers is not None and len(one.numbers) != self.numbers:
                raise ValueError(
                    f"the conditioning tells {len(one.numbers)} numbers; this model reads {self.numbers}. "
                    "Take SizeConditioning or FluxGuidance out, whichever is for another family"
                )
            if one.controls:
                raise ValueError("this model follows no ControlNet; take ApplyControlNet out")


def _kind(condition: Condition) -> tuple[Any, ...]:
    """What conditions have in common that share a batch."""
    embedding = condition.embedding
    length = None if embedding is None else embedding.shape[1]
    return length, condition.mask is None, None if condition.numbers is None else len(condition.numbers)
