"""Literals against schemas: what passes, and words for what does not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from nodegraph.fields import Color, FileName
from nodegraph.schema import Validator, ValueRefused, annotation, describe

SIGNATURES: list[Any] = [
    int,
    float,
    str,
    bool,
    Annotated[int, Field(ge=1, le=10)],
    Annotated[float, Field(gt=0, lt=1)],
    Annotated[str, Field(min_length=2, max_length=4, pattern="^[a-z]+$")],
    Literal["red", "green"],
    int | None,
    Annotated[float | None, Field(ge=0)],
    list[int],
    Annotated[list[str], Field(min_length=1)],
]


@pytest.mark.parametrize("signature", SIGNATURES, ids=str)
@given(value=st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-2, 2) | st.text(max_size=5)
       | st.sampled_from(["red", "abc"]) | st.lists(st.integers(0, 3) | st.text(max_size=2), max_size=2))  # fmt: skip
def test_the_stored_schema_validates_as_the_signature_does(signature: Any, value: Any) -> None:
    schema = TypeAdapter(signature).json_schema()
    direct: TypeAdapter[Any] = TypeAdapter(signature, config={"strict": True})
    try:
        expected = direct.validate_python(value)
    except ValidationError:
        with pytest.raises(ValueRefused):
            Validator(schema)(value)
    else:
        found = Validator(schema)(value)
        assert (type(found), found) == (type(expected), expected)


def test_an_int_becomes_a_float_and_nothing_else_is_converted() -> None:
    assert repr(Validator({"type": "number"})(3)) == "3.0"
    for value in (True, "3", None, float("nan"), float("inf")):
        with pytest.raises(ValueRefused):
            Validator({"type": "number"})(value)
    with pytest.raises(ValueRefused):
        Validator({"type": "integer"})(3.0)


@pytest.mark.parametrize(
    ("signature", "value", "words"),
    [
        (Annotated[int, Field(ge=1, le=10)], 0, "0 is too small; give at least 1"),
        (Annotated[int, Field(ge=1, le=10)], 11, "11 is too large; give at most 10"),
        (Annotated[float, Field(gt=0, lt=1)], 0, "give more than 0"),
        (Annotated[int, Field(ge=1, le=10)], "x", "a whole number from 1 to 10"),
        (FileName, "a\u202egpj.exe", r"'a\u202egpj.exe' does not fit; give a name without / \ < > "),
        (Color, "red", "'red' does not fit; give a colour such as #ff8800"),
        (Literal["karras", "simple"], "karas", "Did you mean 'karras'?"),
        (Literal["karras", "simple"], "zzz", "choose from 'karras', 'simple'"),
    ],
)
def test_a_refusal_says_what_would_be_right(signature: Any, value: Any, words: str) -> None:
    with pytest.raises(ValueRefused) as refusal:
        Validator(TypeAdapter(signature).json_schema())(value)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "hidden", [*'/\\<>:"|?*\x00\x1f\x7f\x9b', *"\u061c\u200b\u200e\u202a\u202e\u2066\u2069\ufeff\u2028"]
)
def test_the_name_of_a_file_holds_nothing_that_is_not_seen(hidden: str) -> None:
    validate = Validator(TypeAdapter(FileName).json_schema())
    with pytest.raises(ValueRefused):
        validate(f"a{hidden}b")


def test_the_name_of_a_file_may_be_of_any_script() -> None:
    validate = Validator(TypeAdapter(FileName).json_schema())
    for name in ("猫 (1)", "नमस्ते", "می\u200cخواهم", "שלום", "Ünïcode-é", "👩\u200d🚀"):  # joiners belong to words
        assert validate(name) == name


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(ValueRefused) as refusal:
        Validator({"type": "integer"})("x" * 10_000)
    assert len(str(refusal.value)) < 300


def test_a_schema_that_no_signature_makes_is_refused() -> None:
    with pytest.raises(ValueError, match="no literal"):
        annotation({"type": "object"})


def test_descriptions() -> None:
    assert describe({"type": "integer", "minimum": 1}) == "a whole number, at least 1"
    assert describe({"anyOf": [{"type": "string"}, {"type": "null"}]}) == "text"
