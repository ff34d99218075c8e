"""Small nodes for the tests of the engine: what they do is seen in `CALLS`."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import Field

from nodegraph import Context, Lazy, node
from nodegraph.errors import Cancelled
from nodegraph.fields import ImageFile
from nodegraph.node import declaration_of
from nodegraph.registry import Registry

T = TypeVar("T")
CALLS: list[str] = []


@dataclass(frozen=True)
class Box:
    """Holds a number."""

    number: int


@dataclass(frozen=True)
class SmallBox(Box):
    """A box that is small."""


class Two(NamedTuple):
    first: int
    second: Box


@node(category="test")
def Number(value: Annotated[int, Field(ge=0, le=100, description="n")] = 0) -> int:
    """A number."""
    CALLS.append(f"Number {value}")
    return value


@node(category="test")
def Plus(a: int, b: Annotated[int, Field(le=1000, description="b")] = 1) -> int:
    """Add."""
    CALLS.append(f"Plus {a} {b}")
    return a + b


@node(category="test")
def Half(value: float, mode: Literal["exact", "floor"] = "exact") -> float:
    """Halve."""
    return value / 2 if mode == "exact" else value // 2


@node(category="test")
def Sum(numbers: list[int]) -> int:
    """Add many, in order."""
    CALLS.append(f"Sum {numbers}")
    return sum(numbers)


@node(category="test")
def Pack(value: int) -> SmallBox:
    """Put a number into a small box."""
    return SmallBox(value)


@node(category="test")
def Unpack(box: Box) -> int:
    """Take it out."""
    return box.number


@node(category="test")
def Split(value: int) -> Two:
    """Two outputs."""
    return Two(value, Box(value))


@node(category="test")
def Choose(condition: bool, then: Lazy[T], otherwise: Lazy[T]) -> T:
    """Take one."""
    return then() if condition else otherwise()


@node(category="test")
def Fail(value: int = 0, message: str = "it broke") -> int:
    """Raise."""
    raise ValueError(message)


@node(category="test")
def Slow(context: Context, steps: int = 5) -> int:
    """Report progress; swallow every exception that can be swallowed."""
    done = 0
    for _ in context.track(range(steps)):
        try:
            done += 1
            context.check_cancelled()
        except Exception:
            CALLS.append("swallowed")
    return done


@node(category="test")
def Read(context: Context, image: ImageFile) -> int:
    """Length of a file."""
    CALLS.append(f"Read {image}")
    path = context.files.find("images", image)
    assert path is not None
    return len(path.read_bytes())


@node(category="test", effect="files")
def Write(context: Context, text: int, name: str = "text") -> None:
    """Write a number to a file."""
    CALLS.append(f"Write {text}")
    context.save(name, ".txt", str(text).encode())


@node(category="test", effect="always")
def Shout(text: int) -> None:
    """Say it, each time."""
    CALLS.append(f"Shout {text}")


@node(category="test", on_device=True)
def WhereAmI(context: Context) -> str:
    """The device."""
    return context.device


@node(category="test")
def Liar(value: int = 0) -> int:
    """Promise a number."""
    return "not a number"  # type: ignore[return-value]


@node(category="test")
def Stubborn() -> int:
    """Raise what must not be swallowed."""
    raise Cancelled


def simple_registry() -> Registry:
    """A registry of the nodes of this module alone."""
    registry = Registry()
    module = ModuleType(__name__)
    for name, value in globals().items():
        if declaration_of(value) is not None:
            setattr(module, name, value)
    registry.add(module)
    return registry
