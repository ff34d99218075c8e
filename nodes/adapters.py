"""What changes a checkpoint: LoRAs, another VAE, learned words, ControlNets, sizes that SDXL is told."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from nodegraph import Context, node
from nodegraph.diffusion.checkpoints import assembly, stable
from nodegraph.diffusion.checkpoints import controlnet as controlnets
from nodegraph.diffusion.pictures.images import on_white
from nodegraph.diffusion.sampling.switching import apart
from nodegraph.diffusion.values import (
    VAE,
    Adapter,
    Checkpoint,
    Condition,
    Conditioning,
    Control,
    ControlNet,
    Image,
    Model,
    TextEncoder,
)
from nodegraph.fields import ControlNetFile, EmbeddingFile, Fraction, LoraFile, VAEFile

LoraStrength = Annotated[
    float,
    Field(ge=-10, le=10, description="How much of it is added: 1 as it was trained, 0 nothing, below 0 away."),
]


class Changed(NamedTuple):
    """A model and its text encoder, both with the LoRA."""

    model: Model
    text_encoder: TextEncoder


@node(category="model")
def LoadLora(
    context: Context,
    model: Model,
    text_encoder: TextEncoder,
    lora: LoraFile,
    strength: LoraStrength = 1.0,
    text_strength: LoraStrength = 1.0,
) -> Changed:
    """Add a LoRA to a model and its text encoder. Several add up, one node after the other.

    Of a model with two networks (Wan 2.2) it changes both; link one output of SplitNetworks to change one.
    """
    path, digest = _found(context, "loras", lora)
    for one in apart(model):
        checkpoint = one.checkpoint
        left = stable.check_lora(path, context.files.located(checkpoint.digest), checkpoint)
    if left:
        what = f"{len(left)} of its tensors are for a text encoder that no LoRA changes here"
        context.progress(1, 1, f"{lora}: {what}, and are left out; the first is {left[0]}")
    adapter, low = Adapter(lora, digest, strength), model.low
    return Changed(
        replace(
            model,
            adapters=(*model.adapters, adapter),
            low=None if low is None else replace(low, adapters=(*low.adapters, adapter)),
        ),
        replace(text_encoder, adapters=(*text_encoder.adapters, Adapter(lora, digest, text_strength))),
    )


@node(category="model")
def LoadVAE(
    context: Context,
    model: Annotated[
        Model, Field(description="The model that it is for; its family says how latents are scaled.")
    ],
    vae: VAEFile,
) -> VAE:
    """Use another VAE for a model."""
    path, digest = _found(context, "vae", vae)
    return assembly.describe_vae(Checkpoint(vae, digest, model.checkpoint.family), path)


@node(category="conditioning")
def LoadEmbedding(
    context: Context,
    text_encoder: TextEncoder,
    embedding: EmbeddingFile,
    word: Annotated[
        str, Field(max_length=100, description="The word that stands for it in prompts; empty is the file's name.")
    ] = "",
) -> TextEncoder:
    """Teach a text encoder a word (textual inversion); write the word in a prompt to use it."""
    _, digest = _found(context, "embeddings", embedding)
    name = word.strip() or Path(embedding).stem
    return replace(text_encoder, words=(*text_encoder.words, Adapter(name, digest)))


@node(category="control")
def LoadControlNet(context: Context, controlnet: ControlNetFile) -> ControlNet:
    """Choose a ControlNet. Nothing is read into memory until a sampler needs it."""
    path, digest = _found(context, "controlnet", controlnet)
    controlnets.checked(path)
    return ControlNet(Checkpoint(controlnet, digest, controlnets.FAMILY))


@node(category="control")
def ApplyControlNet(
    conditioning: Conditioning,
    controlnet: ControlNet,
    image: Annotated[
        Image, Field(description="What to follow, as the ControlNet was trained: edges, depth, a pose.")
    ],
    strength: Annotated[float, Field(ge=0, le=10, description="How strongly it is followed; 0 not at all.")] = 1.0,
    start: Fraction = 0.0,
    end: Fraction = 1.0,
) -> Conditioning:
    """Make a conditioning follow a picture for a share of the schedule; use it on positive and negative alike."""
    if end <= start:
        raise ValueError(f"end ({end}) must be above start ({start})")
    control = Control(controlnet.checkpoint, on_white(image.tensor), strength)
    pieces: list[Condition] = []
    for one in conditioning.conditions:
        edges = sorted({one.start, one.end, *(edge for edge in (start, end) if one.start < edge < one.end)})
        for left, right in pairwise(edges):
            inside = start <= left and right <= end
            controls = (*one.controls, control) if inside and strength else one.controls
            pieces.append(replace(one, start=left, end=right, controls=controls))
    return Conditioning(tuple(pieces))


@node(category="conditioning")
def SizeConditioning(
    conditioning: Conditioning,
    width: Annotated[int, Field(ge=1, le=16384, description="Width in pixels that it is told.")] = 1024,
    height: Annotated[int, Field(ge=1, le=16384, description="Height in pixels that it is told.")] = 1024,
    crop_left: Annotated[int, Field(ge=0, le=16384, description="Pixels cut off at the left.")] = 0,
    crop_top: Annotated[int, Field(ge=0, le=16384, description="Pixels cut off at the top.")] = 0,
    aesthetic: Annotated[
        float | None,
        Field(
            ge=0,
            le=10,
            description="How good it looks, for the SDXL refiner alone: 6; 2.5 as negative.",
        ),
    ] = None,
) -> Conditioning:
    """Tell SDXL the size and the crop of the pictures to imitate; left out, it is told the size that it paints."""
    told: tuple[float, ...] = (height, width, crop_top, crop_left)
    told += (height, width) if aesthetic is None else (aesthetic,)
    return Conditioning(tuple(replace(one, numbers=told) for one in conditioning.conditions))


def _found(context: Context, kind: str, name: str) -> tuple[Path, str]:
    path = context.files.find(kind, name)
    if path is None:
        raise ValueError(f"{name} is no file name")
    return path, context.files.digest(path)
