"""Values survive storage; what is damaged or unknown is refused without importing or running anything."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nodegraph.cache.codec import NotStorable, decode, encode
from nodegraph.diffusion.values import (
    VAE,
    Checkpoint,
    Condition,
    Conditioning,
    Image,
    Latent,
    Mask,
    Model,
    Parametrization,
    Sigmas,
    TextEncoder,
)

CHECKPOINT = Checkpoint("emoji", "abc", "emoji")
WIRE: list[Any] = [
    Image(torch.rand(2, 3, 4, 5)),
    Mask(torch.rand(1, 1, 4, 5)),
    Latent(torch.rand(1, 4, 2, 2), torch.ones(1, 1, 2, 2)),
    Latent(torch.rand(1, 4, 2, 2).half()),
    Sigmas(torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)),
    Conditioning((Condition(torch.rand(1, 3, 2), torch.ones(1, 3, dtype=torch.bool)), Condition(label=3, end=0.5))),
    Model(CHECKPOINT, Parametrization("flow", "flow", 0.01, 80.0)),
    TextEncoder(CHECKPOINT, ("a", "b")),
    VAE(CHECKPOINT, 12, 4, 64),
]  # fmt: skip


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(
            same(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__
        )
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize("value", WIRE, ids=lambda value: type(value).__name__)
def test_every_wire_type_survives(value: Any) -> None:
    assert same(decode(encode({"port": value})), {"port": value})


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(plain)
def test_plain_values_survive_with_their_types(value: Any) -> None:
    assert same(decode(encode(value)), value)


def test_a_view_is_stored_without_its_storage() -> None:
    big = torch.rand(1000, 1000)
    assert len(encode({"a": big[:2, :2], "b": big[:2, :2]})) < 2000


@dataclass(frozen=True)
class Local:
    """A type of a plugin."""

    number: int


def test_a_type_of_an_imported_module_survives_and_others_are_refused() -> None:
    content = encode(Local(3))
    assert decode(content) == Local(3)
    for module, name in (
        ("no.such.module", "Local"),
        ("os", "system"),
        (__name__, "pytest"),
        ("antigravity", "x"),
    ):
        forged = json.dumps(["dataclass", module, name, {"number": ["value", 3]}]).encode()
        with pytest.raises(ValueError, match="no dataclass"):
            decode(forged)
    assert "antigravity" not in sys.modules


def test_what_has_no_stored_form_is_said() -> None:
    for value in (object(), {1: 2}, {"a"}, lambda: None):
        with pytest.raises(NotStorable):
            encode({"port": value})


@pytest.mark.parametrize("content", [b"", b"[", b'["other", 1]', b"\0" * 40, b'{"a": 1}'])
def test_damage_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode(content)
