"""Laying pictures out with labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor

GAP = 8


def labelled_grid(pictures: Tensor, columns: int, labels: Sequence[str], scale: int = 1) -> Tensor:
    """A white sheet with pictures (N, 3, H, W) in rows, and a label under each that has one.

    Returns (1, 3, height, width) in [0, 1]. `scale` enlarges each picture pixel by pixel.
    """
    count, _, height, width = pictures.shape
    height, width = height * scale, width * scale
    columns = min(columns, count)
    rows = -(-count // columns)
    size = max(11, min(18, width // 9))
    font = ImageFont.load_default(size=size)
    line = size + 8 if any(labels) else 0
    sheet = Pillow.new("RGB", (columns * (width + GAP) + GAP, rows * (height + line + GAP) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    large = pictures.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    for index, picture in enumerate(large):
        row, column = divmod(index, columns)
        x, y = GAP + column * (width + GAP), GAP + row * (height + line + GAP)
        pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        sheet.paste(Pillow.fromarray(pixels), (x, y))
        if index < len(labels) and labels[index]:
            draw.text((x + width / 2, y + height + 3), labels[index], fill="black", font=font, anchor="ma")
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255).permute(2, 0, 1)[None].contiguous()
