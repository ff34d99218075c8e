"""How much JSON values come to where many nodes share them, and each of those is written with its own copy."""

from __future__ import annotations

import json

SHORT = 200  # characters; shorter values are bounded by the number of nodes


class Sizes:
    """The sizes of values in characters of JSON; that of a long one is found once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, int]] = {}  # with the value, or another would take its identity

    def of(self, value: object) -> int:
        """How many characters of JSON this takes, about; a number or a short text is 0."""
        if not isinstance(value, str | list | tuple | dict):
            return 0
        if isinstance(value, str):
            size = len(value)
        elif id(value) in self._known:
            size = self._known[id(value)][1]
        else:
            size = len(json.dumps(value, ensure_ascii=False))
            self._known[id(value)] = value, size
        return size if size > SHORT else 0
