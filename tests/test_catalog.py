"""The catalog is written by a child, read without importing a node, and survives plugins that do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nodegraph import catalog as module
from nodegraph.catalog import load_catalog
from nodegraph.registry import Registry

GOOD = '''
from nodegraph import node

@node(category="mine")
def Answer() -> int:
    """The answer."""
    return 42
'''


def test_the_stored_catalog_equals_the_registry_and_imports_nothing(tmp_path: Path, registry: Registry) -> None:
    code = (
        "import sys; from pathlib import Path; from nodegraph.catalog import load_catalog\n"
        f"found = load_catalog(Path({str(tmp_path)!r}))\n"
        "assert not {'torch', 'nodegraph.nodes.images'} & set(sys.modules), 'imported'\n"
        "print(found.model_dump_json())"
    )
    for _ in range(2):
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found = module.Catalog.model_validate_json(child.stdout)
        assert found.nodes == registry.catalog.nodes
    assert len(list(tmp_path.glob("catalog-*.json"))) == 1


def test_where_the_catalog_cannot_be_kept_the_nodes_are_there_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert "Sampler" in load_catalog(tmp_path / "cache").nodes
    assert "Sampler" in load_catalog(tmp_path / "cache" / "below").nodes
    assert [record.getMessage()[:35] for record in caplog.records] == ["cannot keep the catalog of nodes, s"] * 2
    assert (tmp_path / "cache").read_text() == "a file where the folder would be"


def test_a_changed_plugin_makes_another_catalog(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "mine.py").write_text(GOOD)
    assert "Answer" in load_catalog(tmp_path / "cache", [plugins]).nodes
    (plugins / "mine.py").write_text(GOOD.replace("Answer", "Reply"))
    assert "Reply" in load_catalog(tmp_path / "cache", [plugins]).nodes


@pytest.mark.parametrize(
    ("source", "words"),
    [("import os\nos._exit(7)", "exit status 7"), ("import time\ntime.sleep(60)", "did not end within")],
)
def test_a_plugin_that_takes_the_process_down_costs_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "deadly.py").write_text(source)
    if "sleep" in source:
        monkeypatch.setattr(module, "IMPORT_SECONDS", 12)
    found = load_catalog(tmp_path / "cache", [plugins])
    assert "Sampler" in found.nodes
    (problem,) = found.problems
    assert problem.origin.endswith("deadly.py")
    assert words in problem.message


def test_a_damaged_catalog_is_made_again(tmp_path: Path) -> None:
    load_catalog(tmp_path)
    (path,) = tmp_path.glob("catalog-*.json")
    path.write_text("{")
    assert "Sampler" in load_catalog(tmp_path).nodes
