"""How far a run is and how long it still takes, by what its nodes took lately."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from simple_nodes import simple_registry

from nodegraph import events
from nodegraph.check import check
from nodegraph.files import Files
from nodegraph.plan import Plan, plan
from nodegraph.serve.forecast import Forecast, Timings
from nodegraph.workflow import Workflow

REGISTRY = simple_registry()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def planned(nodes: dict[str, Any]) -> Plan:
    document = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    return plan(check(document, REGISTRY.catalog, Files()), Files())


def link(node: str) -> dict[str, str]:
    return {"node": node, "output": "value"}


# load -> paint -> save
CHAIN: dict[str, Any] = {
    "load": {"type": "Number"},
    "paint": {"type": "Plus", "links": {"a": link("load")}},
    "save": {"type": "Plus", "links": {"a": link("paint")}},
}
TIMINGS: Timings = {"load": (2.0, None), "paint": (16.0, 20), "save": (2.0, None)}


def follow(timings: Timings, nodes: dict[str, Any] = CHAIN) -> tuple[Forecast, Clock]:
    clock = Clock()
    return Forecast(planned(nodes), timings, clock), clock


def test_nodes_count_by_the_time_they_took() -> None:
    forecast, clock = follow(TIMINGS)
    assert (forecast.share, forecast.left) == (0, None)
    forecast.take(events.Started("load"))
    assert (forecast.share, forecast.left) == (0, 20)
    clock.now += 1
    assert forecast.left == 19
    forecast.take(events.Finished("load", 2.0))
    assert forecast.share == pytest.approx(0.1)
    assert forecast.left == 18
    forecast.take(events.Started("paint"))
    forecast.take(events.Progress("paint", 10, 20))
    assert forecast.share == pytest.approx(0.5)
    forecast.take(events.Finished("paint", 16.0))
    assert forecast.share == pytest.approx(0.9)
    forecast.take(events.Started("save"))
    forecast.take(events.Finished("save", 2.0))
    assert forecast.share == 1
    assert forecast.left == 0


def test_what_is_cached_and_what_only_that_needed_is_no_work() -> None:
    forecast, _ = follow(TIMINGS)
    forecast.take(events.Cached("paint"))
    forecast.take(events.Started("save"))
    assert (forecast.share, forecast.left) == (0, 2)
    forecast.take(events.Finished("save", 2.0))
    assert forecast.share == 1


def test_a_slower_machine_shows_while_steps_are_told() -> None:
    forecast, clock = follow(TIMINGS)
    forecast.take(events.Cached("load"))
    forecast.take(events.Started("paint"))
    assert forecast.left == 18
    clock.now += 24  # twice as slow as lately
    forecast.take(events.Progress("paint", 15, 20))
    measured, remembered = 24 / 15 * 5, 0
    assert forecast.left == pytest.approx(2 + 0.75 * measured + 0.25 * remembered)


def test_more_steps_than_lately_take_longer() -> None:
    forecast, _ = follow(TIMINGS)
    forecast.take(events.Cached("load"))
    forecast.take(events.Started("paint"))
    forecast.take(events.Progress("paint", 0, 40))
    assert forecast.left == 2 + 32
    forecast.take(events.Progress("paint", 20, 40))
    assert forecast.share == pytest.approx(16 / 34)


def test_nothing_is_foretold_while_an_unknown_node_is_to_come() -> None:
    timings = {name: TIMINGS[name] for name in ("load", "save")}
    forecast, clock = follow(timings)
    forecast.take(events.Started("load"))
    assert forecast.left is None
    forecast.take(events.Finished("load", 2.0))
    assert forecast.share == pytest.approx(1 / 3)  # it counts as much as the others do in the middle
    forecast.take(events.Started("paint"))
    assert forecast.left is None
    clock.now += 3
    forecast.take(events.Progress("paint", 1, 4))
    assert forecast.left == pytest.approx(9 + 2)  # its own pace, then what is known


def test_a_first_run_counts_nodes() -> None:
    forecast, _ = follow({})
    for name in CHAIN:
        forecast.take(events.Started(name))
        assert forecast.left is None
        forecast.take(events.Finished(name, 0.5))
    assert forecast.share == 1


def test_asking_how_long_costs_the_same_in_a_long_run_of_unknown_nodes() -> None:
    def allocated(count: int) -> int:
        forecast, _ = follow({}, {f"n{number}": {"type": "Number"} for number in range(count)})
        forecast.take(events.Started("n0"))
        assert forecast.left is None
        tracemalloc.start()
        try:
            assert forecast.left is None
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert allocated(5000) < allocated(50) + 1000  # an integer may be larger, no set is


def test_the_share_never_goes_back_and_strays_change_nothing() -> None:
    forecast, _ = follow({**TIMINGS, "paint": (16.0, 20)})
    forecast.take(events.Started("load"))
    forecast.take(events.Finished("load", 2.0))
    before = forecast.share
    forecast.take(events.Progress("load", 1, 2))  # of a thread that it left behind
    forecast.take(events.Started("paint"))
    forecast.take(events.Progress("paint", 0, 2000))
    assert forecast.share == before
    forecast.take(events.Progress("paint", 5000, 2000))
    assert before < forecast.share <= 1
    assert forecast.left is not None
    assert forecast.left >= 0


def test_a_lazy_input_runs_inside_the_node_that_asks_for_it() -> None:
    nodes = {
        "yes": {"type": "Number"},
        "no": {"type": "Number", "values": {"value": 2}},
        "choose": {
            "type": "Choose",
            "values": {"condition": True},
            "links": {"then": link("yes"), "otherwise": link("no")},
        },
    }
    forecast, _ = follow({"choose": (4.0, None), "yes": (1.0, None), "no": (9.0, None)}, nodes)
    forecast.take(events.Started("choose"))
    assert forecast.left == 4  # neither branch is known to run
    forecast.take(events.Started("yes"))
    forecast.take(events.Finished("yes", 1.0))
    forecast.take(events.Progress("choose", 1, 2))
    assert forecast.share == pytest.approx(0.5)
