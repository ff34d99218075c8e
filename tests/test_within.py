"""Values inside a subgraph: for the one use that is named, by clear words where there is nothing to set."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Shell
from test_subgraphs import NUMBER, TWICE, document, engine, link, planned, plus, use

from nodegraph.errors import CheckError
from nodegraph.workflow import Workflow

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
