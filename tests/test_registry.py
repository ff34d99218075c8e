"""Nodes are found, broken plugins are shown and survived, changed sources are seen."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from simple_nodes import Number

from nodegraph import node
from nodegraph.engine import Engine
from nodegraph.errors import DeclarationError
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.registry import STOOD_ON, Registry
from nodegraph.sources import source_digest
from nodegraph.workflow import NodeSpec, Workflow

PLUGIN = '''
"""A plugin."""
from nodegraph import node

@node(category="mine")
def Answer() -> int:
    """The answer."""
    return {answer}
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    return plugins


def loaded(folder: Path) -> Registry:
    registry = Registry()
    registry._folders = (folder,)
    registry.refresh()
    return registry


def test_the_built_in_nodes_are_found(registry: Registry) -> None:
    assert {"LoadModel", "Encode", "Schedule", "Sampler", "VAEDecode", "MaskInpaint"} <= set(registry.nodes)
    assert registry.problems == ()
    assert list(registry.catalog.nodes) == sorted(registry.nodes)


def test_plugins_come_from_files_and_packages(folder: Path) -> None:
    (folder / "one.py").write_text(PLUGIN.format(answer=42))
    (folder / "two").mkdir()
    (folder / "two" / "__init__.py").write_text("from .inner import *\n")
    (folder / "two" / "inner.py").write_text(PLUGIN.format(answer=1).replace("Answer", "Other"))
    (folder / "_private.py").write_text("raise SystemExit")
    before = list(sys.path)
    registry = loaded(folder)
    assert set(registry.nodes) == {"Answer", "Other"}
    assert registry.nodes["Answer"].function() == 42
    assert sys.path == before


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f(:", "SyntaxError"),
        ("import no_such_module", "no_such_module"),
        ("raise SystemExit(3)", "SystemExit"),
        ("from nodegraph import node\n@node(category='x')\ndef Bad(a) -> int:\n    'Doc.'\n", "parameter a"),
    ],
)
def test_a_broken_plugin_is_shown_and_stops_nobody(folder: Path, source: str, words: str) -> None:
    (folder / "a_broken.py").write_text(source)
    (folder / "b_good.py").write_text(PLUGIN.format(answer=42))
    registry = loaded(folder)
    assert set(registry.nodes) == {"Answer"}
    (problem,) = registry.problems
    assert problem.origin.endswith("a_broken.py")
    assert words in problem.message


def test_a_name_that_is_taken_is_refused(folder: Path) -> None:
    (folder / "a.py").write_text(PLUGIN.format(answer=1))
    (folder / "b.py").write_text(PLUGIN.format(answer=2))
    registry = loaded(folder)
    assert registry.nodes["Answer"].function() == 1
    (problem,) = registry.problems
    assert problem.message == f"Answer exists already, in {folder / 'a.py'}; rename one of the two nodes"


def test_a_changed_plugin_is_seen_on_the_next_run(folder: Path, home: Home, tmp_path: Path) -> None:
    path = folder / "one.py"
    path.write_text(PLUGIN.format(answer=1))
    engine = Engine(home=home, registry=loaded(folder), files=Files(output=tmp_path), device="cpu")
    workflow = Workflow(nodes={"a": NodeSpec(type="Answer")})
    assert engine.run(workflow)["a"] == {"value": 1}
    assert engine.run(workflow).cached == ["a"]
    path.write_text(PLUGIN.format(answer=22))
    result = engine.run(workflow)
    assert result["a"] == {"value": 22}
    assert result.ran == ["a"]
    path.write_text("def f(:")
    engine.registry.refresh()
    assert "Answer" not in engine.registry.nodes
    assert engine.registry.problems
    path.unlink()
    engine.registry.refresh()
    assert engine.registry.problems == ()


def test_a_badly_declared_node_leaves_the_good_ones_of_its_file(folder: Path) -> None:
    bad = '@node\ndef Bad(x) -> int:\n    """No type."""\n    return 1\n'
    last = '@node\ndef Last() -> int:\n    """The last."""\n    return 3\n'
    (folder / "some.py").write_text(PLUGIN.format(answer=1) + bad + last)
    registry = loaded(folder)
    assert set(registry.nodes) == {"Answer", "Last"}
    assert [one.message for one in registry.problems] == [
        "DeclarationError: Bad, parameter x: no type annotation; add one, it is the input's type"
    ]
    with pytest.raises(DeclarationError):  # who declares it elsewhere is told at once
        exec("from nodegraph import node\n" + bad)
    (folder / "some.py").write_text(PLUGIN.format(answer=1))
    registry.refresh()
    assert registry.problems == ()


def test_only_what_a_module_defines_is_registered() -> None:
    module = ModuleType("somewhere.else")
    module.Number = Number  # type: ignore[attr-defined]  # imported, not defined there
    registry = Registry()
    registry.add(module)
    assert registry.nodes == {}


def test_the_code_digest_covers_a_whole_plugin_package(folder: Path) -> None:
    package = folder / "two"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import *\n")
    (package / "inner.py").write_text(PLUGIN.format(answer=1))
    (package / "helper.py").write_text("x = 1\n")
    first = loaded(folder).nodes["Answer"].type.code
    (package / "helper.py").write_text("x = 2\n")
    assert loaded(folder).nodes["Answer"].type.code != first


def test_modules_of_a_plugin_package_import_each_other_and_count_for_all_its_nodes(folder: Path) -> None:
    package = folder / "a.pack"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import helper\nfrom .sub.inner import Answer\n")
    (package / "helper.py").write_text("ANSWER = 1\n")
    (package / "sub" / "__init__.py").write_text("")
    inner = PLUGIN.format(answer="helper.ANSWER").replace("import node\n", "import node\nfrom .. import helper\n")
    (package / "sub" / "inner.py").write_text(inner)
    (folder / "__init__.py").write_text("")  # of no package: the plugins in it are strangers
    registry = loaded(folder)
    assert registry.problems == ()
    first = registry.nodes["Answer"]
    assert first.function() == 1
    (folder / "stranger.py").write_text("x = 1\n")
    registry.refresh()
    assert registry.nodes["Answer"].type.code == first.type.code
    (package / "helper.py").write_text("ANSWER = 2\n")
    registry.refresh()
    assert registry.nodes["Answer"].function() == 2
    assert registry.nodes["Answer"].type.code != first.type.code


def test_the_code_digest_covers_what_all_nodes_compute_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "one.py").write_text(PLUGIN.format(answer=1))
    decoder = folder.parent / "decoder.py"
    decoder.write_text("ROUNDS = 'up'\n")
    monkeypatch.setattr("nodegraph.registry.STOOD_ON", (*STOOD_ON, decoder))
    first = loaded(folder).nodes["Answer"].type.code
    decoder.write_text("ROUNDS = 'down'\n")
    assert loaded(folder).nodes["Answer"].type.code != first


def test_source_digests_depend_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    first = source_digest(tmp_path / "a.py")
    (tmp_path / "b.py").write_text("1")
    assert source_digest(tmp_path / "b.py") != first
    (tmp_path / "a.py").write_text("2")
    assert source_digest(tmp_path / "a.py") != first


def test_decorating_registers_nothing(registry: Registry) -> None:
    before = set(registry.nodes)

    @node(category="x")
    def Fresh() -> int:
        """Doc."""
        return 1

    assert set(registry.nodes) == before
