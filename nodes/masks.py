"""Masks: 1 (white) is repainted, 0 (black) is kept."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field

from nodegraph import node
from nodegraph.diffusion.pictures import images
from nodegraph.diffusion.values import Image, Mask
from nodegraph.fields import Color, Fraction, Height, Width


@node(category="mask")
def MaskFromColor(
    image: Image,
    color: Color = "#ffffff",
    tolerance: Annotated[
        float, Field(ge=0, le=1, description="How far a colour may be off, as a share of the largest distance.")
    ] = 0.1,
    outside: Annotated[
        bool, Field(description="Only what reaches the edge of the picture, not the same colour inside a thing.")
    ] = False,
) -> Mask:
    """1 where a picture has a colour, or one near it."""
    distance = ((image.tensor[:, :3] - images.colour(color)) ** 2).mean(1, keepdim=True).sqrt()
    mask = (distance <= tolerance).float()
    return Mask(images.reached_from_edge(mask) if outside else mask)


@node(category="mask")
def MaskFromAlpha(image: Image) -> Mask:
    """1 where a picture is transparent; nowhere in a picture without transparency."""
    if image.tensor.shape[1] == 3:
        return Mask(torch.zeros_like(image.tensor[:, :1]))
    return Mask(1 - image.tensor[:, 3:])


@node(category="mask")
def CutOut(image: Image, mask: Mask) -> Image:
    """Make a picture transparent where the mask is 1 (white); saved as PNG it stays so."""
    if mask.tensor.shape[2:] != image.tensor.shape[2:]:
        raise ValueError("the mask and the picture differ in size; resize one of them")
    opacity = (1 - mask.tensor).expand(len(image.tensor), -1, -1, -1)
    if image.tensor.shape[1] == 4:
        opacity = torch.minimum(opacity, image.tensor[:, 3:])
    return Image(torch.cat([image.tensor[:, :3], opacity], 1))


@node(category="mask")
def MaskFromImage(
    image: Image,
    channel: Annotated[
        Literal["luminance", "red", "green", "blue"], Field(description="What becomes the mask.")
    ] = "luminance",
) -> Mask:
    """Read a picture as a mask: white repaints, black keeps."""
    if channel == "luminance":
        return Mask(images.luminance(image.tensor))
    index = ("red", "green", "blue").index(channel)
    return Mask(image.tensor[:, index : index + 1].clone())


@node(category="mask")
def MaskFromShape(
    width: Width,
    height: Height,
    shape: Annotated[
        Literal["rectangle", "ellipse"], Field(description="The form that is repainted.")
    ] = "ellipse",
    center_x: Annotated[float, Field(ge=-1, le=2, description="Middle, as a share of the width.")] = 0.5,
    center_y: Annotated[float, Field(ge=-1, le=2, description="Middle, as a share of the height.")] = 0.5,
    size_x: Annotated[float, Field(gt=0, le=4, description="Full width, as a share of the picture's.")] = 0.5,
    size_y: Annotated[float, Field(gt=0, le=4, description="Full height, as a share of the picture's.")] = 0.5,
) -> Mask:
    """1 inside a rectangle or an ellipse."""
    x = ((torch.arange(width) + 0.5) / width - center_x) / (size_x / 2)
    y = ((torch.arange(height) + 0.5) / height - center_y) / (size_y / 2)
    across, down = x[None, :].expand(height, width), y[:, None].expand(height, width)
    inside = across**2 + down**2 <= 1 if shape == "ellipse" else (across.abs() <= 1) & (down.abs() <= 1)
    return Mask(inside.float()[None, None])


@node(category="mask")
def InvertMask(mask: Mask) -> Mask:
    """Swap what is repainted and what is kept."""
    return Mask(1 - mask.tensor)


@node(category="mask")
def GrowMask(
    mask: Mask,
    pixels: Annotated[int, Field(ge=-512, le=512, description="How far it grows; below 0 it shrinks.")] = 4,
) -> Mask:
    """Grow or shrink what is repainted."""
    return Mask(images.grow(mask.tensor, pixels))


@node(category="mask")
def FeatherMask(
    mask: Mask,
    radius: Annotated[float, Field(ge=0, le=200, description="Softness of the edge in pixels.")] = 4.0,
) -> Mask:
    """Soften a mask's edge."""
    return Mask(images.gaussian_blur(mask.tensor, radius).clamp(0, 1))


@node(category="mask")
def ThresholdMask(mask: Mask, threshold: Fraction = 0.5) -> Mask:
    """1 where a mask is above the threshold, else 0."""
    return Mask((mask.tensor > threshold).float())


@node(category="mask")
def CombineMasks(
    a: Annotated[Mask, Field(description="The first mask.")],
    b: Annotated[Mask, Field(description="The second, of the same size.")],
    operation: Annotated[
        Literal["union", "intersection", "difference"],
        Field(description="What is repainted: either, both, or the first alone."),
    ] = "union",
) -> Mask:
    """Combine two masks."""
    if a.tensor.shape[2:] != b.tensor.shape[2:]:
        raise ValueError("the masks differ in size")
    if operation == "union":
        return Mask(torch.maximum(a.tensor, b.tensor))
    other = b.tensor if operation == "intersection" else 1 - b.tensor
    return Mask(torch.minimum(a.tensor, other))


@node(category="mask")
def MaskToImage(mask: Mask) -> Image:
    """Show a mask as a picture: white repaints, black keeps."""
    return Image(mask.tensor.expand(-1, 3, -1, -1).contiguous())
