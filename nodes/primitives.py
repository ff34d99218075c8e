"""Numbers, switches and choices as nodes, so that one value can feed many inputs."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from nodegraph import Lazy, node
from nodegraph.fields import Seed as SeedField

T = TypeVar("T")

A = Annotated[float, Field(description="The first number.")]
B = Annotated[float, Field(description="The second number.")]


@node(category="primitive")
def Integer(value: Annotated[int, Field(description="The number.")] = 0) -> int:
    """A whole number that several nodes share."""
    return value


@node(category="primitive")
def Number(value: Annotated[float, Field(description="The number.")] = 0.0) -> float:
    """A number that several nodes share."""
    return value


@node(category="primitive")
def Boolean(value: Annotated[bool, Field(description="The answer.")] = True) -> bool:
    """A yes or a no that several nodes share."""
    return value


@node(category="primitive")
def Seed(value: SeedField = 0) -> int:
    """A seed that several nodes share."""
    return value


@node(category="math")
def Calculate(
    a: A,
    b: B,
    operation: Annotated[
        Literal["add", "subtract", "multiply", "divide", "modulo", "power", "minimum", "maximum"],
        Field(description="What is done with them."),
    ] = "add",
) -> float:
    """Calculate with two numbers."""
    operations: dict[str, Callable[[float, float], float]] = {
        "add": operator.add,
        "subtract": operator.sub,
        "multiply": operator.mul,
        "divide": operator.truediv,
        "modulo": operator.mod,
        "power": math.pow,
        "minimum": min,
        "maximum": max,
    }
    try:
        result = float(operations[operation](a, b))
    except ZeroDivisionError:
        raise ValueError(f"{a:g} cannot be divided by zero") from None
    except (OverflowError, ValueError):
        raise ValueError(f"{a:g} {operation} {b:g} has no real, finite result") from None
    if not math.isfinite(result):
        raise ValueError(f"{a:g} {operation} {b:g} has no finite result")
    return result


@node(category="math")
def Round(
    value: Annotated[float, Field(description="The number.")],
    direction: Annotated[Literal["nearest", "down", "up"], Field(description="Which way.")] = "nearest",
) -> int:
    """Round to a whole number; halves go to the even one."""
    if direction == "nearest":
        return round(value)
    return math.floor(value) if direction == "down" else math.ceil(value)


@node(category="logic")
def Compare(
    a: A,
    b: B,
    relation: Annotated[
        Literal["equal", "not_equal", "less", "less_or_equal", "greater", "greater_or_equal"],
        Field(description="What must hold between the first and the second."),
    ] = "equal",
) -> bool:
    """Compare two numbers."""
    relations = {
        "equal": operator.eq,
        "not_equal": operator.ne,
        "less": operator.lt,
        "less_or_equal": operator.le,
        "greater": operator.gt,
        "greater_or_equal": operator.ge,
    }
    return bool(relations[relation](a, b))


@node(category="logic")
def Logic(
    a: Annotated[bool, Field(description="The first.")],
    b: Annotated[bool, Field(description="The second.")],
    operation: Annotated[Literal["and", "or", "xor"], Field(description="How they are joined.")] = "and",
) -> bool:
    """Join two answers into one."""
    return {"and": a and b, "or": a or b, "xor": a != b}[operation]


@node(category="logic")
def Not(value: Annotated[bool, Field(description="The answer to turn round.")]) -> bool:
    """Turn yes into no and no into yes."""
    return not value


@node(category="logic")
def If(
    condition: Annotated[bool, Field(description="Which of the two is taken.")],
    then: Annotated[Lazy[T], Field(description="Taken, and only then computed, where the condition is true.")],
    otherwise: Annotated[Lazy[T], Field(description="Taken, and only then computed, where it is false.")],
) -> T:
    """Take one of two inputs; the other is never computed."""
    return then() if condition else otherwise()
