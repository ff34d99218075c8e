"""What the server does with runs whose workers end, or die, at a bad moment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from serving import run

from nodegraph.serve import dispatch
from nodegraph.serve.artifacts import Artifacts
from nodegraph.serve.database import Database
from nodegraph.serve.dispatch import Dispatcher
from nodegraph.serve.events import Events
from nodegraph.serve.nodetypes import NodeTypes
from nodegraph.serve.running import Running
from nodegraph.serve.store import Store, Submission
from nodegraph.serve.storefile import StoreFile


@asynccontextmanager
async def begun(folder: Path) -> AsyncIterator[tuple[Dispatcher, Running, Store, Events]]:
    """A dispatcher, and a run that it has handed to a worker."""
    database = Database()
    store = Store(await database(StoreFile, folder / "queue.sqlite"))
    artifacts = Artifacts(store.file, folder / "outputs", folder / "trash")
    events = Events(0, lambda _: None)
    types = NodeTypes(folder, (), lambda: None)
    dispatcher = Dispatcher(database, store, artifacts, events, types, folder / "logs")
    await database(store.submit, [Submission("{}", "", None, 0)], 10)
    claim = await dispatcher.claim(0)
    assert claim is not None
    running = Running(claim, 0)
    dispatcher.began(running)
    try:
        yield dispatcher, running, store, events
    finally:
        await database(store.file.close)
        database.close()


Puts = Callable[[Dispatcher, Running], Coroutine[Any, Any, None]]


@pytest.mark.parametrize(
    "put_back",
    [lambda to, one: to.lost(one, "it died"), lambda to, one: to.released(one)],
    ids=["lost", "released"],
)
def test_a_run_that_is_cancelled_while_it_is_put_back_is_cancelled(put_back: Puts, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with begun(tmp_path) as (dispatcher, running, store, events):
            assert store.cancel(running.id) == "running"  # and no supervisor has it any more
            await put_back(dispatcher, running)
            assert store.required(running.id)["status"] == "cancelled"
            assert await dispatcher.claim(0) is None
            told = await events.since(0)
            assert told is not None
            assert [event["event"] for event in told] == ["cancelled"]
            assert running.id not in dispatcher.running

    run(scenario())


def test_what_runs_printed_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LOGS_BYTES", 2500)
    logs = [tmp_path / "logs" / f"{letter * 20}.log" for letter in "abc"]
    logs[0].parent.mkdir()
    for age, log in enumerate([*logs, tmp_path / "logs" / "server.log"]):
        log.write_bytes(bytes(1000))
        os.utime(log, (1e9 - age, 1e9 - age))

    async def scenario() -> None:
        async with begun(tmp_path) as (dispatcher, running, _, _):
            await dispatcher.ended(running, {"status": "succeeded", "seconds": 1.0})

    run(scenario())
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"server.log", *(log.name for log in logs[:2])}


def test_the_log_of_a_run_that_goes_on_stays_however_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LOGS_BYTES", 500)
    (tmp_path / "logs").mkdir()

    async def scenario() -> None:
        async with begun(tmp_path) as (dispatcher, running, store, _):
            store.submit([Submission("{}", "", None, 0)], 10)
            claim = await dispatcher.claim(1)
            assert claim is not None
            dispatcher.began(Running(claim, 1))
            logs = [tmp_path / "logs" / f"{run}.log" for run in (claim.id, running.id)]
            for log in logs:
                log.write_bytes(bytes(1000))
            await dispatcher.ended(running, {"status": "succeeded", "seconds": 1.0})
            assert [log.is_file() for log in logs] == [True, False]

    run(scenario())


def test_a_run_ends_although_older_ones_cannot_be_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "HISTORY", 0)

    async def scenario() -> None:
        async with begun(tmp_path) as (dispatcher, running, _, events):
            (tmp_path / "logs" / f"{running.id}.log").mkdir(parents=True)  # cannot be removed as a file
            await dispatcher.ended(running, {"status": "succeeded", "seconds": 1.0})
            told = await events.since(0)
            assert told is not None
            assert [event["event"] for event in told] == ["finished"]

    run(scenario())
