"""What a user sees: the second run of a workflow, in another process, does nothing and is quick."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conftest import ROOT

if TYPE_CHECKING:
    from conftest import Shell

WORKFLOW = ROOT / "workflows" / "text_to_image.json"
QUICK = ["--set", "schedule.steps=3", "--set", "grid.scale=8", "--events"]


def told(done: subprocess.CompletedProcess[str], kind: str) -> list[str]:
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [entry["node"] for entry in lines if entry["event"] == kind and "node" in entry]


def test_a_second_process_executes_nothing_and_a_late_change_only_what_follows(
    shell: Shell, tmp_path: Path
) -> None:
    first = shell("run", WORKFLOW, *QUICK)
    assert "sampler" in told(first, "started")
    second = shell("run", WORKFLOW, *QUICK)
    assert told(second, "started") == []
    assert told(second, "cached") == ["save"]
    renamed = shell("run", WORKFLOW, *QUICK, "--set", "save.name=other")
    assert told(renamed, "started") == ["save"]
    copy = tmp_path / "elsewhere" / "copy.json"
    copy.parent.mkdir()
    shutil.copy(WORKFLOW, copy)
    assert told(shell("run", copy, *QUICK), "started") == []
    again = shell("run", WORKFLOW, *QUICK, "--no-cache", "--output", "fresh")
    assert "sampler" in told(again, "started")
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
