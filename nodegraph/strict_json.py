"""JSON as everybody reads it alike: what one reader takes and another does not is refused."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_BRACKETS = 1_000_000  # a workflow of 100,000 nodes has 600,000; an empty list is 2 bytes here and 56 in memory

MAX_DEPTH = (
    200  # of lists and objects in each other; pydantic writes 255, and a value stands some deep in a document
)


def loads(text: str | bytes) -> Any:
    """JSON data from UTF-8 text.

    Raises:
        ValueError: not JSON, nested too deeply, more than a million lists and objects, a key given twice in one
            object, NaN or an infinity (a number too large for a float among them), or half of a surrogate pair.
    """
    try:
        content = text if isinstance(text, str) else text.decode("utf-8")
        brackets = content.count("[") + content.count("{")
        if brackets > MAX_BRACKETS:
            raise ValueError(f"it has more than {MAX_BRACKETS:,} lists and objects")
        data = json.loads(content, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if isinstance(text, str) and not text.isascii():
            text.encode("utf-8")
        if "\\u" in content:  # an escape may have made text that no file and no database can hold
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a text in it holds half of a surrogate pair, which is no character") from None
    if brackets > MAX_DEPTH and _is_deep(data):
        raise ValueError(f"it is nested too deeply: more than {MAX_DEPTH} lists and objects in each other")
    return data


def _is_deep(data: object) -> bool:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is given twice in one object")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number
