"""Building workflows in Python."""

from __future__ import annotations

import pytest
from simple_nodes import Fail, Number, Plus, Split, Sum, simple_registry

from nodegraph import Graph
from nodegraph.check import check
from nodegraph.errors import CheckError, DeclarationError
from nodegraph.workflow import Link, Workflow


def test_nodes_are_called_with_literals_links_and_handles() -> None:
    graph = Graph("Title")
    number = graph.add(Number, value=3)
    plus = graph.add(Plus, a=number, b=2)
    split = graph.add(Split, id="both", value=plus.value)
    graph.add(Sum, numbers=[number, split.first])
    document = graph.workflow()
    assert document.title == "Title"
    assert list(document.nodes) == ["number", "plus", "both", "sum"]
    assert document.nodes["plus"].values == {"b": 2}
    assert document.nodes["plus"].links == {"a": Link(node="number", output="value")}
    assert document.nodes["sum"].links["numbers"] == [
        Link(node="number", output="value"),
        Link(node="both", output="first"),
    ]
    assert not check(document, simple_registry().catalog).problems
    assert Workflow.parse(document.dump()) == document


def test_ids_are_fresh() -> None:
    graph = Graph()
    graph.add(Number)
    graph.add(Number)
    assert list(graph.workflow().nodes) == ["number", "number_2"]
    with pytest.raises(CheckError, match="another node has this id"):
        graph.add(Number, id="number")


def test_mistakes_are_refused_where_they_are_made() -> None:
    graph = Graph()
    number = graph.add(Number)
    with pytest.raises(CheckError, match=r"Did you mean 'value'\?"):
        graph.add(Number, valu=3)
    with pytest.raises(AttributeError, match=r"no output 'valeu'; it has value. Did you mean 'value'\?"):
        _ = number.valeu
    with pytest.raises(AttributeError, match="several outputs"):
        graph.add(Plus, a=graph.add(Split, value=1))
    with pytest.raises(DeclarationError, match="is no node"):
        graph.add(print)
    assert "fail" not in graph.workflow().nodes
    graph.add(Fail)
