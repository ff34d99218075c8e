"""Pictures that a ControlNet follows, made from ordinary ones."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nodegraph import node
from nodegraph.diffusion.pictures.edges import edges
from nodegraph.diffusion.values import Image

Slope = Annotated[float, Field(ge=0, le=4)]


@node(category="control")
def FindEdges(
    image: Image,
    low: Annotated[
        Slope, Field(description="How steep brightness must be all along a line; less finds more.")
    ] = 0.4,
    high: Annotated[
        Slope, Field(description="How steep it must be somewhere on a line, or the line is left out.")
    ] = 0.8,
    blur: Annotated[
        float, Field(ge=0.5, le=50, description="Standard deviation in pixels; what is smaller draws no lines.")
    ] = 1.0,
) -> Image:
    """Draw the edges of a picture as white lines on black (Canny), for a ControlNet of edges.

    A step from black to white has a steepness of 2.6 under any blur.
    """
    if low > high:
        raise ValueError(f"low ({low}) must not be above high ({high})")
    return Image(edges(image.tensor, low, high, blur).repeat(1, 3, 1, 1))
