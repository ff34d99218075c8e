"""Words: joined, filled in, replaced, chosen."""

from __future__ import annotations

import random
import re
from typing import Annotated

from pydantic import Field

from nodegraph import node
from nodegraph.fields import Prompt, Seed

MAX_LENGTH = 1_000_000
Words = Annotated[str, Field(max_length=20_000, description="Words that a placeholder stands for.")]


@node(category="text")
def Text(text: Prompt = "") -> str:
    """Words that several nodes share."""
    return text


@node(category="text")
def JoinText(
    parts: Annotated[list[str], Field(description="The texts, in order.")],
    separator: Annotated[str, Field(max_length=100, description="Put between two texts.")] = ", ",
) -> str:
    """Join texts into one, in order."""
    return _bounded(separator.join(parts))


@node(category="text")
def TextTemplate(
    template: Annotated[
        str, Field(max_length=20_000, description="Text with {a}, {b}, {c} and {d} where words go.")
    ],
    a: Words = "",
    b: Words = "",
    c: Words = "",
    d: Words = "",
) -> str:
    """Fill words into a text. Any other brace stays as it is."""
    words = {"a": a, "b": b, "c": c, "d": d}
    return _bounded(re.sub(r"\{([abcd])\}", lambda match: words[match[1]], template))


@node(category="text")
def ReplaceText(
    text: Prompt,
    find: Annotated[
        str, Field(min_length=1, max_length=1000, description="What is looked for, letter by letter.")
    ],
    replace: Annotated[str, Field(max_length=1000, description="What it becomes.")] = "",
) -> str:
    """Replace every occurrence of some words."""
    return _bounded(text.replace(find, replace))


@node(category="text")
def ChooseText(
    options: Annotated[str, Field(max_length=20_000, description="One option on each line.")],
    seed: Seed = 0,
) -> str:
    """Choose one line by seed; the same seed chooses the same line."""
    lines = [line.strip() for line in options.splitlines() if line.strip()]
    if not lines:
        raise ValueError("there is no option to choose from; write one on each line")
    return random.Random(seed).choice(lines)


def _bounded(text: str) -> str:
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the text would be {len(text):,} letters long; {MAX_LENGTH:,} is the limit")
    return text
