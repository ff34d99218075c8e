"""The catalog is written by a child, read without importing a node, and survives plugins that do not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from traps import lay_traps

from nodegraph import catalog as module
from nodegraph.catalog import load_catalog
from nodegraph.home import Home
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
    assert "Sampler" in load_catalog(tmp_path / "cache" / "below").nodes
    assert [record.getMessage()[:35] for record in caplog.records] == ["cannot keep the catalog of nodes, s"]
    assert (tmp_path / "cache").read_text() == "a file where the folder would be"


def test_what_lies_in_the_current_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_traps(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = load_catalog(tmp_path / "cache")
    assert found.problems == ()
    assert "Sampler" in found.nodes
    assert not (tmp_path / "SPRUNG").exists()


def test_a_catalog_that_lacks_nodes_of_ours_is_told_of_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "torch.py").write_text("raise ImportError('not the real one')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    lacking = load_catalog(tmp_path / "cache")
    assert "Sampler" not in lacking.nodes
    assert "Text" in lacking.nodes
    told = caplog.messages
    assert len(told) == len(lacking.problems)
    assert "the nodes of nodegraph.nodes.sampling are missing: ImportError: not the real one; is the" in "\n".join(
        told
    )
    assert not list(tmp_path.glob("cache/*"))
    monkeypatch.delenv("PYTHONPATH")
    assert "Sampler" in load_catalog(tmp_path / "cache").nodes
    assert len(list(tmp_path.glob("cache/*"))) == 1


def test_a_changed_plugin_makes_another_catalog_and_one_that_takes_the_process_down_costs_a_message(
    home: Home,
) -> None:
    home.plugins.mkdir()
    plugin = home.plugins / "mine.py"
    plugin.write_text(GOOD)
    assert "Answer" in load_catalog(home.cache, [home.plugins]).nodes
    plugin.write_text(GOOD.replace("Answer", "Reply"))
    changed = load_catalog(home.cache, [home.plugins])
    assert "Reply" in changed.nodes
    assert "Answer" not in changed.nodes
    plugin.write_text("import os\nos._exit(7)")
    innocent = home.plugins / "innocent.py"
    innocent.write_text(GOOD)
    left = load_catalog(home.cache, [home.plugins])
    assert left.nodes == {name: kind for name, kind in changed.nodes.items() if name != "Reply"}
    assert left.plugins_left_out
    assert [problem.origin for problem in left.problems] == [str(innocent), str(plugin)]
    other, guilty = (problem.message for problem in left.problems)
    assert guilty.startswith("importing ended with exit status 7")
    assert other == f"left out for {plugin}: {guilty}"


def test_what_was_left_out_is_tried_again_after_an_hour_and_not_by_every_command(home: Home) -> None:
    home.plugins.mkdir()
    tries = home.plugins / "tries"
    fatal = home.plugins / (os.fsdecode(b"fatal\xe9.py") if sys.platform == "linux" else "fatal.py")
    fatal.write_text(f"import os\nopen({str(tries)!r}, 'a').write('.')\nos._exit(7)")
    first = load_catalog(home.cache, [home.plugins])
    assert "Sampler" in first.nodes
    assert first.plugins_left_out == f"{first.problems[0].origin}: {first.problems[0].message}"
    assert load_catalog(home.cache, [home.plugins]) == first
    assert tries.read_text() == "."
    for path in home.cache.glob("catalog-*.json"):
        os.utime(path, (path.stat().st_mtime - module.AGAIN_SECONDS - 1,) * 2)
    assert load_catalog(home.cache, [home.plugins]) == first
    assert load_catalog(home.cache, [home.plugins]) == first
    assert tries.read_text() == ".."
    for path in home.cache.glob("catalog-*.json"):  # by a clock that was set back since
        os.utime(path, (path.stat().st_mtime + module.AGAIN_SECONDS + 600,) * 2)
    assert load_catalog(home.cache, [home.plugins]) == first
    assert tries.read_text() == "..."


def test_a_plugin_that_never_ends_is_waited_for_so_long_and_no_longer(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_catalog(home.cache)  # so that no other import has to be as quick
    home.plugins.mkdir()
    (home.plugins / "endless.py").write_text("while True:\n    __import__('time').sleep(3600)")
    monkeypatch.setattr(module, "IMPORT_SECONDS", 2)
    found = load_catalog(home.cache, [home.plugins])
    assert "Sampler" in found.nodes
    (problem,) = found.problems
    assert problem.origin.endswith("endless.py")
    assert problem.message.endswith("importing did not end within 2 s")


def test_a_link_to_nothing_in_a_plugin_keeps_no_node_away(home: Home) -> None:
    (home.plugins / "pack").mkdir(parents=True)
    (home.plugins / "pack" / "__init__.py").write_text(GOOD)
    before = load_catalog(home.cache, [home.plugins])
    (home.plugins / "pack" / ".#helper.py").symlink_to("somebody@machine.4242")  # as an editor locks a file
    assert load_catalog(home.cache, [home.plugins]) == before
    (home.plugins / "pack" / "helper.py").symlink_to("nothing.py")
    (home.plugins / "gone.py").symlink_to("nothing.py")
    found = load_catalog(home.cache, [home.plugins])
    assert set(found.nodes) == set(before.nodes)
    assert "Answer" in found.nodes
    assert [Path(problem.origin).name for problem in found.problems] == ["nothing.py"]


def test_a_plugin_that_leaves_a_thread_behind_keeps_nobody_waiting(home: Home) -> None:
    home.plugins.mkdir()
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
    (home.plugins / "mine.py").write_text(thread + GOOD)
    found = load_catalog(home.cache, [home.plugins])
    assert found.problems == ()
    assert "Answer" in found.nodes


def test_a_damaged_catalog_is_made_again_and_of_many_the_newest_are_kept(home: Home) -> None:
    whole = load_catalog(home.cache)
    for path in home.cache.glob("catalog-*.json"):
        path.write_text("{")
    older = [home.cache / f"catalog-{number}.json" for number in range(9)]
    for age, path in enumerate(older, start=1):
        path.write_text("{}")
        os.utime(path, (path.stat().st_mtime - 1000 * age,) * 2)
    assert load_catalog(home.cache) == whole
    kept = set(home.cache.glob("catalog-*.json"))
    assert len(kept) == module.KEPT
    assert not kept & set(older[module.KEPT :])
    for path in older:
        path.unlink(missing_ok=True)
    assert load_catalog(home.cache) == whole


UNCLEAN = {
    "message.py": 'raise ValueError("surrogate \\ud800 here")',
    "speechless.py": "class Mute(Exception):\n    def __str__(self):\n        raise KeyError\nraise Mute",
    "doc.py": GOOD.replace("Answer", "Other").replace("The answer.", "The \\ud800."),
    os.fsdecode(b"latin\xe9.py"): GOOD.replace("Answer", "Latin"),
}


@pytest.mark.parametrize("name", UNCLEAN)
def test_a_plugin_whose_words_are_no_text_costs_a_message_and_not_the_others(name: str, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "good.py").write_text(GOOD)
    try:
        (plugins / name).write_text(UNCLEAN[name], "utf-8")
    except OSError:
        pytest.skip("this file system takes nothing but text")
    found = load_catalog(tmp_path / "cache", [plugins])
    assert not found.plugins_left_out
    assert "Answer" in found.nodes
    assert len(found.problems) == (0 if "Latin" in found.nodes else 1)
    for problem in found.problems:
        assert problem.origin == str(plugins / name)
        assert re.search(r"\\ud800 here|Mute: it cannot be said.*KeyError|Other holds text", problem.message)
