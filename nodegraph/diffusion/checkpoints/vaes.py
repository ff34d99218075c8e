"""Live VAEs: of pictures, with a shift and scale of the family's, and of frames, with those of each channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nodegraph.diffusion.checkpoints import configs
from nodegraph.diffusion.checkpoints.assembly import Missing
from nodegraph.diffusion.checkpoints.families import FAMILIES, Family
from nodegraph.diffusion.checkpoints.parts import Contents, Part
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill

# Mean and deviation of each channel of Wan's latents, which Qwen-Image shares (Wan team 2025).
MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
    -0.9497, 0.2503, -0.2921,
)  # fmt: skip
DEVIATION = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
    2.8251, 1.9160,
)  # fmt: skip


def vae_of(found: Contents, family: Family, networks: dict[str, nn.Module]) -> Any:
    """The live VAE of a file, in float32 whatever the rest is: in float16 that of SDXL overflows."""
    part = found.parts.get("vae")
    if part is None:
        return Missing(found, "VAE")
    if len(part.shape("decoder.conv_in.weight") or ()) == 5:
        networks["vae"] = network = frames_network(part, found.path)
        return FramesVAE(network)
    networks["vae"] = network = picture_network(part, found.path)
    return LatentVAE(network, family)


def picture_network(part: Part, path: Path) -> nn.Module:
    """An AutoencoderKL with its weights, in float32."""
    config = configs.vae(part)
    with IMPORTING:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    return fill(lambda: AutoencoderKL(**config), part.weights, torch.float32, path, "VAE")


def frames_network(part: Part, path: Path) -> nn.Module:
    """Wan's VAE with its weights, in float32. That of Qwen-Image is the same network."""
    levels = configs.bounded(part, r"decoder\.up_blocks\.(\d+)\.")
    layers = configs.bounded(part, r"decoder\.up_blocks\.0\.resnets\.(\d+)\.") - 1
    base = configs.side(part, "encoder.conv_in.weight", 0)
    # The encoder counts through: of each level its layers, then what makes it smaller.
    first = [level * (layers + 1) for level in range(levels)]
    sides = [configs.side(part, f"encoder.down_blocks.{i}.conv1.weight", 0) for i in first]
    config = {
        "base_dim": base,
        "z_dim": configs.vae_channels(part),
        "dim_mult": [side // max(1, base) for side in sides],
        "num_res_blocks": layers,
        "temperal_downsample": [
            f"encoder.down_blocks.{i + layers}.time_conv.weight" in part.weights for i in first[:-1]
        ],
    }
    with IMPORTING:
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    return fill(lambda: AutoencoderKLWan(**config), part.weights, torch.float32, path, "VAE")


@dataclass(frozen=True, eq=False)
class LatentVAE:
    """Pictures to the latents that a family's samplers see, and back."""

    network: Any
    family: Family

    def of_family(self, name: str) -> LatentVAE:
        """The same network with the shift and scale of another family's latents."""
        return replace(self, family=FAMILIES.get(name, self.family))

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """The posterior's mean, shifted and scaled."""
        kind = next(self.network.parameters()).dtype
        posterior = self.network.encode(image.to(kind) * 2 - 1, return_dict=False)[0]
        return (posterior.mode().to(image.dtype) - self.family.shift) * self.family.scale

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1]."""
        kind = next(self.network.parameters()).dtype
        raw = latent / self.family.scale + self.family.shift
        decoded = self.network.decode(raw.to(kind), return_dict=False)[0]
        return ((decoded + 1) / 2).clamp(0, 1).to(latent.dtype)


@dataclass(frozen=True, eq=False)
class FramesVAE:
    """Pictures to latents and back by a VAE of frames: a picture is one frame, frames are pictures in order."""

    network: Any

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """Latents (N, C, h, w), each picture alone: the posterior's mean, normalised channel by channel."""
        return self._encoded(image[:, :, None])[:, :, 0]

    @torch.no_grad()
    def encode_frames(self, frames: Tensor) -> Tensor:
        """One latent (1, C, f, h, w) of the frames of a video (F, 3, H, W), F one more than a multiple of 4."""
        return self._encoded(frames.transpose(0, 1)[None])

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1]; of frames (N, C, f, h, w) all, one video after another."""
        mean, deviation = self._channels(latent)
        raw = (latent if latent.ndim == 5 else latent[:, :, None]) * deviation + mean
        decoded = self.network.decode(raw, return_dict=False)[0]
        return ((decoded + 1) / 2).clamp(0, 1).transpose(1, 2).flatten(0, 1).to(latent.dtype)

    def _encoded(self, video: Tensor) -> Tensor:
        posterior = self.network.encode(video * 2 - 1, return_dict=False)[0]
        mean, deviation = self._channels(video)
        latent: Tensor = (posterior.mode() - mean) / deviation
        return latent

    def _channels(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = (like.new_tensor(values)[None, :, None, None, None] for values in (MEAN, DEVIATION))
        return mean, deviation
