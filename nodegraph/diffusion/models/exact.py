"""The analytic family: checkpoints that are formulas, named `analytic://KIND?option=value`.

`gaussian` (mean, variance), `gmm` (spread, variance), `field` (slope) and `dataset` (the handwritten digits;
the text "3" or "three" asks for threes). All take `size` and, where it is free, `channels`; and `prediction` and
`law`: the formula then answers as the best network trained that way would.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.handles import Handles
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.sampling import analytic
from nodegraph.diffusion.sampling.analytic import DIGIT_NAMES
from nodegraph.diffusion.sampling.denoisers import denoiser, input_scale, predicted, time_to_sigma
from nodegraph.diffusion.sampling.schedules import sigma_table
from nodegraph.diffusion.values import (
    VAE,
    Checkpoint,
    Condition,
    Conditioning,
    Law,
    Model,
    Parametrization,
    Prediction,
    TextEncoder,
)

SCHEME = "analytic"
PARAMETRIZATION = Parametrization("x0", "continuous", sigma_min=0.02, sigma_max=20.0)
CHANNELS_TOLERANCE = 0.05  # how exactly the best network with channels for it sees the known part
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
    parametrization: Parametrization

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
        Model(checkpoint, spec.parametrization),
        TextEncoder(checkpoint),
        VAE(checkpoint, spec.channels, 1, spec.size),
    )


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The formula, with a text encoder that reads a label and a VAE that only shifts and scales."""
    spec = _parse(checkpoint.name)
    exact = _Denoiser(_distribution(spec), spec.parametrization, spec.channels)
    return Loaded(exact, _Labels(), PixelVAE(spec.channels))


@dataclass(frozen=True, eq=False)
class _Denoiser:
    exact: analytic.Exact
    parametrization: Parametrization
    channels: int

    @property
    def extra_channels(self) -> int:
        return 1 + self.channels

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        return [self._denoised(x, sigma, condition) for condition in conditions]

    def predict_posterior(
        self,
        x: Tensor,
        sigma: float,
        conditions: Sequence[Condition],
        known: Tensor,
        mask: Tensor,
        tolerance: float,
    ) -> list[Tensor]:
        precision = (1 - mask) / tolerance**2
        return [self._each(x, sigma, condition, known, precision) for condition in conditions]

    def log_probability(self, x: Tensor, sigma: float, label: int) -> Tensor:
        if not isinstance(self.exact, analytic.Mixture | analytic.Dataset):
            raise ValueError("this model has no classes; use analytic://gmm or analytic://dataset")
        return self.exact.log_probability(x, sigma, label)

    def under(self, parametrization: Parametrization) -> _Denoiser:
        return replace(self, parametrization=parametrization)

    def _denoised(self, x: Tensor, sigma: float, condition: Condition) -> Tensor:
        """The formula; where another parametrization is asked for, by way of what its network would predict."""
        known, precision = None, None
        if condition.concat is not None:
            # What the best network with these inputs computes: the posterior.
            known = condition.concat[:, 1:].to(x)
            precision = (1 - condition.concat[:, :1].to(x)) / CHANNELS_TOLERANCE**2
        p = self.parametrization
        if p == PARAMETRIZATION:
            return self._each(x, sigma, condition, known, precision)

        def network(scaled: Tensor, time: Tensor) -> Tensor:
            level = time_to_sigma(p, float(time[0]))
            noisy = scaled / input_scale(p, level)
            return predicted(p.prediction, self._each(noisy, level, condition, known, precision), noisy, level)

        return denoiser(network, p)(x, sigma)

    def _each(
        self, x: Tensor, sigma: float, condition: Condition, known: Tensor | None, precision: Tensor | None
    ) -> Tensor:
        """One label for the batch, or one for each item."""
        label = condition.label
        if isinstance(label, tuple):
            if len(label) != len(x):
                raise ValueError(f"{len(label)} labels for a batch of {len(x)}; give one for each picture")
            parts = [
                self._each(
                    x[i : i + 1],
                    sigma,
                    replace(condition, label=one),
                    None if known is None else known[i : i + 1] if len(known) > 1 else known,
                    None if precision is None else precision[i : i + 1] if len(precision) > 1 else precision,
                )
                for i, one in enumerate(label)
            ]
            return torch.cat(parts)
        if known is None or precision is None:
            return self.exact.denoise(x, sigma, label)
        return analytic.posterior(self.exact, x, sigma, label, known, precision)


class _Labels:
    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        if styles:
            raise ValueError("an analytic model knows no styles; remove the style")
        words = re.findall(r"[a-z]+|\d", text.lower())
        labels = [int(word) if word.isdigit() else DIGIT_NAMES.index(word) for word in words if self._known(word)]
        return Conditioning((Condition(label=labels[0] if labels else None),))

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in re.findall(r"[a-z]+|\d", text.lower()) if not self._known(word)]

    @staticmethod
    def _known(word: str) -> bool:
        return word.isdigit() or word in DIGIT_NAMES


@dataclass(frozen=True)
class PixelVAE:
    """A `LiveVAE` that only shifts and scales: one channel is grey, three are colours."""

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
    training: dict[str, Any] = {"prediction": PARAMETRIZATION.prediction, "law": PARAMETRIZATION.law}
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        choose(f"option of analytic://{parts.netloc}", key, {**known, **training})
        if key in training:
            training[key] = text
            continue
        try:
            options[key] = float(text)
        except ValueError:
            raise ValueError(f"{name}: {key} must be a number; got {text!r}") from None
    if not (1 <= options["size"] <= 1024 and options["channels"] in (1, 3, 4)):
        raise ValueError(f"{name}: size is from 1 to 1024 and channels is 1, 3 or 4")
    if options.get("variance", 1) <= 0:
        raise ValueError(f"{name}: variance must be above 0")
    return _Spec(parts.netloc, options, _parametrization(**training))


def _parametrization(prediction: Prediction, law: Law) -> Parametrization:
    if law == "continuous":
        return replace(PARAMETRIZATION, prediction=prediction)
    if law == "flow":
        return Parametrization(prediction, law, 0.005, 80.0)
    ends = sigma_table(Parametrization(prediction, law, 0.01, 1.0))
    return Parametrization(prediction, law, float(ends[0]), float(ends[-1]))


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
