"""What belongs to the whole process is as it was after a plugin's import and after a run of its nodes."""

from __future__ import annotations

import locale
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nodegraph import run
from nodegraph.cache import ResultCache
from nodegraph.engine import Engine
from nodegraph.errors import NodeError
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.registry import Registry
from nodegraph.undisturbed import put_back, undisturbed, ways_of_torch
from nodegraph.workflow import Workflow

DISTURB = """
def disturb():
    import locale, os, signal, sys
    import torch
    os.chdir("/")
    locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")
    sys.setrecursionlimit(sys.getrecursionlimit() + 7)
    sys.stdout = open(os.devnull, "w")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
"""
NODE = '''
from nodegraph import node

@node(category="test", effect="always")
def Disturb() -> None:
    """Change what all share."""
    disturb()
'''
CARELESS = '''
import torch
from nodegraph import node

def ways() -> str:
    return f"{torch.get_default_dtype()} {torch.zeros(1).device} {torch.is_grad_enabled()}"

@node(category="test")
def Probe(after: str = "") -> str:
    """How torch computes."""
    return ways()

@node(category="test")
def Change(after: str = "", fails: bool = False) -> str:
    """Compute in another way, and leave it so."""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    if fails:
        raise ValueError("it fails")
    return ways()
'''
OF_TORCH = "torch's dtype, torch's device, whether torch records gradients"
ALL = (
    "the working folder, the locale, the limit of recursion, standard output, torch's dtype, torch's device, "
    "whether torch records gradients"
)


def shared() -> list[object]:
    return [
        Path.cwd(),
        locale.setlocale(locale.LC_ALL),
        sys.getrecursionlimit(),
        sys.stdout,
        signal.getsignal(signal.SIGINT),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.zeros(1).device,
    ]


def plugin(folder: Path, text: str) -> Registry:
    folder.mkdir()
    (folder / "bad.py").write_text(text)
    return Registry.load([folder], entry_points=False)


@pytest.mark.filterwarnings("ignore:unclosed file")
def test_a_plugin_that_changes_them_at_import_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = shared()
    with caplog.at_level(logging.WARNING):
        registry = plugin(tmp_path / "plugins", f"{DISTURB}\n{NODE}\ndisturb()\nraise OSError('and fails')")
    assert shared() == before
    assert f"bad.py changed {ALL}, what SIGINT does; that was put back" in caplog.text
    assert [problem.message for problem in registry.problems] == ["OSError: and fails"]


@pytest.mark.filterwarnings("ignore:unclosed file")
def test_nodes_that_change_them_change_them_for_their_own_run(
    tmp_path: Path, home: Home, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    registry = plugin(tmp_path / "plugins", DISTURB + NODE)
    engine = Engine(home=home, registry=registry, cache=ResultCache(), files=files, device="cpu")
    before = shared()
    handler = before[4]
    with caplog.at_level(logging.WARNING):
        run(
            Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": {"d": {"type": "Disturb"}}}),
            engine=engine,
        )
    signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
    assert shared() == before
    assert f"Disturb changed {OF_TORCH} for all nodes; that was put back" in caplog.text
    assert f"nodes of this run changed {ALL.removesuffix(f', {OF_TORCH}')}; that was put back" in caplog.text


def test_a_node_that_changes_how_torch_computes_changes_no_node_after_it(
    tmp_path: Path, home: Home, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    registry = plugin(tmp_path / "plugins", CARELESS)
    engine = Engine(home=home, registry=registry, cache=ResultCache(), files=files, device="cpu")
    nodes = {
        "before": {"type": "Probe"},
        "change": {"type": "Change", "links": {"after": {"node": "before", "output": "value"}}},
        "probe": {"type": "Probe", "links": {"after": {"node": "change", "output": "value"}}},
        "failing": {"type": "Change", "values": {"fails": True}},
    }
    workflow = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    as_ever = "torch.float32 cpu True"
    for _ in range(2):
        result = run(workflow, engine=engine, targets=["before", "change", "probe"])
        assert result["before"]["value"] == result["probe"]["value"] == as_ever
        assert result["change"]["value"] == "torch.float64 meta False"
    assert caplog.text.count("Change changed") == 1  # the second time it was cached
    with pytest.raises(NodeError, match="it fails"):
        run(workflow, engine=engine, targets=["failing"])
    assert caplog.text.count("Change changed") == 2
    assert "nodes of this run" not in caplog.text


def test_a_device_that_is_not_there_is_put_back_too() -> None:
    before = ways_of_torch()
    torch.set_default_device("xpu:7")
    assert ways_of_torch() != before
    assert put_back(before) == "torch's device"
    assert torch.zeros(1).device.type == "cpu"
    assert ways_of_torch() == before
    assert put_back(before) == ""


def test_what_has_gone_keeps_nothing_else_from_being_put_back(tmp_path: Path) -> None:
    here, gone = Path.cwd(), tmp_path / "gone"
    gone.mkdir()
    told: list[str] = []
    try:
        os.chdir(gone)
        with undisturbed(told.append):
            os.chdir("/")
            gone.rmdir()
            torch.set_default_dtype(torch.float64)
        assert torch.get_default_dtype() == torch.float32
    finally:
        os.chdir(here)
    assert told == ["the working folder, torch's dtype"]


def test_torch_that_is_imported_meanwhile_is_as_it_is_at_first() -> None:
    program = """
from nodegraph.undisturbed import undisturbed
with undisturbed(print):
    pass
with undisturbed(print):
    import torch
    torch.set_default_dtype(torch.float16)
    torch.set_grad_enabled(False)
print(torch.get_default_dtype(), torch.is_grad_enabled())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["torch's dtype, whether torch records gradients", "torch.float32 True"]


def test_torch_that_a_node_imports_has_not_changed() -> None:
    program = """
from nodegraph.undisturbed import put_back, ways_of_torch
before = ways_of_torch()
import torch
print([put_back(before)])
torch.set_default_dtype(torch.float16)
print([put_back(before)], torch.get_default_dtype())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['']", '["torch\'s dtype"] torch.float32']
