"""Choosing by name: an unknown name is refused with the names that there are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(what: str, name: str, choices: Mapping[str, T]) -> T:
    """The choice of that name. Raises ValueError naming all choices, and the nearest."""
    if name in choices:
        return choices[name]
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no {what} is called {name!r}; choose from {', '.join(choices)}.{hint}")
