"""JSON as everybody reads it alike: what one reader takes and another does not is refused."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_BRACKETS = 1_000_000  # a workflow of 100,000 nodes has 600,000; an empty list is 2 bytes here and 56 in memory


def loads(text: str | bytes) -> Any:
    """JSON data from UTF-8 text.

    Raises:
        ValueError: not JSON, nested too deeply, more than a million lists and objects, a key given twice in one
            object, NaN or an infinity (a number too large for a float among them), or half of a surrogate pair.
    """
    try:
        content = text if isinstance(text, str) else text.decode("utf-8")
        if content.count("[") + content.count("{") > MAX_BRACKETS:
            raise ValueError(f"it has more than {MAX_BRACKETS:,} lists and objects")
        data = json.loads(content, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in content:  # an escape may have made text that no file and no database can hold
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return data


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
