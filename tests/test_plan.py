"""Keys name results: the same for the same cause, different for every difference, in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from simple_nodes import simple_registry

from nodegraph.check import check
from nodegraph.errors import CheckError
from nodegraph.files import Files
from nodegraph.plan import Plan, plan
from nodegraph.workflow import Workflow

REGISTRY = simple_registry()


def planned(nodes: dict[str, Any], files: Files | None = None, **options: Any) -> Plan:
    document = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    files = files or Files()
    return plan(check(document, REGISTRY.catalog, files), files, **options)


def key(nodes: dict[str, Any], name: str, files: Files | None = None, **options: Any) -> str:
    return planned(nodes, files, **options).steps[name].key


def link(node: str, output: str = "value") -> dict[str, str]:
    return {"node": node, "output": output}


def test_a_default_and_the_same_value_are_one() -> None:
    assert key({"a": {"type": "Number"}}, "a") == key({"x": {"type": "Number", "values": {"value": 0}}}, "x")


def test_values_links_and_types_all_count() -> None:
    base: dict[str, Any] = {"n": {"type": "Number"}, "p": {"type": "Plus", "links": {"a": link("n")}}}
    variants = [
        base,
        {**base, "n": {"type": "Number", "values": {"value": 1}}},
        {**base, "p": {"type": "Plus", "values": {"b": 2}, "links": {"a": link("n")}}},
        {**base, "p": {"type": "Plus", "values": {"a": 0}}},
        {
            "n": {"type": "Split", "values": {"value": 0}},
            "p": {"type": "Plus", "links": {"a": link("n", "first")}},
        },
    ]
    keys = [key(nodes, "p") for nodes in variants]
    assert len(set(keys)) == len(variants)


def test_an_int_given_for_a_float_is_that_float() -> None:
    one = key({"h": {"type": "Half", "values": {"value": 1}}}, "h")
    assert one == key({"h": {"type": "Half", "values": {"value": 1.0}}}, "h")
    assert one != key({"h": {"type": "Half", "values": {"value": 2.0}}}, "h")


def test_names_titles_and_layout_do_not_count() -> None:
    nodes = {"n": {"type": "Number", "title": "Bob"}}
    bend = {"node": "n", "input": "value", "link": {"node": "n", "output": "value"}, "points": [{"x": 1, "y": 2}]}
    document = Workflow.from_data({"format": "nodegraph", "version": 1, "title": "T", "nodes": nodes,
                                   "layout": {"n": {"x": 1, "y": 2}}, "bends": [bend],
                                   "bookmarks": {"1": {"x": 1, "y": 2, "zoom": 0.5}}})  # fmt: skip
    files = Files()
    found = plan(check(document, REGISTRY.catalog), files).steps["n"].key
    assert found == key({"other": {"type": "Number"}}, "other")


def test_the_code_and_the_version_of_a_node_count(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {"a": {"type": "Number"}}
    before = key(nodes, "a")
    registered = REGISTRY.nodes["Number"]
    for change in ({"code": "other"}, {"version": 2}):
        altered = registered.type.model_copy(update=change)
        monkeypatch.setitem(REGISTRY.nodes, "Number", type(registered)(altered, registered.function, None, False))
        assert key(nodes, "a") != before


def test_the_device_counts_where_the_node_says_so() -> None:
    where, number = {"a": {"type": "WhereAmI"}}, {"a": {"type": "Number"}}
    assert key(where, "a", device="cpu") != key(where, "a", device="cuda")
    assert key(number, "a", device="cpu") == key(number, "a", device="cuda")


def test_a_file_counts_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    files = Files({"images": [tmp_path]})
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "b.png").write_bytes(b"one")
    a = {"r": {"type": "Read", "values": {"image": "a.png"}}}
    b = {"r": {"type": "Read", "values": {"image": "b.png"}}}
    first = key(a, "r", files)
    assert first == key(b, "r", files)
    (tmp_path / "a.png").write_bytes(b"two")
    assert key(a, "r", files) != first
    assert planned(b, files).digests == {"images/b.png": files.digest(tmp_path / "b.png")}


def test_a_key_is_the_same_in_another_process() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_plan as t;"
        "print(t.key({'n': {'type': 'Number'}, 'p': {'type': 'Plus', 'links': {'a': t.link('n')}}}, 'p'))"
    )
    here = key({"n": {"type": "Number"}, "p": {"type": "Plus", "links": {"a": link("n")}}}, "p")
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == here


def test_only_what_the_targets_need_is_planned() -> None:
    nodes = {
        "n": {"type": "Number"},
        "p": {"type": "Plus", "links": {"a": link("n")}},
        "q": {"type": "Plus", "links": {"a": link("p")}},
        "other": {"type": "Number"},
    }
    assert list(planned(nodes, targets=["p"]).steps) == ["n", "p"]
    assert set(planned(nodes).targets) == {"q", "other"}
    with pytest.raises(CheckError, match="no node 'r'"):
        planned(nodes, targets=["r"])


def test_an_effect_is_always_a_target() -> None:
    nodes = {"n": {"type": "Number"}, "s": {"type": "Shout", "links": {"text": link("n")}}}
    assert planned(nodes).targets == ("s",)


def test_a_workflow_with_problems_has_no_plan() -> None:
    with pytest.raises(CheckError):
        planned({"a": {"type": "Nope"}})
