"""The document: strict loading with words, saving whole, values by address, pictures that carry it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nodegraph import workflow as module
from nodegraph.carried import WORKFLOW_TEXT
from nodegraph.errors import CheckError, DocumentError
from nodegraph.pictures import encode_png
from nodegraph.workflow import Link, NodeSpec, Position, Workflow, document_schema

SMALL: dict[str, Any] = {
    "format": "nodegraph",
    "version": 1,
    "nodes": {
        "a": {"type": "Integer", "values": {"value": 3}},
        "b": {"type": "Round", "links": {"value": {"node": "a", "output": "value"}}},
    },
}


def test_a_document_survives_a_round_trip() -> None:
    document = Workflow.from_data(SMALL)
    assert document.nodes["b"].links["value"] == Link(node="a", output="value")
    assert Workflow.parse(document.dump()) == document
    assert document.dump() == Workflow.parse(document.dump()).dump()


names = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
literals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
specs = st.builds(
    NodeSpec,
    type=names,
    values=st.dictionaries(names, literals, max_size=3),
    links=st.dictionaries(names, st.builds(Link, node=names, output=names), max_size=3),
)


@given(st.dictionaries(names, specs, max_size=4))
def test_any_document_survives_a_round_trip(nodes: dict[str, NodeSpec]) -> None:
    document = Workflow(nodes=nodes, layout={name: Position(x=1.5, y=-2) for name in nodes})
    assert Workflow.parse(document.dump()) == document


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_nonsense_is_refused_with_words(content: bytes | str) -> None:
    with pytest.raises(DocumentError):
        Workflow.parse(content)


def variant(**changes: Any) -> str:
    return json.dumps({**SMALL, **changes})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON: it breaks off at line 1, column 2"),
        ('{"format":\n  "nodegr', "it breaks off at line 2, column 3; is it whole?"),
        ('{"format": "nodegraph",\n "nodes": {,}\n}', "at line 2, column 12, at ',}'"),
        ("hello", "expecting value at line 1, column 1, at 'hello'"),
        ("[" * 900_000, "nested too deeply"),
        ("[" * 201 + "]" * 201, "nested too deeply: more than 200 lists and objects in each other"),
        ("[" * 200 + "]" * 200, "not a workflow"),
        ('["\ud800"]', "half of a surrogate pair"),
        (r'["\ud800"]', "half of a surrogate pair"),
        ("[" + "[]," * 1_000_000 + "[]]", "more than 1,000,000 lists and objects"),
        ('{"a": 1, "a": 2}', "given twice"),
        ('{"format": "nodegraph", "version": 1, "nodes": {"a": {"type": "X"}, "a": {"type": "X"}}}', "'a' is given twice"),
        ('{"format": "nodegraph", "version": NaN}', "NaN"),
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ("[]", '"format": "nodegraph"'),
        ('{"format": "comfy"}', '"format": "nodegraph"'),
        (variant(version=99), "newer"),
        (variant(version=0), "ever written"),
        (variant(version="1"), "whole number"),
        (variant(version=True), "whole number"),
        (variant(colour="red"), "colour: this field does not exist"),
        (variant(nodes={"a": {"type": "X", "inputs": {}}}), "nodes > a > inputs"),
        (variant(nodes={"a/b": {"type": "X"}}), "nodes"),
        (variant(nodes={"__proto__": {"type": "X"}}), "'__proto__' cannot be a name"),
        (variant(nodes={"a": {"type": "X", "values": {"__proto__": 1}}}), "'__proto__' cannot be a name"),
        (variant(nodes={"a": {"type": "X", "links": {"v": ["a", 0]}}}), "nodes > a > links > v"),
        (variant(nodes={"a": {"type": "X", "links": {"v": "a"}}}), 'v: a link is written {"node": "...", "output"'),
        ('{"last_node_id": 3, "nodes": [{"id": 3}], "links": []}', "the type of a node is None, not a text"),
        ('{"3": {"class_type": "KSampler", "inputs": 3}}', "a ComfyUI workflow"),
        (variant(nodes=[]), 'nodes: [] does not fit; give an object, {"name": ...}'),
        (variant(nodes={"a": {"type": 3}}), "nodes > a > type: 3 does not fit; give a text"),
        (variant(nodes={"a": {}}), "nodes > a > type: it is missing"),
        (variant(title="x" * 201), "… is too long; its length must be at most 200"),
        (variant(nodes={"a": {"type": "X", "muted": 1}}), "nodes > a > muted: 1 does not fit; give true or false"),
        (variant(groups=[{"x": 0, "y": 0, "width": 1, "height": 1, "color": "red"}]), 'color: "red" does not have the form'),
        (variant(layout={"z": {"x": 0, "y": 0}}), "no node"),
        ('{"format": "nodegraph", "version": ' + "9" * 6000 + "}", "not JSON"),
    ],
)  # fmt: skip
def test_a_broken_document_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(DocumentError) as refusal:
        Workflow.parse(text)
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 2000


def test_a_document_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(DocumentError, match="limit"):
        Workflow.parse(" " * 101)


def test_an_older_document_is_migrated_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(data: dict[str, Any]) -> dict[str, Any]:
        return {"format": data["format"], "version": 0, "nodes": data["graph"]}

    def number(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "version": 1}

    monkeypatch.setattr(module, "MIGRATIONS", {-1: rename, 0: number})
    old = {"format": "nodegraph", "version": -1, "graph": SMALL["nodes"]}
    assert Workflow.from_data(old) == Workflow.from_data(SMALL)


def test_saving_replaces_the_whole_file_or_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    Workflow.from_data(SMALL).save(path)
    before = path.read_text()
    broken = Workflow.model_construct(nodes={"a": NodeSpec.model_construct(values={"x": float("nan")})})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.save(path)
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.json"]


def test_values_are_replaced_by_address_and_break_links() -> None:
    document = Workflow.from_data(SMALL).with_values({"b.value": 4.5, "a.value": 7})
    assert document.nodes["b"].values == {"value": 4.5}
    assert document.nodes["b"].links == {}
    assert document.nodes["a"].values == {"value": 7}
    with pytest.raises(CheckError) as refusal:
        document.with_values({"c.value": 1, "nodot": 2})
    assert len(refusal.value.problems) == 2
    assert refusal.value.problems[0].message == "'c.value' names no node. There is 'a', 'b'."


def test_a_picture_carries_its_workflow(tmp_path: Path) -> None:
    document = Workflow.from_data({**SMALL, "title": "ein Apfel, 苹果"})
    path = tmp_path / "picture.png"
    path.write_bytes(encode_png(torch.rand(3, 9, 7), {WORKFLOW_TEXT: document.dump()}))
    assert Workflow.load(path) == document


def test_every_cut_of_a_picture_is_refused(tmp_path: Path) -> None:
    whole = encode_png(torch.rand(3, 16, 16), {WORKFLOW_TEXT: Workflow.from_data(SMALL).dump()})
    path = tmp_path / "cut.png"
    for length in [8, 20, 33, 40, 100, len(whole) // 2, len(whole) - 20, len(whole) - 13, len(whole) - 5]:
        path.write_bytes(whole[:length])
        with pytest.raises(DocumentError, match=r"damaged|no workflow"):
            Workflow.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    plain.write_bytes(encode_png(torch.rand(3, 4, 4)))
    with pytest.raises(DocumentError, match="carries no workflow; those that nodegraph or ComfyUI saved do"):
        Workflow.load(plain)
    with pytest.raises(DocumentError, match="cannot read"):
        Workflow.load(tmp_path / "missing.json")
    with pytest.raises(DocumentError, match="cannot read"):
        Workflow.load(tmp_path)


def test_the_schema_describes_the_document() -> None:
    schema = document_schema()
    assert set(schema["properties"]) >= {"format", "version", "nodes", "layout"}
    assert schema["additionalProperties"] is False


def test_bytes_that_are_no_text_are_refused_in_words() -> None:
    with pytest.raises(DocumentError, match="not a text, so no workflow"):
        Workflow.parse(b"\xfa\x00\xff\x80")
