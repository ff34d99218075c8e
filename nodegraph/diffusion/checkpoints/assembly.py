"""What checkpoints of every family share: handles from headers, CLIP networks, words for a missing part."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nodegraph.diffusion.checkpoints import configs
from nodegraph.diffusion.checkpoints.detect import Detected, detect, what_else
from nodegraph.diffusion.checkpoints.families import FAMILIES
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.parts import SECOND, Contents, Part, contents
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.handles import Handles
from nodegraph.diffusion.sampling.schedules import with_zero_terminal_snr
from nodegraph.diffusion.values import VAE, Checkpoint, LowNoise, Model, Parametrization, TextEncoder

INDEX = "model_index.json"  # of a diffusers folder


def describe(checkpoint: Checkpoint, path: Path | None) -> Handles:
    """The handles, from headers alone."""
    found = contents(there(path))
    detected = detect(found)
    part = found.parts.get("vae")
    usual = (detected.family.latent_channels, detected.family.downscale)
    channels, downscale = (configs.vae_channels(part), configs.vae_downscale(part)) if part else usual
    return Handles(
        Model(checkpoint, parametrization(detected), low=_low(checkpoint, found, detected)),
        TextEncoder(checkpoint),
        VAE(checkpoint, channels, downscale, detected.family.size, multiple=_multiple(detected, found)),
    )


def _multiple(detected: Detected, found: Contents) -> int:
    """What the sides of a latent are multiples of: a U-Net halves them from each level to the next."""
    part, pattern = found.parts.get("denoiser"), r"down_blocks\.(\d+)\."
    if part is None or not part.count(pattern):
        return detected.family.multiple
    return int(2 ** (configs.bounded(part, pattern, configs.LEVELS) - 1))


def _low(checkpoint: Checkpoint, found: Contents, detected: Detected) -> LowNoise | None:
    """The second network of a folder that has two. Raises ModelRefused where it does not say when to change."""
    if "denoiser_2" not in found.parts:
        return None
    if (other := detect(second(found))) != detected:
        raise ModelRefused(
            f"{found.path} has two networks that do not belong together: {detected.title} in transformer and "
            f"{other.title} in {SECOND}. Download the one that is wrong again"
        )
    boundary = _index(found.path).get("boundary_ratio")
    if not isinstance(boundary, float) or not 0 < boundary < 1:
        raise ModelRefused(
            f"{found.path / INDEX} says no boundary_ratio between 0 and 1, and so not where the second of its "
            "two networks takes over. Write it there: 0.875 for Wan 2.2 text to video, 0.9 for picture to video"
        )
    return LowNoise(replace(checkpoint, part=SECOND), boundary)


def _index(path: Path) -> dict[str, object]:
    try:
        index = json.loads((path / INDEX).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return index if isinstance(index, dict) else {}


def opened(checkpoint: Checkpoint, path: Path | None) -> Contents:
    """What a checkpoint means of its file or folder: of one with two networks the first, or the second alone."""
    found = contents(there(path))
    return second(found) if checkpoint.part == SECOND else found


def second(found: Contents) -> Contents:
    """The second network of a folder, as if it were the only one."""
    return replace(found, parts={"denoiser": found.parts["denoiser_2"]})


def describe_vae(checkpoint: Checkpoint, path: Path) -> VAE:
    """The handle of another VAE for a model of the checkpoint's family, from the header alone.

    Raises:
        ModelRefused: the file holds no VAE, one with other latents, or a whole model of another family.
        ValueError: the family takes none of another file.
    """
    family = FAMILIES.get(checkpoint.family)
    if family is None:
        raise ValueError(f"a model of the family {checkpoint.family} has a VAE of its own and takes no other")
    found = contents(path)
    part = found.parts.get("vae")
    if part is None:
        raise ModelRefused(f"{path} {what_else(found)}; a VAE is wanted here")
    if "denoiser" in found.parts and detect(found).name != checkpoint.family:
        raise ModelRefused(
            f"{path} is a whole model of another family, {detect(found).title}; choose a file with the VAE alone"
        )
    channels = configs.vae_channels(part)
    if channels != family.latent_channels:
        raise ModelRefused(
            f"{path} is a VAE of {channels} latent channels, and {family.title} paints {family.latent_channels}; "
            "choose the VAE that belongs to the model's family"
        )
    return VAE(checkpoint, channels, configs.vae_downscale(part), family.size, multiple=family.multiple)


def parametrization(detected: Detected) -> Parametrization:
    """How a checkpoint's network is read."""
    f = detected.family
    usual = Parametrization(
        detected.prediction, f.law, f.sigma_min, f.sigma_max, f.time_shift, token_shift=f.token_shift
    )
    return with_zero_terminal_snr(usual) if detected.zero_snr else usual


def there(path: Path | None) -> Path:
    """The path of a checkpoint's file. Raises ValueError where it is gone."""
    if path is None:
        raise ValueError("the checkpoint's file is no longer where it was; run the workflow again")
    return path


def clip_network(part: Part, activation: str, projected: bool, dtype: torch.dtype, path: Path) -> nn.Module:
    """A CLIP text encoder with its weights, with the projection of its summary or without."""
    with IMPORTING:
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
class Missing:
    """A part that a file has not: whatever is asked of it is refused with what to do."""

    found: Contents
    what: str

    def __getattr__(self, name: str) -> Any:
        raise ValueError(
            f"{self.found.path} holds no {self.what}; link one from another file (LoadVAE, LoadTextEncoder, or a "
            f"LoadModel that has it)"
        )
