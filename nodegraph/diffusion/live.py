"""Live models: loaded networks behind three small interfaces, whatever family they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from nodegraph.diffusion.values import Condition, Conditioning


class LiveDenoiser(Protocol):
    """Denoised estimates under conditions."""

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        """D(x; sigma) under each condition, in order."""
        ...


class LiveTextEncoder(Protocol):
    """Words to conditioning."""

    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        """What a text says, in a mixture of styles (name to weight); empty asks for no style."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that this encoder does not know."""
        ...


class LiveVAE(Protocol):
    """Images to latents and back."""

    def encode(self, image: Tensor) -> Tensor:
        """Latents of pictures (N, 3, H, W) in [0, 1]."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] of latents."""
        ...


@dataclass(frozen=True, eq=False)
class Loaded:
    """The live parts of a checkpoint.

    `networks` are those that hold weights, by the name of the part that they belong to. They are loaded on the
    host; the pool moves each to its device before the part is used.
    """

    denoiser: LiveDenoiser
    text_encoder: LiveTextEncoder
    vae: LiveVAE
    networks: Mapping[str, nn.Module] = field(default_factory=dict)
