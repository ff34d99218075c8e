"""Laying pictures out with labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor

GAP = 8
LEAST_CELL, LARGEST_SHEET = 128, 8192  # pixels


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


def contact_sheet(cells: Sequence[Tensor], across: Sequence[str], down: Sequence[str], columns: int) -> Tensor:
    """A white sheet of cells in rows, with a heading over each column and one before each row.

    A cell is a batch (N, 3, H, W) whose pictures lie side by side; cells may differ in size, and each lies in the
    middle of its place. Small pictures are enlarged pixel by pixel to about 128 pixels, and a sheet that would be
    more than 8,192 pixels wide or high is made of smaller ones. Returns (1, 3, height, width) in [0, 1].
    """
    strips = [torch.cat(list(cell.clamp(0, 1)), dim=2) for cell in cells]
    rows = -(-len(strips) // columns)
    width, height = max(strip.shape[2] for strip in strips), max(strip.shape[1] for strip in strips)
    times = min(max(1, LEAST_CELL // width), LARGEST_SHEET / (columns * width), LARGEST_SHEET / (rows * height))
    shown = [_resized(strip, times) for strip in strips]
    width, height = max(one.width for one in shown), max(one.height for one in shown)
    size = max(11, min(18, width // 9))
    font = ImageFont.load_default(size=size)
    left = GAP + max((int(font.getlength(text)) + GAP for text in down if text), default=0)
    top = GAP + (size + GAP if any(across) else 0)
    sheet = Pillow.new("RGB", (left + columns * (width + GAP), top + rows * (height + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(shown):
        row, column = divmod(index, columns)
        x, y = left + column * (width + GAP), top + row * (height + GAP)
        sheet.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
        if row == 0 and column < len(across):
            draw.text(
                (x + width / 2, GAP), _cut(across[column], font, width + GAP), fill="black", font=font, anchor="ma"
            )
        if column == 0 and row < len(down):
            draw.text((GAP, y + height / 2), down[row], fill="black", font=font, anchor="lm")
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255).permute(2, 0, 1)[None].contiguous()


def _resized(picture: Tensor, times: float) -> Pillow.Image:
    pixels = Pillow.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())
    size = max(1, round(pixels.width * times)), max(1, round(pixels.height * times))
    return pixels.resize(size, Pillow.Resampling.NEAREST if times >= 1 else Pillow.Resampling.BOX)


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """The text, or as much of it as there is room for."""
    while len(text) > 1 and font.getlength(text) > room:
        text = f"{text[:-2]}…"
    return text
