"""A value is held for as long as a node of the run is still to read it, and no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simple_nodes import simple_registry

from nodegraph.cache import ResultCache
from nodegraph.engine import Engine
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.lifetimes import Values
from nodegraph.plan import Plan
from nodegraph.workflow import Workflow


def planned(home: Home, tmp_path: Path) -> Plan:
    """`a` is read by `b` and, twice, by `c`; `c` is wanted, `d` read by nobody."""

    def plus(*sources: str) -> dict[str, Any]:
        links = {entry: {"node": name, "output": "value"} for entry, name in zip("ab", sources, strict=False)}
        return {"type": "Plus", "links": links}

    nodes = {"a": {"type": "Number"}, "b": plus("a"), "c": plus("a", "a"), "d": plus("b")}
    engine = Engine(
        home=home, registry=simple_registry(), cache=ResultCache(), files=Files(output=tmp_path), device="cpu"
    )
    document = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    return engine.plan(document, ["c", "d"])


def test_the_last_reader_drops_it(home: Home, tmp_path: Path) -> None:
    plan = planned(home, tmp_path)
    values = Values(plan.steps, ["c"])
    values.put("a", {"value": 1})
    values.put("d", {"value": 4})
    assert values.get("d") is None, "nobody is to read it"
    values.release(plan.steps["b"])
    values.release(plan.steps["b"])  # said twice, it counts once
    assert values.get("a") == {"value": 1}
    values.release(plan.steps["c"])
    assert "a" not in values


def test_one_that_runs_after_all_is_a_reader_again(home: Home, tmp_path: Path) -> None:
    plan = planned(home, tmp_path)
    values = Values(plan.steps, ["c"])
    values.put("a", {"value": 1})
    values.release(plan.steps["b"])
    values.reclaim(plan.steps["b"])
    values.release(plan.steps["c"])
    assert "a" in values
    values.release(plan.steps["b"])
    assert "a" not in values


def test_what_is_wanted_stays_to_the_end(home: Home, tmp_path: Path) -> None:
    plan = planned(home, tmp_path)
    values = Values(plan.steps, ["c"])
    for name in ("a", "c"):
        values.put(name, {"value": 2})
    for step in plan.steps.values():
        values.release(step)
    assert ("a" in values, "c" in values) == (False, True)
    values.put("b", {"value": 3})
    values.drop_but(["c"])
    assert values.get("c") == {"value": 2}
    assert "b" not in values
