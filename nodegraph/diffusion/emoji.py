"""The embedded model's family: a flow-matching transformer over the latents of emoji pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nodegraph.diffusion.autoencoder import Autoencoder
from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.denoisers import denoiser
from nodegraph.diffusion.dit import DiT
from nodegraph.diffusion.handles import Handles
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.text import TextNetwork, Vocabulary
from nodegraph.diffusion.values import (
    VAE,
    Checkpoint,
    Condition,
    Conditioning,
    Model,
    Parametrization,
    TextEncoder,
)

PARAMETRIZATION = Parametrization("flow", "flow", sigma_min=0.005, sigma_max=80.0)


def describe(checkpoint: Checkpoint, path: Path | None) -> Handles:
    """The handles, from the configuration alone."""
    config = _config(path)
    return Handles(
        Model(checkpoint, PARAMETRIZATION),
        TextEncoder(checkpoint, tuple(config["styles"])),
        VAE(checkpoint, config["channels"], Autoencoder.downscale, config["size"]),
    )


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The three networks, on the host. The VAE stays in float32: a coarser one shows in every pixel."""
    assert path is not None
    config = _config(path)
    vocabulary = Vocabulary(config["words"])
    styles = tuple(config["styles"])
    side = config["size"] // Autoencoder.downscale
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {
            "text_encoder": TextNetwork(len(vocabulary), len(styles)),
            "vae": Autoencoder(config["channels"]),
            "denoiser": DiT(config["channels"], side),
        }
    for name, network in networks.items():
        kind = torch.float32 if name == "vae" else getattr(torch, dtype)
        tensors = load_file(path / f"{name}.safetensors")
        network.load_state_dict({key: value.to(kind) for key, value in tensors.items()}, assign=True)
        network.eval().requires_grad_(False)
    text, vae, dit = networks["text_encoder"], networks["vae"], networks["denoiser"]
    assert isinstance(text, TextNetwork)
    assert isinstance(vae, Autoencoder)
    assert isinstance(dit, DiT)
    return Loaded(
        _Denoiser(dit, config["channels"], side), _Encoder(text, vocabulary, styles, device), vae, networks
    )


@dataclass(frozen=True, eq=False)
class _Denoiser:
    network: DiT
    channels: int
    side: int
    parametrization: Parametrization = PARAMETRIZATION

    def under(self, parametrization: Parametrization) -> _Denoiser:
        return replace(self, parametrization=parametrization)

    @property
    def attention_blocks(self) -> int:
        return len(self.network.blocks)

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        return self.predict_perturbed(x, sigma, conditions, ())

    def predict_perturbed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition], blocks: Sequence[int]
    ) -> list[Tensor]:
        """All conditions in one batch: their embeddings have one shape."""
        if tuple(x.shape[1:]) != (self.channels, self.side, self.side):
            pixels = self.side * Autoencoder.downscale
            latent = " x ".join(map(str, x.shape[1:]))
            raise ValueError(
                f"this model paints {pixels} x {pixels} pixels, from latents {self.channels} x {self.side} x "
                f"{self.side}; got {latent}. Resize the picture, or leave width and height out"
            )
        count = len(conditions)
        text, mask, pooled = (
            torch.cat([part.expand(len(x), *part.shape[1:]).to(x.device) for part in parts])
            for parts in zip(*map(_parts, conditions), strict=True)
        )
        kind = next(self.network.parameters()).dtype

        def network(scaled: Tensor, time: Tensor) -> Tensor:
            return self.network(scaled.to(kind), time, text.to(kind), mask, pooled.to(kind), blocks).to(
                scaled.dtype
            )

        denoise = denoiser(network, self.parametrization)
        return list(denoise(x.repeat(count, *[1] * (x.ndim - 1)), sigma).chunk(count))


@dataclass(frozen=True, eq=False)
class _Encoder:
    network: TextNetwork
    vocabulary: Vocabulary
    styles: tuple[str, ...]
    device: str

    @torch.no_grad()  # not inference mode: what guides may take part in a gradient
    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        index = {name: number for number, name in enumerate(self.styles, 1)}
        code = torch.zeros(1, len(self.styles) + 1, device=self.device)
        for name, weight in styles.items():
            code[0, choose("style", name, index)] = weight
        total = float(code.sum())
        if total <= 0:
            code[0, 0] = 1
        else:
            code /= total
        embedding, mask, pooled = self.network(self.vocabulary.batch([text]).to(self.device), code)
        return Conditioning((Condition(embedding.float().cpu(), mask.cpu(), pooled.float().cpu()),))

    def unknown_words(self, text: str) -> list[str]:
        return self.vocabulary.encode(text)[1]


def _parts(condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
    if condition.embedding is None or condition.mask is None or condition.pooled is None:
        raise ValueError("the conditioning was not made by this model's text encoder; link its Encode to it")
    return condition.embedding, condition.mask, condition.pooled


def _config(path: Path | None) -> dict[str, Any]:
    if path is None or not (path / "config.json").is_file():
        raise ValueError(f"{path} is not a folder of the emoji family: it holds no config.json")
    config: dict[str, Any] = json.loads((path / "config.json").read_text("utf-8"))
    return config
