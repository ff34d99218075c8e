"""The service with real workers: order, results, logs, and what users change."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import ended, give_plugin, run, serving, workflow

from nodegraph.home import Home


@pytest.fixture
def plugged(home: Home) -> Home:
    give_plugin(home)
    return home


def test_runs_go_in_order_and_write_artifacts_and_logs(plugged: Home, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    async def scenario() -> None:
        async with serving(plugged) as service:
            runs = [
                await service.submit(workflow(f"run {n}", note=("Note", {"path": str(notes), "line": str(n)})))
                for n in range(5)
            ]
            assert [one.position for one in runs] == [0, 1, 2, 3, 4]
            for one in runs:
                assert (await ended(service, one.id)).status == "succeeded"
            assert notes.read_text().split() == ["0", "1", "2", "3", "4"]
            text = await service.submit(
                workflow(write=("WriteText", {"text": "hello"}), say=("Say", {"text": "hi"}))
            )
            done = await ended(service, text.id)
            assert [artifact.name for artifact in done.artifacts] == ["text-0001.txt"]
            stored = await service.artifact(done.artifacts[0].id)
            assert stored.path.read_text() == "hello"
            log = await service.log_of(text.id)
            for who in ("python", "descriptor 1", "a child"):
                assert f"{who} says hi" in log

    run(scenario())
