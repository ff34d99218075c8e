"""The route table of the documentation, the routes and the OpenAPI document say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import ROOT

from nodegraph.serve import models
from nodegraph.serve.app import ROUTES
from nodegraph.serve.openapi import document

ROW = re.compile(r"^\| `([A-Z]+) ([^`]+)`(?:, `([^`]+)`)? \| ([^|]*)\| ([^|]*)\|$", re.MULTILINE)


def table() -> Iterator[tuple[str, str, frozenset[str], str, str]]:
    """(method, path, query parameters, body, answer) of each row of docs/api.md."""
    for method, address, sibling, body, answer in ROW.findall((ROOT / "docs" / "api.md").read_text("utf-8")):
        parts = urlsplit(address)
        query = frozenset(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
        yield method, parts.path, query, body, answer
        if sibling:
            yield method, parts.path.rsplit("/", 1)[0] + sibling, query, body, answer


TABLE = {(method, path): (query, body, answer) for method, path, query, body, answer in table()}
BY_ADDRESS = {(route.method, route.path.replace("...", "")): route for route in ROUTES}
DOCUMENT = document(ROUTES)


def test_the_table_lists_the_routes() -> None:
    assert set(TABLE) == set(BY_ADDRESS)
    assert len(BY_ADDRESS) == len(ROUTES), "an address is routed twice"


def test_the_openapi_document_lists_the_routes() -> None:
    listed = {(method.upper(), path) for path, entry in DOCUMENT["paths"].items() for method in entry}
    assert listed == set(BY_ADDRESS)


@pytest.mark.parametrize("address", TABLE, ids=" ".join)
def test_a_row_names_the_parameters_the_body_and_the_answer(address: tuple[str, str]) -> None:
    query, body, answer = TABLE[address]
    route = BY_ADDRESS[address]
    operation = DOCUMENT["paths"][address[1]][address[0].lower()]
    mine = {entry.name for entry in route.parameters if entry.place == "query"}
    if address[1] != "/":
        assert mine == set(query)
    described = {entry["name"] for entry in operation.get("parameters", []) if entry["in"] == "query"}
    assert described == mine
    named = [name for name in re.findall(r"`(\w+)`", body) if hasattr(models, name)]
    assert named == ([route.body.__name__] if route.body else [])
    if route.body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{route.body.__name__}"}
    if route.answer is not None:
        assert f"`{route.answer.__name__}`" in answer
        schema = operation["responses"][str(route.statuses[0])]["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith(route.answer.__name__)
    promised = [name for name in re.findall(r"`(\w+)`", answer) if hasattr(models, name)]
    assert promised == ([route.answer.__name__] if route.answer else [])
    for status in re.findall(r"\b[2-5]\d\d\b", answer):
        assert status in operation["responses"], f"the table promises {status}"


def test_every_reference_leads_somewhere() -> None:
    known = set(DOCUMENT["components"]["schemas"])
    used = set()

    def walk(data: Any) -> None:
        if isinstance(data, dict):
            if "$ref" in data:
                used.add(data["$ref"].rsplit("/", 1)[1])
            for value in data.values():
                walk(value)
        elif isinstance(data, list):
            for value in data:
                walk(value)

    walk(DOCUMENT)
    assert used <= known
    assert {"ApiError", "Run", "SubmitRun"} <= used


def test_every_operation_has_its_own_name_and_a_summary() -> None:
    operations = [operation for entry in DOCUMENT["paths"].values() for operation in entry.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)


def test_the_reference_is_that_of_these_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import api_reference

    page = api_reference.PAGE.read_text("utf-8")
    assert page == api_reference.render(), "run: python tools/api_reference.py"
