"""What runs, what does not, in what order, and what is told: by events and calls."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from simple_nodes import CALLS, simple_registry

from nodegraph import events
from nodegraph.cache import MemoryTier, ResultCache
from nodegraph.carried import RECEIPT_TEXT, WORKFLOW_TEXT
from nodegraph.check import check
from nodegraph.errors import Cancelled, CheckError, Interrupted, NodeError
from nodegraph.execute import Result, execute
from nodegraph.files import Files
from nodegraph.plan import plan
from nodegraph.registry import Registered, Registry
from nodegraph.workflow import Link, NodeSpec, Workflow


class Runner:
    """Runs graphs of the simple nodes on one cache and records calls and events."""

    def __init__(self, tmp_path: Path) -> None:
        self.registry = simple_registry()
        self.cache = ResultCache()
        self.files = Files({"images": [tmp_path]}, output=tmp_path / "out")
        self.events: list[events.Event] = []
        self.stop = threading.Event()

    def __call__(self, nodes: dict[str, Any], targets: list[str] | None = None, **options: Any) -> Result:
        CALLS.clear()
        self.events.clear()
        document = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
        planned = plan(check(document, self.registry.catalog, self.files), self.files, targets=targets)
        listen = options.pop("listen", self.events.append)
        return execute(
            planned, lambda: self.registry, self.cache, files=self.files, listen=listen, stop=self.stop, **options
        )


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def link(node: str, output: str = "value") -> dict[str, str]:
    return {"node": node, "output": output}


def chain(last: int = 1) -> dict[str, Any]:
    return {
        "n": {"type": "Number", "values": {"value": 5}},
        "p": {"type": "Plus", "links": {"a": link("n")}},
        "q": {"type": "Plus", "values": {"b": last}, "links": {"a": link("p")}},
    }


def test_results_and_events_of_a_first_run(run: Runner) -> None:
    assert run(chain())["q"] == {"value": 7}
    kinds = [(type(event).__name__, getattr(event, "node", None)) for event in run.events]
    assert kinds == [
        ("Started", None),
        ("Started", "n"), ("Finished", "n"),
        ("Started", "p"), ("Finished", "p"),
        ("Started", "q"), ("Finished", "q"),
        ("Finished", None),
    ]  # fmt: skip


def test_the_same_run_twice_executes_nothing(run: Runner) -> None:
    first = run(chain())["q"]
    second = run(chain())
    assert CALLS == []
    assert second.ran == []
    assert second["q"] == first
    assert [event for event in run.events if isinstance(event, events.Cached)] == [events.Cached("q")]


def test_changing_the_last_value_runs_the_last_node_alone(run: Runner) -> None:
    run(chain())
    result = run(chain(last=10))
    assert CALLS == ["Plus 6 10"]
    assert result.ran == ["q"]
    assert [event.node for event in run.events if isinstance(event, events.Started)] == [None, "q"]


def test_a_cached_node_hides_its_ancestors(run: Runner) -> None:
    run(chain(), targets=["p"])
    run(chain())
    assert CALLS == ["Plus 6 1"]


def test_equal_nodes_of_one_run_are_computed_once(run: Runner) -> None:
    nodes = {f"n{i}": {"type": "Number", "values": {"value": 4}} for i in range(3)}
    nodes["s"] = {"type": "Sum", "links": {"numbers": [link(f"n{i}") for i in range(3)]}}
    assert run(nodes)["s"] == {"value": 12}
    assert CALLS.count("Number 4") == 1


def test_many_links_arrive_in_order(run: Runner) -> None:
    nodes: dict[str, Any] = {f"n{i}": {"type": "Number", "values": {"value": i}} for i in (3, 1, 2)}
    nodes["s"] = {"type": "Sum", "links": {"numbers": [link("n3"), link("n1"), link("n2"), link("n1")]}}
    run(nodes)
    assert "Sum [3, 1, 2, 1]" in CALLS


def choice(condition: bool) -> dict[str, Any]:
    return {
        "yes": {"type": "Number", "values": {"value": 1}},
        "no": {"type": "Number", "values": {"value": 2}},
        "more": {"type": "Plus", "links": {"a": link("no")}},
        "if": {"type": "Choose", "values": {"condition": condition},
               "links": {"then": link("yes"), "otherwise": link("more")}},
    }  # fmt: skip


def test_the_branch_not_taken_is_never_computed(run: Runner) -> None:
    assert run(choice(True))["if"] == {"value": 1}
    assert CALLS == ["Number 1"]
    assert run(choice(False))["if"] == {"value": 3}
    assert CALLS == ["Number 2", "Plus 2 1"]


def test_a_branch_that_fails_hurts_only_who_takes_it(run: Runner) -> None:
    nodes = choice(True)
    nodes["no"] = {"type": "Fail"}
    assert run(nodes)["if"] == {"value": 1}
    nodes["if"]["values"]["condition"] = False
    with pytest.raises(NodeError) as failure:
        run(nodes)
    assert failure.value.node == "no"


def test_nested_choices(run: Runner) -> None:
    nodes = choice(True)
    nodes["outer"] = {
        "type": "Choose",
        "values": {"condition": False, "then": 7},
        "links": {"otherwise": link("if")},
    }
    assert run(nodes)["outer"] == {"value": 1}


def test_an_effect_runs_every_time_and_its_inputs_do_not(run: Runner) -> None:
    nodes = {"n": {"type": "Number"}, "s": {"type": "Shout", "links": {"text": link("n")}}}
    run(nodes)
    run(nodes)
    assert CALLS == ["Shout 0"]


def test_a_file_is_written_once_for_as_long_as_it_stands(run: Runner) -> None:
    nodes = {"n": {"type": "Number"}, "w": {"type": "Write", "links": {"text": link("n")}}}
    (path,) = run(nodes).files
    assert path.read_text() == "0"
    again = run(nodes)
    assert (CALLS, again.files, again.cached) == ([], [path], ["w"])
    path.write_text("altered")
    (fresh,) = run(nodes).files
    assert CALLS == ["Write 0"]
    assert fresh != path
    assert path.read_text() == "altered"
    fresh.unlink()
    assert run(nodes).ran == ["w"]
    run.files.output = run.files.output / "elsewhere"
    assert run(nodes).ran == ["w"]


def test_what_is_made_of_a_file_that_changes_during_the_run_is_nobody_elses(
    run: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture, texts = tmp_path / "a.png", {WORKFLOW_TEXT: "{}", RECEIPT_TEXT: '{"keys": {}}'}
    picture.write_bytes(b"old")
    nodes = {
        "n": {"type": "Number"},
        "read": {"type": "Read", "values": {"image": "a.png"}},
        "plus": {"type": "Plus", "links": {"a": link("read")}},
        "save": {"type": "Write", "links": {"text": link("plus")}},
        "first": {"type": "Write", "links": {"text": link("n")}, "values": {"name": "first"}},
    }

    def paint(event: events.Event) -> None:
        if event == events.Started("read"):
            picture.write_bytes(b"newer")

    first = run(nodes, listen=paint, metadata=lambda *_: texts)
    assert {path.name: path.read_text() for path in first.files} == {"text-0001.txt": "6", "first-0001.txt": "0"}
    assert {path.name for path in (tmp_path / "out").glob("*.json")} == {"first-0001.txt.receipt.json"}
    assert ["a file that read names was changed during the run" in line for line in caplog.messages] == [True]
    picture.write_bytes(b"old")
    second = run(nodes, metadata=lambda *_: texts)
    assert second.ran == ["read", "plus", "save"]
    assert [path.read_text() for path in second.files if path.name.startswith("text")] == ["4"]
    picture.unlink()
    with pytest.raises(CheckError):
        run(nodes)


def test_a_file_whose_name_comes_over_a_link_is_read_by_every_run(run: Runner, tmp_path: Path) -> None:
    picture, texts = tmp_path / "a.png", {WORKFLOW_TEXT: "{}", RECEIPT_TEXT: "{}"}
    nodes = {
        "name": {"type": "WhereAmI"},
        "read": {"type": "Read", "links": {"image": link("name")}},
        "plus": {"type": "Plus", "links": {"a": link("read")}},
        "save": {"type": "Write", "links": {"text": link("plus")}},
    }
    for number, content in enumerate((b"old", b"newer"), 1):
        picture.write_bytes(content)
        result = run(nodes, device="a.png", metadata=lambda *_: texts)
        assert result.ran == ["name", "read", "plus", "save"][number - 1 :]
        (path,) = result.files
        assert path.read_text() == str(len(content) + 1)
        assert path.with_name(path.name + ".receipt.json").exists()


def test_a_failure_names_node_type_and_cause_and_keeps_what_was_done(run: Runner) -> None:
    nodes = {**chain(), "f": {"type": "Fail", "links": {"value": link("p")}}}
    with pytest.raises(NodeError) as failure:
        run(nodes, targets=["f"])
    assert (failure.value.node, failure.value.type) == ("f", "Fail")
    assert str(failure.value) == "f (Fail): it broke"
    assert isinstance(failure.value.__cause__, ValueError)
    failed = next(event for event in run.events if isinstance(event, events.Failed) and event.node == "f")
    assert failed.message == "it broke"
    assert failed.raised is not None
    assert (failed.raised["exception"], failed.raised["at"].split(",")[0]) == ("ValueError", "simple_nodes.py")
    assert isinstance(run.events[-1], events.Failed)
    assert run.events[-1].node is None
    run(chain())
    assert CALLS == ["Plus 6 1"]


class _Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this error cannot be shown")


@pytest.mark.parametrize(
    ("error", "words"),
    [(SystemExit(0), "SystemExit: 0"), (SystemExit(), "SystemExit"), (_Unshowable(), "_Unshowable")],
)
def test_a_node_that_leaves_or_fails_in_words_nobody_can_read_has_failed(
    run: Runner, error: BaseException, words: str
) -> None:
    def leave(value: int) -> int:
        raise error

    declared = run.registry.nodes["Number"]
    run.registry.nodes["Number"] = Registered(declared.type, leave, None, False)
    with pytest.raises(NodeError) as failure:
        run({"n": {"type": "Number", "values": {"value": 4}}})
    assert (failure.value.node, failure.value.message) == ("n", words)
    assert [event.message for event in run.events if isinstance(event, events.Failed) and event.node == "n"] == [
        words
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), KeyboardInterrupt("told by its own code")])
def test_what_is_interrupted_says_so_and_is_not_kept(run: Runner, error: BaseException) -> None:
    def interrupted(value: int) -> int:
        raise error

    declared = run.registry.nodes["Number"]
    run.registry.nodes["Number"] = Registered(declared.type, interrupted, None, False)
    for _ in range(2):  # the second time finds nothing cached
        with pytest.raises(KeyboardInterrupt) as failure:
            run(chain())
        assert isinstance(failure.value, Interrupted)
        assert (failure.value.node, failure.value.__cause__) == ("n", error)
        told = [(event.node, event.message) for event in run.events if isinstance(event, events.Failed)]
        words = "interrupted (KeyboardInterrupt)"
        assert told == [("n", words), (None, f"n (Number): {words}")]
    assert CALLS == []


def test_a_wrong_result_is_refused_at_its_node(run: Runner) -> None:
    with pytest.raises(NodeError, match="output 'value' is declared int but it returned str"):
        run({"l": {"type": "Liar"}})


def test_a_linked_value_is_validated_like_a_typed_one(run: Runner) -> None:
    nodes = {
        "big": {"type": "Plus", "values": {"a": 999, "b": 999}},
        "p": {"type": "Plus", "values": {"a": 0}, "links": {"b": link("big")}},
    }
    with pytest.raises(NodeError, match="the value linked to b: 1998 is too large; give at most 1000"):
        run(nodes)
    assert any(isinstance(event, events.Failed) and event.input == "b" for event in run.events)


def test_progress_is_told_step_by_step(run: Runner) -> None:
    run({"s": {"type": "Slow", "values": {"steps": 3}}})
    told = [(event.step, event.total) for event in run.events if isinstance(event, events.Progress)]
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_cancelling_stops_within_a_step_and_cannot_be_swallowed(run: Runner) -> None:
    def listen(event: events.Event) -> None:
        run.events.append(event)
        if isinstance(event, events.Progress) and event.step == 2:
            run.stop.set()

    nodes = {"n": {"type": "Number", "values": {"value": 5}}, "s": {"type": "Slow", "values": {"steps": 1000}}}
    with pytest.raises(Cancelled):
        run(nodes, listen=listen)
    assert "swallowed" not in CALLS
    steps = [event.step for event in run.events if isinstance(event, events.Progress)]
    assert max(steps) == 2
    assert run.events[-2:] == [events.Cancelled("s"), events.Cancelled()]
    run.stop.clear()
    run(chain())
    assert CALLS == ["Plus 5 1", "Plus 6 1"]  # what was finished before is kept


def test_a_run_that_is_cancelled_before_it_starts_runs_nothing(run: Runner) -> None:
    run.stop.set()
    with pytest.raises(Cancelled):
        run(chain())
    assert CALLS == []


def test_out_of_memory_is_tried_again_once_with_everything_freed(run: Runner) -> None:
    attempts = []

    def Greedy(value: int = 0) -> int:
        attempts.append(value)
        if len(attempts) < failures:
            raise MemoryError("tried to allocate 3 GiB")
        return value

    declared = run.registry.nodes["Number"]
    run.registry.nodes["Number"] = Registered(declared.type, Greedy, None, False)
    run.cache.put("something", {"value": 1}, 0.0)
    failures = 2
    assert run({"n": {"type": "Number", "values": {"value": 3}}})["n"] == {"value": 3}
    assert len(attempts) == 2
    assert "something" not in run.cache
    attempts.clear()
    failures = 9
    with pytest.raises(NodeError, match=r"out of memory, again .* 3 GiB"):
        run({"n": {"type": "Number", "values": {"value": 4}}})
    assert len(attempts) == 2


def test_values_are_dropped_as_soon_as_the_last_reader_has_run(tmp_path: Path) -> None:
    """With no room in the cache, at most two boxes of a chain are alive at a time."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Tracked:
        pass

    Tracked.__name__ = "Box"

    def step(box: Any = None) -> Any:
        nonlocal most
        made = Tracked()
        alive.add(made)
        gc.collect()
        most = max(most, len(alive))
        return made

    registry = simple_registry()
    pack, unpack = registry.nodes["Pack"].type, registry.nodes["Unpack"].type
    output = pack.outputs[0].model_copy(update={"type": "Box", "name": "box"})
    first = pack.model_copy(update={"inputs": (), "outputs": (output,)})
    later = unpack.model_copy(update={"outputs": (output,)})
    registry.nodes = {"Pack": Registered(first, step, None, False), "Unpack": Registered(later, step, None, False)}
    nodes = {"n0": NodeSpec(type="Pack")}
    for i in range(1, 20):
        nodes[f"n{i}"] = NodeSpec(type="Unpack", links={"box": Link(node=f"n{i - 1}", output="box")})
    files = Files(output=tmp_path)
    planned = plan(check(Workflow(nodes=nodes), registry.catalog), files)
    gc.freeze()  # what other tests have left is not looked through at every step
    try:
        execute(planned, lambda: registry, ResultCache(MemoryTier(0)), files=files)
    finally:
        gc.unfreeze()
    assert most == 2


def test_a_promise_the_cache_cannot_keep_is_computed_again(run: Runner) -> None:
    run(chain())
    run.cache.memory.get = lambda key: None  # type: ignore[method-assign]  # every promise is broken
    assert run(chain(last=3))["q"] == {"value": 9}
    assert CALLS == ["Number 5", "Plus 5 1", "Plus 6 3"]


def test_a_chain_of_20_000_nodes_runs(run: Runner) -> None:
    nodes: dict[str, Any] = {"n0": {"type": "Number"}}
    for i in range(1, 20_000):
        nodes[f"n{i}"] = {"type": "Plus", "values": {"b": 1}, "links": {"a": link(f"n{i - 1}")}}
    assert run(nodes)["n19999"] == {"value": 19_999}


def test_a_bare_registry_names_nothing() -> None:
    assert Registry().catalog.nodes == {}


def test_a_printed_result_is_a_line(tmp_path: Path) -> None:
    result = Result(lambda _: {}, [tmp_path / f"{n}.png" for n in range(9)], ["a", "b"], ["c"], 1.234)
    assert repr(result).startswith(f"<Result: 2 ran, 1 cached, 1.23 s; files: {tmp_path / '0.png'} ")
    assert repr(result).endswith("4.png ...>")
    assert repr(Result(lambda _: {})) == "<Result: 0 ran, 0 cached, 0.00 s; files: none>"
