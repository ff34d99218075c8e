"""Live models: loaded networks behind three small interfaces, whatever family they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from nodegraph.diffusion.values import Checkpoint, Condition, Conditioning, Parametrization, Wrap


class LiveDenoiser(Protocol):
    """Denoised estimates under conditions."""

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        """D(x; sigma) under each condition, in order."""
        ...


@runtime_checkable
class Perturbable(Protocol):
    """A denoiser whose self-attention can be replaced by the identity."""

    @property
    def attention_blocks(self) -> int:
        """How many blocks have self-attention."""
        ...

    @property
    def usual_blocks(self) -> tuple[int, ...]:
        """Those that are perturbed where nobody says which."""
        ...

    def predict_perturbed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition], blocks: Sequence[int]
    ) -> list[Tensor]:
        """D(x; sigma) under each condition, with each token of these blocks seeing itself alone."""
        ...


@runtime_checkable
class LearnsVariance(Protocol):
    """A denoiser whose network may have been trained to say how uncertain a step of DDPM is."""

    @property
    def learned_variance(self) -> bool:
        """Whether this one was."""
        ...

    def predict_placed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """D(x; sigma) under each condition, and where the variance lies, see `stepping.KnowsVariance`."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """A denoiser that knows how likely a class is."""

    def log_probability(self, x: Tensor, sigma: float, label: int) -> Tensor:
        """log p(label | x) at a sigma: (N,), differentiable in x."""
        ...


@runtime_checkable
class TakesChannels(Protocol):
    """A denoiser that reads `Condition.concat`."""

    @property
    def extra_channels(self) -> int:
        """How many it takes beside the latent's own; 0 where this checkpoint takes none."""
        ...


@runtime_checkable
class Rescales(Protocol):
    """A denoiser that wants another guidance_scale at some sigmas."""

    def scaled(self, guidance_scale: float, sigma: float) -> float:
        """The guidance_scale that holds at a sigma, where this one was asked for."""
        ...


@runtime_checkable
class KnowsPosterior(Protocol):
    """A denoiser that can be conditioned on a part of the sample."""

    def predict_posterior(
        self,
        x: Tensor,
        sigma: float,
        conditions: Sequence[Condition],
        known: Tensor,
        mask: Tensor,
        tolerance: float,
    ) -> list[Tensor]:
        """E[x0 | x, and known, seen where the mask is 0 with a deviation `tolerance`] under each condition."""
        ...


@runtime_checkable
class Reparametrizable(Protocol):
    """A denoiser that can be read under another parametrization than its checkpoint's."""

    def under(self, parametrization: Parametrization) -> LiveDenoiser:
        """The same network with its output and its timesteps understood differently."""
        ...


@runtime_checkable
class Adaptable(Protocol):
    """A network whose weights LoRAs can change."""

    def adapted(self, files: Sequence[tuple[Path, float]]) -> Any:
        """The same with LoRAs, each with its strength."""
        ...


@runtime_checkable
class Controllable(Protocol):
    """A denoiser that follows pictures through ControlNets."""

    def controlled(self, networks: Mapping[str, Any]) -> Any:
        """The same with ControlNets at hand, by the digest of their checkpoint."""
        ...


@runtime_checkable
class Wrappable(Protocol):
    """A denoiser that can paint pictures which continue at their opposite side."""

    def wrapping(self, wrap: Wrap) -> Any:
        """The same for pictures that do."""
        ...


@runtime_checkable
class Rescalable(Protocol):
    """A VAE whose network several families use, each with a shift and scale of its own."""

    def of_family(self, name: str) -> LiveVAE:
        """The same network for the latents of a family."""
        ...


@runtime_checkable
class EncodesFrames(Protocol):
    """A VAE that makes one latent of a video's frames."""

    def encode_frames(self, frames: Tensor) -> Tensor:
        """A latent (1, C, f, h, w) of the frames of a video (F, 3, H, W) in [0, 1]."""
        ...


@runtime_checkable
class TakesTokenizer(Protocol):
    """A text encoder whose tokenizer is a file of the user's."""

    def with_tokenizer(self, path: Path) -> LiveTextEncoder:
        """The same with the tokenizer in a file."""
        ...


@runtime_checkable
class ReadsStyle(Protocol):
    """A text encoder that can tell which of its styles pictures are drawn in."""

    def read(self, image: Tensor) -> dict[str, float]:
        """The share of each style in pictures (N, 3, H, W) in [0, 1], on average; they sum to 1."""
        ...


@runtime_checkable
class Teachable(Protocol):
    """A text encoder that can be given words of which only vectors are known."""

    def taught(self, words: Sequence[tuple[str, Path]]) -> Any:
        """The same with learned words, each from its file."""
        ...


def parametrized(denoiser: LiveDenoiser, parametrization: Parametrization) -> LiveDenoiser:
    """A denoiser read under a parametrization, where its family allows that; else as its checkpoint says."""
    return denoiser.under(parametrization) if isinstance(denoiser, Reparametrizable) else denoiser


Live = TypeVar("Live")


def adapted(live: Live, files: Sequence[tuple[Path, float]], checkpoint: Checkpoint) -> Live:
    """A live network with LoRAs, each with its strength. Raises ValueError where its family takes none."""
    if isinstance(live, Adaptable):
        return live.adapted(files)
    if files:
        raise ValueError(
            f"{checkpoint.name} is of the family {checkpoint.family}, which takes no LoRA; take it out"
        )
    return live


def controlled(live: Live, networks: Mapping[str, Any]) -> Live:
    """A denoiser with ControlNets at hand. Raises ValueError where its family takes none."""
    if isinstance(live, Controllable):
        return live.controlled(networks)
    if networks:
        raise ValueError("this model follows no ControlNet; take ApplyControlNet out, or use Stable Diffusion")
    return live


def wrapping(live: Live, wrap: Wrap | None) -> Live:
    """A denoiser whose pictures tile. Raises ValueError where its family cannot."""
    if wrap is None:
        return live
    if not isinstance(live, Wrappable):
        raise ValueError("the pictures of this model have edges; take Tileable out, or use a model with a network")
    return live.wrapping(wrap)


def taught(live: Live, words: Sequence[tuple[str, Path]], checkpoint: Checkpoint) -> Live:
    """A text encoder with learned words. Raises ValueError where its family takes none."""
    if isinstance(live, Teachable):
        return live.taught(words)
    if words:
        raise ValueError(
            f"{checkpoint.name} is of the family {checkpoint.family}, which learns no words; take it out"
        )
    return live


class LiveTextEncoder(Protocol):
    """Words to conditioning."""

    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        """What a text says, in a mixture of styles (name to weight); empty asks for no style."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that this encoder does not know."""
        ...


class LiveImageEncoder(Protocol):
    """Pictures to what is in them."""

    def read(self, image: Tensor) -> Tensor:
        """States (N, T, D) of pictures (N, 3, H, W) in [0, 1]."""
        ...


class LiveVAE(Protocol):
    """Images to latents and back."""

    def encode(self, image: Tensor) -> Tensor:
        """Latents of pictures (N, 3, H, W) in [0, 1]."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] of latents."""
        ...


@dataclass(frozen=True, eq=False)
class Loaded:
    """The live parts of a checkpoint.

    `networks` are those that hold weights, by the name of the part that they belong to. They are loaded on the
    host; the pool moves each to its device before the part is used.
    """

    denoiser: LiveDenoiser
    text_encoder: LiveTextEncoder
    vae: LiveVAE
    networks: Mapping[str, nn.Module] = field(default_factory=dict)
    eyes: LiveImageEncoder | None = None
