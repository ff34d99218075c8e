"""What is decoded to show a batch while it is made."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

PICTURES = 16  # as many as a thumbnail shows
PIXELS = 64 * 64  # latent pixels that are always worth decoding


def glance(latents: Tensor) -> Tensor:
    """Latents to decode for a preview of a batch (N, C, h, w), or of videos (N, C, F, h, w) by their first frames.

    Together they cost about as much to decode as one picture of `PIXELS`: larger ones are averaged down, each side
    to at least one pixel. At most `PICTURES` are kept.
    """
    shown = latents[:PICTURES]
    if shown.ndim == 5:
        shown = shown[:, :, :1]
    height, width = shown.shape[-2:]
    area = height * width
    shrink = math.ceil(math.sqrt(len(shown) * area / PIXELS))
    if shrink <= 1:
        return shown
    size = (max(1, height // shrink), max(1, width // shrink))
    small: Tensor = functional.adaptive_avg_pool2d(shown.flatten(1, -3), size)
    return small.reshape(*shown.shape[:-2], *size)
