"""What a user sees: the second run of a workflow, in another process, does nothing and is quick."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import typer
from conftest import ROOT

from nodegraph.cache import DiskTier, ResultCache
from nodegraph.cache.blobs import digest_of_bytes
from nodegraph.cli_results import cache_clear, cache_prune
from nodegraph.engine import Engine
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow

if TYPE_CHECKING:
    from conftest import Shell

WORKFLOW = ROOT / "workflows" / "text_to_image.json"
QUICK = ["--set", "schedule.steps=3", "--set", "grid.scale=8", "--events"]


def told_by(done: subprocess.CompletedProcess[str], kind: str) -> list[str]:
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [entry["node"] for entry in lines if entry["event"] == kind and "node" in entry]


def test_a_second_process_executes_nothing_and_a_late_change_only_what_follows(
    shell: Shell, tmp_path: Path
) -> None:
    first = shell("run", WORKFLOW, *QUICK)
    assert "sampler" in told_by(first, "started")
    second = shell("run", WORKFLOW, *QUICK)
    assert told_by(second, "started") == []
    assert told_by(second, "cached") == ["save"]
    renamed = shell("run", WORKFLOW, *QUICK, "--set", "save.name=other")
    assert told_by(renamed, "started") == ["save"]
    copy = tmp_path / "elsewhere" / "copy.json"
    copy.parent.mkdir()
    shutil.copy(WORKFLOW, copy)
    assert told_by(shell("run", copy, *QUICK), "started") == []
    again = shell("run", WORKFLOW, *QUICK, "--no-cache", "--output", "fresh")
    assert "sampler" in told_by(again, "started")
    files = [tmp_path / "out" / "text_to_image-0001.png", tmp_path / "fresh" / "text_to_image-0001.png"]
    assert files[0].read_bytes() == files[1].read_bytes()  # two fresh processes, identical pictures


def test_a_repeat_imports_neither_torch_nor_nodes(shell: Shell, tmp_path: Path) -> None:
    assert shell("run", WORKFLOW, *QUICK).returncode == 0
    code = (
        "import sys\nfrom nodegraph.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'nodegraph.nodes.sampling'} & set(sys.modules), 'imported too much'"
    )
    environment = {**os.environ, "NODEGRAPH_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code, "run", str(WORKFLOW), *QUICK]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)


def test_four_processes_run_the_same_workflow_at_once(shell: Shell, tmp_path: Path) -> None:
    """Each gives the picture, and in the end each blob is there once, whole, and every file is named."""
    workflow = tmp_path / "w.json"
    lighter = {"model.checkpoint": "analytic://field?size=64", "schedule.steps": 20, "prompt.style": ""}
    Workflow.load(WORKFLOW).with_values(lighter).save(workflow)
    assert shell("check", workflow).returncode == 0  # writes the catalog once for all
    environment = {**os.environ, "NODEGRAPH_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "nodegraph", "run", str(workflow), "--output", f"out{number}"],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    told = [child.communicate(timeout=280) for child in children]
    assert [child.returncode for child in children] == [0] * 4, told
    assert not [line for _, err in told for line in err.splitlines() if "cache" in line and "cached" not in line]
    pictures = {Path(tmp_path / out.strip()).read_bytes() for out, _ in told}
    assert len(pictures) == 1
    folder = tmp_path / "home" / "cache"
    tier = DiskTier(folder)
    named = {row[0]: row[1] for row in tier._query("SELECT digest, bytes FROM blobs")}
    files = {path.stem: path for path in (folder / "blobs").glob("*/*")}
    assert files.keys() == named.keys()  # no temporary file, none twice, none unnamed
    assert len(named) >= 3
    for digest, path in files.items():
        assert digest_of_bytes(path.read_bytes()) == digest
    assert tier.usage().bytes == sum(named.values()) == sum(path.stat().st_size for path in files.values())
    # From another working directory, with the files where they are: nothing is left to do.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [
        sys.executable,
        "-m",
        "nodegraph",
        "run",
        str(workflow),
        "--output",
        str(tmp_path / "out0"),
        "--events",
    ]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert told_by(done, "started") == []


def test_another_dtype_is_another_result(home: Home, files: Files, registry: Registry) -> None:
    workflow = Workflow.load(WORKFLOW).with_values({"schedule.steps": 2, "blank.batch_size": 1})
    pixels, ran = {}, {}
    for dtype in ("float32", "bfloat16", "float32"):
        engine = Engine(
            home=home, registry=registry, cache=ResultCache(disk=DiskTier(home.cache)), files=files, device="cpu",
            dtype=dtype,
        )  # fmt: skip
        result = engine.run(workflow, targets=["decode"])
        ran[dtype] = result.ran
        pixels.setdefault(dtype, []).append(result["decode"]["image"].tensor)
    assert {"sampler", "decode"} <= {*ran["bfloat16"]}
    assert "sampler" not in ran["float32"]  # of the second time
    assert torch.equal(*pixels["float32"])
    difference = (pixels["float32"][0] - pixels["bfloat16"][0]).abs()
    assert 0 < float(difference.mean()) < 0.02  # half the bits give nearly the same picture


PLUGIN = '''
from nodegraph import node

@node(category="mine"{version})
def Slow(value: int = 0) -> int:
    """Take a moment."""
    import time
    time.sleep(0.05)
    return value + {offset}

@node(category="mine", effect="always")
def Show(value: int) -> None:
    """Show it."""
    print("shown", value)
'''


@pytest.mark.slow
def test_changed_source_version_or_file_is_a_miss(shell: Shell, tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "mine.py"
    plugin.parent.mkdir()
    nodes: dict[str, Any] = {
        "slow": {"type": "Slow"},
        "show": {"type": "Show", "links": {"value": {"node": "slow", "output": "value"}}},
    }
    (tmp_path / "w.json").write_text(json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes}))

    def run(offset: int, version: str = "") -> str:
        plugin.write_text(PLUGIN.format(offset=offset, version=version))
        done = shell("run", "w.json", "--plugins", plugin.parent)
        assert done.returncode == 0, done.stderr
        return done.stdout + ("cached" if "slow: cached" in done.stderr else "ran")

    assert run(1) == "shown 1\nran"
    assert run(1) == "shown 1\ncached"
    assert run(2) == "shown 2\nran"
    assert run(1) == "shown 1\ncached"
    assert run(1, ", version=2") == "shown 1\nran"


def test_cache_commands(shell: Shell) -> None:
    assert "0 results" in shell("cache", "info").stdout
    assert shell("run", WORKFLOW, *QUICK).returncode == 0
    assert "0 results" not in shell("cache", "info").stdout
    assert "removed" in shell("cache", "prune", "--size", "0.000001").stdout
    shell("cache", "clear")
    assert "0 results" in shell("cache", "info").stdout


@pytest.mark.parametrize("remove", [cache_clear, partial(cache_prune, 0.0)])
def test_what_another_process_keeps_from_being_removed_is_said_to_be_there(
    remove: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tier = DiskTier(tmp_path)
    tier.put("key", {"value": "x" * 1_000_000}, 9.0)
    tier.close()
    monkeypatch.setattr("nodegraph.cache.index.WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(typer.Exit) as ended:
            remove(tmp_path)
    assert ended.value.exit_code == 1
    told = capsys.readouterr()
    assert told.out == "removed 0 results, 0.0 MB\n"
    assert told.err == "1 results could not be removed, 1.0 MB; try again later\n"
    remove(tmp_path)
    assert capsys.readouterr().out == "removed 1 results, 1.0 MB\n"
