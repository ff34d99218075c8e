"""Two denoisers as one: another network where little noise is left, as in Wan 2.2 (Wan team, 2025)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from nodegraph.diffusion.live import LiveDenoiser, TakesChannels
from nodegraph.diffusion.values import Condition, Model


def apart(model: Model) -> tuple[Model, ...]:
    """The networks of a model as models of one each, that for much noise first."""
    if model.low is None:
        return (model,)
    second = replace(model, checkpoint=model.low.checkpoint, adapters=model.low.adapters, low=None)
    return replace(model, low=None), second


@dataclass(eq=False)
class Switched:
    """D(x; sigma) of the first of two networks where there is much noise, and of the second below a sigma.

    Args:
        opened: brings a network to where it is used: the first, or where it is told True the second.
        sigma: below which the second one takes over.
        low_guidance_scale: that holds there; None changes none.
    """

    opened: Callable[[bool], LiveDenoiser]
    sigma: float
    low_guidance_scale: float | None = None
    _open: tuple[bool, LiveDenoiser] | None = field(default=None, init=False)

    @property
    def extra_channels(self) -> int:
        """How many channels both take beside the latent's own."""
        now = self._network(False) if self._open is None else self._open[1]
        return now.extra_channels if isinstance(now, TakesChannels) else 0

    def scaled(self, guidance_scale: float, sigma: float) -> float:
        """The guidance_scale that holds at a sigma, where this one was asked for."""
        low = self.low_guidance_scale
        return low if low is not None and sigma < self.sigma else guidance_scale

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        """The denoised estimates of the network whose sigma it is."""
        return self._network(sigma < self.sigma).predict(x, sigma, conditions)

    def _network(self, second: bool) -> LiveDenoiser:
        if self._open is None or self._open[0] != second:
            self._open = None  # let go first: memory need not hold both
            self._open = second, self.opened(second)
        return self._open[1]
