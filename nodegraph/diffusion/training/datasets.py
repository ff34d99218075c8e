"""Data sets to learn from: made of arrays and bytes; files are the nodes' business."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.pictures.images import on_white, resize
from nodegraph.diffusion.sampling import analytic
from nodegraph.diffusion.training.values import Dataset

MAX_BYTES = 2**30
_IDX_UBYTE = 0x08
# How a digit is drawn: from grey in [0, 1], 1 the stroke, to one channel in [0, 1].
DIGIT_STYLES: dict[str, Callable[[Tensor], Tensor]] = {
    "chalk": lambda grey: grey,
    "ink": lambda grey: 1 - grey,
    "pencil": lambda grey: 0.85 - 0.45 * grey,
}


def digits(styles: Sequence[str] = ("chalk",)) -> Dataset:
    """scikit-learn's 1,797 handwritten digits at 8 x 8, each once in every style.

    Styles: `chalk` is white on black, `ink` black on white, `pencil` grey on light grey. Raises ValueError for
    another, and where scikit-learn is not installed.
    """
    chosen = {name: choose("style of digits", name, DIGIT_STYLES) for name in styles}
    if not chosen:
        raise ValueError(f"name at least one style: {', '.join(DIGIT_STYLES)}")
    found = analytic.digits()
    assert found.labels is not None
    grey = (found.items + 1) / 2
    drawn = torch.cat([draw(grey) for draw in chosen.values()])
    return labelled(to_uint8(drawn), found.labels.repeat(len(chosen)), analytic.DIGIT_NAMES, tuple(chosen))


def labelled(pictures: Tensor, labels: Tensor, classes: Sequence[str], styles: Sequence[str] = ()) -> Dataset:
    """Pictures with classes; the caption is the class's name. Styles, where given, are equal shares in order."""
    count = len(pictures)
    style = torch.arange(count) // (count // len(styles)) if styles else torch.full((count,), -1)
    captions = tuple(classes[label] for label in labels.tolist())
    return Dataset(pictures, captions, labels.long(), tuple(classes), style.long(), tuple(styles))


def captioned(pictures: Tensor, captions: Sequence[str], groups: Sequence[str], groups_are: str) -> Dataset:
    """Pictures with captions, and a group each, "" where there is none, that are `classes` or `styles`."""
    names = sorted({group for group in groups if group})
    numbers = torch.tensor([names.index(group) if group else -1 for group in groups])
    none = torch.full((len(pictures),), -1)
    if groups_are == "styles":
        return Dataset(pictures, tuple(captions), none, (), numbers, tuple(names))
    return Dataset(pictures, tuple(captions), numbers, tuple(names), none, ())


def join(datasets: Sequence[Dataset], styles: Sequence[str] = ()) -> Dataset:
    """Several data sets of one size as one.

    Args:
        datasets: grey ones become coloured where another is coloured.
        styles: where given, one for each data set; their own styles are forgotten.

    Raises:
        ValueError: none is given, sizes differ, or there are not as many styles as data sets.
    """
    if not datasets:
        raise ValueError("link at least one data set")
    if len({one.size for one in datasets}) != 1:
        raise ValueError(f"the data sets differ in size: {', '.join(str(one.size) for one in datasets)} pixels")
    if styles and len(styles) != len(datasets):
        raise ValueError(f"{len(datasets)} data sets need as many styles; got {len(styles)}")
    channels = max(one.pictures.shape[1] for one in datasets)
    classes = tuple(dict.fromkeys(name for one in datasets for name in one.classes))
    names = tuple(dict.fromkeys(styles or [name for one in datasets for name in one.styles]))
    if styles:
        style = [torch.full((len(one.captions),), names.index(s)) for one, s in zip(datasets, styles, strict=True)]
    else:
        style = [_renumbered(one.style, one.styles, names) for one in datasets]
    return Dataset(
        torch.cat([one.pictures.expand(-1, channels, -1, -1) for one in datasets]),
        tuple(caption for one in datasets for caption in one.captions),
        torch.cat([_renumbered(one.labels, one.classes, classes) for one in datasets]),
        classes,
        torch.cat(style),
        names,
    )


def square(picture: Tensor, size: int) -> Tensor:
    """The middle square of a picture (1, 3 or 4, H, W) in [0, 1], at size x size, as uint8 (1, 3, size, size)."""
    rgb = on_white(picture)
    height, width = rgb.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return to_uint8(resize(rgb[..., top : top + side, left : left + side], (size, size), "bicubic"))


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """An array of bytes in the IDX format of the MNIST files, packed with gzip or not.

    Raises:
        ValueError: it is something else, cut off, or larger than a gigabyte.
    """
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, EOFError) as error:
            raise ValueError(f"the gzip file is damaged: {error}") from None
    if len(content) > MAX_BYTES:
        raise ValueError("the file is larger than a gigabyte")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _IDX_UBYTE or not 1 <= content[3] <= 4:
        raise ValueError("not an IDX file of bytes, as MNIST comes in: its first four bytes say something else")
    header = 4 + 4 * content[3]
    shape = [int.from_bytes(content[place : place + 4], "big") for place in range(4, header, 4)]
    if math.prod(shape) != len(content) - header or not all(shape):
        raise ValueError(f"the file says {' x '.join(map(str, shape))} bytes but holds {len(content) - header:,}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def to_uint8(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] as bytes."""
    return (pictures.clamp(0, 1) * 255).round().byte()


def _renumbered(numbers: Tensor, names: Sequence[str], among: Sequence[str]) -> Tensor:
    table = torch.tensor([*(among.index(name) for name in names), -1])
    return table[numbers]
