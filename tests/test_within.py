"""Values inside a subgraph: for the one use that is named, by clear words where there is nothing to set."""

from __future__ import annotations

import json
from collections.abc import ValuesView
from pathlib import Path
from typing import Any

import pytest
from conftest import Shell
from test_subgraphs import CATALOG, NUMBER, TWICE, document, engine, link, planned, plus, use

from nodegraph import errors
from nodegraph.check import check
from nodegraph.errors import HINTED, CheckError
from nodegraph.plan import wanted_nodes
from nodegraph.subgraphs import expanded
from nodegraph.workflow import NodeSpec, Workflow

OUTER = {
    "nodes": {
        "in": use("Twice", values={"start": 1}),
        "end": {**plus("in", 1), "links": {"a": link("in", "sum")}},
    },
    "outputs": {"value": link("end")},
}


def said(workflow: Workflow, address: str) -> str:
    with pytest.raises(CheckError) as error:
        workflow.with_values({address: 1})
    return str(error.value)


def test_a_value_inside_is_that_of_one_use() -> None:
    both = document(
        {"up": use("Twice", values={"start": 1}), "down": use("Twice", values={"start": 1})}, Twice=TWICE
    )
    changed = both.with_values({"up/two.b": 5, "up/one.b": 2})
    assert len(changed.subgraphs) == 2  # the one use has a definition of its own, once
    assert Workflow.parse(changed.dump()) == changed
    before, after = planned(both).steps, planned(changed).steps
    assert {id for id in after if after[id].key != before[id].key} == {"up/one", "up/two"}
    single = document({"up": use("Twice", values={"start": 1})}, Twice=TWICE).with_values({"up/two.b": 5})
    assert list(single.subgraphs) == ["Twice"]


def test_it_is_what_the_plain_workflow_would_give(tmp_path: Path) -> None:
    nested = document({"a": use("Outer"), "b": use("Outer")}, Outer=OUTER, Twice=TWICE)
    result = engine(tmp_path).run(nested, values={"a/in/two.b": 100, "a/end.b": 7})
    assert result["a/end"]["value"] == 1 + 10 + 100 + 7
    assert result["b/end"]["value"] == 1 + 10 + 10 + 1


def test_what_cannot_be_set_is_said() -> None:
    workflow = document(
        {"n": NUMBER, "up": use("Twice", values={"step": 3}), "o": use("Outer")}, Twice=TWICE, Outer=OUTER
    )
    assert "the subgraph 'Twice' has no node 'twoo'. Did you mean 'two'?" in said(workflow, "up/twoo.b")
    assert "n: is of type 'Number', which is no subgraph" in said(workflow, "n/two.b")
    assert "leads to no node 'upp'. Did you mean 'up'?" in said(workflow, "upp/two.b")
    assert "'up' gives this input through 'step'; set up.step instead" in said(workflow, "up/two.b")
    assert "'o/in' gives this input through 'start'; set o/in.start instead" in said(workflow, "o/in/one.a")
    assert "nested at most 16 deep" in said(workflow, "/".join("a" * 40) + ".b")
    many = {f"up/n{number}.b": 1 for number in range(201)}
    with pytest.raises(CheckError, match="at most 200 can be set at once"):
        workflow.with_values(many)
    circle = document({"a": use("A")}, A={"nodes": {"a": use("A"), "n": NUMBER}})
    assert circle.with_values({"a/a/a/n.value": 1}).subgraphs  # a circle is the check's to report


def deep(width: int, uses: int) -> Workflow:
    """A chain of subgraphs in each other, as deep as they may be, each with as many further nodes, and its uses."""
    chain = {
        f"s{depth}": {
            "nodes": {f"n{number}": NUMBER for number in range(width)}
            | {"in": use(f"s{depth + 1}") if depth < 15 else NUMBER}
        }
        for depth in range(16)
    }
    return document({f"u{number}": use("s0") for number in range(uses)}, **chain)


def test_many_values_deep_inside_cost_what_they_come_to() -> None:
    workflow = deep(20, 50)
    place = "/".join(["in"] * 16)
    reads = 0

    class Counted(dict[str, NodeSpec]):
        def values(self) -> ValuesView[NodeSpec]:
            nonlocal reads
            reads += len(self)
            return super().values()

    counted = {
        name: one.model_copy(update={"nodes": Counted(one.nodes)}) for name, one in workflow.subgraphs.items()
    }
    watched = workflow.model_copy(update={"subgraphs": counted})
    changed = watched.with_values({f"u{number}/{place}.value": number for number in range(50)})
    assert reads == 16 * 21, "what stands in the definitions is looked through once"
    nodes, problems = expanded(changed)
    assert problems == ()
    assert [nodes.nodes[f"u{number}/{place}"].values["value"] for number in range(50)] == list(range(50))
    assert Workflow.parse(changed.dump()) == Workflow.from_data(json.loads(changed.dump()))
    assert workflow.subgraphs["s15"].nodes["in"].values == NUMBER.get("values", {}), "the given one stays as it is"


@pytest.mark.parametrize(("width", "uses"), [(1, 200), (1000, 100)])
def test_values_in_too_many_or_too_large_subgraphs_are_refused(width: int, uses: int) -> None:
    place = "/".join(["in"] * 16)
    with pytest.raises(CheckError, match="too many values in too many subgraphs at once; set fewer") as error:
        deep(width, uses).with_values({f"u{number}/{place}.value": 1 for number in range(uses)})
    assert len(error.value.problems) == 1


def test_two_values_in_one_use_share_its_definition_and_the_last_of_two_holds() -> None:
    both = document({"up": use("Outer"), "down": use("Outer")}, Twice=TWICE, Outer=OUTER)
    changed = both.with_values({"up/in/two.b": 5, "up/in/one.b": 2, "down/in/two.b": 9, "up/end.b": 3})
    assert len(changed.subgraphs) == 4  # the last use of each keeps the definition
    nodes = expanded(changed)[0].nodes
    assert [nodes[id].values["b"] for id in ("up/in/two", "up/in/one", "up/end", "down/in/two")] == [5, 2, 3, 9]
    assert nodes["down/in/one"].values == expanded(both)[0].nodes["down/in/one"].values


def test_guesses_at_what_was_meant_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    guesses = 0
    real = errors.difflib.get_close_matches

    def counted(*given: Any, **more: Any) -> list[str]:
        nonlocal guesses
        guesses += 1
        return real(*given, **more)

    monkeypatch.setattr(errors.difflib, "get_close_matches", counted)
    workflow = document({"first": NUMBER, "up": use("Twice", values={"start": 1})}, Twice=TWICE)
    for address in ("frist{}.value", "up/twoo{}.b", "upp{}/two.b"):
        guesses = 0
        with pytest.raises(CheckError) as error:
            workflow.with_values({address.format(number): 1 for number in range(150)})
        assert len(error.value.problems) == 150
        assert guesses == HINTED
    guesses = 0
    with pytest.raises(CheckError) as error:
        wanted_nodes(check(workflow, CATALOG), [f"frist{number}" for number in range(150)] * 2)
    assert len(error.value.problems) == 150
    assert guesses == HINTED


def test_run_sets_values_inside_and_prints_plain_results(shell: Shell, tmp_path: Path) -> None:
    inner = {
        "nodes": {
            "n": {"type": "Number", "values": {"value": 3}},
            "sum": {"type": "Calculate", "values": {"b": 2, "operation": "multiply"}, "links": {"a": link("n")}},
        },
        "outputs": {"value": link("sum")},
    }
    document({"use": use("Double")}, Double=inner).save(tmp_path / "w.json")
    done = shell("run", "w.json", "--set", "use/n.value=21")
    assert (done.returncode, done.stdout) == (0, "use/sum.value = 42.0\n"), done.stderr
    wrong = shell("run", "w.json", "--set", "use/m.value=21")
    assert wrong.returncode == 2
    assert "the subgraph 'Double' has no node 'm'" in wrong.stderr
