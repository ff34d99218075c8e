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
# The same of the 48 channels of Wan 2.2's VAE.
MEAN_48 = (
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891, 0.1570,
    -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502, -0.2055,
    -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083,
    -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
)  # fmt: skip
DEVIATION_48 = (
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165,
    0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659, 0.7069, 0.5338, 0.4889, 0.4917,
    0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600,
    0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
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
    """Wan's VAE with its weights, in float32: that of 2.1, which is Qwen-Image's too, or of 2.2."""
    residual = "encoder.down_blocks.0.resnets.0.conv1.weight" in part.weights
    config = _residual_config(part) if residual else _plain_config(part)
    with IMPORTING:
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    return fill(lambda: AutoencoderKLWan(**config), part.weights, torch.float32, path, "VAE")


def _plain_config(part: Part) -> dict[str, Any]:
    levels = configs.bounded(part, r"decoder\.up_blocks\.(\d+)\.")
    layers = configs.bounded(part, r"decoder\.up_blocks\.0\.resnets\.(\d+)\.") - 1
    base = configs.side(part, "encoder.conv_in.weight", 0)
    # The encoder counts through: of each level its layers, then what makes it smaller.
    first = [level * (layers + 1) for level in range(levels)]
    sides = [configs.side(part, f"encoder.down_blocks.{i}.conv1.weight", 0) for i in first]
    return {
        "base_dim": base,
        "z_dim": configs.vae_channels(part),
        "dim_mult": [side // max(1, base) for side in sides],
        "num_res_blocks": layers,
        "temperal_downsample": [
            f"encoder.down_blocks.{i + layers}.time_conv.weight" in part.weights for i in first[:-1]
        ],
    }


def _residual_config(part: Part) -> dict[str, Any]:
    """Wan 2.2's: each level has a way around it, and pixels come in squares."""
    levels = range(configs.bounded(part, r"encoder\.down_blocks\.(\d+)\."))
    base = max(1, configs.side(part, "encoder.conv_in.weight", 0))
    times = [configs.side(part, f"encoder.down_blocks.{i}.resnets.0.conv1.weight", 0) // base for i in levels]
    return {
        "base_dim": base,
        "decoder_base_dim": configs.side(part, "decoder.conv_in.weight", 0) // max(1, times[-1]),
        "z_dim": configs.vae_channels(part),
        "dim_mult": times,
        "num_res_blocks": configs.bounded(part, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "temperal_downsample": [
            f"encoder.down_blocks.{i}.downsampler.time_conv.weight" in part.weights for i in levels[:-1]
        ],
        "is_residual": True,
        "in_channels": configs.side(part, "encoder.conv_in.weight", 1),
        "out_channels": configs.side(part, "decoder.conv_out.weight", 0),
        "patch_size": configs.vae_patch(part),
    }


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
        pair = (MEAN_48, DEVIATION_48) if self.network.config["z_dim"] == 48 else (MEAN, DEVIATION)
        mean, deviation = (like.new_tensor(values)[None, :, None, None, None] for values in pair)
        return mean, deviation
