"""Guidance: denoisers made from the predictions of several conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nodegraph.diffusion.sampling.stepping import Denoise
from nodegraph.diffusion.values import Condition, Conditioning

# The denoised estimates of x at sigma under several conditions, in order; evaluated together where that helps.
Predict = Callable[[Tensor, float, Sequence[Condition]], Sequence[Tensor]]
Progress = Callable[[float], float]  # from a sigma to the share of the run that is done
NOTHING = (
    "nothing guides a part of the picture or of the steps: no condition's region or share of the schedule reaches "
    "it. Link a negative conditioning (its text may be empty), or combine one that acts there"
)


def guided(
    predict: Predict,
    positive: Conditioning,
    negative: Conditioning | None,
    guidance_scale: float | Callable[[float], float],
    sigmas: Sequence[float],
    *,
    rescale: float = 0.0,
    window: tuple[float, float] = (0.0, 1.0),
) -> Denoise:
    """Classifier-free guidance (Ho and Salimans 2022): negative + scale * (positive - negative).

    Where one of the two does not act (outside its region or its share of the schedule) the other rules, so that
    there is no guidance there; where neither acts, ValueError.

    Args:
        predict: the conditional denoiser.
        positive: what the picture should show.
        negative: what it should not; with a scale of 1 it is evaluated only where the positive does not act.
        guidance_scale: 1 is off, 0 follows the negative alone; of each sigma, where it is a function.
        sigmas: of the run; conditions that act for a share of it are switched by them.
        rescale: how far, in [0, 1], the guided estimate's spread is brought back to the positive's
            (Lin et al. 2023, section 3.4).
        window: shares of the run between which the scale holds; elsewhere it is 1 (Kynkaanniemi et al. 2024).
    """
    progress, weighing = progress_of(sigmas), Weighing()
    scale_at = guidance_scale if callable(guidance_scale) else lambda _: guidance_scale

    def denoise(x: Tensor, sigma: float) -> Tensor:
        share = progress(sigma)
        scale = scale_at(sigma) if acts(*window, share) else 1.0
        wanted, unwanted = _active(positive, share), _active(negative, share)
        if scale == 1 and weighing.fills(wanted):
            unwanted = []
        elif scale == 0 and weighing.fills(unwanted):
            wanted = []
        if not wanted and not unwanted:
            raise ValueError(NOTHING)
        estimates = predict(x, sigma, [*wanted, *unwanted])
        for_, against = _Mean(x, wanted, estimates[: len(wanted)]), _Mean(x, unwanted, estimates[len(wanted) :])
        toward = for_.completed(against, weighing)
        if scale == 1 or not unwanted:
            return toward
        away = against.completed(for_, weighing)
        if scale == 0:
            return away
        return rescaled(away + scale * (toward - away), toward, rescale)

    return denoise


def mixed(x: Tensor, conditions: Sequence[Condition], estimates: Sequence[Tensor], weighing: Weighing) -> Tensor:
    """Average estimates by strength and region. Raises ValueError where no region reaches."""
    return _Mean(x, conditions, estimates).completed(_Mean(x, (), ()), weighing)


class Weighing:
    """Where the weights of conditions suffice, found out once a run: asking a device holds the host up."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[Condition, ...], ...], bool] = {}

    def fills(self, conditions: Sequence[Condition]) -> bool:
        """Whether their weights are nowhere below 1 together."""
        key = (tuple(conditions),)
        if key not in self._known:
            weight = _weight(conditions)
            self._known[key] = bool((weight >= 1).all()) if isinstance(weight, Tensor) else weight >= 1
        return self._known[key]

    def reaches(self, conditions: Sequence[Condition], others: Sequence[Condition]) -> bool:
        """Whether one or the other acts everywhere."""
        key = tuple(conditions), tuple(others)
        if key not in self._known:
            own, rest = (torch.as_tensor(_weight(one) > 0) for one in key)
            self._known[key] = bool((own | rest).all())
        return self._known[key]


def rescaled(estimate: Tensor, reference: Tensor, amount: float) -> Tensor:
    """Bring each item's standard deviation towards the reference's; 0 changes nothing, 1 makes them equal."""
    if not amount:
        return estimate
    axes = tuple(range(1, estimate.ndim))
    factor = reference.std(axes, keepdim=True) / estimate.std(axes, keepdim=True)
    return estimate * (amount * factor + (1 - amount))


def acts(start: float, end: float, share: float) -> bool:
    """Whether something that acts from `start` to `end` of a run acts when a share of it is done."""
    return start <= share < end or (share >= 1 and end >= 1)


def progress_of(sigmas: Sequence[float]) -> Progress:
    """From a sigma to the share of the run that is done, linear in steps between the given sigmas."""
    steps = len(sigmas) - 1

    def progress(sigma: float) -> float:
        for index in range(steps):
            high, low = sigmas[index], sigmas[index + 1]
            if sigma >= high:
                return index / steps
            if sigma > low:
                inside = math.log(high / sigma) / math.log(high / low) if low > 0 else (high - sigma) / high
                return (index + inside) / steps
        return 1.0

    return progress


class _Mean:
    """The average of estimates by weight, and where there is one."""

    def __init__(self, x: Tensor, conditions: Sequence[Condition], estimates: Sequence[Tensor]) -> None:
        weights = [_strength(condition, x) for condition in conditions]
        self.weight = _weight(conditions, x)
        self._conditions = conditions
        if len(estimates) == 1:
            self.value = estimates[0]  # bit for bit: dividing by its own weight would round
        else:
            total = self.weight
            safe = torch.where(total > 0, total, 1.0) if isinstance(total, Tensor) else total or 1.0
            blend = sum((w * e for w, e in zip(weights, estimates, strict=True)), x.new_zeros(()))
            self.value = blend / safe

    def completed(self, other: _Mean, weighing: Weighing) -> Tensor:
        """This average, and the other one's where this one's weights leave something below 1."""
        if weighing.fills(self._conditions):
            return self.value
        if not weighing.reaches(self._conditions, other._conditions):
            raise ValueError(NOTHING)
        own, rest = (
            one if isinstance(one, Tensor) else self.value.new_full((), one) for one in (self.weight, other.weight)
        )
        share = torch.where(rest > 0, own.clamp(max=1), (own > 0).to(own.dtype)).to(self.value)
        return share * self.value + (1 - share) * other.value


def _strength(condition: Condition, like: Tensor | None) -> Tensor | float:
    region = condition.region
    if region is None:
        return condition.strength
    return condition.strength * (region if like is None else region.to(like))


def _weight(conditions: Sequence[Condition], like: Tensor | None = None) -> Tensor | float:
    """How strongly conditions act together: a number, or one for each place where they have regions.

    `like` has the dtype and the device; None takes the regions as they are.
    """
    total: Tensor | float = 0.0
    for condition in conditions:
        total = total + _strength(condition, like)
    return total


def _active(conditioning: Conditioning | None, share: float) -> list[Condition]:
    conditions = conditioning.conditions if conditioning is not None else ()
    return [condition for condition in conditions if acts(condition.start, condition.end, share)]
