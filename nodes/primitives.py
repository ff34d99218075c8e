"""Numbers, words and choices as nodes, so that one value can feed many inputs."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field

from nodegraph import Lazy, node

T = TypeVar("T")


@node(category="primitive")
def Add(
    a: Annotated[float, Field(description="The first summand.")] = 0.0,
    b: Annotated[float, Field(description="The second summand.")] = 0.0,
) -> float:
    """Add two numbers."""
    return a + b


@node(category="logic")
def If(
    condition: Annotated[bool, Field(description="Which of the two is taken.")],
    then: Annotated[Lazy[T], Field(description="Taken, and only then computed, where the condition is true.")],
    otherwise: Annotated[Lazy[T], Field(description="Taken, and only then computed, where it is false.")],
) -> T:
    """Take one of two inputs; the other is never computed."""
    return then() if condition else otherwise()
