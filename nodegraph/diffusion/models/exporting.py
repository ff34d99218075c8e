"""The embedded model's networks as ONNX, each with names for what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.networks.dit import DiT
from nodegraph.diffusion.networks.onnx import export
from nodegraph.diffusion.networks.text import MAX_TOKENS, TextNetwork
from nodegraph.diffusion.values import Checkpoint

PartName = Literal["vae_decoder", "vae_encoder", "text_encoder", "denoiser"]


class Parts(Protocol):
    """A live checkpoint, as the pool lends it."""

    @property
    def denoiser(self) -> Any:
        """Its denoiser."""
        ...

    @property
    def text_encoder(self) -> Any:
        """Its text encoder."""
        ...

    @property
    def vae(self) -> Any:
        """Its VAE."""
        ...


class _Called(nn.Module):
    """A method of a network as a network."""

    def __init__(self, network: nn.Module, method: Callable[..., Any]) -> None:
        super().__init__()
        self.network = network
        self._method = method

    def forward(self, x: Tensor) -> Any:
        return self._method(x)


def as_onnx(live: Parts, checkpoint: Checkpoint, part: PartName) -> bytes:
    """A part of a live checkpoint as the bytes of an ONNX file, in float32.

    `vae_decoder` and `vae_encoder` take any height and width that the VAE does, all parts any number of items.

    Raises:
        ValueError: the checkpoint is not of the embedded model's family, or the exporter is not installed.
    """
    make = choose("part of a model", part, _PARTS)
    if checkpoint.family != "emoji":
        raise ValueError(
            f"{checkpoint.name} is of the family {checkpoint.family}; the embedded model can be exported"
        )
    return make(live)


def _decoder(live: Parts) -> bytes:
    vae: Autoencoder = live.vae
    latent = torch.zeros(2, vae.channels, 16, 12)
    return export(_Called(vae, vae.decode), {"latent": latent}, ["image"], {"latent": {0: "n", 2: "h", 3: "w"}})


def _encoder(live: Parts) -> bytes:
    vae: Autoencoder = live.vae
    return export(_Called(vae, vae.encode), {"image": torch.zeros(2, 3, 64, 64)}, ["latent"], {"image": {0: "n"}})


def _text(live: Parts) -> bytes:
    network: TextNetwork = live.text_encoder.network
    ids = torch.ones(2, MAX_TOKENS, dtype=torch.int64)
    style = torch.full((2, network.styles.num_embeddings), 1 / network.styles.num_embeddings)
    batch = {0: "n"}
    return export(
        network,
        {"ids": ids, "style": style},
        ["text_embedding", "text_mask", "text_pooled"],
        {"ids": batch, "style": batch},
    )


def _denoiser(live: Parts) -> bytes:
    network: DiT = live.denoiser.network
    side, channels = live.denoiser.side, live.denoiser.channels
    code = live.text_encoder.encode("cat", {}).conditions[0]
    inputs = {
        "x": torch.zeros(2, channels, side, side),
        "time": torch.full((2,), 0.5),
        "text_embedding": code.embedding.cpu().float().expand(2, -1, -1).clone(),
        "text_mask": code.mask.cpu().expand(2, -1).clone(),
        "text_pooled": code.pooled.cpu().float().expand(2, -1).clone(),
    }
    return export(network, inputs, ["velocity"], {name: {0: "n"} for name in inputs})


_PARTS: dict[str, Callable[[Parts], bytes]] = {
    "vae_decoder": _decoder,
    "vae_encoder": _encoder,
    "text_encoder": _text,
    "denoiser": _denoiser,
}
