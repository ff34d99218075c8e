"""Convolutions that see the opposite side of a picture where they would see zeros beyond its edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from nodegraph.diffusion.values import Wrap


@contextmanager
def circular(networks: Sequence[nn.Module], wrap: Wrap | None) -> Iterator[None]:
    """Within it, every padded 2-D convolution of the networks wraps around; None changes nothing.

    A network of such convolutions and of attention without positions then does to a picture that is moved around
    the edge by its own downscale what it does to the picture, moved alike: no place is an edge.
    """
    with ExitStack() as undo:
        for network in networks if wrap else ():
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d) and isinstance(layer.padding, tuple) and any(layer.padding):
                    _wrap(layer, wrap != "vertical", wrap != "horizontal", undo)
        yield


def _wrap(layer: nn.Conv2d, across: bool, down: bool, undo: ExitStack) -> None:
    padding = layer.padding
    assert isinstance(padding, tuple)
    rows, columns = padding[0] if down else 0, padding[1] if across else 0

    def pad(_: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        return functional.pad(inputs[0], (columns, columns, rows, rows), mode="circular")

    undo.callback(setattr, layer, "padding", padding)
    layer.padding = (padding[0] - rows, padding[1] - columns)
    undo.callback(layer.register_forward_pre_hook(pad).remove)
