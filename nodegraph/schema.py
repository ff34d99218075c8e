"""Literal values against their JSON Schema, with messages that say what would be right.

The schema is the stored form of a parameter's annotation, so a process that never imports the node validates
exactly as one that did: both rebuild the annotation from the schema and hand it to pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from nodegraph.errors import did_you_mean

_STRICT = ConfigDict(strict=True)
_CONSTRAINTS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "pattern": "pattern",
}
_PLAIN: dict[str, Any] = {"integer": int, "number": float, "string": str, "boolean": bool, "null": None}
_NAMES = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}

Schema = Mapping[str, JsonValue]


class ValueRefused(ValueError):
    """A literal does not fit; the text says why and what would."""


def annotation(schema: Schema) -> Any:
    """The Python annotation that a JSON Schema of a literal describes.

    Raises ValueError for a schema that no annotation of a node input produces.
    """
    if "const" in schema:
        return Literal[schema["const"]]
    if "enum" in schema:
        return Literal[tuple(_list(schema["enum"]))]
    if "anyOf" in schema:
        members = [annotation(_mapping(entry)) for entry in _list(schema["anyOf"])]
        return reduce(or_, members)
    kind = schema.get("type")
    if kind == "array":
        bare: Any = list[annotation(_mapping(schema.get("items", {})))]  # type: ignore[misc]
    elif isinstance(kind, str) and kind in _PLAIN:
        bare = _PLAIN[kind]
    else:
        raise ValueError(f"no literal has the schema {dict(schema)}")
    limits: dict[str, Any] = {_CONSTRAINTS[key]: value for key, value in schema.items() if key in _CONSTRAINTS}
    if kind == "number":
        limits["allow_inf_nan"] = False
    return Annotated[bare, Field(**limits)] if limits else bare


class Validator:
    """Validates literals of one schema. An int becomes a float where one is asked; nothing else changes."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        adapter: TypeAdapter[Any] = TypeAdapter(annotation(schema), config=_STRICT)
        self._validate = adapter.validator.validate_python  # one is asked for each value of each node

    def __call__(self, value: Any) -> Any:
        """The value as validated. Raises ValueRefused."""
        try:
            return self._validate(value)
        except ValidationError as error:
            raise ValueRefused(_words(value, self.schema, error)) from None


def _words(value: Any, schema: Schema, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    kind, limits = first["type"], first.get("ctx", {})
    shown = _shown(first["input"])
    choices = choices_of(schema)
    if choices:
        listed = ", ".join(map(repr, choices))
        hint = did_you_mean(str(value), map(str, choices))
        return f"no such choice: {_shown(value)}; choose from {listed}.{hint}"
    match kind:
        case "greater_than_equal":
            return f"{shown} is too small; give at least {limits['ge']}"
        case "greater_than":
            return f"{shown} is too small; give more than {limits['gt']}"
        case "less_than_equal":
            return f"{shown} is too large; give at most {limits['le']}"
        case "less_than":
            return f"{shown} is too large; give less than {limits['lt']}"
        case "string_pattern_mismatch" if form := says(schema, "form"):
            return f"{shown} does not fit; give {form}"
        case "string_pattern_mismatch":
            return f"{shown} does not have the form {limits['pattern']}"
    return f"{shown} does not fit; give {describe(schema)} ({first['msg'].lower()})"


def choices_of(schema: Schema) -> list[JsonValue]:
    """The choices that a schema lists, without null; empty where it lists none."""
    if "enum" in schema:
        return _list(schema["enum"])
    found = [choices_of(_mapping(entry)) for entry in _list(schema.get("anyOf", []))]
    return [choice for entry in found for choice in entry]


def says(schema: Schema, word: str) -> JsonValue:
    """What a schema, or a member of its `anyOf`, says under a word; None where it says nothing."""
    members = [schema, *map(_mapping, _list(schema.get("anyOf", [])))]
    return next((member[word] for member in members if word in member), None)


def describe(schema: Schema) -> str:
    """In words what a schema asks for, such as `a whole number from 1 to 1000`."""
    if "anyOf" in schema:
        members = [_mapping(entry) for entry in _list(schema["anyOf"])]
        return " or ".join(describe(entry) for entry in members if entry.get("type") != "null")
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, _list(schema["enum"])))
    kind = str(schema.get("type", "a value"))
    if kind == "array":
        return f"a list, each entry {describe(_mapping(schema.get('items', {})))}"
    words = _NAMES.get(kind, kind)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{words} from {low} to {high}"
    if low is not None:
        return f"{words}, at least {low}"
    return f"{words}, at most {high}" if high is not None else words


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _mapping(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise ValueError(f"not a schema: {value!r}")
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise ValueError(f"not a list: {value!r}")
    return value


@cache
def _validator(frozen: str) -> Validator:
    import json

    return Validator(json.loads(frozen))


def validator(schema: Schema) -> Validator:
    """The validator of a schema, made once for all inputs that share it."""
    import json

    return _validator(json.dumps(schema, sort_keys=True))
