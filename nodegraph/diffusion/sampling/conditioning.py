"""Conditionings made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.values import Condition, Conditioning, Control


def stacked(items: Sequence[Conditioning]) -> Conditioning:
    """One conditioning for a batch: item i follows the i-th, which holds one condition for one item.

    Shorter embeddings are filled up with tokens that are masked out; one without a mask has a token everywhere.
    Raises ValueError where they hold several conditions, or one has an embedding or a label and another none.
    """
    if any(len(one.conditions) != 1 for one in items):
        raise ValueError("each picture's conditioning must be a single one; combine them afterwards")
    parts = [one.conditions[0] for one in items]
    if len({part.embedding.shape[1] for part in parts if part.embedding is not None}) > 1:
        parts = [replace(part, mask=_mask(part)) for part in parts]
    labels = [part.label for part in parts if isinstance(part.label, int)]
    if len(labels) not in (0, len(parts)):
        raise ValueError("some lines name a class and others none; name one in every line, or in none")
    return Conditioning(
        (
            replace(
                parts[0],
                embedding=_joined([part.embedding for part in parts]),
                mask=_joined([part.mask for part in parts]),
                pooled=_joined([part.pooled for part in parts]),
                label=tuple(labels) or None,
            ),
        )
    )


def check_batch(conditioning: Conditioning, batch: int) -> None:
    """Raise ValueError where a conditioning is for a batch of another size."""
    for condition in conditioning.conditions:
        label = condition.label
        sizes = {len(part) for part in (condition.embedding, condition.pooled) if part is not None}
        sizes |= {len(label)} if isinstance(label, tuple) else set()
        for size in sizes - {1, batch}:
            raise ValueError(
                f"the conditioning is for {size} pictures and the latent is a batch of {batch}; make both alike"
            )


def on_device(device: torch.device | str) -> Callable[[Conditioning], Conditioning]:
    """Puts conditionings' tensors on a device, so that no step sends them; what they share stays shared.

    Controls that say the same become one, so that a positive and a negative under it share a batch.
    """
    controls: list[tuple[Control, Control]] = []
    conditions: dict[Condition, Condition] = {}

    def control(one: Control) -> Control:
        for known, there in controls:
            if _alike(known, one):
                return there
        controls.append((one, replace(one, hint=one.hint.to(device))))
        return controls[-1][1]

    def condition(one: Condition) -> Condition:
        if one not in conditions:
            tensors = {
                name: getattr(one, name) for name in ("embedding", "mask", "pooled", "region", "concat", "states")
            }
            there: dict[str, Any] = {name: part.to(device) for name, part in tensors.items() if part is not None}
            conditions[one] = replace(one, **there, controls=tuple(map(control, one.controls)))
        return conditions[one]

    return lambda given: Conditioning(tuple(map(condition, given.conditions)))


def _mask(condition: Condition) -> Tensor | None:
    if condition.mask is not None or condition.embedding is None:
        return condition.mask
    return torch.ones(condition.embedding.shape[:2], dtype=torch.bool)


def _alike(a: Control, b: Control) -> bool:
    same = (a.checkpoint.digest, a.strength) == (b.checkpoint.digest, b.strength)
    return same and (a.hint is b.hint or (a.hint.device == b.hint.device and torch.equal(a.hint, b.hint)))


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    found = [part for part in parts if part is not None]
    if not found:
        return None
    if len(found) != len(parts):
        raise ValueError("these conditionings come from different text encoders; use one for all")
    longest = max(part.shape[1] for part in found)
    # Filled at the end of axis 1: tokens of an embedding (N, T, D) and of its mask (N, T).
    return torch.cat(
        [functional.pad(part, (*[0, 0] * (part.ndim - 2), 0, longest - part.shape[1])) for part in found]
    )
