"""No request and no document, however strange, makes the server fail: every answer is one that it documents."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from real_server import Running, running, workflow
from test_serve_runs import ended, give_plugin, one, submit

from nodegraph.serve.app import ROUTES
from nodegraph.serve.openapi import document

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SCHEMA = schemathesis.openapi.from_dict(document(ROUTES))
FREE: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a run, an artifact, stored and deleted workflows, and a paused queue."""
    with running(give_plugin(tmp_path_factory.mktemp("fuzz") / "home")) as server:
        ended(server, submit(server, one("Paint"))["id"])
        server.ask("POST", "/api/queue/pause")
        yield server


@pytest.fixture(scope="module")
def real(server: Running) -> dict[str, list[str]]:
    """Ids and names that lead somewhere, by the part of the path that they fill."""
    artifact = server.get("/api/gallery").json["artifacts"][0]["id"]
    queued = submit(server, one("Wait"))["id"]
    for name in ("kept", "gone"):
        server.ask("PUT", f"/api/workflows/{name}", {"workflow": workflow()})
    trashed = server.ask("DELETE", "/api/workflows/gone").json["id"]
    return {
        "artifacts": [artifact],
        "runs": [server.get("/api/runs?status=succeeded").json["runs"][0]["id"], queued],
        "trash": [trashed],
        "workflows": ["kept"],
        "templates": ["text_to_image", "theory/steps"],
        "template-pictures": ["inpaint"],
        "uploads": ["images/sketch.png"],
    }


@SCHEMA.parametrize()
@settings(max_examples=12, **FREE)
def test_every_answer_is_one_that_is_documented(
    case: schemathesis.Case, server: Running, real: dict[str, list[str]]
) -> None:
    known = real.get(case.path.split("/")[2] if case.path.count("/") > 1 else "", [])
    if case.path_parameters:  # what is made up leads nowhere; in its place, now and then, something that does
        which = zlib.crc32(repr(case.path_parameters).encode()) % (len(known) + 1)
        if which < len(known):
            case.path_parameters = dict.fromkeys(case.path_parameters, known[which])
    response = case.call(base_url=f"http://127.0.0.1:{server.port}", timeout=30, allow_redirects=False)
    case.validate_response(response, checks=CHECKS)


NODES = [
    "Paint",
    "Wait",
    "Say",
    "Sampler",
    "LoadModel",
    "LoadImage",
    "Schedule",
    "Encode",
    "SaveImage",
    "Nonsense",
    "",
]
NAMES = st.one_of(st.sampled_from(["a", "b", "c", "it", "image", "model"]), st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
        st.sampled_from(["../x", "/etc/passwd", "C:\\x", "x\0y", "http://evil.example", "emoji", "1e999", 2**70, -(2**63)]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
LINK = st.fixed_dictionaries({"node": NAMES, "output": st.sampled_from(["model", "image", "latent", "x"])})
INPUTS = st.sampled_from(["seed", "size", "text", "image", "model", "steps", "seconds", "checkpoint", "zzz"])
NODE = st.fixed_dictionaries(
    {"type": st.sampled_from(NODES)},
    optional={
        "values": st.dictionaries(INPUTS, VALUES, max_size=4),
        "links": st.dictionaries(INPUTS, st.one_of(LINK, st.lists(LINK, max_size=3)), max_size=3),
        "title": st.text(max_size=5),
        "nonsense": VALUES,
    },
)
NUMBER = st.one_of(st.integers(-100, 100), st.floats())
DOCUMENTS = st.fixed_dictionaries(
    {"format": st.sampled_from(["nodegraph", "nodegraph", "nodegraph", "other"]), "version": st.sampled_from([1, 1, 1, 0, 2, "1"])},
    optional={
        "title": st.text(max_size=10),
        "nodes": st.one_of(st.dictionaries(NAMES, NODE, max_size=4), VALUES),
        "layout": st.dictionaries(NAMES, st.fixed_dictionaries({"x": NUMBER, "y": NUMBER}), max_size=2),
        "groups": st.lists(st.dictionaries(NAMES, VALUES, max_size=3), max_size=2),
        "notes": VALUES,
    },
)  # fmt: skip
SETTINGS = st.dictionaries(st.sampled_from(["a.seed", "it.size", "x", "..", "a.", ".a", ""]), VALUES, max_size=2)


def test_a_line_too_long_for_the_parser_is_refused_as_documented(server: Running) -> None:
    case = SCHEMA["/api/uploads/{name}"]["GET"].Case(path_parameters={"name": "x" * 9000})
    case.validate_response(case.call(base_url=f"http://127.0.0.1:{server.port}"), checks=CHECKS)


@settings(max_examples=150, **FREE)
@given(data=DOCUMENTS, values=SETTINGS, targets=st.one_of(st.none(), st.lists(NAMES, max_size=2)))
@example(data=one("Paint"), values={"it.seed": 3}, targets=["it"])
@example(data=one("Paint", seed=2**70), values={}, targets=None)
@example(data=one("LoadImage", image="x\0y"), values={}, targets=None)
@example(data=one("Say", text="\x00\x01\u2028"), values={}, targets=[])
def test_no_document_makes_the_server_fail(server: Running, data: Any, values: Any, targets: Any) -> None:
    text = json.dumps(data).encode()  # as Python writes it: NaN, Infinity and half surrogates included
    for path, body in (
        ("/api/check", {"workflow": data, "values": values}),
        ("/api/plan", {"workflow": data, "values": values, "targets": targets}),
        ("/api/runs", {"workflow": data, "values": values, "targets": targets}),
        ("/api/export/comfyui", {"workflow": data, "values": values}),
        ("/api/import", None),
    ):
        content = text if body is None else json.dumps(body).encode()
        answer = server.ask("POST", path, headers={"Content-Type": "application/json"}, content=content)
        assert answer.status in (200, 201, 400, 422), answer.body
        answer.json  # noqa: B018
    content = json.dumps({"workflow": data}).encode()
    saved = server.ask(
        "PUT", "/api/workflows/fuzzed", headers={"Content-Type": "application/json"}, content=content
    )
    assert saved.status in (200, 201, 400, 409, 422), saved.body
    if saved.status == 201:
        assert server.get("/api/workflows/fuzzed").json["revision"] == saved.json["revision"]
        assert server.ask("DELETE", "/api/workflows/fuzzed").status == 200


def test_a_large_document_holds_nobody_up(server: Running) -> None:
    """Five thousand nodes in a chain, which ended another server's executor for good; and as many unknown types."""
    import threading
    import time

    chain: dict[str, Any] = {"n0": {"type": "Invert"}}
    nodes = {
        f"n{n}": {"type": f"Unknown{n}", "links": {"x": {"node": f"n{n - 1}", "output": "x"}}}
        for n in range(1, 5000)
    }
    body = {"workflow": {"format": "nodegraph", "version": 1, "nodes": chain | nodes}}
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(server.ask("POST", "/api/check", body, timeout=120)))
    asking.start()
    longest = 0.0
    while asking.is_alive():
        began = time.perf_counter()
        assert server.get("/health").status == 200
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.05)
    asking.join()
    print(f"health was answered within {longest:.2f} s")
    assert longest < 3
    assert answers[0].status == 200
    problems = answers[0].json["problems"]
    assert len(problems) == 1001
    assert "more problems" in problems[-1]["message"]
