"""Models that were trained in a graph: one safetensors file, or `Weights` that a checkpoint carries.

The file's metadata hold, under `nodegraph`, the configuration that says how its tensors fit together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nodegraph.diffusion.checkpoints.header import TRAINED, read
from nodegraph.diffusion.handles import Handles
from nodegraph.diffusion.live import LiveVAE, Loaded
from nodegraph.diffusion.models.conditional import Conditional, DiTDenoiser, StyledEncoder
from nodegraph.diffusion.models.exact import PixelVAE
from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.networks.dit import DiT
from nodegraph.diffusion.networks.text import Classes, TextNetwork, Vocabulary
from nodegraph.diffusion.training.objectives import Objective, Target
from nodegraph.diffusion.values import (
    VAE,
    Checkpoint,
    Condition,
    Conditioning,
    Model,
    TextEncoder,
    Weights,
)

FAMILY = "trained"
VAE_ALONE = "this checkpoint is a VAE alone: it turns latents into pictures, but has no network that paints them"
Width = Annotated[int, Field(ge=8, le=4096)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkShape(_Data):
    """The sizes of a denoising network and its text encoder; `width` is a multiple of 4 and of `heads`."""

    width: Width = 96
    depth: int = Field(default=4, ge=1, le=64)
    heads: int = Field(default=4, ge=1, le=64)
    patch: int = Field(default=2, ge=1, le=16)
    text_width: Width = 64
    text_depth: int = Field(default=1, ge=0, le=16)


class AutoencoderShape(_Data):
    """The sizes of a VAE."""

    channels: int = Field(ge=1, le=64)
    width: int = Field(ge=32, le=1024, multiple_of=32)


class TrainedConfig(_Data):
    """How the tensors of a trained model fit together.

    Args:
        size: width and height of its pictures in pixels.
        channels: of its latents, which are pixels in [-1, 1] where there is no autoencoder.
        variance: whether it learned the variance of its steps beside, see `objectives.Objective`.
        condition: what its texts are: words, or names of classes.
        words: the vocabulary, or the names.
        steps, pictures_seen: of its training.
    """

    family: Literal["trained"] = "trained"
    size: int = Field(ge=4, le=2048)
    channels: int = Field(ge=1, le=64)
    prediction: Target = "flow"
    variance: bool = False
    condition: Literal["text", "class"] = "text"
    words: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    network: NetworkShape | None = None
    autoencoder: AutoencoderShape | None = None
    steps: int = 0
    pictures_seen: int = 0

    @property
    def downscale(self) -> int:
        """Pixels to a latent pixel."""
        return Autoencoder.downscale if self.autoencoder else 1

    @property
    def vocabulary(self) -> Vocabulary | Classes:
        """What reads its texts."""
        return Vocabulary(self.words) if self.condition == "text" else Classes(self.words)


def shape_of(vae: Autoencoder) -> AutoencoderShape:
    """The sizes of an autoencoder."""
    return AutoencoderShape(channels=vae.channels, width=vae.width)


def compose(config: TrainedConfig) -> Conditional:
    """The untrained text encoder and denoiser. Raises ValueError where the sizes do not fit each other."""
    shape = config.network
    if shape is None:
        raise ValueError(VAE_ALONE)
    side = config.size // config.downscale
    if shape.width % 4 or shape.width % shape.heads or shape.text_width % 4:
        raise ValueError(f"width {shape.width} must be a multiple of 4 and of its {shape.heads} heads")
    if side % shape.patch:
        raise ValueError(f"patches of {shape.patch} do not tile latents of {side} x {side}; choose another patch")
    return Conditional(
        TextNetwork(len(config.vocabulary), len(config.styles), shape.text_width, shape.text_depth),
        DiT(
            config.channels,
            side,
            shape.patch,
            shape.width,
            shape.depth,
            shape.heads,
            shape.text_width,
            config.channels * (2 if config.variance else 1),
        ),
    )


def pack(config: TrainedConfig, parts: dict[str, nn.Module]) -> Weights:
    """The weights of parts (`model`, `vae`) as a value, on the CPU."""
    tensors = {
        f"{name}.{key}": value.detach().cpu().clone().contiguous()
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
    return Weights(config.model_dump_json(), tensors)


def checkpoint(weights: Weights) -> Checkpoint:
    """The checkpoint that carries weights, known by the digest of their content."""
    whole = hashlib.blake2b(weights.config.encode(), digest_size=20)
    for name in sorted(weights.tensors):
        tensor = weights.tensors[name]
        whole.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        whole.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return Checkpoint(FAMILY, whole.hexdigest(), FAMILY, weights)


def to_bytes(weights: Weights, *, half: bool = True) -> bytes:
    """A safetensors file of weights, in half precision by default; `LoadModel` opens it."""
    tensors = {
        key: value.half() if half and value.is_floating_point() else value for key, value in _items(weights)
    }
    return save(tensors, metadata={TRAINED: weights.config})


def recognises(path: Path) -> bool:
    """Whether a file is one of this family, from its header alone."""
    return path.is_file() and path.suffix == ".safetensors" and TRAINED in _metadata(path)


def describe(checkpoint: Checkpoint, path: Path | None) -> Handles:
    """The handles, from the configuration alone."""
    config = configuration(checkpoint, path)
    return Handles(
        Model(checkpoint, Objective(config.prediction).parametrization),
        TextEncoder(checkpoint, config.styles),
        VAE(checkpoint, config.channels, config.downscale, config.size),
    )


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:
    """The live networks on the host; a VAE stays in float32.

    Args:
        checkpoint: carries weights, or stands for the file at `path`.
        path: of the file.
        device: where the text encoder will be asked.
        dtype: of the text encoder's and the denoiser's weights.

    Raises:
        ValueError: the tensors are not those that the configuration asks for.
    """
    config = configuration(checkpoint, path)
    tensors = _tensors(checkpoint, path)
    networks: dict[str, nn.Module] = {}
    vae: LiveVAE = PixelVAE(config.channels)
    try:
        if config.autoencoder is not None:
            vae = networks["vae"] = autoencoder(config, tensors)
        if config.network is None:
            return Loaded(_Absent(), _Absent(), vae, networks)
        network = compose(config).to(getattr(torch, dtype))
        network.load_state_dict(under("model.", tensors))
    except RuntimeError as error:
        raise ValueError(f"{checkpoint.name}: its tensors are not what its configuration says: {error}") from None
    network.eval().requires_grad_(False)
    networks |= {"text_encoder": network.text, "denoiser": network.denoiser}
    side = config.size // config.downscale
    parametrization = Objective(config.prediction).parametrization
    return Loaded(
        DiTDenoiser(network.denoiser, parametrization, config.channels, side, config.downscale),
        StyledEncoder(network.text, config.vocabulary, config.styles, device),
        vae,
        networks,
    )


def autoencoder(config: TrainedConfig, tensors: dict[str, Tensor]) -> Autoencoder:
    """The VAE of a configuration that has one."""
    assert config.autoencoder is not None
    vae = Autoencoder(config.autoencoder.channels, config.autoencoder.width)
    vae.load_state_dict(under("vae.", tensors))
    return vae.eval().requires_grad_(False)


def configuration(checkpoint: Checkpoint, path: Path | None) -> TrainedConfig:
    """What a checkpoint says about itself. Raises ValueError where it says nothing that can be."""
    if checkpoint.weights is not None:
        text = checkpoint.weights.config
    elif path is not None:
        text = read(path).metadata.get(TRAINED, "")
    else:
        raise ValueError(f"the file of {checkpoint.name} is no longer where it was")
    try:
        config = TrainedConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{checkpoint.name}: its configuration is not sound: {place}: {first['msg']}") from None
    if len(config.words) > 1_000_000 or any(len(word) > 200 for word in config.words):
        raise ValueError(f"{checkpoint.name}: its vocabulary is not sound")
    return config


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


class _Absent:
    """Stands where a checkpoint has no such part, and says so when it is asked."""

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:  # noqa: ARG002
        raise ValueError(VAE_ALONE)

    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:  # noqa: ARG002
        raise ValueError(VAE_ALONE)

    def unknown_words(self, text: str) -> list[str]:  # noqa: ARG002
        raise ValueError(VAE_ALONE)


def _tensors(checkpoint: Checkpoint, path: Path | None) -> dict[str, Tensor]:
    if checkpoint.weights is not None:
        return checkpoint.weights.tensors
    assert path is not None
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def _items(weights: Weights) -> list[tuple[str, Tensor]]:
    return sorted(weights.tensors.items())
