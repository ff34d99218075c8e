"""Bypassed nodes take no part in a run, and what they were given goes on; muted ones take along what depends on them."""

from __future__ import annotations

from typing import Any

import pytest
from simple_nodes import CALLS, simple_registry

from nodegraph.bypass import without_bypassed
from nodegraph.check import check
from nodegraph.diff import diff
from nodegraph.engine import Engine
from nodegraph.errors import CheckError, DocumentError
from nodegraph.home import Home
from nodegraph.workflow import Link, Workflow

REGISTRY = simple_registry()
CATALOG = REGISTRY.catalog


def workflow(**nodes: dict[str, Any]) -> Workflow:
    return Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})


def link(node: str, output: str = "value") -> dict[str, str]:
    return {"node": node, "output": output}


NUMBER = {"type": "Number", "values": {"value": 3}}


def plus(source: str, **fields: Any) -> dict[str, Any]:
    return {"type": "Plus", "values": {"b": 10}, "links": {"a": link(source)}, **fields}


def chain(**fields: Any) -> Workflow:
    return workflow(n=NUMBER, first=plus("n", **fields), second=plus("first", **fields), last=plus("second"))


def test_a_chain_of_bypassed_nodes_is_passed_by(tmp_path: Any) -> None:
    engine = Engine(home=Home.of_user(tmp_path), registry=REGISTRY)
    assert engine.run(chain())["last"]["value"] == 33
    CALLS.clear()
    assert engine.run(chain(bypassed=True))["last"]["value"] == 13
    assert CALLS == []  # what is left is what `first` was before: the same key, so the cache has it


def test_the_document_keeps_them() -> None:
    text = chain(bypassed=True).dump()
    assert Workflow.parse(text).nodes["first"].bypassed
    assert '"bypassed": true' in text
    assert "bypassed" not in chain().dump()
    document = chain(bypassed=True)
    assert check(document, CATALOG).workflow is document


def test_a_workflow_without_any_is_itself() -> None:
    document = chain()
    assert without_bypassed(document, CATALOG.nodes) is document


def test_links_to_many_are_spliced_in_order() -> None:
    document = workflow(
        a=NUMBER,
        b=NUMBER,
        sum={"type": "Sum", "links": {"numbers": [link("a"), link("b")]}, "bypassed": True},
        all={"type": "Sum", "links": {"numbers": [link("b"), link("sum"), link("a")]}},
    )
    passed = without_bypassed(document, CATALOG.nodes).nodes
    assert [*passed] == ["a", "b", "all"]
    # An input of many links hands all of them on, to a reader that takes many.
    assert [one.node for one in passed["all"].links["numbers"]] == ["b", "a", "b", "a"]  # type: ignore[union-attr]


def test_where_nothing_goes_on_the_reader_says_what_it_lacks() -> None:
    document = workflow(
        n=NUMBER,
        pack={"type": "Pack", "links": {"value": link("n")}, "bypassed": True},
        out={"type": "Unpack", "links": {"box": link("pack", "box")}},
        lost={"type": "NoSuchType", "bypassed": True},
    )
    assert [str(problem) for problem in check(document, CATALOG).problems] == [
        "out.box: is not connected; link a Box to it"
    ]


def test_a_circle_of_bypassed_nodes_leads_nowhere() -> None:
    document = workflow(a=plus("b", bypassed=True), b=plus("a", bypassed=True), c=plus("a"))
    assert without_bypassed(document, CATALOG.nodes).nodes["c"].links == {}


def test_the_difference_is_told() -> None:
    assert diff(chain(), chain(bypassed=True)) == ["first: bypassed", "second: bypassed"]
    assert diff(chain(bypassed=True), chain()) == ["first: no longer bypassed", "second: no longer bypassed"]


def test_a_bypassed_node_is_no_target(tmp_path: Any) -> None:
    engine = Engine(home=Home.of_user(tmp_path), registry=REGISTRY)
    with pytest.raises(CheckError, match="first: is bypassed; take it in again to run to it"):
        engine.plan(chain(bypassed=True), ["first"])


def test_a_muted_node_and_what_depends_on_it_do_not_run(tmp_path: Any) -> None:
    engine = Engine(home=Home.of_user(tmp_path), registry=REGISTRY)
    document = workflow(
        n=NUMBER,
        off=plus("n", muted=True),
        passed=plus("off", bypassed=True),
        below=plus("passed"),
        beside=plus("n"),
    )
    assert Workflow.parse(document.dump()) == document
    CALLS.clear()
    result = engine.run(document)
    assert result["beside"]["value"] == 13
    assert len(CALLS) == 2  # `n` and `beside`
    assert [*engine.plan(document).steps] == ["n", "beside"]
    with pytest.raises(
        CheckError, match="below: is muted, or depends on a muted node; take it in again to run to it"
    ):
        engine.plan(document, ["below"])
    # What it lacks, or what is not installed, is no problem as long as it is muted.
    assert check(workflow(n=NUMBER, lost={"type": "NoSuchType", "muted": True}), CATALOG).problems == ()
    assert diff(chain(), chain(muted=True)) == ["first: muted", "second: muted"]


def test_where_nothing_is_left_to_run_it_is_said() -> None:
    (problem,) = check(workflow(n={**NUMBER, "muted": True}, all=plus("n")), CATALOG).problems
    assert problem.message == "every node is bypassed, is muted or depends on a muted one; take one in again"


def test_a_node_is_not_bypassed_and_muted() -> None:
    with pytest.raises(DocumentError, match="bypassed or muted, not both"):
        workflow(n={**NUMBER, "muted": True, "bypassed": True})


def test_a_node_of_an_unknown_type_passes_on_the_first_link_that_its_reader_takes() -> None:
    kept = {"type": "Gone", "links": {"box": link("pack", "small_box"), "number": link("n")}}
    document = workflow(
        n=NUMBER,
        pack={"type": "Pack", "links": {"value": link("n")}},
        kept=kept | {"bypassed": True},
        again={"type": "Lost", "links": {"whatever": link("kept", "X")}, "bypassed": True},
        last={"type": "Plus", "values": {"b": 1}, "links": {"a": link("again", "INT")}},
        open={"type": "Unpack", "links": {"box": link("kept", "BOX")}},
        sum={"type": "Sum", "links": {"numbers": [link("kept", "INT"), link("n")]}},
    )
    passed = without_bypassed(document, CATALOG.nodes)
    assert check(document, CATALOG).problems == ()
    assert passed.nodes["last"].links == {"a": Link(node="n", output="value")}
    assert passed.nodes["open"].links == {"box": Link(node="pack", output="small_box")}
    assert passed.nodes["sum"].links == {"numbers": [Link(node="n", output="value")] * 2}
