"""Numbers, logic and words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodegraph.nodes import primitives, text

from nodegraph import Lazy

finite = st.floats(-1e6, 1e6)


@given(finite, finite)
def test_arithmetic(a: float, b: float) -> None:
    assert primitives.Calculate(a, b, "add") == a + b
    assert primitives.Calculate(a, b, "subtract") == a - b
    assert primitives.Calculate(a, b, "multiply") == a * b
    assert primitives.Calculate(a, b, "minimum") == min(a, b)
    assert primitives.Calculate(a, b, "maximum") == max(a, b)


def test_the_rest_of_arithmetic() -> None:
    assert primitives.Calculate(7, 2, "divide") == 3.5
    assert primitives.Calculate(7, 4, "modulo") == 3
    assert primitives.Calculate(2, 10, "power") == 1024


@pytest.mark.parametrize(
    ("a", "b", "operation", "words"),
    [
        (1, 0, "divide", "divided by zero"),
        (1, 0, "modulo", "divided by zero"),
        (-1, 0.5, "power", "no real"),
        (1e200, 1e200, "multiply", "no finite"),
        (10, 400, "power", "no real, finite"),
    ],
)
def test_what_has_no_answer_is_said(a: float, b: float, operation: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        primitives.Calculate(a, b, operation)  # type: ignore[arg-type]


def test_rounding_comparing_logic() -> None:
    assert [primitives.Round(2.5), primitives.Round(2.6), primitives.Round(-1.5)] == [2, 3, -2]
    assert [primitives.Round(2.9, "down"), primitives.Round(2.1, "up")] == [2, 3]
    relations = {"equal": (0, 1, 0), "not_equal": (1, 0, 1), "less": (1, 0, 0), "less_or_equal": (1, 1, 0),
                 "greater": (0, 0, 1), "greater_or_equal": (0, 1, 1)}  # fmt: skip
    for relation, expected in relations.items():
        found = [primitives.Compare(a, 2, relation) for a in (1, 2, 3)]  # type: ignore[arg-type]
        assert found == list(map(bool, expected)), relation
    table = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "xor": (0, 1, 1, 0)}
    for operation, answers in table.items():
        pairs = [(False, False), (False, True), (True, False), (True, True)]
        assert [primitives.Logic(a, b, operation) for a, b in pairs] == list(map(bool, answers))  # type: ignore[arg-type]
    assert primitives.Not(False)


def test_values_pass_through() -> None:
    assert primitives.Integer(3) == 3
    assert primitives.Number(math.pi) == math.pi
    assert primitives.Boolean(False) is False
    assert primitives.Seed(9) == 9
    assert text.Text("x") == "x"


def test_if_takes_one_and_leaves_the_other() -> None:
    def never() -> int:
        raise AssertionError

    assert primitives.If(True, Lazy(lambda: 1), Lazy(never)) == 1
    assert primitives.If(False, Lazy(never), Lazy(lambda: 2)) == 2


def test_words() -> None:
    assert text.JoinText(["a", "b"], " + ") == "a + b"
    assert text.ReplaceText("a cat, a hat", "a ", "the ") == "the cat, the hat"
    template = "{a} of {b}{c}, {e} {a.__class__} {0} {{d}}"
    assert text.TextTemplate(template, a="king", b="{a}", d="!") == "king of {a}, {e} {a.__class__} {0} {!}"


def test_a_choice_follows_its_seed() -> None:
    options = "red\n\n  green \nblue"
    chosen = [text.ChooseText(options, seed) for seed in range(60)]
    assert chosen == [text.ChooseText(options, seed) for seed in range(60)]
    assert set(chosen) == {"red", "green", "blue"}
    with pytest.raises(ValueError, match="no option"):
        text.ChooseText(" \n")


def test_text_cannot_grow_without_bound() -> None:
    with pytest.raises(ValueError, match="limit"):
        text.ReplaceText("a" * 20_000, "a", "b" * 1000)
