"""A disk that is really full: what was accepted stays, what cannot be kept is refused with words."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import ended, give_plugin, run, serving, workflow

from nodegraph.home import Home
from nodegraph.serve.artifacts import Artifacts, describe
from nodegraph.serve.errors import DiskFull
from nodegraph.serve.service import Service
from nodegraph.serve.store import Store, Submission
from nodegraph.serve.storefile import StoreFile, StoreFull
from nodegraph.workflow import Frame, Workflow

BYTES = 24 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs the superuser")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Write until nothing fits any more."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (2**16, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail == 0


async def pause_for_ever(service: Service) -> None:
    """Change something on disk, again and again."""
    while True:
        await service.pause()


def large(document: Workflow) -> Workflow:
    """The same with megabytes of notes."""
    notes = [Frame(x=0, y=0, width=1, height=1, text="x" * 100_000) for _ in range(40)]
    return document.model_copy(update={"notes": notes})


@pytest.mark.parametrize("reserve", [pytest.param(0, marks=pytest.mark.slow), 4 * 2**20])
def test_nothing_accepted_is_forgotten_and_the_rest_is_refused(
    reserve: int, small_disk: Path, tmp_path: Path
) -> None:
    home = Home(small_disk / "home", tmp_path / "cache")
    give_plugin(home)
    notes = tmp_path / "notes"

    def numbered(number: int) -> Workflow:
        return workflow(note=("Note", {"path": str(notes), "line": str(number)}))

    async def scenario() -> None:
        async with serving(home, reserve=reserve) as service:
            await service.pause()
            accepted = [(await service.submit(numbered(number))).id for number in range(5)]
            fill(small_disk)
            with pytest.raises(DiskFull, match=r"not accepted.*disk of .*home.*make room"):
                await service.submit(large(numbered(99)))
            assert (await service.queue()).queued == accepted
            newest = service.events.number
            assert await service.events.since(newest) == []
        # What the server knew is on disk: the next one, on the same full disk, knows it too.
        (small_disk / "filler").unlink()
        async with serving(home, reserve=reserve) as service:
            assert (await service.queue()).queued == accepted
            fill(small_disk)
            with pytest.raises(DiskFull):
                await service.submit(large(numbered(99)))
            (small_disk / "filler").unlink()
            await service.resume()
            for one in accepted:
                assert (await ended(service, one)).status == "succeeded"
            assert (await service.submit(numbered(5))).position is not None
            assert service.problems == []

    run(scenario())
    assert notes.read_text().split()[:5] == ["0", "1", "2", "3", "4"]
    assert "99" not in notes.read_text()


def test_runs_that_end_on_a_full_disk_end_for_good_once_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    home = Home(small_disk / "home", tmp_path / "cache")
    give_plugin(home)

    async def scenario() -> None:
        async with serving(home, reserve=0) as service:
            steps = await service.submit(
                workflow(steps=("Steps", {"path": str(tmp_path / "steps"), "steps": 20, "seconds": 0.1}))
            )
            while not (tmp_path / "steps").exists():
                await asyncio.sleep(0.02)
            fill(small_disk)
            # Changes fit the log of the database for a while; then nothing at all does.
            with pytest.raises(DiskFull):
                await pause_for_ever(service)
            async with asyncio.timeout(60):
                while not service.problems:
                    await asyncio.sleep(0.05)
            assert "disk is full" in service.problems[0]
            assert (await service.run(steps.id)).status == "running"
            (small_disk / "filler").unlink()
            await service.resume()
            assert (await ended(service, steps.id)).status == "succeeded"
            assert service.problems == []

    run(scenario())


def refused(change: Callable[[str], object], names: list[str]) -> str:
    """The first of the names at which a full disk refuses: changes fit the log of the database for a while."""
    for name in names:
        try:
            change(name)
        except StoreFull:
            return name
    raise AssertionError("the disk is not full")


def test_what_cannot_be_deleted_or_restored_stays_where_it_is(small_disk: Path) -> None:
    store = Store(StoreFile(small_disk / "queue.sqlite"))
    outputs = small_disk / "outputs"
    outputs.mkdir()
    artifacts = Artifacts(store.file, outputs, small_disk / "trash" / "artifacts")
    run = store.submit([Submission("{}", "", None, 0)], 10)[0]
    assert run is not None
    for number in range(400):
        (outputs / f"{number}.txt").write_text(str(number))
    there = [{"path": str(path), **describe(path)} for path in outputs.iterdir()]
    known = {one.id: one.name for one in artifacts.add(run, None, there)}
    deleted = list(known)[:200]
    for one in deleted:
        artifacts.delete(one)
    fill(small_disk)
    one = refused(artifacts.restore, deleted)
    two = refused(artifacts.delete, [one.id for one in artifacts.page(1000, None)])
    assert (outputs / known[two]).read_text() == Path(known[two]).stem
    assert artifacts.get(two).path == outputs / known[two], "it is in the gallery as before"
    assert not (outputs / known[one]).exists()
    (small_disk / "filler").unlink()
    assert artifacts.restore(one).name == known[one]
    assert artifacts.get(one).path.read_text() == Path(known[one]).stem
    artifacts.delete(two)
    assert artifacts.restore(two).name == known[two]
    store.file.close()
