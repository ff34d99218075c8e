"""The self-attention of a U-Net, turned off in places for as long as it takes to ask the network once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class SelfAttention:
    """The layers of a U-Net in which places of the picture look at each other, in the order that they run in."""

    layers: tuple[Any, ...]
    middle: tuple[int, ...]

    @classmethod
    def of(cls, network: Any) -> SelfAttention:
        """Those of diffusers' UNet2DConditionModel; `middle` are the numbers of those at its lowest resolution."""
        parts = [*network.down_blocks, network.mid_block, *network.up_blocks]
        inside = [_layers(part) for part in parts]
        first = sum(map(len, inside[: len(network.down_blocks)]))
        middle = range(first, first + len(inside[len(network.down_blocks)]))
        return cls(tuple(layer for part in inside for layer in part), tuple(middle))

    @contextmanager
    def identity(self, numbers: Sequence[int]) -> Iterator[None]:
        """While it lasts, in the layers of these numbers each place attends to itself alone."""
        chosen = [self.layers[number] for number in numbers]
        before = [layer.processor for layer in chosen]
        try:
            for layer in chosen:
                layer.set_processor(_Alone())
            yield
        finally:
            for layer, processor in zip(chosen, before, strict=True):
                layer.set_processor(processor)


class _Alone:
    """An attention map that is the identity: what a place is given is its own value (Ahn et al. 2024)."""

    def __call__(
        self,
        layer: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,  # noqa: ARG002
        attention_mask: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        project, dropout = layer.to_out
        shown: Tensor = dropout(project(layer.to_v(hidden_states)))
        return shown


def _layers(part: Any) -> list[Any]:
    transformers = getattr(part, "attentions", None) or ()
    return [block.attn1 for one in transformers for block in one.transformer_blocks]
