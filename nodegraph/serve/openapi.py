"""The OpenAPI 3.1 document, made from the routes and the models that they name."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from nodegraph import __version__
from nodegraph.serve.models import ApiError
from nodegraph.serve.routing import JSON, Route

_REF = "#/components/schemas/{model}"
_Use = tuple[type[BaseModel], Literal["validation", "serialization"]]
_ANYWHERE = (400, 403, 422)
_NOT_HTTP = (
    "what the HTTP parser itself refuses, before there is a request: a line of over 8,190 bytes, a bad header"
)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Every route with its parameters, body and answers."""
    routes = list(routes)
    models: dict[_Use, None] = {(ApiError, "serialization"): None}
    for route in routes:
        if route.body is not None:
            models[route.body, "validation"] = None
        if route.answer is not None:
            models[route.answer, "serialization"] = None
    names, schemas = models_json_schema(list(models), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = route.path.replace("...}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nodegraph",
            "version": __version__,
            "description": "The HTTP API of `nodegraph serve`. Errors have one shape, ApiError.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "nodegraph-session-PORT"},
            },
        },
        "security": [{"token": []}, {"session": []}, {}],
    }


def _operation(route: Route, names: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.title,
        "responses": _responses(route, names),
    }
    if route.open:
        operation["security"] = []
    if route.parameters:
        operation["parameters"] = [
            {
                "name": entry.name,
                "in": entry.place,
                "required": entry.place == "path" or entry.required,
                "schema": _parameter_schema(entry.adapter),
            }
            for entry in route.parameters
        ]
    if route.body is not None:
        content = {JSON: {"schema": names[route.body, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.media:
        kinds = {kind: {} if kind == JSON else {"schema": {"type": "string", "format": "binary"}}
                 for kind in route.media}  # fmt: skip
        operation["requestBody"] = {"required": True, "content": kinds}
    return operation


def _responses(route: Route, names: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in route.statuses:
        entry: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if status < 300 and status != 101:
            schema = names[route.answer, "serialization"] if route.answer else {}
            entry["content"] = {kind: {"schema": schema} for kind in route.produces}
        found[str(status)] = entry
    errors = {*_ANYWHERE, *route.refuses}
    if not route.open:
        errors |= {401, 429}
    if route.body is not None or route.media:
        errors |= {408, 413, 415, 429}
    elif route.method not in ("GET", "HEAD"):
        errors.add(415)
    for status in sorted(errors):
        content: dict[str, Any] = {JSON: {"schema": names[ApiError, "serialization"]}}
        if status == 400:
            content["text/plain"] = {"schema": {"type": "string", "description": _NOT_HTTP}}
        found[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return found


def _parameter_schema(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    schema = adapter.json_schema()
    options = schema.get("anyOf", [])
    kept = [option for option in options if option.get("type") != "null"]
    if len(kept) == 1 and len(options) == 2:
        # A parameter that is absent is not null: it is not there.
        schema = {**{key: value for key, value in schema.items() if key not in ("anyOf", "default")}, **kept[0]}
    return schema
