"""From a data set to a trained model: latents, words, and the losses that a `Trainer` minimises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.networks.style import StyleReader
from nodegraph.diffusion.networks.text import PAD, Classes, Vocabulary
from nodegraph.diffusion.training.objectives import Objective, Parts
from nodegraph.diffusion.training.steps import autoencoder_parts
from nodegraph.diffusion.training.trainer import Losses
from nodegraph.diffusion.training.values import Dataset

CHUNK = 64
Condition = Literal["text", "class", "nothing"]


def pictures(dataset: Dataset, indices: Tensor | slice, channels: int | None = None) -> Tensor:
    """Pictures of a data set as float32 (N, channels, size, size) in [0, 1]."""
    chosen = dataset.pictures[indices].float() / 255
    return chosen if channels is None else chosen.expand(-1, channels, -1, -1)


@torch.no_grad()
def latents(dataset: Dataset, vae: Autoencoder | None, device: str) -> Tensor:
    """Every picture in the space where it is learnt, on the CPU: pixels in [-1, 1], or a VAE's latents."""
    if vae is None:
        return pictures(dataset, slice(None)) * 2 - 1
    if dataset.size % vae.downscale:
        raise ValueError(f"pictures of {dataset.size} pixels do not fit a VAE that shrinks by {vae.downscale}")
    parts = torch.split(torch.arange(len(dataset.captions)), CHUNK)
    return torch.cat([vae.encode(pictures(dataset, part, 3).to(device)).cpu() for part in parts])


@dataclass(frozen=True, eq=False)
class Captions:
    """Token numbers of every way to say every picture.

    `table` (M, T) holds the ways; picture i has `count[i]` of them from `first[i]`. Row 0 says nothing.
    """

    vocabulary: Vocabulary | Classes
    table: Tensor
    first: Tensor
    count: Tensor

    @classmethod
    def of(cls, dataset: Dataset, condition: Condition) -> Captions:
        """The captions of a data set, its classes' names, or nothing.

        Raises:
            ValueError: classes are asked for and there are none, or captions and all are empty.
        """
        if condition == "class":
            if not dataset.classes:
                raise ValueError("this data set has no classes; set condition to `text` or `nothing`")
            labels = dataset.labels
            table = torch.arange(len(dataset.classes) + 1)[:, None]
            return cls(Classes(dataset.classes), table, labels + 1, (labels >= 0).long())
        ways = [[] if condition == "nothing" else _ways(caption) for caption in dataset.captions]
        vocabulary = Vocabulary.of(way for some in ways for way in some)
        if condition == "text" and len(vocabulary) == 1:
            raise ValueError("this data set has no captions; set condition to `class` or `nothing`")
        numbers = {way: index for index, way in enumerate(dict.fromkeys(w for some in ways for w in some), 1)}
        table = vocabulary.batch(["", *numbers])
        table = table[:, : max(1, int((table != PAD).sum(1).max()))]
        # Ways of one picture stand in a row of their own, so that one draw finds one of them.
        rows = [numbers[way] for some in ways for way in some]
        count = torch.tensor([len(some) for some in ways])
        return cls(vocabulary, table[[0, *rows]], count.cumsum(0) - count + 1, count)

    def draw(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """One way to say each picture: (N, T)."""
        chance = torch.rand(len(indices), generator=generator)
        count = self.count[indices]
        row = self.first[indices] + (chance * count).long()
        return self.table[torch.where(count > 0, row, 0)]


def diffusion_losses(
    clean: Tensor, dataset: Dataset, captions: Captions, objective: Objective, dropout: float
) -> Losses:
    """The losses of a `Conditional` network.

    Args:
        clean: latents (N, ...) of the data set, on the CPU.
        dropout: the chance that a picture's words and style are both left out, for guidance; the style alone is
            left out as often.
    """
    styles = len(dataset.styles)
    if objective.style and styles < 2:
        raise ValueError(f"a style loss needs two styles or more; this data set has {styles}")
    reader = StyleReader(clean, dataset.style, styles) if objective.style else None

    def losses(network: nn.Module, indices: Tensor, generator: torch.Generator) -> Parts:
        device = next(network.parameters()).device
        chance = torch.rand(len(indices), generator=generator)
        ids = captions.draw(indices, generator)
        ids = torch.where((chance < dropout)[:, None], PAD, ids)
        style = torch.where(chance < 2 * dropout, -1, dataset.style[indices])
        code = functional.one_hot(style + 1, styles + 1).float()
        ids, code, asked = ids.to(device), code.to(device), style.to(device)
        return objective.loss(
            lambda noisy, time: network(noisy, time, ids, code),
            clean[indices].to(device),
            generator,
            None if reader is None else lambda estimate: reader.error(estimate, asked),
        )

    return losses


def autoencoder_losses(dataset: Dataset, divergence: float) -> Losses:
    """The losses of an `Autoencoder` on the pictures of a data set."""

    def losses(network: nn.Module, indices: Tensor, generator: torch.Generator) -> Parts:
        assert isinstance(network, Autoencoder)
        device = next(network.parameters()).device
        return autoencoder_parts(network, pictures(dataset, indices, 3).to(device), generator, divergence)

    return losses


@torch.no_grad()
def calibrate(vae: Autoencoder, dataset: Dataset, device: str, limit: int = 4000) -> None:
    """Set the shift and scale of a trained autoencoder's latents by its data."""
    parts = torch.split(torch.arange(min(limit, len(dataset.captions))), CHUNK)
    vae.calibrate(torch.cat([vae.posterior(pictures(dataset, part, 3).to(device))[0] for part in parts]))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Networks made inside have weights that follow from a seed; random numbers outside are not disturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _ways(caption: str) -> Sequence[str]:
    return [line.strip() for line in caption.splitlines() if line.strip()]
