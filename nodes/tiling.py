"""Pictures that tile: made, looked at and measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, NamedTuple

from pydantic import Field

from nodegraph import node
from nodegraph.diffusion.models.memory import afford
from nodegraph.diffusion.pictures import tiling
from nodegraph.diffusion.values import VAE, Image, Model, Wrap


class TileableParts(NamedTuple):
    """The two parts of a checkpoint that paint a picture."""

    model: Model
    vae: VAE


@node(category="model")
def Tileable(
    model: Model,
    vae: VAE,
    wrap: Annotated[
        Wrap, Field(description="Along which sides a picture goes on at the opposite one; a panorama: horizontal.")
    ] = "both",
) -> TileableParts:
    """Paint pictures that can be laid side by side without a seam: link both outputs in place of the inputs.

    The convolutions of a U-Net wrap around its edges. Transformers know where in the picture a place is; their
    pictures are moved around the edges at every step.
    """
    return TileableParts(replace(model, wrap=wrap), replace(vae, wrap=wrap))


@node(category="image/geometry")
def RepeatImage(
    image: Image,
    columns: Annotated[int, Field(ge=1, le=64, description="How often it stands in a row.")] = 2,
    rows: Annotated[int, Field(ge=1, le=64, description="How many rows there are.")] = 2,
) -> Image:
    """Lay a picture side by side with itself, as tiles on a wall."""
    height, width = image.tensor.shape[2:]
    afford("a picture", *image.tensor.shape[:2], rows * height, columns * width)
    return Image(image.tensor.repeat(1, 1, rows, columns))


class Seams(NamedTuple):
    """How a picture's opposite sides meet."""

    horizontal: Annotated[float, Field(description="Of the left side with the right one; about 1 where it tiles.")]
    vertical: Annotated[float, Field(description="Of the top with the bottom; about 1 where it tiles.")]


@node(category="image/compare")
def MeasureSeam(image: Image) -> Seams:
    """Measure the jump where a picture meets itself, as a multiple of the usual one between its pixels."""
    return Seams(*tiling.seam(image.tensor))
