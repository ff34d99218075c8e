"""What pydantic finds wrong with data, in words of JSON: what stands there, and what would be right."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import ErrorDetails

SHOWN = 60
_WANTED = {
    "dict_type": 'an object, {"name": ...}',
    "model_type": 'an object, {"name": ...}',
    "model_attributes_type": 'an object, {"name": ...}',
    "list_type": "a list, [...]",
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


def plain(error: ErrorDetails) -> str:
    """One finding in words, without the place where it is."""
    kind, limits, shown = error["type"], error.get("ctx", {}), _shown(error["input"])
    if kind in _WANTED:
        return f"{shown} does not fit; give {_WANTED[kind]}"
    match kind:
        case "missing":
            return "it is missing; give it a value"
        case "extra_forbidden":
            return "this field does not exist; remove it or correct its name"
        case "literal_error":
            return f"{shown} is no choice; choose from {limits['expected']}"
        case "string_pattern_mismatch":
            return f"{shown} does not have the form {limits['pattern']}"
        case "greater_than_equal":
            return f"{shown} is too small; give at least {limits['ge']}"
        case "less_than_equal":
            return f"{shown} is too large; give at most {limits['le']}"
        case "string_too_short":
            return f"{shown} is too short; its length must be at least {limits['min_length']:,}"
        case "string_too_long":
            return f"{shown} is too long; its length must be at most {limits['max_length']:,}"
        case "too_short":
            return f"too few entries; give at least {limits['min_length']}"
        case "too_long":
            return f"too many entries; give at most {limits['max_length']:,}"
    return error["msg"].removeprefix("Value error, ")


def _shown(value: Any) -> str:
    """A value as JSON writes it, cut short; what is large, by its kind alone."""
    if isinstance(value, dict | list) and value:
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
