"""The service with real workers: order, results, logs, and what users change."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from serving import Live, ended, give_plugin, live_service, run, serving, until, workflow

from nodegraph.errors import DocumentError
from nodegraph.home import Home
from nodegraph.pictures import decode
from nodegraph.serve import printing, spawn, storefile, supervisor
from nodegraph.serve.errors import (
    HomeUnusable,
    NoSuchArtifact,
    NoSuchRun,
    NotQueued,
    QueueDamaged,
    QueueFull,
)
from nodegraph.serve.models import QueueState
from nodegraph.serve.service import Service
from nodegraph.serve.storefile import StoreFile
from nodegraph.workflow import Frame, Workflow

ROOT = Path(__file__).parent.parent.parent
live = live_service


def noting(path: Path, line: object) -> Workflow:
    return workflow(str(line), note=("Note", {"path": str(path), "line": str(line)}))


async def told(service: Service, after: int, run_id: str) -> list[dict[str, Any]]:
    """The events of a run."""
    found = await service.events.since(after, 100_000)
    assert found is not None
    return [event for event in found if event.get("run") == run_id]


def test_runs_go_in_order_and_every_event_says_what_happened(live: Live, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    async def scenario() -> None:
        service, after = live.service, live.service.events.number
        await service.pause()
        runs = [await service.submit(noting(notes, n)) for n in range(5)]
        assert [one.position for one in runs] == [0, 1, 2, 3, 4]
        assert await service.queue() == QueueState(paused=True, running=[], queued=[one.id for one in runs])
        await service.resume()
        for one in runs:
            assert (await ended(service, one.id)).status == "succeeded"
        assert notes.read_text().split() == ["0", "1", "2", "3", "4"]
        kinds = [(event["event"], event.get("node")) for event in await told(service, after, runs[0].id)]
        assert kinds == [
            ("queued", None), ("started", None), ("started", "note"), ("finished", "note"), ("finished", None)
        ]  # fmt: skip

    live.run(scenario())


def test_a_picture_run_gives_an_artifact_with_its_receipt_and_a_repeat_shows_the_same(live: Live) -> None:
    document = Workflow.load(ROOT / "workflows" / "text_to_image.json")
    quick = document.with_values({"schedule.steps": 3})

    async def scenario() -> None:
        service, after = live.service, live.service.events.number
        done = await ended(service, (await service.submit(quick)).id)
        assert done.status == "succeeded", done.error
        (picture,) = done.artifacts
        assert (picture.media_type, picture.node, picture.run) == ("image/png", "save", done.id)
        stored = await service.gallery.artifact(picture.id)
        _, height, width = decode(stored.path.read_bytes()).shape
        assert (picture.width, picture.height) == (width, height)
        assert json.loads(stored.receipt or "")["node"] == "save"
        assert done.nodes["sampler"].step == done.nodes["sampler"].total == 3
        assert done.total == len(done.nodes)
        finished = [event for event in await told(service, after, done.id) if event.get("node") == "save"][-1]
        assert finished["artifacts"] == [picture.model_dump(mode="json")]
        again = await ended(service, (await service.submit(quick)).id)
        assert {state.state for state in again.nodes.values()} == {"cached"}
        assert again.artifacts == [picture]
        assert (await service.gallery.page()).artifacts[0] == picture
        await service.gallery.delete(picture.id)
        assert not stored.path.exists()
        with pytest.raises(NoSuchArtifact):
            await service.gallery.artifact(picture.id)
        once_more = await ended(service, (await service.submit(quick)).id)
        assert once_more.nodes["save"].state == "finished"  # the file was gone, so it was written again
        assert len(once_more.artifacts) == 1

    live.run(scenario())


def test_everything_that_is_printed_is_in_the_log_of_its_run(live: Live) -> None:
    async def scenario() -> None:
        service = live.service
        ids = [(await service.submit(workflow(say=("Say", {"text": text})))).id for text in ("one", "two")]
        for run_id, text, other in zip(ids, ("one", "two"), ("two", "one"), strict=True):
            await ended(service, run_id)
            log = await service.log_of(run_id)
            for who in ("python", "descriptor 1", "a child"):
                assert f"{who} says {text}" in log
            assert other not in log

    live.run(scenario())


@pytest.mark.parametrize("pause", [0.1, 0.0])
def test_a_log_is_bounded(pause: float, live: Live) -> None:
    async def scenario() -> None:
        one = await live.service.submit(workflow(flood=("Flood", {"megabytes": 40, "pause": pause})))
        assert (await ended(live.service, one.id)).status == "succeeded"
        log = await live.service.log_of(one.id)
        assert len(log) < printing.MAX_LOG_BYTES + 200
        assert "the log ends here" in log[-200:]

    live.run(scenario())


def test_of_a_log_that_a_killed_worker_left_too_long_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
        file.seek(0, os.SEEK_END)
        file.write(b"Segmentation fault\n")
    log = printing.read_log(path)
    assert len(log) < printing.MAX_LOG_BYTES + 400
    assert re.match("--- 201,32[0-9],[0-9]{3} bytes before this are left out ---\n", log)
    assert log.endswith("Segmentation fault\n")


def test_what_the_server_says_is_cut_by_nobody(tmp_path: Path) -> None:
    """Between runs a worker prints where its server does: perhaps into a file that somebody keeps."""
    path = tmp_path / "server.log"
    with path.open("wb") as file:
        file.truncate(printing.MAX_LOG_BYTES + 1)
        file.seek(0, os.SEEK_END)
        code = "from nodegraph.serve.printing import bound_log; bound_log(); print('and on')"
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert path.stat().st_size == printing.MAX_LOG_BYTES + 1 + len("and on\n")


def test_failures_say_who_and_why(live: Live) -> None:
    async def scenario() -> None:
        service = live.service
        node = await ended(service, (await service.submit(workflow(die=("Die", {"how": "by words"})))).id)
        assert node.error is not None
        assert (node.status, node.error.kind, node.error.node, node.error.message) == (
            "failed", "node", "die", "by words",
        )  # fmt: skip
        assert "fearsome.py" in await service.log_of(node.id)  # the traceback, for who writes plugins
        assert node.error.raised is not None
        assert node.error.raised.exception == "ValueError"
        assert node.error.raised.at.startswith("fearsome.py, line ")
        assert node.error.raised.traceback.startswith("Traceback")
        assert str(service.home.folder) not in node.error.raised.traceback
        leaving = await ended(service, (await service.submit(workflow(die=("Die", {"how": "system exit"})))).id)
        assert leaving.error is not None
        assert (leaving.status, leaving.attempts, leaving.error.message) == ("failed", 1, "SystemExit: 3")
        assert (leaving.error.kind, leaving.error.node) == ("node", "die")
        stopped = await ended(service, (await service.submit(workflow(die=("Die", {"how": "interrupt"})))).id)
        assert stopped.error is not None
        assert (stopped.status, stopped.attempts, stopped.error.kind) == ("failed", 1, "node")
        assert (stopped.error.node, stopped.error.message) == ("die", "interrupted (KeyboardInterrupt)")
        unknown = await ended(service, (await service.submit(workflow(lost=("NoSuchNode", {})))).id)
        assert unknown.error is not None
        assert (unknown.error.kind, unknown.error.problems[0].node) == ("refused", "lost")
        assert "NoSuchNode" in unknown.error.message
        assert service.workers()[0].state in ("idle", "busy")

    live.run(scenario())


def test_the_waiting_can_be_reordered_and_cancelled(live: Live, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    async def scenario() -> None:
        service, after = live.service, live.service.events.number
        await service.pause()
        a, b, c, d = [(await service.submit(noting(notes, name))).id for name in "abcd"]
        assert (await service.prioritise(d, 5)).position == 0
        assert (await service.move(c, before=a)).position == 1
        assert (await service.cancel(b)).status == "cancelled"
        assert (await service.queue()).queued == [d, c, a]
        with pytest.raises(NotQueued, match="cancelled"):
            await service.move(b, before=None)
        with pytest.raises(NoSuchRun):
            await service.move(a, before="nosuchrun")
        with pytest.raises(NoSuchRun):
            await service.cancel("nosuchrun")
        await service.cancel(b)  # twice is no error, and is told once
        await service.resume()
        await ended(service, a)
        assert notes.read_text().split() == ["d", "c", "a"]
        assert (await service.cancel(a)).status == "succeeded"
        assert [event["event"] for event in await told(service, after, b)] == ["queued", "cancelled"]
        await service.pause()
        waiting = [(await service.submit(noting(notes, "never"))).id for _ in range(3)]
        assert await service.clear() == 3
        await service.resume()
        assert {(await service.run(one)).status for one in waiting} == {"cancelled"}
        assert "never" not in notes.read_text()

    live.run(scenario())


def test_pictures_are_made_only_while_somebody_looks(live: Live, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    async def scenario() -> None:
        service = live.service
        unseen = await service.submit(workflow(show=("Show", {"path": str(notes), "steps": 40})))
        await ended(service, unseen.id)
        assert notes.read_text() == "shown 0\n"
        seen = await service.submit(workflow(show=("Show", {"path": str(notes), "steps": 150})))
        await until(service, seen.id, lambda found: "show" in found.nodes)
        looking = service.events.subscribe(previews=True)
        frames = []
        while not frames:
            frames += (await asyncio.wait_for(anext(looking), 20)).previews
        looking.close()
        assert frames[0][4:].startswith(seen.id.encode() + b"show" + b"\xff\xd8")  # JPEG
        await ended(service, seen.id)
        assert notes.read_text().splitlines()[-1] != "shown 0"

    live.run(scenario())


def test_a_worker_that_gives_no_sign_of_life_is_replaced(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", 3.0)

    async def scenario() -> None:
        service = live.service
        one = await service.submit(
            workflow(steps=("Steps", {"path": str(tmp_path / "n"), "steps": 10, "seconds": 0.05}))
        )
        await until(service, one.id, lambda found: "steps" in found.nodes)
        pid = service.workers()[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        done = await ended(service, one.id)
        assert (done.status, done.attempts) == ("succeeded", 2)
        assert service.workers()[0].pid != pid

    live.run(scenario())


def test_a_run_whose_client_went_away_meanwhile_runs_all_the_same(live: Live, tmp_path: Path) -> None:
    async def scenario() -> None:
        service, after = live.service, live.service.events.number
        before = service._acceptor._writing
        client = asyncio.create_task(service.submit(noting(tmp_path / "notes", "hung up")))
        while service._acceptor._writing is before:  # until the write has begun
            await asyncio.sleep(0)
        client.cancel()
        async with asyncio.timeout(30):
            while not (tmp_path / "notes").exists():
                await asyncio.sleep(0.02)
        (run,) = (await service.runs(limit=1)).runs
        kinds = [event["event"] for event in await told(service, after, run.id)]
        assert kinds[:2] == ["queued", "started"]
        await ended(service, run.id)

    live.run(scenario())


def test_a_thread_that_a_node_left_behind_does_not_speak_for_the_next_run(live: Live, tmp_path: Path) -> None:
    async def scenario() -> None:
        service = live.service
        first = await service.submit(workflow(haunt=("Haunt", {"path": str(tmp_path / "ghost")})))
        second = await service.submit(
            workflow(steps=("Steps", {"path": str(tmp_path / "n"), "steps": 20, "seconds": 0.02}))
        )
        assert (await ended(service, first.id)).nodes["haunt"].state == "finished"
        assert set((await ended(service, second.id)).nodes) == {"steps"}
        assert len((tmp_path / "ghost").read_text().split()) > 10  # it did talk meanwhile

    live.run(scenario())


def test_of_a_node_that_forks_one_process_goes_on(live: Live, tmp_path: Path) -> None:
    async def scenario() -> None:
        service = live.service
        twin = await service.submit(workflow(twin=("Twin", {"path": str(tmp_path / "twin")})))
        after = await service.submit(workflow(steps=("Steps", {"path": str(tmp_path / "n"), "steps": 20})))
        assert (await ended(service, twin.id)).status == "succeeded"
        assert set((await ended(service, after.id)).nodes) == {"steps"}
        assert (tmp_path / "n").read_text().count("step ") == 20
        status = Path(f"/proc/{(tmp_path / 'twin').read_text().strip()}/status")
        assert not status.exists() or "State:\tZ" in status.read_text()

    live.run(scenario())


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ('{"report":"end","run":"of somebody else"}', "it told the end of a run that it does not have"),
        (
            '{"report":"end","run":"RUN","status":"failed"}',
            "the end of its run cannot be taken in: KeyError: 'error'",
        ),
    ],
)
def test_an_end_that_is_no_end_of_the_run_costs_the_process_and_no_run_is_left_running(
    end: str, why: str, live: Live, tmp_path: Path
) -> None:
    async def scenario() -> None:
        service = live.service
        forged = await service.submit(workflow(forge=("Forge", {"end": end})))
        after = await service.submit(workflow(steps=("Steps", {"path": str(tmp_path / "n"), "steps": 1})))
        failed = await ended(service, forged.id)
        assert failed.error is not None
        assert (failed.status, failed.attempts, failed.error.node) == ("failed", 3, "forge")
        assert why in failed.error.message
        assert (await ended(service, after.id)).status == "succeeded"

    live.run(scenario())


def test_a_full_queue_says_when_to_try_again(home: Home, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(home, max_queued=2) as service:
            await service.pause()
            for _ in range(2):
                await service.submit(noting(tmp_path / "n", 1))
            with pytest.raises(QueueFull, match="2 runs wait") as refusal:
                await service.submit(noting(tmp_path / "n", 1))
            assert refusal.value.retry_after > 0

    run(scenario())


def test_a_document_that_no_worker_would_read_is_not_accepted(live: Live) -> None:
    notes = [Frame(x=0, y=0, width=1, height=1, text="x" * 100_000)] * 340
    large = workflow(say=("Say", {"text": "a"})).model_copy(update={"notes": notes})

    async def scenario() -> None:
        with pytest.raises(DocumentError, match=r"the document comes to 34,\d\d\d,\d\d\d bytes; 33,554,432 is"):
            await live.service.submit(large)
        assert (await live.service.queue()).queued == []

    live.run(scenario())


def test_closing_puts_the_running_back_and_numbers_never_go_back(home: Home, tmp_path: Path) -> None:
    give_plugin(home)
    notes = tmp_path / "notes"

    async def scenario() -> None:
        async with serving(home) as service:
            one = await service.submit(workflow(steps=("Steps", {"path": str(notes), "steps": 40})))
            await until(service, one.id, lambda found: (found.nodes.get("steps") or Missing).step is not None)
            number = service.events.number
        async with serving(home) as service:
            assert service.events.number > number
            assert await service.events.since(number, 10) is None  # a client of the old one begins anew
            done = await ended(service, one.id)
            assert (done.status, done.attempts) == ("succeeded", 1)

    class Missing:
        step = None

    run(scenario())


def test_a_damaged_queue_is_refused_with_words_and_left_as_it_is(home: Home) -> None:
    (home.folder / "queue.sqlite").write_bytes(b"not a database, but somebody's file " * 100)

    async def scenario() -> None:
        for _ in range(2):  # and the lock is let go
            with pytest.raises(QueueDamaged, match=r"queue.sqlite.*Move the file away"):
                await Service(home, device="cpu").start()

    run(scenario())
    assert (home.folder / "queue.sqlite").read_bytes().startswith(b"not a database")


def test_a_home_that_cannot_be_locked_is_not_called_taken(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))  # as some network drives do

    monkeypatch.setattr(fcntl, "flock", refused)

    async def scenario() -> None:
        with pytest.raises(HomeUnusable, match=rf"cannot lock {home.folder}: No locks available; give another"):
            await Service(home, device="cpu").start()

    run(scenario())


@pytest.mark.parametrize("why", ["locked", "newer", "unable to open"])
def test_a_queue_that_is_only_not_to_be_had_is_not_called_damaged(
    why: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storefile, "WAIT_SECONDS", 0.1)
    path = home.folder / "queue.sqlite"
    if why == "unable to open":
        path.mkdir()
    else:
        other = StoreFile(path).database
        if why == "locked":
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN IMMEDIATE")
        else:
            other.execute("PRAGMA user_version = 99")

    async def scenario() -> None:
        with pytest.raises(HomeUnusable, match=rf"cannot use the queue in .*queue.sqlite: .*{why}") as refused:
            await Service(home, device="cpu").start()
        assert "Move the file away" not in str(refused.value)

    run(scenario())
    if why != "unable to open":
        other.close()


def test_the_end_of_a_run_tells_no_receipt_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large grid they come to more than one report may be long."""
    monkeypatch.setattr(spawn, "MAX_LINE", 10_000)
    give_plugin(home)
    texts = {f"write{n}": ("WriteText", {"text": f"text {n}"}) for n in range(40)}

    async def scenario() -> None:
        async with serving(home) as service:
            for _ in range(2):  # the second finds all of them written
                done = await ended(service, (await service.submit(workflow(**texts))).id)
                assert done.status == "succeeded", done.error
                assert done.attempts == 1
                stored = [await service.gallery.artifact(one.id) for one in done.artifacts]
                assert [json.loads(one.receipt or "")["node"] for one in stored] == list(texts)
            assert sum(len(one.receipt or "") for one in stored) > 10_000

    run(scenario())


def test_a_document_is_written_out_beside_the_event_loop(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = Workflow.dump
    threads = []

    def seen(document: Workflow) -> str:
        threads.append(threading.current_thread().name)
        return dump(document)

    monkeypatch.setattr(Workflow, "dump", seen)

    async def scenario() -> None:
        await ended(live.service, (await live.service.submit(workflow(say=("Say", {"text": "it"})))).id)

    live.run(scenario())
    assert len(threads) == 1
    assert threads != ["live service"], "a large one takes a second, in which nobody else is answered"


@pytest.mark.slow
def test_two_workers_run_two_at_once(home: Home, tmp_path: Path) -> None:
    give_plugin(home)

    async def scenario() -> None:
        async with serving(home, workers=2) as service:
            runs = [
                await service.submit(workflow(steps=("Steps", {"path": str(tmp_path / str(n)), "steps": 60})))
                for n in range(2)
            ]
            for one in runs:
                await until(service, one.id, lambda found: found.status == "running")
            assert len((await service.queue()).running) == 2
            assert {worker.run for worker in service.workers()} == {one.id for one in runs}

    run(scenario())


@pytest.mark.slow
def test_a_plugin_that_takes_its_process_down_at_import_costs_a_message(home: Home, tmp_path: Path) -> None:
    give_plugin(home)
    evil = home.plugins / "evil.py"
    evil.write_text("import os\nos._exit(9)\n")

    async def scenario() -> None:
        async with serving(home) as service:
            await asyncio.wait_for(service.catalog_loaded.wait(), 60)
            assert "LoadModel" in service.catalog.nodes
            assert "Note" not in service.catalog.nodes
            assert any("evil.py" in problem.origin for problem in service.catalog.problems)
            one = await service.submit(workflow(number=("Integer", {"value": 1})))
            assert (await ended(service, one.id)).status == "succeeded"
            stream = service.events.subscribe()
            evil.unlink()
            async with asyncio.timeout(60):
                while '"nodes"' not in (await anext(stream)).text:
                    pass
            assert "Note" in service.catalog.nodes
            two = await service.submit(noting(tmp_path / "notes", "there"))
            assert (await ended(service, two.id)).status == "succeeded"

    run(scenario())


@pytest.mark.slow
def test_the_server_process_imports_neither_torch_nor_nodes(home: Home, tmp_path: Path) -> None:
    give_plugin(home)
    script = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from serving import ended, serving, workflow
from nodegraph.errors import DocumentError
from nodegraph.home import Home

async def main():
    async with serving(Home(Path(sys.argv[1]), Path(sys.argv[1]) / "cache")) as service:
        one = await service.submit(workflow(note=("Note", {"path": sys.argv[3], "line": "x"})))
        assert (await ended(service, one.id)).status == "succeeded"
    found = {name for name in sys.modules if name.startswith(("torch", "nodegraph.nodes.", "nodegraph_plugin_"))}
    assert not found, found

asyncio.run(main())
"""
    command = [sys.executable, "-c", script, str(home.folder), str(Path(__file__).parent), str(tmp_path / "notes")]
    subprocess.run(command, check=True, timeout=120)
