"""The analytic family: checkpoints that are formulas, named `analytic://KIND?option=value`.

`gaussian` (mean, variance), `gmm` (spread, variance), `field` (slope) and `dataset` (the handwritten digits;
the text "3" or "three" asks for threes). All take `size` and, where it is free, `channels`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion import analytic
from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.handles import Handles
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import (
    VAE,
    Checkpoint,
    Condition,
    Conditioning,
    Model,
    Parametrization,
    TextEncoder,
)

SCHEME = "analytic"
PARAMETRIZATION = Parametrization("x0", "continuous", sigma_min=0.02, sigma_max=20.0)
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Each kind's options with their defaults.
_OPTIONS: dict[str, dict[str, float]] = {
    "gaussian": {"mean": 0.0, "variance": 0.25, "label_shift": 0.0, "size": 32, "channels": 3},
    "gmm": {"spread": 0.6, "variance": 0.02, "size": 32, "channels": 3},
    "field": {"slope": 3.0, "size": 64, "channels": 3},
    "dataset": {"size": 8, "channels": 1},
}


@dataclass(frozen=True)
class _Spec:
    kind: str
    options: dict[str, float]

    @property
    def size(self) -> int:
        return int(self.options["size"])

    @property
    def channels(self) -> int:
        return int(self.options["channels"])


def describe(checkpoint: Checkpoint, path: Path | None) -> Handles:  # noqa: ARG001
    """The handles of an analytic model. Raises ValueError for an unknown kind or option."""
    spec = _parse(checkpoint.name)
    return Handles(
        Model(checkpoint, PARAMETRIZATION),
        TextEncoder(checkpoint),
        VAE(checkpoint, spec.channels, 1, spec.size),
    )


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The formula, with a text encoder that reads a label and a VAE that only shifts and scales."""
    spec = _parse(checkpoint.name)
    return Loaded(_Denoiser(_distribution(spec)), _Labels(), _Plain(spec.channels))


@dataclass(frozen=True, eq=False)
class _Denoiser:
    exact: analytic.Exact

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        return [self.exact.denoise(x, sigma, condition.label) for condition in conditions]


class _Labels:
    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        if styles:
            raise ValueError("an analytic model knows no styles; remove the style")
        words = re.findall(r"[a-z]+|\d", text.lower())
        labels = [int(word) if word.isdigit() else WORDS.index(word) for word in words if self._known(word)]
        return Conditioning((Condition(label=labels[0] if labels else None),))

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in re.findall(r"[a-z]+|\d", text.lower()) if not self._known(word)]

    @staticmethod
    def _known(word: str) -> bool:
        return word.isdigit() or word in WORDS


@dataclass(frozen=True)
class _Plain:
    channels: int

    def encode(self, image: Tensor) -> Tensor:
        latent = image * 2 - 1
        return latent if self.channels == 3 else latent.mean(1, keepdim=True).expand(-1, self.channels, -1, -1)

    def decode(self, latent: Tensor) -> Tensor:
        image = ((latent + 1) / 2).clamp(0, 1)
        return image if self.channels == 3 else image[:, :1].expand(-1, 3, -1, -1)


def _parse(name: str) -> _Spec:
    parts = urlsplit(name)
    known = choose("analytic model", parts.netloc, _OPTIONS)
    options = dict(known)
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        choose(f"option of analytic://{parts.netloc}", key, known)
        try:
            options[key] = float(text)
        except ValueError:
            raise ValueError(f"{name}: {key} must be a number; got {text!r}") from None
    if not (1 <= options["size"] <= 1024 and options["channels"] in (1, 3, 4)):
        raise ValueError(f"{name}: size is from 1 to 1024 and channels is 1, 3 or 4")
    if options.get("variance", 1) <= 0:
        raise ValueError(f"{name}: variance must be above 0")
    return _Spec(parts.netloc, options)


def _distribution(spec: _Spec) -> analytic.Exact:
    options = spec.options
    match spec.kind:
        case "gaussian":
            return analytic.Gaussian(options["mean"], options["variance"], options["label_shift"])
        case "field":
            return analytic.Field(options["slope"])
        case "dataset":
            found = analytic.digits()
            side = (spec.size, spec.size)
            items = functional.interpolate(found.items, side, mode="nearest") if spec.size != 8 else found.items
            return analytic.Dataset(items.expand(-1, spec.channels, -1, -1), found.labels)
    ends = torch.full((2, spec.channels * spec.size**2), options["spread"])
    ends[0] *= -1
    return analytic.Mixture(torch.tensor([0.5, 0.5]), ends, torch.full((2,), options["variance"]))
