"""Installed plugins are found through real package metadata."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodegraph.registry import Registry

MODULE = '''
from nodegraph import node

@node(category="mine")
def Installed() -> int:
    """Come from a package."""
    return 7
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with two installed distributions, one of them broken."""
    for name, points in (("sunny_pack", "sunny = sunny_pack"), ("rainy_pack", "rainy = rainy_pack:missing")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[nodegraph.nodes]\n{points}\n")
    (tmp_path / "sunny_pack.py").write_text(MODULE)
    (tmp_path / "rainy_pack.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("sunny_pack", "rainy_pack"):
        sys.modules.pop(name, None)


def test_entry_points_bring_nodes_and_broken_ones_a_problem(site: Path) -> None:
    registry = Registry.load()
    assert registry.nodes["Installed"].function() == 7
    assert [problem.origin for problem in registry.problems] == ["entry point rainy"]
    assert "missing" in registry.problems[0].message
