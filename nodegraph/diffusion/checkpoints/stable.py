"""Stable Diffusion 1, 2, XL and the refiner: handles from a header, live networks from a file or folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nodegraph.diffusion.checkpoints import configs
from nodegraph.diffusion.checkpoints.assembly import (
    Missing,
    clip_network,
    describe,
    opened,
    parametrization,
    there,
)
from nodegraph.diffusion.checkpoints.clip import END, Encoder, Summary, TextEncoders
from nodegraph.diffusion.checkpoints.detect import detect
from nodegraph.diffusion.checkpoints.families import FAMILIES
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.lora import Patches, Target, targets, terms
from nodegraph.diffusion.checkpoints.parts import Contents, Part, PartName, contents
from nodegraph.diffusion.checkpoints.unet import UNet
from nodegraph.diffusion.checkpoints.vaes import vae_of
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import Checkpoint

__all__ = ["check_lora", "describe", "load"]
_SIZE_NUMBERS = {"sdxl": 6, "sdxl-refiner": 5}


def check_lora(lora: Path, path: Path | None, checkpoint: Checkpoint) -> list[str]:
    """The keys of a LoRA for text encoders that no LoRA changes in this family; headers alone are read.

    Raises:
        ModelRefused: it does not fit the checkpoint, or nothing of it is left.
    """
    if checkpoint.family not in FAMILIES:
        raise ValueError(f"{checkpoint.name} is of the family {checkpoint.family}, which takes no LoRA")
    family = FAMILIES[checkpoint.family]
    places: dict[Target, PartName] = {"denoiser": "denoiser", **family.lora_text_encoders}
    parts, given = opened(checkpoint, path).parts, targets(lora)
    for target, name in places.items():
        if (part := parts.get(name)) is not None:
            shapes = {weight: source.shape for weight, source in part.weights.items()}
            terms(lora, (target,), shapes, part.count(r"down_blocks\.0\.resnets\.(\d+)\."))
    left = [key for target, keys in given.items() if target not in places for key in keys]
    if left and not given.keys() & places.keys():
        raise ModelRefused(
            f"{lora} changes nothing of {family.title}: all of its {len(left)} tensors are for text encoders that "
            f"no LoRA changes there, such as {left[0]}. Use a LoRA of the checkpoint's own family"
        )
    return left


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The networks that the file has, on the host.

    Raises:
        ModelRefused: a weight is missing, wrong or one too many, or the tokens are not CLIP's.
    """
    found = contents(there(path))
    kind = getattr(torch, dtype)
    networks: dict[str, nn.Module] = {}
    denoiser: Any = Missing(found, "denoising network")
    if (part := found.parts.get("denoiser")) is not None:
        networks["denoiser"] = network = unet(part, checkpoint.family, kind, found.path)
        denoiser = UNet(
            network,
            parametrization(detect(found)),
            _SIZE_NUMBERS.get(checkpoint.family, 0),
            patches=Patches(network, "denoiser", part.count(r"down_blocks\.0\.resnets\.(\d+)\.")),
        )
    vae = vae_of(found, FAMILIES[checkpoint.family], networks)
    encoders = text_encoders(found, checkpoint.family, kind)
    if encoders:
        networks["text_encoder"] = nn.ModuleList([encoder.network for encoder in encoders])
    text: Any = TextEncoders(tuple(encoders)) if encoders else Missing(found, "text encoder")
    return Loaded(denoiser, text, vae, networks)


def unet(part: Part, family: str, dtype: torch.dtype, path: Path) -> nn.Module:
    """A U-Net with its weights."""
    config = configs.whole_unet(part, family)
    with IMPORTING:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    return fill(lambda: UNet2DConditionModel(**config), part.weights, dtype, path, "U-Net")


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
        network = clip_network(part, activation, pooled, dtype, found.path)
        target: Target = "text_encoder_2" if name == "text_encoder_2" else "text_encoder"
        summary: Summary = "projected" if pooled else None
        encoders.append(Encoder(network, layer, padding, summary, patches=Patches(network, target)))
    return encoders
