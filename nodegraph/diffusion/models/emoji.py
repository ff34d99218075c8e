"""The embedded model's family: a flow-matching transformer over the latents of emoji pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import nn

from nodegraph.diffusion.checkpoints.header import read
from nodegraph.diffusion.checkpoints.parts import Source
from nodegraph.diffusion.checkpoints.weights import fill
from nodegraph.diffusion.handles import Handles
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.models.conditional import DiTDenoiser, StyledEncoder
from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.networks.dit import DiT
from nodegraph.diffusion.networks.style import StyleNetwork
from nodegraph.diffusion.networks.text import TextNetwork, Vocabulary
from nodegraph.diffusion.values import (
    VAE,
    Checkpoint,
    Model,
    Parametrization,
    TextEncoder,
)

Network = TypeVar("Network", bound=nn.Module)
PARAMETRIZATION = Parametrization("flow", "flow", sigma_min=0.005, sigma_max=80.0)
SMOOTHING = 96  # hidden channels
MEMORY = 768  # hidden width


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
    kind = getattr(torch, dtype)
    text = _filled(lambda: TextNetwork(len(vocabulary), len(styles)), path / "text_encoder.safetensors", kind)
    vae = _filled(lambda: Autoencoder(config["channels"]), path / "vae.safetensors", torch.float32)
    dit = _filled(lambda: network(config["channels"], side), path / "denoiser.safetensors", kind)
    networks: dict[str, nn.Module] = {"text_encoder": text, "vae": vae, "denoiser": dit}
    denoiser = DiTDenoiser(dit, PARAMETRIZATION, config["channels"], side, Autoencoder.downscale)
    reader = _reader(path / "style_reader.safetensors", styles)
    encoder = StyledEncoder(text, vocabulary, styles, device, reader, config["size"])
    return Loaded(denoiser, encoder, vae, networks)


def network(channels: int, size: int) -> DiT:
    """The denoiser over latents (N, channels, size, size), untrained."""
    return DiT(channels, size, smoothing=SMOOTHING, memory=MEMORY)


def _reader(path: Path, styles: tuple[str, ...]) -> StyleNetwork | None:
    """What reads the model's styles, where it is there and was trained for these."""
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        if json.loads((file.metadata() or {}).get("styles", "[]")) != list(styles):
            return None
        tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    reader = StyleNetwork(len(styles))
    reader.load_state_dict(tensors)
    return reader.eval().requires_grad_(False)


def _filled(make: Callable[[], Network], file: Path, dtype: torch.dtype) -> Network:
    """A network with the weights of a file, which the host holds once."""
    tensors = read(file).tensors
    weights = {name: Source(file, name, entry, entry.shape) for name, entry in tensors.items()}
    return fill(make, weights, dtype, file, file.stem)


def _config(path: Path | None) -> dict[str, Any]:
    if path is None or not (path / "config.json").is_file():
        raise ValueError(f"{path} is not a folder of the emoji family: it holds no config.json")
    config: dict[str, Any] = json.loads((path / "config.json").read_text("utf-8"))
    return config
