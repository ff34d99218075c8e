"""Stable Diffusion 1, 2, XL and the refiner: handles from a header, live networks from a file or folder."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nodegraph.diffusion.checkpoints import configs
from nodegraph.diffusion.checkpoints.clip import END, Encoder, TextEncoders
from nodegraph.diffusion.checkpoints.detect import Detected, detect, what_else
from nodegraph.diffusion.checkpoints.families import FAMILIES, Family
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.lora import Patches, Target, terms
from nodegraph.diffusion.checkpoints.parts import Contents, Part, PartName, contents
from nodegraph.diffusion.checkpoints.unet import UNet
from nodegraph.diffusion.checkpoints.weights import fill
from nodegraph.diffusion.handles import Handles
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import VAE, Checkpoint, Model, Parametrization, TextEncoder

_importing = threading.Lock()
_SIZE_NUMBERS = {"sdxl": 6, "sdxl-refiner": 5}


def describe(checkpoint: Checkpoint, path: Path | None) -> Handles:
    """The handles, from headers alone."""
    found = contents(_there(path))
    detected = detect(found)
    part = found.parts.get("vae")
    channels, downscale = (configs.vae_channels(part), configs.vae_downscale(part)) if part else (4, 8)
    return Handles(
        Model(checkpoint, _parametrization(detected)),
        TextEncoder(checkpoint),
        VAE(checkpoint, channels, downscale, detected.family.size),
    )


def describe_vae(checkpoint: Checkpoint, path: Path) -> VAE:
    """The handle of another VAE for a model of the checkpoint's family, from the header alone.

    Raises:
        ModelRefused: the file holds no VAE. ValueError: the family takes none of another file.
    """
    family = FAMILIES.get(checkpoint.family)
    if family is None:
        raise ValueError(f"a model of the family {checkpoint.family} has a VAE of its own and takes no other")
    found = contents(path)
    part = found.parts.get("vae")
    if part is None:
        raise ModelRefused(f"{path} {what_else(found)}; a VAE is wanted here")
    return VAE(checkpoint, configs.vae_channels(part), configs.vae_downscale(part), family.size)


def check_lora(lora: Path, path: Path | None, checkpoint: Checkpoint) -> None:
    """Raise ModelRefused where a LoRA does not fit a checkpoint; headers alone are read."""
    if checkpoint.family not in FAMILIES:
        raise ValueError(f"{checkpoint.name} is of the family {checkpoint.family}, which takes no LoRA")
    targets: dict[PartName, Target] = {
        "denoiser": "denoiser", "text_encoder": "text_encoder", "text_encoder_2": "text_encoder_2",
    }  # fmt: skip
    for name, part in contents(_there(path)).parts.items():
        if name in targets:
            shapes = {weight: source.shape for weight, source in part.weights.items()}
            terms(lora, targets[name], shapes, part.count(r"down_blocks\.0\.resnets\.(\d+)\."))


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The networks that the file has, on the host. The VAE stays in float32: in float16 that of SDXL overflows.

    Raises:
        ModelRefused: a weight is missing, wrong or one too many, or the tokens are not CLIP's.
    """
    found = contents(_there(path))
    family = FAMILIES[checkpoint.family]
    kind = getattr(torch, dtype)
    networks: dict[str, nn.Module] = {}
    denoiser: Any = Missing(found, "denoising network")
    if (part := found.parts.get("denoiser")) is not None:
        networks["denoiser"] = network = unet(part, checkpoint.family, kind, found.path)
        denoiser = UNet(
            network,
            _parametrization(detect(found)),
            _SIZE_NUMBERS.get(checkpoint.family, 0),
            patches=Patches(network, "denoiser", part.count(r"down_blocks\.0\.resnets\.(\d+)\.")),
        )
    vae: Any = Missing(found, "VAE")
    if (part := found.parts.get("vae")) is not None:
        networks["vae"] = autoencoder = vae_network(part, found.path)
        vae = LatentVAE(autoencoder, family)
    encoders = text_encoders(found, checkpoint.family, kind)
    if encoders:
        networks["text_encoder"] = nn.ModuleList([encoder.network for encoder in encoders])
    text: Any = TextEncoders(tuple(encoders)) if encoders else Missing(found, "text encoder")
    return Loaded(denoiser, text, vae, networks)


def unet(part: Part, family: str, dtype: torch.dtype, path: Path) -> nn.Module:
    """A U-Net with its weights."""
    config = configs.whole_unet(part, family)
    with _importing:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    return fill(lambda: UNet2DConditionModel(**config), part.weights, dtype, path, "U-Net")


def vae_network(part: Part, path: Path) -> nn.Module:
    """An AutoencoderKL with its weights, in float32."""
    config = configs.vae(part)
    with _importing:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    return fill(lambda: AutoencoderKL(**config), part.weights, torch.float32, path, "VAE")


def text_encoders(found: Contents, family: str, dtype: torch.dtype) -> list[Encoder]:
    """The CLIP encoders of a family, with their weights; none where the file has none of them."""
    wanted: list[tuple[PartName, str, Any, int, bool]]
    match family:
        case "sd1":
            wanted = [("text_encoder", "quick_gelu", "last", END, False)]
        case "sd2":
            wanted = [("text_encoder", "gelu", "last", 0, False)]
        case "sdxl":
            wanted = [
                ("text_encoder", "quick_gelu", "penultimate", END, False),
                ("text_encoder_2", "gelu", "penultimate", 0, True),
            ]
        case _:
            wanted = [("text_encoder_2", "gelu", "penultimate", 0, True)]
    if not any(name in found.parts for name, *_ in wanted):
        return []
    encoders = []
    for name, activation, layer, padding, pooled in wanted:
        part = found.parts.get(name)
        if part is None:
            raise ModelRefused(f"{found.path} lacks its second text encoder; the file is not complete")
        network = _clip(part, activation, pooled, dtype, found.path)
        target: Target = "text_encoder_2" if name == "text_encoder_2" else "text_encoder"
        encoders.append(Encoder(network, layer, padding, pooled, patches=Patches(network, target)))
    return encoders


def _clip(part: Part, activation: str, projected: bool, dtype: torch.dtype, path: Path) -> nn.Module:
    with _importing:
        from transformers import CLIPTextConfig
        from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
    config = CLIPTextConfig(**configs.clip(part, activation))
    if not projected:
        weights = {name: source for name, source in part.weights.items() if name != "text_projection.weight"}
        return fill(lambda: CLIPTextModel(config), weights, dtype, path, "text encoder")
    weights = {_projected_name(name): source for name, source in part.weights.items()}
    return fill(lambda: CLIPTextModelWithProjection(config), weights, dtype, path, "text encoder")


def _projected_name(name: str) -> str:
    return name if name == "text_projection.weight" else f"text_model.{name}"


@dataclass(frozen=True, eq=False)
class LatentVAE:
    """Pictures to the latents that a family's samplers see, and back."""

    network: Any
    family: Family

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
class Missing:
    """A part that a file has not: whatever is asked of it is refused with what to do."""

    found: Contents
    what: str

    def __getattr__(self, name: str) -> Any:
        raise ValueError(
            f"{self.found.path} holds no {self.what}; link one from another file (LoadVAE, or a LoadModel that "
            f"has it)"
        )


def _parametrization(detected: Detected) -> Parametrization:
    family = detected.family
    return Parametrization(detected.prediction, family.law, family.sigma_min, family.sigma_max)


def _there(path: Path | None) -> Path:
    if path is None:
        raise ValueError("the checkpoint's file is no longer where it was; run the workflow again")
    return path
