"""A signature becomes inputs, outputs and schemas, or is refused with the place and the cure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import pytest
from pydantic import Field

from nodegraph import Context, Lazy, node
from nodegraph.errors import DeclarationError
from nodegraph.node import NodeType, declaration_of

T = TypeVar("T")


@dataclass(frozen=True)
class Fruit:
    """Something that grows.

    More words that are not the summary.
    """


@dataclass(frozen=True)
class RedApple(Fruit):
    """A fruit that is red."""


class Halves(NamedTuple):
    left: Annotated[RedApple, Field(description="The left half.")]
    right: int


def declared(function: Any) -> NodeType:
    declaration = declaration_of(function)
    assert declaration is not None
    return declaration.type


def test_a_signature_says_everything() -> None:
    @node(category="kitchen/knife", effect="files", on_device=True, version=3)
    def Cut(
        context: Context,
        fruit: Fruit,
        many: Annotated[list[Fruit], Field(description="More of them.")],
        later: Lazy[Fruit],
        angle: Annotated[float, Field(ge=0, lt=360, description="In degrees.")] = 90,
        mode: Literal["fast", "slow"] = "fast",
        name: str | None = None,
        maybe: Fruit | None = None,
    ) -> Halves:
        """Cut a fruit."""
        raise AssertionError

    found = declared(Cut)
    assert (found.name, found.category, found.effect, found.on_device, found.version) == (
        "Cut", "kitchen/knife", "files", True, 3,
    )  # fmt: skip
    assert found.doc == "Cut a fruit."
    by_name = {entry.name: entry for entry in found.inputs}
    assert list(by_name) == ["fruit", "many", "later", "angle", "mode", "name", "maybe"]
    assert by_name["fruit"].types == ("Fruit",)
    assert by_name["fruit"].doc == "Something that grows."
    assert by_name["fruit"].value_schema is None
    assert by_name["many"].many
    assert by_name["many"].doc == "More of them."
    assert by_name["later"].lazy
    assert by_name["later"].required
    assert by_name["angle"].default == 90
    assert by_name["angle"].value_schema is not None
    assert by_name["angle"].value_schema["minimum"] == 0
    assert by_name["angle"].value_schema["exclusiveMaximum"] == 360
    assert by_name["mode"].value_schema is not None
    assert by_name["mode"].value_schema["enum"] == ["fast", "slow"]
    assert not by_name["name"].required
    assert by_name["maybe"].types == ("Fruit",)
    assert [(port.name, port.type, port.bases) for port in found.outputs] == [
        ("left", "RedApple", ("Fruit",)),
        ("right", "int", ()),
    ]
    assert found.outputs[0].doc == "The left half."


def test_the_function_stays_an_ordinary_function() -> None:
    @node(category="math")
    def Twice(value: int) -> int:
        """Double."""
        return 2 * value

    assert Twice(value=4) == 8
    assert Twice.__name__ == "Twice"


@pytest.mark.parametrize(("kind", "port"), [(RedApple, "red_apple"), (int, "value"), (str, "value")])
def test_a_single_output_is_named_after_its_type(kind: Any, port: str) -> None:
    def Make():  # type: ignore[no-untyped-def]
        """Make one."""

    Make.__annotations__["return"] = kind
    assert [output.name for output in declared(node(category="x")(Make)).outputs] == [port]


def test_a_variable_ties_inputs_and_outputs_together() -> None:
    @node(category="logic")
    def Same(a: T, b: Lazy[T]) -> T:
        """Give the first."""
        return a

    found = declared(Same)
    assert [entry.types for entry in found.inputs] == [("~T",), ("~T",)]
    assert found.outputs[0].type == "~T"


def test_without_parentheses_it_is_a_node_of_the_category_other() -> None:
    @node
    def Twice(a: int) -> int:
        """Double."""
        return 2 * a

    assert (declared(Twice).name, declared(Twice).category, Twice(4)) == ("Twice", "other", 8)
    assert declared(node(version=2)(Twice)).category == "other"
    with pytest.raises(DeclarationError, match="docstring"):
        node(no_doc)


def no_doc(a: int) -> int:
    return a


def no_annotation(a) -> int:  # type: ignore[no-untyped-def]
    """Doc."""
    return 1


def no_return(a: int):  # type: ignore[no-untyped-def]
    """Doc."""


def star(*a: int) -> int:
    """Doc."""
    return 1


def untyped_wire(a: dict[str, int]) -> int:
    """Doc."""
    return 1


def optional_output(a: int) -> int | None:
    """Doc."""
    return 1


def mixed_literal(a: Literal[1, "x"]) -> int:
    """Doc."""
    return 1


FOUND: tuple[str, ...] = ()


def nothing_found(a: Literal[FOUND]) -> int:  # type: ignore[valid-type]
    """Doc."""
    return 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_doc, ["no_doc", "docstring"]),
        (no_annotation, ["no_annotation", "parameter a", "annotation"]),
        (no_return, ["no_return", "return annotation"]),
        (star, ["star", "parameter a", "named parameters"]),
        (untyped_wire, ["parameter a", "cannot travel"]),
        (optional_output, ["one type"]),
        (mixed_literal, ["parameter a", "one primitive type"]),
        (nothing_found, ["parameter a", "without choices", "what is missing"]),
    ],
)
def test_a_poor_signature_is_refused_with_its_place(function: Any, words: list[str]) -> None:
    with pytest.raises(DeclarationError) as refusal:
        node(category="x")(function)
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"effect": True}, '@node(effect=True): effect must be "none", "files" or "always"'),
        ({"effect": "file"}, "@node(effect='file'): effect must be"),
        ({"category": 5}, "@node(category=5): category must be a text"),
        ({"on_device": "no"}, "@node(on_device='no'): on_device must be True or False"),
        ({"version": True}, "@node(version=True): version must be a whole number"),
        ({"needs": ["torch"]}, "@node(needs=['torch']): needs must be a dict such as"),
        ({"needs": {"torch": 2}}, "@node(needs={'torch': 2}): needs must be a dict such as"),
    ],
)
def test_a_wrong_setting_of_the_decorator_is_named_with_what_is_allowed(setting: Any, words: str) -> None:
    def Twice(a: int) -> int:
        """Double."""
        return 2 * a

    with pytest.raises(DeclarationError) as refusal:
        node(**setting)(Twice)
    assert str(refusal.value).startswith(f"Twice: {words}")


@pytest.mark.parametrize("wrong", ["image", 3, Fruit])
def test_what_is_no_function_is_no_node(wrong: Any) -> None:
    with pytest.raises(DeclarationError, match=r'which .* is not; write `@node` above its `def`.*category="mine"'):
        node(wrong)


@pytest.mark.parametrize("default", [object(), {1, 2}, b"x"])
def test_a_default_that_json_cannot_say_is_refused(default: Any) -> None:
    def Odd(a: int = default) -> int:
        """Doc."""
        return 1

    with pytest.raises(DeclarationError, match=r"Odd, parameter a: its default .* is nothing that JSON can say"):
        node(Odd)
