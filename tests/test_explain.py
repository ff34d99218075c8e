"""What changed since the last run, in words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simple_nodes import simple_registry

from nodegraph.cache import DiskTier, ResultCache, disk
from nodegraph.engine import Engine
from nodegraph.explain import explain
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.registry import Registered, Registry
from nodegraph.workflow import Workflow

if TYPE_CHECKING:
    from conftest import Shell


@pytest.fixture
def engine(home: Home, tmp_path: Path) -> Engine:
    registry = simple_registry()
    files = Files({"images": [tmp_path]}, output=tmp_path / "out")
    return Engine(
        home=home, registry=registry, cache=ResultCache(disk=DiskTier(home.cache)), files=files, device="cpu"
    )


def graph(**changes: Any) -> Workflow:
    nodes: dict[str, Any] = {
        "n": {"type": "Number", "values": {"value": 5}},
        "p": {"type": "Plus", "links": {"a": {"node": "n", "output": "value"}}},
        "s": {"type": "Shout", "links": {"text": {"node": "p", "output": "value"}}},
        "r": {"type": "Read", "values": {"image": "a.png"}},
        "w": {"type": "WhereAmI"},
    }
    return Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": {**nodes, **changes}})


def reasons(engine: Engine, workflow: Workflow) -> dict[str, str]:
    found = explain(engine.plan(workflow), engine.cache, engine.files.output)
    return {
        node: why if state == "not cached" else f"{state}: {why}".removesuffix(": ") for node, state, why in found
    }


def slowly(registry: Registry) -> None:
    """Make every node take long enough to be stored."""
    import time

    for name, entry in registry.nodes.items():

        def wrapped(entry: Registered = entry, **inputs: Any) -> Any:
            time.sleep(0.005)
            return entry.function(**inputs)

        registry.nodes[name] = Registered(entry.type, wrapped, entry.context, entry.named_outputs)


def test_each_kind_of_change_is_named(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    assert set(reasons(engine, graph()).values()) == {
        "it has not run here under this name",
        "its effect happens on every run",
    }
    slowly(engine.registry)
    engine.run(graph())
    assert reasons(engine, graph()) == {
        "n": "cached", "p": "cached", "s": "its effect happens on every run", "r": "cached", "w": "cached"
    }  # fmt: skip
    changed = reasons(engine, graph(n={"type": "Number", "values": {"value": 6}}))
    assert changed["n"] == "value was 5, is 6"
    assert changed["p"] == "a comes from n.value, which changed"
    (tmp_path / "a.png").write_bytes(b"two")
    assert reasons(engine, graph())["r"] == "the content of the file image changed"
    engine.device = "cuda:0"
    assert reasons(engine, graph())["w"] == "the device was cpu/float32, is cuda/float32"
    literal = reasons(engine, graph(p={"type": "Plus", "values": {"a": 1}}))["p"]
    assert literal == "a was linked, is 1"
    entry = engine.registry.nodes["Number"]
    altered = entry.type.model_copy(update={"code": "other", "version": 2})
    engine.registry.nodes["Number"] = Registered(altered, entry.function, None, False)
    assert reasons(engine, graph())["n"] == (
        "the declared version of the node was 1, is 2; "
        "the code of simple_nodes changed, or that of nodegraph.diffusion below it"
    )


def test_what_was_too_quick_to_store_is_said(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "READ_SECONDS", math.inf)  # a busy machine makes the quickest node slow
    (tmp_path / "a.png").write_bytes(b"one")
    engine.run(graph())
    engine.cache = ResultCache(disk=engine.cache.disk)  # as a later process has it
    assert "too quick to be worth storing" in reasons(engine, graph())["n"]


def test_each_workflow_is_compared_with_its_own_last_run(engine: Engine, tmp_path: Path) -> None:
    """Two workflows may use one name for their nodes."""
    (tmp_path / "a.png").write_bytes(b"one")
    slowly(engine.registry)
    engine.run(graph())
    small = Workflow.from_data(
        {"format": "nodegraph", "version": 1, "nodes": {"n": {"type": "Number", "values": {"value": 50}}}}
    )
    engine.run(small)
    assert reasons(engine, graph(n={"type": "Number", "values": {"value": 6}}))["n"] == "value was 5, is 6"
    assert reasons(engine, small.with_values({"n.value": 51})) == {"n": "value was 50, is 51"}
    # A node more is still the same workflow to its author.
    grown = graph(n={"type": "Number", "values": {"value": 7}}, extra={"type": "Number", "values": {"value": 8}})
    assert reasons(engine, grown)["n"] == "value was 5, is 7"
    assert reasons(engine, grown)["extra"] == "it has not run here under this name"


def test_what_is_needed_by_nothing_that_runs_is_not_called_for(engine: Engine) -> None:
    nodes = {
        "n": {"type": "Number"},
        "p": {"type": "Plus", "links": {"a": {"node": "n", "output": "value"}}},
        "save": {"type": "Write", "links": {"text": {"node": "p", "output": "value"}}},
    }
    workflow = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    engine.run(workflow)
    engine.cache = ResultCache(disk=engine.cache.disk)  # both were too quick to be stored
    idle = "not needed: what uses it is cached"
    assert reasons(engine, workflow) == {"n": idle, "p": idle, "save": "cached"}
    assert reasons(engine, workflow.with_values({"save.name": "x"}))["n"].startswith("nothing changed")


def test_the_command_tells_what_is_not_needed_from_what_is_not_cached(shell: Shell, tmp_path: Path) -> None:
    nodes = {
        "mask": {"type": "MaskFromShape", "values": {"width": 32, "height": 24}},
        "image": {"type": "MaskToImage", "links": {"mask": {"node": "mask", "output": "mask"}}},
        "save": {"type": "SaveImage", "links": {"image": {"node": "image", "output": "image"}}},
    }
    (tmp_path / "w.json").write_text(json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes}))
    assert shell("run", "w.json").returncode == 0
    # The quick nodes are kept or not, as long as they took; either way nothing needs them but what is cached.
    told = dict(line.split(": ", 1) for line in shell("explain-cache", "w.json").stdout.splitlines())
    assert told["save"] == "cached"
    assert {told["mask"], told["image"]} <= {"cached", "not needed: what uses it is cached"}
    cleared = shell("explain-cache", "w.json", "--cache-dir", "empty").stdout.splitlines()
    assert cleared == [f"{name}: not cached: it has not run here under this name" for name in nodes]


def test_files_that_stand_need_not_be_written_again(engine: Engine) -> None:
    nodes = {
        "n": {"type": "Number"},
        "save": {"type": "Write", "links": {"text": {"node": "n", "output": "value"}}},
    }
    workflow = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    (path,) = engine.run(workflow).files
    assert reasons(engine, workflow)["save"] == "cached"
    path.unlink()
    assert reasons(engine, workflow)["save"] == (
        f"nothing changed, but what it wrote is not, or no longer, in {engine.files.output}"
    )


def test_a_dtype_is_a_reason(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    slowly(engine.registry)
    engine.run(graph())
    engine.dtype = "bfloat16"
    assert reasons(engine, graph())["w"] == "the device was cpu/float32, is cpu/bfloat16"
    assert reasons(engine, graph())["n"] == "cached"
