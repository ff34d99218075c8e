"""The watch over plugins goes on whatever becomes of their folders, and does not try in vain without end."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from serving import run

from nodegraph import catalog
from nodegraph.home import Home
from nodegraph.serve import nodetypes
from nodegraph.serve.nodetypes import NodeTypes


async def watched(types: NodeTypes, *states: Callable[[], bool]) -> None:
    """Watch until each of some states has come about, one after the other."""
    watching = asyncio.create_task(types.watch())
    async with asyncio.timeout(60):
        for state in states:
            while not state():
                assert not watching.done(), watching
                await asyncio.sleep(0.01)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


def test_a_folder_that_cannot_be_looked_at_does_not_end_the_watch(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodetypes, "LOOK_SECONDS", 0.01)
    plugins = tmp_path / "plugins"
    plugins.symlink_to("x" * 300)  # longer than a name may be
    types = NodeTypes(home.cache, [plugins], lambda: None)

    def refused() -> bool:
        if types.problem is None:
            return False
        plugins.unlink()
        plugins.mkdir()
        (plugins / "_unused.py").write_text("")
        monkeypatch.setattr(nodetypes, "AGAIN_SECONDS", 0.0)
        types._again = 0.0
        return True

    run(watched(types, refused, types.loaded.is_set))
    assert types.problem is None
    assert "LoadModel" in types.catalog.nodes


def test_a_catalog_that_cannot_be_made_is_tried_again_after_a_while_and_where_sources_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, looks = tmp_path / "tries", 0
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\necho tried >> '{tries}'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    monkeypatch.setattr(nodetypes, "LOOK_SECONDS", 0.01)
    look = nodetypes._stamps
    (tmp_path / "plugins").mkdir()

    def counted(folders: list[Path]) -> dict[str, tuple[int, int]]:
        nonlocal looks
        looks += 1
        return look(folders)

    monkeypatch.setattr(nodetypes, "_stamps", counted)
    types = NodeTypes(tmp_path / "cache", [tmp_path / "plugins"], lambda: None)

    def tried(times: int) -> bool:
        return tries.is_file() and len(tries.read_text().splitlines()) >= times

    def changed() -> bool:
        if looks < 10:
            return False
        assert not tried(3)
        (tmp_path / "plugins" / "new.py").write_text("")
        return True

    def later() -> bool:
        monkeypatch.setattr(nodetypes, "AGAIN_SECONDS", 0.0)
        types._again = 0.0
        return True

    # There are two tries at a time: with plugins, and without.
    run(watched(types, lambda: tried(2), changed, lambda: tried(4), later, lambda: tried(6)))
    assert types.problem is not None
    assert "exit status 1" in types.problem


def test_plugins_that_were_left_out_are_tried_again_by_a_server_that_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodetypes, "LOOK_SECONDS", 0.01)
    home.plugins.mkdir()
    mended = home.plugins / "mended"
    (home.plugins / "mine.py").write_text(
        f"import os\nif not os.path.exists({str(mended)!r}): os._exit(7)\n"
        "from nodegraph import node\n\n@node(category='mine')\n"
        'def Answer() -> int:\n    "The answer."\n    return 42\n'
    )
    types = NodeTypes(home.cache, [home.plugins], lambda: None)

    def left_out() -> bool:
        if not types.loaded.is_set():
            return False
        assert types.catalog.plugins_left_out
        assert types._again > time.monotonic() + catalog.AGAIN_SECONDS - 600
        mended.touch()
        for path in home.cache.glob("catalog-*.json"):  # an hour goes by
            os.utime(path, (path.stat().st_mtime - catalog.AGAIN_SECONDS - 1,) * 2)
        types._again = 0.0
        return True

    run(watched(types, left_out, lambda: "Answer" in types.catalog.nodes))
    assert not types.catalog.plugins_left_out
