"""Transformers whose places are made blind to each other in some blocks, for as long as it takes to ask once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.checkpoints.transformer import Transformer
from nodegraph.diffusion.values import Condition

Processor = Callable[..., Any]  # what diffusers' attention layers hand their work to
# From a layer's usual processor to the one that blinds places.
Blinding = Callable[[Any], Processor]
Layers = Callable[[Any], list[list[Any]]]  # a network's attention, a list for each block


@dataclass(frozen=True, eq=False)
class PerturbableTransformer(Transformer):
    """A transformer whose attention can be perturbed (Ahn et al. 2024).

    Where places and words look at each other in two streams, each place is left its view of itself and of the
    words, as in diffusers' pipeline for Stable Diffusion 3; in attention of places alone each gets its own value.
    """

    blinding: Blinding | None = None
    layers: Layers | None = None

    @cached_property
    def _blocks(self) -> list[list[Any]]:
        assert self.layers is not None  # each family says which
        return self.layers(self.network)

    @property
    def attention_blocks(self) -> int:
        """How many can be perturbed: 24 in Stable Diffusion 3 medium, 19 in Flux.1, 40 in Wan 2.1."""
        return len(self._blocks)

    @property
    def usual_blocks(self) -> tuple[int, ...]:
        """The one in the middle."""
        return (self.attention_blocks // 2,)

    def predict_perturbed(
        self, x: Tensor, sigma: float, conditions: Sequence[Condition], blocks: Sequence[int]
    ) -> list[Tensor]:
        """Denoised estimates where places see themselves and the words alone in these blocks."""
        with self._blind(blocks):
            return self.predict(x, sigma, conditions)

    @contextmanager
    def _blind(self, blocks: Sequence[int]) -> Iterator[None]:
        layers = [layer for number in blocks for layer in self._blocks[number]]
        before = [layer.processor for layer in layers]
        try:
            for layer, usual in zip(layers, before, strict=True):
                assert self.blinding is not None  # each family says how
                layer.set_processor(self.blinding(usual))
            yield
        finally:
            for layer, usual in zip(layers, before, strict=True):
                layer.set_processor(usual)


def two_streams(network: Any) -> list[list[Any]]:
    """The attention of blocks of two streams; Stable Diffusion 3.5 medium has a second one, of places alone."""
    return [
        [layer for name in ("attn", "attn2") if (layer := getattr(block, name, None)) is not None]
        for block in network.transformer_blocks
    ]


def places_alone(network: Any) -> list[list[Any]]:
    """The attention of places in blocks that look at words apart, as Wan's."""
    return [[block.attn1] for block in network.blocks]


def blind_alone(usual: Any) -> Processor:  # noqa: ARG001
    """For layers of places alone."""

    def process(layer: Any, hidden_states: Tensor, *_: Any) -> Tensor:
        return _own_value(layer, hidden_states)

    return process


def blind_after(usual: Any) -> Processor:
    """For layers that put words before places and take a mask, as Flux.1's."""

    def process(
        layer: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,  # noqa: ARG001
        image_rotary_emb: Any = None,
    ) -> Any:
        count, words = hidden_states.shape[1], encoder_hidden_states.shape[1]
        mask = _mask(count, words, slice(words, None), hidden_states.device)
        return usual(layer, hidden_states, encoder_hidden_states, mask, image_rotary_emb)

    return process


def blind_before(usual: Any) -> Processor:  # noqa: ARG001
    """For layers that put places before words, as Stable Diffusion 3's; in those of places alone all are blind."""

    def process(
        layer: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,  # noqa: ARG001
    ) -> Any:
        places, words = hidden_states, encoder_hidden_states
        if words is None:
            return _own_value(layer, places)
        out, dropout = layer.to_out
        query = _both(layer, layer.to_q(places), layer.add_q_proj(words), layer.norm_q, layer.norm_added_q)
        key = _both(layer, layer.to_k(places), layer.add_k_proj(words), layer.norm_k, layer.norm_added_k)
        value = _both(layer, layer.to_v(places), layer.add_v_proj(words), None, None)
        count = places.shape[1]
        mask = _mask(count, words.shape[1], slice(count), places.device)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = seen.transpose(1, 2).flatten(2)
        told = tokens[:, count:] if layer.context_pre_only else layer.to_add_out(tokens[:, count:])
        return dropout(out(tokens[:, :count])), told

    return process


def _own_value(layer: Any, places: Tensor) -> Tensor:
    """What a place is given where it sees itself alone."""
    out, dropout = layer.to_out
    given: Tensor = dropout(out(layer.to_v(places)))
    return given


def _both(layer: Any, places: Tensor, words: Tensor, of_places: Any, of_words: Any) -> Tensor:
    """(N, heads, places + words, D), each normalised by its own norm where there is one."""
    parts = []
    for part, norm in ((places, of_places), (words, of_words)):
        heads = part.reshape(*part.shape[:2], layer.heads, -1).transpose(1, 2)
        parts.append(heads if norm is None else norm(heads))
    return torch.cat(parts, 2)


def _mask(places: int, words: int, at: slice, device: torch.device) -> Tensor:
    """What each token sees, (T, T): all, but of the places just itself. `at` is where places are."""
    mask = torch.ones(places + words, places + words, dtype=torch.bool, device=device)
    mask[at, at] = torch.eye(places, dtype=torch.bool, device=device)
    return mask
