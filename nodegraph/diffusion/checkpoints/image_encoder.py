"""CLIP's vision network (Radford et al. 2021) of the size ViT-H/14, as Wan 2.1 reads pictures by it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nodegraph.diffusion.checkpoints import configs
from nodegraph.diffusion.checkpoints.assembly import Missing, there
from nodegraph.diffusion.checkpoints.detect import what_else
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.parts import EYES, Part, contents
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.pictures.images import covering
from nodegraph.diffusion.values import Checkpoint, ImageEncoder

FAMILY = "clip-vision"
HEADS = 16  # of ViT-H; no shape tells
# Of the colours of CLIP's training pictures.
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def describe(name: str, digest: str, path: Path) -> ImageEncoder:
    """The handle, from headers alone, of a file or of a diffusers folder that has one. Raises ModelRefused."""
    found = contents(path)
    if "image_encoder" not in found.parts:
        raise ModelRefused(
            f"{path} has no folder {EYES}; choose a file such as clip_vision_h.safetensors instead"
            if path.is_dir()
            else f"{path} {what_else(found)}; an image encoder is wanted here, such as clip_vision_h.safetensors"
        )
    _config(found.parts["image_encoder"])
    return ImageEncoder(Checkpoint(name, digest, FAMILY, part=EYES if path.is_dir() else ""))


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The network of a file or folder, on the host. Raises ModelRefused where a weight is missing or wrong."""
    found = contents(there(path))
    part = found.parts["image_encoder"]
    config = _config(part)
    with IMPORTING:
        from transformers import CLIPVisionConfig
        from transformers.models.clip.modeling_clip import CLIPVisionModel
    kind = getattr(torch, dtype)
    network = fill(
        lambda: CLIPVisionModel(CLIPVisionConfig(**config)), part.weights, kind, found.path, "image encoder"
    )
    networks: dict[str, nn.Module] = {"image_encoder": network}
    denoiser: Any = Missing(found, "denoising network")
    text_encoder: Any = Missing(found, "text encoder")
    vae: Any = Missing(found, "VAE")
    return Loaded(denoiser, text_encoder, vae, networks, Eyes(network, config["image_size"]))


def _config(part: Part) -> dict[str, Any]:
    width = configs.side(part, "embeddings.class_embedding", 0)
    patch = configs.side(part, "embeddings.patch_embedding.weight", 3)
    places = configs.side(part, "embeddings.position_embedding.weight", 0) - 1
    return {
        "hidden_size": width,
        "intermediate_size": configs.side(part, "encoder.layers.0.mlp.fc1.weight", 0),
        "num_hidden_layers": configs.bounded(part, r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": HEADS,
        "patch_size": patch,
        "image_size": patch * math.isqrt(places),
        "hidden_act": "gelu",
    }


@dataclass(frozen=True, eq=False)
class Eyes:
    """Pictures to what the last layer but one says of each patch.

    Args:
        network: of transformers.
        side: of the square that it sees, in pixels.
    """

    network: Any
    side: int

    @torch.no_grad()
    def read(self, image: Tensor) -> Tensor:
        """States (N, 1 + patches, D) of the middle squares of pictures (N, 3, H, W) in [0, 1]."""
        kind = next(self.network.parameters()).dtype
        mean, deviation = (image.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        pixels = ((covering(image, (self.side, self.side)) - mean) / deviation).to(kind)
        states: Tensor = self.network(pixels, output_hidden_states=True).hidden_states[-2]
        return states.to(image.dtype)
