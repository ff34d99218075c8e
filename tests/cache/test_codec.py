"""Values survive storage; what is damaged or unknown is refused without importing or running anything."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nodegraph.cache.codec import NotStorable, Source, UnknownType, builtin_types, decode, encode
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
from nodegraph.registry import Registry
from nodegraph.wire import Codec, WireTypes, wire_types_of

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
class Inner:
    """Part of a type of a plugin."""

    number: int


@dataclass(frozen=True)
class Local:
    """A type of a plugin."""

    inner: tuple[Inner, ...]


@dataclass(frozen=True)
class Larger(Local):
    """Fits wherever a Local does."""

    extra: int = 0


@dataclass(frozen=True)
class Private:
    """A dataclass that travels on no wire."""

    number: int


class Opaque:
    """No dataclass at all."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.number == self.number


def takes(a: Annotated[Local | None, "help"], many: list[Larger]) -> NamedTuple("Two", [("o", Opaque)]):  # type: ignore[valid-type]
    """A signature that reaches Local, Larger and Inner."""


TYPES = WireTypes(
    wire_types_of(takes), [Codec(Opaque, store=lambda o: {"n": o.number}, restore=lambda d: Opaque(d["n"]))]
)
SOURCES: tuple[Source, ...] = (builtin_types, lambda _: TYPES)


def test_the_types_that_nodes_declare_survive() -> None:
    for value in (Local((Inner(3),)), Larger((Inner(1), Inner(2)), 5), Opaque(7), [Opaque(1), Local(())]):
        assert decode(encode(value, SOURCES), SOURCES) == value


def test_every_other_type_is_refused_both_ways() -> None:
    with pytest.raises(NotStorable, match="Private has no stored form"):
        encode(Private(3), SOURCES)
    with pytest.raises(NotStorable):
        encode(Local((Inner(3),)))
    for module, name in (
        (__name__, "Private"),
        (__name__, "pytest"),
        ("no.such.module", "Local"),
        ("os", "system"),
        ("antigravity", "x"),
        ("nodegraph.cache.disk", "Usage"),
        ("nodegraph.diffusion.values", "Tensor"),
    ):
        for kind in ("dataclass", "coded"):
            forged = json.dumps([kind, module, name, {"number": ["value", 3]}]).encode()
            with pytest.raises(UnknownType, match="no node declares"):
                decode(forged, SOURCES)
    assert "antigravity" not in sys.modules


def test_a_type_with_a_codec_is_made_by_it_alone() -> None:
    forged = json.dumps(["dataclass", __name__, "Opaque", {"number": ["value", 3]}]).encode()
    with pytest.raises(ValueError, match="not a stored value"):
        decode(forged, SOURCES)
    forged = json.dumps(["coded", __name__, "Local", ["dict", {}]]).encode()
    with pytest.raises(ValueError, match="not a stored value"):
        decode(forged, SOURCES)


def test_the_registry_knows_what_its_nodes_declare(registry: Registry, tmp_path: Path) -> None:
    for kind in (Image, Latent, Conditioning, Condition, Checkpoint, Parametrization):
        assert kind in registry.wire_types
    assert registry.wire_types.find("nodegraph.cache.disk", "Usage") is None
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from nodegraph import Codec, node\n"
        "class Field:\n    def __init__(self, rows): self.rows = rows\n"
        "FIELD = Codec(Field, store=lambda field: field.rows, restore=Field)\n"
        "@node(category='x')\ndef MakeField(rows: int = 2) -> Field:\n"
        "    'Make one.'\n    return Field([1.5] * rows)\n"
    )
    own = Registry.load([tmp_path], entry_points=False)
    assert not own.problems
    made = own.nodes["MakeField"].function(3)
    sources: tuple[Source, ...] = (lambda _: own.wire_types,)
    assert decode(encode({"field": made}, sources), sources)["field"].rows == [1.5, 1.5, 1.5]
    plugin.unlink()
    own.refresh()
    with pytest.raises(NotStorable):
        encode(made, sources)


def test_what_has_no_stored_form_is_said() -> None:
    for value in (object(), {1: 2}, {"a"}, lambda: None):
        with pytest.raises(NotStorable):
            encode({"port": value})


@pytest.mark.parametrize("content", [b"", b"[", b'["other", 1]', b"\0" * 40, b'{"a": 1}'])
def test_damage_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode(content)
