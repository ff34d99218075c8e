"""A workflow with subgraphs is the workflow that it expands to: the same keys, problems on the inner node, limits."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, YOURS
from simple_nodes import simple_registry

from nodegraph import subgraphs
from nodegraph.check import check
from nodegraph.diff import diff
from nodegraph.engine import Engine
from nodegraph.errors import CheckError, DocumentError
from nodegraph.events import Event
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.options import parse_values
from nodegraph.plan import Plan, plan
from nodegraph.registry import Registry
from nodegraph.subgraphs import PREFIX, expanded
from nodegraph.workflow import Workflow

REGISTRY = simple_registry()
CATALOG = REGISTRY.catalog


def document(nodes: dict[str, Any], **definitions: dict[str, Any]) -> Workflow:
    return Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes, "subgraphs": definitions})


def link(node: str, output: str = "value") -> dict[str, str]:
    return {"node": node, "output": output}


def use(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": PREFIX + name, **fields}


def plus(source: str, b: int = 10) -> dict[str, Any]:
    return {"type": "Plus", "values": {"b": b}, "links": {"a": link(source)}}


NUMBER = {"type": "Number", "values": {"value": 3}}
# Adds `step` twice to what it is given.
TWICE = {
    "nodes": {
        "one": {"type": "Plus", "values": {"b": 10}},
        "two": plus("one"),
    },
    "inputs": {
        "start": [{"node": "one", "input": "a"}],
        "step": [{"node": "one", "input": "b"}, {"node": "two", "input": "b"}],
    },
    "outputs": {"sum": link("two"), "half": link("one")},
}


def planned(workflow: Workflow) -> Plan:
    return plan(check(workflow, CATALOG), Files())


def engine(folder: Path) -> Engine:
    return Engine(home=Home.of_user(folder), registry=REGISTRY)


def problems(workflow: Workflow) -> list[str]:
    return [str(problem) for problem in check(workflow, CATALOG).problems]


def test_a_use_is_the_nodes_of_its_definition(tmp_path: Path) -> None:
    workflow = document(
        {"n": NUMBER, "up": use("Twice", values={"step": 5}, links={"start": link("n")}), "end": plus("up", 1)},
        Twice=TWICE,
    )
    workflow = workflow.model_copy(
        update={
            "nodes": {
                **workflow.nodes,
                "end": document({"end": {**plus("n", 1), "links": {"a": link("up", "sum")}}}).nodes["end"],
            }
        }
    )
    plain = document({"n": NUMBER, "a": plus("n", 5), "b": plus("a", 5), "end": plus("b", 1)})
    ids = {"n": "n", "up/one": "a", "up/two": "b", "end": "end"}
    assert {ids[name]: step.key for name, step in planned(workflow).steps.items()} == {
        name: step.key for name, step in planned(plain).steps.items()
    }
    events: list[Event] = []
    assert engine(tmp_path).run(workflow, listen=events.append)["end"]["value"] == 3 + 5 + 5 + 1
    assert {event.node for event in events if getattr(event, "node", None)} == set(ids)
    assert planned(workflow).workflow is workflow  # the document that a picture carries has its subgraphs


def test_what_a_use_does_not_give_the_definition_has(tmp_path: Path) -> None:
    workflow = document({"up": use("Twice", values={"start": 1})}, Twice=TWICE)
    assert engine(tmp_path).run(workflow)["up/two"]["value"] == 21
    assert engine(tmp_path).run(workflow, values={"up.step": 2})["up/two"]["value"] == 5


def test_a_value_replaces_a_link_inside_and_a_link_a_value(tmp_path: Path) -> None:
    inner = {
        "nodes": {"n": NUMBER, "p": plus("n")},
        "inputs": {"a": [{"node": "p", "input": "a"}], "b": [{"node": "p", "input": "b"}]},
        "outputs": {"value": link("p")},
    }
    workflow = document({"k": NUMBER, "s": use("S", values={"a": 50}, links={"b": link("k")})}, S=inner)
    assert engine(tmp_path).run(workflow)["s/p"]["value"] == 53


def test_subgraphs_use_subgraphs(tmp_path: Path) -> None:
    outer = {
        "nodes": {"a": use("Twice", values={"step": 1}), "b": use("Twice", links={"start": link("a", "sum")})},
        "inputs": {"start": [{"node": "a", "input": "start"}], "step": [{"node": "b", "input": "step"}]},
        "outputs": {"sum": link("b", "sum")},
    }
    nodes = {
        "o": use("Outer", values={"start": 0, "step": 100}),
        "end": {"type": "Plus", "links": {"a": link("o", "sum")}},
    }
    workflow = document(nodes, Outer=outer, Twice=TWICE)
    found = engine(tmp_path).run(workflow)
    assert found["end"]["value"] == 0 + 1 + 1 + 100 + 100 + 1
    assert [*planned(workflow).steps] == ["o/a/one", "o/a/two", "o/b/one", "o/b/two", "end"]
    assert Workflow.parse(workflow.dump()) == workflow


def test_links_of_an_input_of_many_keep_their_places(tmp_path: Path) -> None:
    inner = {
        "nodes": {
            "x": {"type": "Number", "values": {"value": 2}},
            "all": {"type": "Sum", "links": {"numbers": [link("x")]}},
        },
        "inputs": {
            "first": [{"node": "all", "input": "numbers", "at": 0}],
            "last": [{"node": "all", "input": "numbers", "at": 2}],
        },
        "outputs": {"value": link("all")},
    }
    nodes = {
        "a": {"type": "Number", "values": {"value": 1}}, "c": {"type": "Number", "values": {"value": 3}},
        "s": use("S", links={"first": link("a"), "last": link("c")}),
    }  # fmt: skip
    there, _ = expanded(document(nodes, S=inner))
    assert [one.node for one in there.nodes["s/all"].links["numbers"]] == ["a", "s/x", "c"]  # type: ignore[union-attr]


def test_problems_name_the_inner_node_or_the_use() -> None:
    broken = {
        "nodes": {"one": {"type": "Plus", "values": {"b": 5000}}, "odd": {"type": "NoSuch"}},
        "inputs": {"start": [{"node": "one", "input": "a"}]},
        "outputs": {"sum": link("one")},
    }
    nodes = {
        "up": use("Twice", values={"stop": 1}),
        "bad": use("Broken", links={"start": link("up", "total")}),
        "lost": use("Twise"),
        "both": use("Twice", values={"start": 1}, links={"start": link("up", "sum")}),
    }
    assert sorted(problems(document(nodes, Twice=TWICE, Broken=broken))) == sorted(
        [
            "up.stop: the subgraph has no such input; it has 'start', 'step'. Did you mean 'step'?",
            "both.start: has both a value and a link; remove one of them",
            "up/one.a: has no value; give an int or link one to it",
            "lost: this workflow has no subgraph 'Twise'. Did you mean 'Twice'?",
            "bad/odd: no node type is called 'NoSuch'. A plugin may be missing: install it or give --plugins FOLDER, or remove the node.",
            "bad/one.b: 5000 is too large; give at most 1000",
            "bad/one.a: is linked to up.total, but that subgraph has no output 'total'",
        ]
    )


def test_a_bypassed_use_is_passed_by(tmp_path: Path) -> None:
    nodes = {
        "n": NUMBER,
        "up": use("Twice", links={"start": link("n")}, bypassed=True),
        "end": {"type": "Plus", "values": {"b": 1}, "links": {"a": link("up", "sum")}},
    }
    workflow = document(nodes, Twice=TWICE)
    assert [*planned(workflow).steps] == ["n", "end"]
    assert engine(tmp_path).run(workflow)["end"]["value"] == 4
    with pytest.raises(CheckError, match="up: is bypassed"):
        engine(tmp_path).plan(workflow, ["up"])


def test_a_use_or_a_node_in_it_is_a_target(tmp_path: Path) -> None:
    nodes = {"up": use("Twice", values={"start": 1}), "end": {"type": "Plus", "links": {"a": link("up", "sum")}}}
    workflow = document(nodes, Twice=TWICE)
    assert engine(tmp_path).plan(workflow, ["up"]).targets == ("up/one", "up/two")
    assert [*engine(tmp_path).plan(workflow, ["up/one"]).steps] == ["up/one"]


def test_a_setting_takes_the_type_of_the_input_within() -> None:
    workflow = document({"up": use("Twice", values={"start": 1})}, Twice=TWICE)
    assert parse_values(["up.step=7"], workflow, CATALOG) == ({"up.step": 7}, [])


def test_definitions_that_contain_each_other_are_refused() -> None:
    nodes = {"a": use("A")}
    assert problems(document(nodes, A={"nodes": {"x": use("B")}}, B={"nodes": {"y": use("A")}})) == [
        "workflow: these subgraphs contain each other: A -> B -> A; take one out of the other"
    ]
    assert "A -> A" in problems(document(nodes, A={"nodes": {"x": use("A")}}))[0]


def test_what_would_grow_without_bound_is_refused_before_it_is_built() -> None:
    doubling = {
        f"s{level}": {"nodes": {"l": use(f"s{level + 1}"), "r": use(f"s{level + 1}")}} for level in range(15)
    }
    wide = {"nodes": {f"n{index}": NUMBER for index in range(10_000)}}
    started = time.process_time()
    found = problems(document({"a": use("s0")}, **doubling, s15=wide))
    assert found == ["workflow: its subgraphs come to 3.28e+08 nodes; 100,000 is the limit"]
    deep = {f"s{level}": {"nodes": {"x": use(f"s{level + 1}")}} for level in range(900)}
    assert "nested more than 16 deep" in problems(document({"a": use("s0")}, **deep))[0]
    assert time.process_time() - started < 10


def test_long_lists_in_many_uses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subgraphs, "MAX_PARTS", 5_000)
    inner = {
        "nodes": {"x": NUMBER, "all": {"type": "Sum", "links": {"numbers": [link("x")] * 1_000}}},
        "outputs": {"value": link("all")},
    }
    assert problems(document({f"u{index}": use("S") for index in range(4)}, S=inner)) == []
    assert problems(document({f"u{index}": use("S") for index in range(6)}, S=inner)) == [
        "workflow: its subgraphs come to more than 5,000 values and links; 100 characters of a long value are one"
    ]


@pytest.mark.parametrize("value", ["a" * 100_000, ["a"] * 20_000], ids=["a text", "a list"])
def test_a_long_value_in_many_uses_is_refused(value: Any) -> None:
    """Each use has a copy as soon as the whole is written: in an export, in a receipt."""
    inner = {"nodes": {"x": {"type": "Number", "values": {"value": value}}}}
    (found,) = problems(document({f"u{index}": use("S") for index in range(400)}, S=inner))
    assert "more than 300,000 values and links" in found
    assert "300,000" not in str(problems(document({f"u{index}": use("S") for index in range(4)}, S=inner)))
    wide = {**{f"n{index}": {"type": "Number", "values": {"value": value}} for index in range(400)}, "u": use("S")}
    assert "300,000" not in str(problems(document(wide, S={"nodes": {"x": NUMBER}}))), "it is written once"


MANY = "a" * 100  # the longest id
WIDE = {"nodes": {"n": {"type": "A"}}, "inputs": {"p": [{"node": "n", "input": "x", "at": 0}] * 1000}}
LONG = {"s0": {"nodes": {MANY: {"type": "A"}, "b": {"type": "B", "links": {"x": [link(MANY)] * 19_000}}}}} | {
    f"s{depth}": {"nodes": {MANY: {"type": f"subgraph:s{depth - 1}"}}} for depth in range(1, 15)
}
PORTS = {
    "nodes": {"n": {"type": "A"}},
    "inputs": {f"p{i}": [{"node": "n", "input": "x", "at": 0}] for i in range(1000)},
}


@pytest.mark.parametrize(
    ("nodes", "definitions"),
    [
        ({"u": {"type": "subgraph:s", "links": {"p": [link("u")] * 50_000}}}, {"s": WIDE}),
        ({f"u{i}": {"type": "subgraph:s14"} for i in range(100)}, LONG),
        ({f"u{i}": {"type": f"subgraph:zork{i}"} for i in range(5000)}, {f"zark{i}": {} for i in range(1000)}),
        ({"u": {"type": "subgraph:s", "values": {f"q{i}": 1 for i in range(5000)}}}, {"s": PORTS}),
    ],
    ids=["a list to a thousand places", "links under long names", "unknown subgraphs", "unknown inputs"],
)
def test_what_would_take_long_is_answered_soon(nodes: dict[str, Any], definitions: dict[str, Any]) -> None:
    workflow = document(nodes, **definitions)
    begun = time.process_time()
    found = check(workflow, CATALOG)
    assert found.problems
    assert sum(len(problem.message) for problem in found.problems) < 5_000_000
    assert time.process_time() - begun < 4


def test_a_subgraph_has_at_most_a_thousand_ports() -> None:
    inputs = {f"p{i}": [{"node": "n", "input": "x"}] for i in range(1001)}
    with pytest.raises(DocumentError, match="give at most 1,000"):
        document({}, s={"nodes": {"n": {"type": "A"}}, "inputs": inputs})


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            {"inputs": {"a": [{"node": "x", "input": "a"}]}},
            "input 'a' leads to 'x', which is no node of this subgraph",
        ),
        ({"outputs": {"a": link("x")}}, "output 'a' comes from 'x'"),
        ({"layout": {"x": {"x": 0, "y": 0}}}, "layout places 'x'"),
        ({"inputs": {"a": []}}, "too few entries; give at least 1"),
        ({"colour": "red"}, "this field does not exist"),
    ],
)
def test_a_definition_that_does_not_hold_together_is_no_document(definition: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        document({}, S=definition)


def test_a_document_without_subgraphs_is_written_as_before() -> None:
    workflow = document({"n": NUMBER})
    assert "subgraphs" not in workflow.dump()
    assert expanded(workflow)[0] is workflow


def test_the_difference_names_the_definition() -> None:
    a = document({"up": use("Twice")}, Twice=TWICE)
    changed = json.loads(json.dumps(TWICE))
    changed["nodes"]["one"]["values"]["b"] = 11
    changed["outputs"]["half"] = link("two")
    assert diff(a, document({"up": use("Twice")}, Twice=changed)) == [
        "subgraph:Twice/one.b: 10 -> 11",
        "subgraph:Twice output half: one.value -> two.value",
    ]


def test_the_workflow_of_the_page_gives_what_it_says(home: Home, registry: Registry) -> None:
    page = (ROOT / "docs" / "subgraphs.md").read_text("utf-8")
    text = page.split("```json\n")[1].split("```")[0]
    engine = Engine(home=home, registry=registry, device="cpu")
    found = engine.run(Workflow.parse(text), values={"second.more": 20}, targets=["first", "second"])
    assert (found["first/sum"]["value"], found["second/sum"]["value"]) == (26, 26 * 26 + 20)


def folded(data: dict[str, Any], chosen: set[str]) -> dict[str, Any]:
    """The document with the chosen nodes in a subgraph, made here in the plainest way: a port for each link."""
    inner, inputs, outputs, outer_links = {}, {}, {}, {}
    for name in chosen:
        spec = json.loads(json.dumps(data["nodes"][name]))
        for entry, there in list(spec.get("links", {}).items()):
            many = there if isinstance(there, list) else [there]
            for place, one in enumerate(many):
                if one["node"] not in chosen:
                    port = f"{name} {entry} {place}"
                    at = {"at": place} if isinstance(there, list) else {}
                    inputs[port] = [{"node": name, "input": entry, **at}]
                    outer_links[port] = one
            kept = [one for one in many if one["node"] in chosen]
            if kept:
                spec["links"][entry] = kept if isinstance(there, list) else kept[0]
            else:
                del spec["links"][entry]
        inner[name] = spec
    nodes = {}
    for name, spec in data["nodes"].items():
        if name in chosen:
            continue
        spec = json.loads(json.dumps(spec))
        for there in spec.get("links", {}).values():
            for one in there if isinstance(there, list) else [there]:
                if one["node"] in chosen:
                    port = f"{one['node']} {one['output']}"
                    outputs[port] = dict(one)
                    one["node"], one["output"] = "the part", port
        nodes[name] = spec
    nodes["the part"] = use("Part", links=outer_links)
    return {
        "format": "nodegraph", "version": 1, "nodes": nodes,
        "subgraphs": {**data.get("subgraphs", {}), "Part": {"nodes": inner, "inputs": inputs, "outputs": outputs}},
    }  # fmt: skip


SHIPPED = [
    path for path in sorted((ROOT / "workflows").rglob("*.json"))
    if "nodegraph" in path.read_text("utf-8")[:80] and YOURS not in path.parents
]  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_any_part_of_a_workflow_may_be_a_subgraph_and_no_key_changes(
    path: Path, registry: Any, files: Files
) -> None:
    data = json.loads(path.read_text("utf-8"))
    draw = random.Random(path.stem)
    whole = Workflow.from_data(data)
    keys = {name: step.key for name, step in plan(check(whole, registry.catalog), files).steps.items()}
    for _ in range(12):
        chosen = {name for name in data["nodes"] if draw.random() < 0.5} or {next(iter(data["nodes"]))}
        found = plan(check(Workflow.from_data(folded(data, chosen)), registry.catalog), files).steps
        assert {name.removeprefix("the part/"): step.key for name, step in found.items()} == keys
