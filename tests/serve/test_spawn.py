"""Starting workers with and without a nursery, and what becomes of them when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from serving import run
from traps import lay_traps

from nodegraph.home import Home
from nodegraph.serve.process import WorkerProcess, WorkerSettings
from nodegraph.serve.spawn import Spawner


def settings(home: Home) -> WorkerSettings:
    return WorkerSettings(
        home=home,
        cache_bytes=2**20,
        output=home.folder / "outputs",
        inputs=(),
        logs=home.folder / "logs",
        device="cpu",
        accelerators=(),
    )


async def started(spawner: Spawner, home: Home) -> tuple[WorkerProcess, asyncio.Task[None]]:
    """A worker that has told that it is ready."""
    process = await WorkerProcess.start(spawner, 0, settings(home), [])

    async def read() -> None:
        async for report, _ in process.reports():
            if report.get("report") == "ready":
                process.ready.set()

    reading = asyncio.create_task(read())
    await asyncio.wait_for(process.ready.wait(), 120)
    return process, reading


@pytest.mark.parametrize("nursery", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_worker_comes_up_and_its_end_is_explained(nursery: bool, home: Home) -> None:
    async def scenario() -> None:
        spawner = Spawner({}, nursery=nursery)
        process, reading = await started(spawner, home)
        assert os.getpgid(process.pid) == process.pid
        os.kill(process.pid, signal.SIGSEGV)
        await asyncio.wait_for(reading, 10)
        assert "SIGSEGV" in await process.reason()
        process, reading = await started(spawner, home)
        process.terminate()
        await asyncio.wait_for(reading, 10)
        assert "exit status 143" in await process.reason()
        if nursery:  # it dies with all that it has forked, and the next worker has a new one
            process, reading = await started(spawner, home)
            status = Path(f"/proc/{process.pid}/status").read_text()
            parent = int(status.partition("PPid:")[2].split()[0])
            assert parent != os.getpid()
            os.kill(parent, signal.SIGKILL)
            await asyncio.wait_for(reading, 10)
            assert "together with the one that it was forked from" in await process.reason()
            process, reading = await started(spawner, home)
            os.kill(process.pid, signal.SIGRTMIN + 1)  # which has no name
            await reading
            assert f"ended by signal {signal.SIGRTMIN + 1}" in await process.reason()
        await spawner.close()

    run(scenario())


def test_no_worker_imports_what_lies_in_the_current_folder(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_traps(tmp_path)
    monkeypatch.chdir(tmp_path)

    async def scenario() -> None:
        for nursery in (True, False):
            spawner = Spawner({}, nursery=nursery)
            process, reading = await started(spawner, home)
            process.kill()
            await reading
            assert "SIGKILL" in await process.reason()  # it is waited for
            await spawner.close()
            assert not (tmp_path / "SPRUNG").exists(), f"{nursery=}"

    run(scenario())
