"""A U-Net of Stable Diffusion as a denoiser: conditions of any length in one batch, size numbers, control."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nodegraph.diffusion.checkpoints.attention import SelfAttention
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.networks.circular import circular
from nodegraph.diffusion.pictures.images import resize
from nodegraph.diffusion.sampling.denoisers import denoiser
from nodegraph.diffusion.sampling.noise import sent
from nodegraph.diffusion.values import Condition, Control, Parametrization, Wrap

DOWNSCALE = 8


@dataclass(frozen=True, eq=False)
class UNet:
    """D(x; sigma) of a U-Net.

    Args:
        network: diffusers' UNet2DConditionModel.
        parametrization: how it was trained.
        numbers: how many size numbers it is told beside the text: 6 for SDXL (original height and width, crop top
        and left, target height and width), 5 for its refiner (an aesthetic score for the target), else 0.
        controls: live ControlNets by the digest of their checkpoint.
        patches: takes LoRAs in and out.
        files: the LoRAs that are wanted, with their strengths.
        wrap: along which sides its pictures continue at the opposite one.
    """

    network: Any
    parametrization: Parametrization
    numbers: int = 0
    controls: Mapping[str, Any] = field(default_factory=dict)
    patches: Patches | None = None
    files: tuple[tuple[Path, float], ...] = ()
    wrap: Wrap | None = None

    @property
    def extra_channels(self) -> int:
        """How many channels it takes beside the latent's own: 5 in an inpainting network."""
        return int(self.network.config["in_channels"] - self.network.config["out_channels"])

    @property
    def attention_blocks(self) -> int:
        """How many of its transformer blocks have self-attention: 16 in Stable Diffusion 1, 70 in XL."""
        return len(self._attention.layers)

    @property
    def usual_blocks(self) -> tuple[int, ...]:
        """Those of its middle, where Ahn et al. (2024) perturb Stable Diffusion."""
        return self._attention.middle

    @cached_property
    def _attention(self) -> SelfAttention:
        return SelfAttention.of(self.network)

    def under(self, parametrization: Parametrization) -> UNet:
        """The same network, understood differently."""
        return replace(self, parametrization=parametrization)

    def adapted(self, files: Sequence[tuple[Path, float]]) -> UNet:
        """The same network with LoRAs, each with its strength."""
        return replace(self, files=tuple(files))

    def controlled(self, networks: Mapping[str, Any]) -> UNet:
        """The same network with ControlNets at hand, by the digest of their checkpoint."""
        return replace(self, controls=networks)

    def wrapping(self, wrap: Wrap) -> UNet:
        """The same network for pictures that continue at their opposite side."""
        return replace(self, wrap=wrap)

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        """Denoised estimates of latents (N, 4, h, w); conditions under the same control share one batch."""
        self._check(x)
        if self.patches is not None:
            self.patches.set(self.files)
        estimates: list[Tensor] = []
        guides = [control.network for control in self.controls.values()]
        with circular([self.network, *guides], self.wrap):
            for _, group in groupby(conditions, key=lambda one: tuple(id(control) for control in one.controls)):
                estimates += self._together(x, sigma, list(group))
        return estimates

    def predict_perturbed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition], blocks: Sequence[int]
    ) -> list[Tensor]:
        """The same where the self-attention of these blocks, counted from the input, is the identity."""
        with self._attention.identity(blocks):
            return self.predict(x, sigma, conditions)

    def _together(self, x: Tensor, sigma: float, conditions: list[Condition]) -> list[Tensor]:
        count = len(conditions)
        dtype = next(self.network.parameters()).dtype
        text = _joined([row for one in conditions for row in self._texts(one, len(x))]).to(x.device, dtype)
        extra = self._extra(x, conditions, dtype)
        concat = self._concat(x, conditions)

        def network(scaled: Tensor, time: Tensor) -> Tensor:
            scaled = scaled.to(dtype)
            whole = scaled if concat is None else torch.cat([scaled, concat.to(dtype)], 1)
            residuals = self._residuals(scaled, time, text, extra, conditions[0].controls, count)
            return self.network(whole, time, text, return_dict=False, **extra, **residuals)[0].to(x.dtype)

        denoise = denoiser(network, self.parametrization)
        return list(denoise(x.repeat(count, 1, 1, 1), sigma).chunk(count))

    def _check(self, x: Tensor) -> None:
        channels = self.network.config["out_channels"]
        levels = 2 ** (len(self.network.config["block_out_channels"]) - 1)
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(
                f"this model paints latents (N, {channels}, h, w); got {tuple(x.shape)}. Make the latent with "
                f"EmptyLatent "
                "or VAEEncode from this model's own VAE"
            )
        if x.shape[2] % levels or x.shape[3] % levels:
            pixels = levels * DOWNSCALE
            raise ValueError(
                f"this model paints sides that are multiples of {pixels} pixels; got {x.shape[3] * DOWNSCALE} x "
                f"{x.shape[2] * DOWNSCALE}. Choose another width and height, or resize the picture"
            )

    def _texts(self, condition: Condition, batch: int) -> list[Tensor]:
        """The texts of a condition for a batch: (N, T, D); those that were filled up each alone, (1, T_i, D)."""
        embedding = condition.embedding
        if embedding is None or embedding.shape[2] != self.network.config["cross_attention_dim"]:
            raise ValueError("the conditioning was not made by this model's text encoder; link its Encode to it")
        embedding = embedding.expand(batch, -1, -1)
        if condition.mask is None:
            return [embedding]
        return [text[None, real] for text, real in zip(embedding, condition.mask.expand(batch, -1), strict=True)]

    def _extra(self, x: Tensor, conditions: list[Condition], dtype: torch.dtype) -> dict[str, Any]:
        if not self.numbers:
            return {}
        height, width = x.shape[2] * DOWNSCALE, x.shape[3] * DOWNSCALE
        usual = (height, width, 0, 0, height, width) if self.numbers == 6 else (height, width, 0, 0, 6.0)
        pooled = torch.cat([_pooled(one).expand(len(x), -1) for one in conditions])
        told = [one.numbers or usual for one in conditions]
        if any(len(numbers) != self.numbers for numbers in told):
            raise ValueError(
                f"this model is told {self.numbers} size numbers and the conditioning has another count; make "
                f"it with a "
                "SizeConditioning that is set for this model"
            )
        rows = sent(torch.tensor(told).repeat_interleave(len(x), 0), x.device, torch.float32)
        return {
            "added_cond_kwargs": {
                "text_embeds": pooled.to(x.device, dtype),
                "time_ids": rows.to(dtype),
            }
        }

    def _concat(self, x: Tensor, conditions: list[Condition]) -> Tensor | None:
        wanted = self.extra_channels
        if not wanted:
            return None
        given = [one.concat for one in conditions]
        if any(one is None or one.shape[1] != wanted for one in given):
            raise ValueError(
                "this is an inpainting model, which is told the picture and its mask; make the latent with "
                "MaskInpaint "
                "and its method `channels`"
            )
        rows = [one.expand(len(x), -1, -1, -1) for one in given if one is not None]
        if any(one.shape[2:] != x.shape[2:] for one in rows):
            raise ValueError("the picture to inpaint is of another size than the latent")
        return torch.cat(rows).to(x.device)

    def _residuals(
        self,
        scaled: Tensor,
        time: Tensor,
        text: Tensor,
        extra: dict[str, Any],
        controls: tuple[Control, ...],
        count: int,
    ) -> dict[str, Any]:
        """What ControlNets add to the U-Net's skips and middle, summed, for `count` conditions of a batch."""
        down: list[Tensor] = []
        middle: Tensor | None = None
        items = len(scaled) // count
        for control in controls:
            network = self.controls[control.checkpoint.digest]
            size = (scaled.shape[2] * DOWNSCALE, scaled.shape[3] * DOWNSCALE)
            hint = resize(control.hint, size, "bilinear") if control.hint.shape[2:] != size else control.hint
            if len(hint) not in (1, items):
                raise ValueError(
                    f"{len(hint)} pictures to follow do not fit a batch of {items}; give one, or one for each"
                )
            hint = hint.expand(items, -1, -1, -1).repeat(count, 1, 1, 1).to(scaled)
            sides, middle_one = network(
                scaled, time, text, hint, conditioning_scale=control.strength, return_dict=False, **extra
            )
            down = [a + b for a, b in zip(down, sides, strict=True)] if down else list(sides)
            middle = middle_one if middle is None else middle + middle_one
        if middle is None:
            return {}
        return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}


def _pooled(condition: Condition) -> Tensor:
    if condition.pooled is None:
        raise ValueError("the conditioning was not made by this model's text encoder; link its Encode to it")
    return condition.pooled


def _joined(texts: list[Tensor]) -> Tensor:
    """Embeddings (N_i, T_i, D) as one batch (sum N_i, T, D). T is their least common multiple: to attention, a
    text told twice is the same text."""
    length = math.lcm(*(one.shape[1] for one in texts))
    return torch.cat([one.repeat(1, length // one.shape[1], 1) for one in texts])
