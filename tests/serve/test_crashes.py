"""Real processes and real signals: workers that die, nodes that do not listen, a server that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from real_server import Running, running
from serving import Live, ended, give_plugin, live_service, run, serving, until, workflow

from nodegraph.carried import beside
from nodegraph.home import Home
from nodegraph.serve.errors import HomeTaken
from nodegraph.serve.printing import MAX_LOG_BYTES
from nodegraph.serve.service import Service
from nodegraph.workflow import Workflow

live = live_service


@pytest.fixture
def plugged(home: Home) -> Home:
    give_plugin(home)
    return home


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def pid_in(path: Path) -> int:
    """The process id that a node noted."""
    async with asyncio.timeout(60):
        while not (found := [line for line in lines(path) if line.startswith("pid ")]):
            await asyncio.sleep(0.02)
    return int(found[-1].split()[1])


def test_a_worker_killed_in_a_step_costs_one_attempt_and_finished_nodes_come_from_the_cache(
    live: Live, tmp_path: Path
) -> None:
    notes, first = tmp_path / "notes", tmp_path / "first"

    async def scenario() -> None:
        service = live.service
        restarts = service.workers()[0].restarts
        stream = service.events.subscribe(service.events.number)
        one = await service.submit(
            workflow(
                once=("Once", {"path": str(first)}),
                steps=("Steps", {"path": str(notes), "steps": 30, "after": ("once", "value")}),
            )
        )
        await until(service, one.id, lambda found: (found.nodes.get("steps") or NO).step in range(3, 20))
        os.kill(await pid_in(notes), signal.SIGKILL)
        died = time.monotonic()
        answer = await service.queue()
        assert time.monotonic() - died < 1  # the server goes on answering
        assert answer.running == [one.id] or answer.queued == [one.id]
        done = await ended(service, one.id)
        assert (done.status, done.attempts) == ("succeeded", 2)
        assert (done.nodes["once"].state, done.nodes["steps"].state) == ("cached", "finished")
        assert lines(first) == ["once 0"]
        assert service.workers()[0].restarts == restarts + 1
        batch = await anext(stream)
        retrying = [event for event in batch.text.split("{") if '"retrying"' in event]
        assert len(retrying) == 1
        assert "SIGKILL" in retrying[0]
        assert "'steps'" in retrying[0]

    class NO:
        step = None

    live.run(scenario())


def test_pictures_that_a_killed_worker_had_saved_are_known_and_not_saved_twice(live: Live, tmp_path: Path) -> None:
    async def scenario() -> None:
        service = live.service
        run = await service.submit(workflow(batch=("Batch", {"path": str(tmp_path / "notes")})))
        os.kill(await pid_in(tmp_path / "notes"), signal.SIGKILL)
        done = await ended(service, run.id)
        assert (done.status, done.attempts) == ("succeeded", 2)
        known = [(await service.gallery.artifact(one.id)).path for one in done.artifacts]
        assert [path.name for path in known] == [f"batch-000{number}.png" for number in range(1, 7)]
        assert set(service.outputs.glob("batch*")) == {file for path in known for file in (path, beside(path))}

    live.run(scenario())


@pytest.mark.parametrize(("how", "reason"), [("segfault", "SIGSEGV"), ("exit 7", "exit status 7")])
def test_a_node_that_takes_the_process_down_each_time_fails_after_three_attempts(
    how: str, reason: str, live: Live, tmp_path: Path
) -> None:
    async def scenario() -> None:
        service = live.service
        bad = await service.submit(
            workflow(
                once=("Once", {"path": str(tmp_path / "first")}),
                die=("Die", {"how": how, "after": ("once", "value")}),
            )
        )
        good = await service.submit(workflow(note=("Note", {"path": str(tmp_path / "notes"), "line": "next"})))
        failed = await ended(service, bad.id)
        assert (failed.status, failed.attempts) == ("failed", 3)
        assert failed.error is not None
        assert (failed.error.kind, failed.error.node) == ("worker", "die")
        assert reason in failed.error.message
        assert (failed.nodes["once"].state, failed.nodes["die"].state) == ("cached", "failed")
        assert (await ended(service, good.id)).status == "succeeded"
        log = await service.log_of(bad.id)
        assert "--- attempt 3 ---" in log
        if how == "segfault":
            assert "Segmentation fault" in log  # and which line of the plugin it was
            assert "fearsome.py" in log
        assert lines(tmp_path / "first") == ["once 0"]

    live.run(scenario())


def test_a_worker_that_is_killed_leaves_no_log_longer_than_the_limit(live: Live) -> None:
    async def scenario() -> None:
        one = await live.service.submit(workflow(flood=("FloodAndDie", {"megabytes": 30})))
        assert (await ended(live.service, one.id)).status == "failed"
        path = live.service.home.folder / "logs" / f"{one.id}.log"
        assert path.stat().st_size <= MAX_LOG_BYTES
        text = path.read_text()
        assert text.startswith("--- ")
        assert text.endswith("xend\n")  # of the last attempt
        assert await live.service.log_of(one.id) == text

    live.run(scenario())


def test_logs_that_a_killed_server_left_too_long_are_shortened_when_the_next_starts(plugged: Home) -> None:
    folder = plugged.folder / "logs"
    folder.mkdir(parents=True)
    sizes = {"run.log": 3 * MAX_LOG_BYTES, "short.log": MAX_LOG_BYTES, "server.log": 2 * MAX_LOG_BYTES}
    for name, size in sizes.items():
        with (folder / name).open("wb") as file:
            file.truncate(size - 5)
            file.seek(0, os.SEEK_END)
            file.write(b" end\n")

    async def scenario() -> None:
        async with serving(plugged):
            pass

    asyncio.run(scenario())
    left = {name: (folder / name).stat().st_size for name in sizes}
    assert left["run.log"] < MAX_LOG_BYTES
    assert (folder / "run.log").read_bytes().endswith(b" end\n")
    assert {**left, "run.log": sizes["run.log"]} == sizes


def test_cancelled_in_a_step_it_stops_within_one_and_keeps_its_worker(live: Live, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    async def scenario() -> None:
        service = live.service
        restarts = service.workers()[0].restarts
        one = await service.submit(workflow(steps=("Steps", {"path": str(notes), "steps": 200, "seconds": 0.2})))
        two = await service.submit(workflow(note=("Note", {"path": str(tmp_path / "next"), "line": "next"})))
        pid = await pid_in(notes)
        await until(service, one.id, lambda found: (found.nodes["steps"].step or 0) >= 2)
        before = len(lines(notes))
        answer = await service.cancel(one.id)
        assert answer.cancelling
        done = await ended(service, one.id)
        assert done.status == "cancelled"
        assert done.nodes["steps"].state == "cancelled"
        assert len(lines(notes)) - before <= 2  # the step that was running, and one that began meanwhile
        assert (await ended(service, two.id)).status == "succeeded"
        assert service.workers()[0].pid == pid
        assert service.workers()[0].restarts == restarts

    live.run(scenario())


def test_a_node_that_ignores_cancellation_is_gone_within_five_seconds(live: Live, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    async def scenario() -> None:
        service = live.service
        restarts = service.workers()[0].restarts
        one = await service.submit(workflow(deaf=("Deaf", {"path": str(notes)})))
        two = await service.submit(workflow(note=("Note", {"path": str(tmp_path / "next"), "line": "next"})))
        pid = await pid_in(notes)
        began = time.monotonic()
        await service.cancel(one.id)
        assert (await ended(service, one.id)).status == "cancelled"
        assert time.monotonic() - began < 5
        assert not alive(pid)
        assert not alive(int(lines(notes)[0].removeprefix("child ")))
        assert "ignored" in lines(notes)  # SIGTERM came first
        assert (await ended(service, two.id)).status == "succeeded"
        assert service.workers()[0].restarts == restarts + 1

    live.run(scenario())


def submit(server: Running, document: Workflow) -> str:
    """Have the server accept a run."""
    answer = server.ask("POST", "/api/runs", {"workflow": json.loads(document.dump())})
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def test_a_server_killed_with_fifty_queued_runs_finishes_each_once_in_order(plugged: Home, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def noted(more_than: int) -> None:
        deadline = time.monotonic() + 120
        while len(lines(notes)) <= more_than and time.monotonic() < deadline:
            time.sleep(0.01)

    with running(plugged.folder) as first:
        accepted = [
            submit(first, workflow(str(n), once=("Once", {"path": str(notes), "number": n}))) for n in range(50)
        ]
        noted(more_than=5)
        first.process.kill()
    assert len(lines(notes)) < 45  # most of them were still queued
    with running(plugged.folder) as second:  # and once more, somewhere in the middle
        noted(more_than=len(lines(notes)) + 5)
        second.process.kill()
    with running(plugged.folder) as third:
        deadline = time.monotonic() + 120
        runs = third.get("/api/runs?limit=1000").json["runs"]
        while any(one["status"] in ("queued", "running") for one in runs) and time.monotonic() < deadline:
            time.sleep(0.2)
            runs = third.get("/api/runs?limit=1000").json["runs"]
    assert {one["status"] for one in runs} == {"succeeded"}
    # Newest first, none lost, and nothing that nobody asked for.
    assert [one["id"] for one in runs] == accepted[::-1]
    # What a kill interrupted began again; what was finished was not: each number once, but for two kills.
    seen = [int(line.split()[1]) for line in lines(notes)]
    assert list(dict.fromkeys(seen)) == list(range(50))
    assert len(seen) <= 52
    assert seen == sorted(seen)


def test_no_worker_outlives_its_server(plugged: Home, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with running(plugged.folder) as server:
        submit(server, workflow(deaf=("Deaf", {"path": str(notes)})))
        pid = asyncio.run(pid_in(notes))
        assert alive(pid)
        server.process.kill()
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone kills where memory runs out")
def test_where_memory_runs_out_a_worker_goes_before_the_server(live: Live, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    async def scenario() -> None:
        one = await live.service.submit(workflow(steps=("Steps", {"path": str(notes), "steps": 1})))
        assert (await ended(live.service, one.id)).status == "succeeded"

    live.run(scenario())
    worker = lines(notes)[0].split()[1]
    if int(Path("/proc/self/oom_score_adj").read_text()) > 500:  # as in some containers
        pytest.skip("everything here is killed first")
    its, mine = (int(Path(f"/proc/{pid}/oom_score").read_text()) for pid in (worker, "self"))
    assert its > mine + 300  # of 1,000; what either holds counts for less


def test_a_second_server_on_one_home_is_refused_with_words(home: Home) -> None:
    async def scenario() -> None:
        async with serving(home):
            with pytest.raises(HomeTaken, match=rf"process {os.getpid()}.* runs on .*--home"):
                await Service(home, device="cpu").start()
        async with serving(home):  # and is welcome when the first has gone
            pass

    run(scenario())


@pytest.mark.slow
def test_of_runs_amid_kills_of_everything_each_ends_once_or_says_why(plugged: Home) -> None:
    draw = random.Random(7)
    accepted: dict[str, int] = {}

    def numbered(number: int) -> Workflow:
        text = {"text": f"run {number}", "name": f"file{number}"}
        slow = {"path": str(plugged.folder / "notes"), "steps": 5, "seconds": 0.05}
        return workflow(str(number), steps=("Steps", slow), write=("WriteText", text))

    def workers(server: Running) -> list[int]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = [
                one["pid"] for one in server.get("/api/system").json["workers"] if one["state"] in ("idle", "busy")
            ]
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError("no worker comes up")

    for _ in range(3):
        with running(plugged.folder, "--workers", "2") as server:
            for _ in range(8):
                accepted[submit(server, numbered(len(accepted)))] = len(accepted)
            for _ in range(5):
                os.kill(draw.choice(workers(server)), signal.SIGKILL)
                time.sleep(draw.choice([0.05, 0.2, 0.7]))
            server.process.kill()
    with running(plugged.folder, "--workers", "2") as server:
        deadline = time.monotonic() + 300
        while (state := server.get("/api/queue").json)["queued"] or state["running"]:
            assert time.monotonic() < deadline, state
            time.sleep(0.2)
        runs = {run["id"]: run for run in server.get("/api/runs?limit=1000").json["runs"]}
        assert runs.keys() == accepted.keys(), "every run that was accepted, and no other"
        for id, number in accepted.items():
            run = runs[id]
            if run["status"] == "failed":
                assert "given up" in run["error"]["message"]
                continue
            assert run["status"] == "succeeded"
            (artifact,) = run["artifacts"]
            assert server.get(artifact["content"]).body == f"run {number}".encode()
        assert server.faults() == []
