"""What travels on wires to and from trainings: data sets, sizes of networks, and what a training reported."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nodegraph.diffusion.values import need


@dataclass(frozen=True, eq=False)
class Dataset:
    """Square pictures to learn from, with words, classes and styles.

    Args:
        pictures: uint8 (N, 1 or 3, size, size).
        captions: of each picture; several lines are several ways to say it, none says nothing.
        labels: int64 (N,), numbers of classes, -1 where there is none.
        classes: their names.
        style: int64 (N,), numbers of styles, -1 where there is none.
        styles: their names.
    """

    pictures: Tensor
    captions: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]
    style: Tensor
    styles: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = self.pictures.shape
        square = len(shape) == 4 and shape[0] > 0 and shape[1] in (1, 3) and shape[2] == shape[3]
        need(square, "the pictures of a data set are (N, 1 or 3, size, size), at least one", self.pictures)
        need(self.pictures.dtype == torch.uint8, "the pictures of a data set are uint8", self.pictures)
        if len(self.captions) != shape[0]:
            raise ValueError(f"{shape[0]} pictures have {len(self.captions)} captions")
        for numbers, names in ((self.labels, self.classes), (self.style, self.styles)):
            fits = numbers.shape == (shape[0],) and numbers.dtype == torch.int64
            need(fits, f"{shape[0]} pictures need as many numbers, int64", numbers)
            if int(numbers.min()) < -1 or int(numbers.max()) >= len(names):
                raise ValueError(
                    f"numbers from {int(numbers.min())} to {int(numbers.max())} for {len(names)} names"
                )

    @property
    def size(self) -> int:
        """Width and height of a picture."""
        return self.pictures.shape[-1]


@dataclass(frozen=True)
class NetworkSize:
    """How large a network to train is; see `trained.NetworkShape`."""

    width: int = 96
    depth: int = 4
    patch: int = 2
    text_width: int = 64
    text_depth: int = 1


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """What a training reported: `rows` (R, columns) float64, the first column the step, then losses.

    `total` is the sum of the parts; a column `held out` is there where pictures were held out.
    """

    columns: tuple[str, ...]
    rows: Tensor
