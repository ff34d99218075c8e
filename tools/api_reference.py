"""Writes docs/api-reference.md, the OpenAPI document as a page to read.

python tools/api_reference.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nodegraph.serve.app import ROUTES
from nodegraph.serve.openapi import document

PAGE = Path(__file__).parent.parent / "docs" / "api-reference.md"


def render() -> str:
    """The page."""
    api = document(ROUTES)
    lines = [
        "# API reference",
        "",
        "Made from the routes by `tools/api_reference.py`; the same as OpenAPI 3.1 is at `/api/openapi.json`. An",
        "overview is in [api.md](api.md). Every answer of 400 and above is an [ApiError](#apierror).",
        "",
        "## Routes",
    ]
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            lines += ["", f"### `{method.upper()} {path}`", "", operation["summary"], "", *_operation(operation)]
    lines += ["", "## Models"]
    for name, schema in sorted(api["components"]["schemas"].items()):
        lines += ["", f"### {name}", "", " ".join(schema.get("description", "").split()), "", *_fields(schema)]
    return "\n".join(lines).rstrip() + "\n"


def _operation(operation: Mapping[str, Any]) -> Iterator[str]:
    for entry in operation.get("parameters", []):
        schema = entry["schema"]
        absent = "" if entry["required"] else ", may be absent"
        about = f"{_type(schema)}{absent}. {schema.get('description', '')}"
        yield f"- {entry['in']} `{entry['name']}`: {about}".rstrip()
    if "requestBody" in operation:
        kinds = operation["requestBody"]["content"]
        yield "- body: " + ", ".join(_type(kind["schema"]) if kind.get("schema", {}).get("$ref") else f"`{name}`"
                                     for name, kind in kinds.items())  # fmt: skip
    good = {status: answer for status, answer in operation["responses"].items() if int(status) < 400}
    for status, answer in good.items():
        kinds = [_type(kind["schema"]) if "$ref" in kind["schema"] else f"`{name}`"
                 for name, kind in answer.get("content", {}).items()]  # fmt: skip
        yield f"- {status}: {', '.join(kinds) or answer['description']}"
    yield "- refusals: " + ", ".join(status for status in operation["responses"] if status not in good)


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    if not schema.get("properties"):
        return
    yield "| field | type | |"
    yield "|---|---|---|"
    needed = schema.get("required", [])
    for name, entry in schema["properties"].items():
        text = " ".join(entry.get("description", "").split())
        absent = "" if name in needed else "may be absent" + ("; " if text else "")
        yield f"| `{name}` | {_type(entry)} | {absent}{text} |".replace("|  |", "| |")


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    kind = str(schema.get("type", "any JSON"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    limits = [f"{word} {schema[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most"))
              if key in schema]  # fmt: skip
    return " ".join([kind, *limits])


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
