"""Live parts of models that are a `DiT` under a `TextNetwork`: the embedded one, and those trained in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nodegraph.diffusion.checkpoints.clip import weighted
from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.networks.dit import DiT
from nodegraph.diffusion.networks.style import StyleNetwork, look
from nodegraph.diffusion.networks.text import Classes, TextNetwork, Vocabulary
from nodegraph.diffusion.pictures.images import resize
from nodegraph.diffusion.sampling.denoisers import denoiser
from nodegraph.diffusion.sampling.rolling import back, offset, rolled
from nodegraph.diffusion.sampling.schedules import TIMESTEPS
from nodegraph.diffusion.values import Condition, Conditioning, Parametrization, Wrap


class Conditional(nn.Module):
    """A text encoder and a denoiser that are trained together."""

    def __init__(self, text: TextNetwork, denoiser: DiT) -> None:
        super().__init__()
        self.text = text
        self.denoiser = denoiser

    def forward(self, x: Tensor, time: Tensor, ids: Tensor, style: Tensor) -> Tensor:
        """Predict for noisy latents x (N, ...), times (N,) in [0, 1], token numbers and style codes."""
        return self.denoiser(x, time, *self.text(ids, style))

    def recall(self, ids: Tensor, style: Tensor) -> Tensor:
        """The latents that texts bring to mind, of a denoiser with a memory."""
        assert self.denoiser.memory is not None
        return self.denoiser.memory(self.text(ids, style)[2])


@dataclass(frozen=True, eq=False)
class DiTDenoiser:
    """A `LiveDenoiser` over latents (N, channels, side, side), each side `downscale` pixels a latent pixel.

    With `wrap` its pictures tile.
    """

    network: DiT
    parametrization: Parametrization
    channels: int
    side: int
    downscale: int
    wrap: Wrap | None = None

    def wrapping(self, wrap: Wrap) -> DiTDenoiser:
        """The same network for pictures that continue at their opposite side."""
        return replace(self, wrap=wrap)

    def under(self, parametrization: Parametrization) -> DiTDenoiser:
        """The same network, its output understood differently."""
        return replace(self, parametrization=parametrization)

    @property
    def attention_blocks(self) -> int:
        """How many blocks have self-attention."""
        return len(self.network.blocks)

    @property
    def usual_blocks(self) -> tuple[int, ...]:
        """The one a quarter of the way in: of the embedded model's eight, number 2."""
        return (len(self.network.blocks) // 4,)

    @property
    def learned_variance(self) -> bool:
        """Whether the network has a second half of its output for the variance of a step."""
        return self.network.outputs == 2 * self.channels

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        """D(x; sigma) under each condition, in order."""
        return self._together(x, sigma, conditions, ())[0]

    def predict_perturbed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition], blocks: Sequence[int]
    ) -> list[Tensor]:
        """D(x; sigma) where each token of these blocks sees itself alone."""
        return self._together(x, sigma, conditions, blocks)[0]

    def predict_placed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """D(x; sigma), and where the variance of a step lies between its bounds, of a network that learned it."""
        return self._together(x, sigma, conditions, ())

    def _together(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition], blocks: Sequence[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """All conditions in one batch: their embeddings have one shape."""
        if tuple(x.shape[1:]) != (self.channels, self.side, self.side):
            pixels = self.side * self.downscale
            latent = " x ".join(map(str, x.shape[1:]))
            raise ValueError(
                f"this model paints {pixels} x {pixels} pixels, from latents {self.channels} x {self.side} x "
                f"{self.side}; got {latent}. Bring a picture to this size before VAEEncode (ResizeImage, "
                f"{pixels} x {pixels}, fit: cover); leave width and height of an EmptyLatent out"
            )
        count = len(conditions)
        text, mask, pooled = (
            torch.cat([part.expand(len(x), *part.shape[1:]).to(x.device) for part in parts])
            for parts in zip(*map(_parts, conditions), strict=True)
        )
        kind, unit = next(self.network.parameters()).dtype, unit_time(self.parametrization)
        placed: list[Tensor] = []

        def network(scaled: Tensor, time: Tensor) -> Tensor:
            output = self.network(scaled.to(kind), time * unit, text.to(kind), mask, pooled.to(kind), blocks)
            output = output.to(scaled.dtype)
            placed.extend(output[:, self.channels :].chunk(count))
            return output[:, : self.channels]

        by = offset(sigma, x, self.wrap)
        denoise = denoiser(network, self.parametrization)
        estimates = denoise(rolled(x, by).repeat(count, *[1] * (x.ndim - 1)), sigma).chunk(count)
        return back(list(estimates), by), back(placed, by)


@dataclass(frozen=True, eq=False)
class StyledEncoder:
    """A `LiveTextEncoder` of words, or of names of classes, and styles.

    `reader` tells the styles of pictures of `size` pixels, on the host; models trained in a graph have none.
    """

    network: TextNetwork
    vocabulary: Vocabulary | Classes
    styles: tuple[str, ...]
    device: str
    reader: StyleNetwork | None = None
    size: int = 0

    @torch.no_grad()  # not inference mode: what guides may take part in a gradient
    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        """What a text says, in a mixture of styles; `(words:1.3)` weighs words, see `checkpoints.clip.weighted`.

        A word's weight scales its embedding, and so what attention takes from it.
        """
        index = {name: number for number, name in enumerate(self.styles, 1)}
        code = torch.zeros(1, len(self.styles) + 1, device=self.device)
        for name, weight in styles.items():
            code[0, choose("style", name, index)] = weight
        total = float(code.sum())
        if total <= 0:
            code[0, 0] = 1
        else:
            code /= total
        stretches = weighted(text)
        words = " ".join(part for part, _ in stretches)
        embedding, mask, pooled = self.network(self.vocabulary.batch([words]).to(self.device), code)
        weights = [1.0, *(weight for part, weight in stretches for _ in self.vocabulary.encode(part)[0])]
        if set(weights) != {1.0}:
            scale = embedding.new_ones(embedding.shape[1])
            scale[: len(weights)] = torch.tensor(weights[: len(scale)])
            shown = mask[..., None].to(embedding)
            embedding = embedding * scale[:, None]
            pooled = (embedding * shown).sum(1) / shown.sum(1)
        return Conditioning((Condition(embedding.float().cpu(), mask.cpu(), pooled.float().cpu()),))

    @torch.no_grad()
    def read(self, image: Tensor) -> dict[str, float]:
        """The share of each style in pictures (N, 3, H, W) in [0, 1], on average; ValueError without a reader."""
        if self.reader is None:
            raise ValueError("this model has no reader of styles; the embedded one has, LoadModel `emoji`")
        small = resize(image.float().cpu(), (self.size, self.size), "area")
        shares = self.reader(look(small.clamp(0, 1))).softmax(1).mean(0).tolist()
        return dict(zip(self.styles, shares, strict=True))

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that were not in the training's."""
        return self.vocabulary.encode(" ".join(part for part, _ in weighted(text)))[1]


def unit_time(parametrization: Parametrization) -> float:
    """What brings a law's own time into [0, 1], which the network takes."""
    return 1.0 if parametrization.law == "flow" else 1 / TIMESTEPS


def _parts(condition: Condition) -> tuple[Tensor, Tensor, Tensor]:
    if condition.embedding is None or condition.mask is None or condition.pooled is None:
        raise ValueError("the conditioning was not made by this model's text encoder; link its Encode to it")
    return condition.embedding, condition.mask, condition.pooled
