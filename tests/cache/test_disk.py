"""The disk tier: shared, bounded, whole after any death, and never the reason that a run fails."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import pytest
import torch

from nodegraph.cache import DiskTier, MemoryTier, ResultCache, results
from nodegraph.cache.history import RUNS_REMEMBERED
from nodegraph.cache.index import VERSION
from nodegraph.diffusion.values import Image


def result(seed: int = 0, size: int = 64) -> dict[str, Image]:
    return {"image": Image(torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed)))}


def blobs(folder: Path) -> list[Path]:
    return sorted((folder / "blobs").glob("*/*"))


def test_a_result_outlives_the_tier_that_stored_it(tmp_path: Path) -> None:
    DiskTier(tmp_path).put("k", result(), 1.0)
    other = DiskTier(tmp_path)
    assert "k" in other
    found = other.get("k")
    assert found is not None
    assert torch.equal(found["image"].tensor, result()["image"].tensor)
    assert other.get("missing") is None


def test_another_process_sees_it_after_refresh(tmp_path: Path) -> None:
    first, second = DiskTier(tmp_path), DiskTier(tmp_path)
    first.put("k", {"n": 3}, 1.0)
    assert "k" not in second
    second.refresh()
    assert second.get("k") == {"n": 3}


def test_equal_content_is_stored_once(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path)
    tier.put("a", result(), 1.0)
    tier.put("b", result(), 1.0)
    assert len(blobs(tmp_path)) == 1
    assert tier.usage().results == 2
    assert tier.usage().bytes == blobs(tmp_path)[0].stat().st_size


def test_what_loads_slower_than_it_computes_is_not_stored(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path)
    tier.put("trivial", {"n": 1}, 1e-5)
    tier.put("large and quick", result(size=1024), 2e-3)
    tier.put("slow", result(size=1024), 1.0)
    tier.put("no stored form", {"n": object()}, 1.0)
    assert tier.usage().results == 1
    assert "slow" in tier


@pytest.mark.parametrize("damage", ["truncated", "flipped", "replaced", "missing", "empty"])
def test_a_damaged_blob_is_a_miss_told_once_and_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    tier = DiskTier(tmp_path)
    tier.put("k", result(), 1.0)
    tier.put("other", {"n": 1}, 1.0)
    (blob,) = (path for path in blobs(tmp_path) if path.stat().st_size > 10_000)
    content = bytearray(blob.read_bytes())
    if damage == "truncated":
        blob.write_bytes(content[:-100])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        blob.write_bytes(content)
    elif damage == "replaced":
        blob.write_bytes(next(path for path in blobs(tmp_path) if path != blob).read_bytes())
    elif damage == "missing":
        blob.unlink()
    else:
        blob.write_bytes(b"")
    fresh = DiskTier(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert fresh.get("k") is None
        assert fresh.get("k") is None
    assert len(caplog.records) == 1
    assert "damaged" in caplog.text
    assert not blob.exists()
    assert "k" not in DiskTier(tmp_path)
    assert fresh.get("other") == {"n": 1}
    fresh.put("k", result(), 1.0)
    assert fresh.get("k") is not None


def test_the_bound_holds_under_a_stream_of_writes(tmp_path: Path) -> None:
    budget = 500_000
    tier = DiskTier(tmp_path, budget)
    for seed in range(40):
        tier.put(f"k{seed}", result(seed), 1.0)
        assert sum(path.stat().st_size for path in blobs(tmp_path)) <= budget
    assert 5 <= tier.usage().results <= 11
    tier.put("larger than all", result(size=512), 1.0)
    assert "larger than all" not in tier
    assert tier.usage().results >= 5


def test_what_is_cheap_for_its_size_goes_first(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 250_000)
    tier.put("dear", result(1), 100.0)
    tier.put("cheap", result(2), 0.1)
    for seed in range(3, 8):
        tier.put(f"middling {seed}", result(seed), 10.0)
    assert "dear" in tier
    assert "cheap" not in tier


def test_a_clock_that_was_set_back_does_not_hinder_making_room(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 250_000)
    tier.put("of tomorrow", result(1), 100.0)
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as index, index:
        index.execute("UPDATE results SET used = ?", (time.time() + 5e8,))
    for seed in range(2, 9):
        tier.put(f"k{seed}", result(seed), 1.0)
    assert "of tomorrow" in tier
    assert tier.usage().bytes <= 250_000


def test_a_clock_that_was_set_back_does_not_hinder_remembering_runs(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path)
    for number in range(RUNS_REMEMBERED):
        tier.remember([(f"n{number}", "Number", "then")])
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as index, index:
        index.execute("UPDATE runs SET used = used + 3e8")
    tier.remember([("new", "Number", "now")])
    assert tier.remembered({"new": "Number"}) == {"new": "now"}
    assert tier.remembered({"n0": "Number"}) == {}
    assert tier.remembered({"n1": "Number"}) == {"n1": "then"}


def test_of_equal_cost_the_larger_goes_first(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 700_000)
    for number in range(4):
        tier.put(f"small {number}", result(number, size=32), 1.0)  # 12 kB each
    tier.put("large", result(9, size=200), 1.0)  # 480 kB
    tier.put("large and dear", result(10, size=130), 60.0)  # 203 kB
    tier.put("one more", result(11, size=64), 5.0)
    assert "large" not in tier
    assert "large and dear" in tier
    assert all(f"small {number}" in tier for number in range(4))


def test_clear_and_prune(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path)
    for seed in range(4):
        tier.put(f"k{seed}", result(seed), 1.0 + seed)
    tier.prune(110_000)
    assert tier.usage().results == 2
    assert "k3" in tier
    tier.clear()
    assert tier.usage().results == 0
    assert blobs(tmp_path) == []


def test_an_index_of_a_newer_version_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    DiskTier(tmp_path).put("k", {"n": 1}, 1.0)
    index = sqlite3.connect(tmp_path / "index.sqlite")
    index.execute(f"PRAGMA user_version = {VERSION + 1}")
    index.close()
    before = (tmp_path / "index.sqlite").read_bytes()
    with caplog.at_level(logging.WARNING):
        tier = DiskTier(tmp_path)
        tier.put("other", {"n": 2}, 1.0)
        assert tier.get("k") is None
        tier.refresh()
    assert len(caplog.records) == 1
    assert "newer nodegraph" in caplog.text
    assert (tmp_path / "index.sqlite").read_bytes() == before


def test_an_index_that_is_no_index_degrades_to_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"this is not a database, and long enough to be looked at" * 50)
    with caplog.at_level(logging.WARNING):
        cache = ResultCache(MemoryTier(), DiskTier(tmp_path))
        cache.put("k", {"n": 1}, 1.0)
        assert cache.get("k") == {"n": 1}
        cache.refresh()
    assert len(caplog.records) == 1


def test_a_folder_that_cannot_be_made_degrades_to_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        cache = ResultCache(MemoryTier(), DiskTier(tmp_path / "file" / "cache"))
        cache.put("k", {"n": 1}, 1.0)
        assert cache.get("k") == {"n": 1}
    assert len(caplog.records) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_degrades_to_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with caplog.at_level(logging.WARNING):
            cache = ResultCache(MemoryTier(), DiskTier(small))
            stored = cache.disk
            assert stored is not None

            def kept(seeds: range) -> int:
                for seed in seeds:
                    cache.put(f"k{seed}", result(seed, size=200), 1.0)
                assert all(cache.get(f"k{seed}") is not None for seed in seeds)
                return sum(f"k{seed}" in stored for seed in seeds)

            assert 10 <= kept(range(50)) < 50  # half a megabyte each
            assert shutil.disk_usage(small).free >= 1_000_000, "others have room, too"
            assert caplog.records == []
            stored.clear()
            filler = small / "of another program"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(2**16))
            assert kept(range(50, 60)) == 0
            assert len(caplog.records) == 1
            assert "is full; new results stay in memory" in caplog.text
            filler.unlink()
            assert kept(range(60, 64)) > 0, "there is room again"
        assert len(caplog.records) == 1
        assert not list(small.glob("blobs/*/.tmp-*"))
    finally:
        subprocess.run(["umount", "-l", small], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_folder_is_read_and_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        tier = DiskTier(folder)
        tier.put("k", {"n": 1}, 1.0)
        tier.close()
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        with caplog.at_level(logging.WARNING):
            cache = ResultCache(MemoryTier(), DiskTier(folder))
            assert cache.get("k") == {"n": 1}
            for name in ("a", "b"):
                cache.put(name, {"n": 2}, 1.0)
                assert cache.get(name) == {"n": 2}
        assert len(caplog.records) == 1
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_what_cannot_be_stored_never_fails_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = [
        10**5000,
        torch.eye(3).to_sparse(),
        torch.empty(2, device="meta"),
        Inner.Nested(1),
        Level.HIGH,
        {1: 2},
    ]
    with caplog.at_level(logging.WARNING):
        cache = ResultCache(MemoryTier(), DiskTier(tmp_path))
        for number, value in enumerate(values):
            cache.put(f"k{number}", {"value": value}, 1.0)
            assert cache.get(f"k{number}") == {"value": value} or isinstance(value, torch.Tensor)
        assert DiskTier(tmp_path).usage().results <= 1  # a sparse tensor may have a stored form
    assert not caplog.records


class Inner:
    """Holds a type that cannot be found again by its name."""

    @dataclass(frozen=True)
    class Nested:
        """Nested."""

        number: int


class Level(IntEnum):
    """An int that is more than an int."""

    HIGH = 3


def test_a_broken_index_has_a_usage_and_a_folder_as_blob_is_a_miss(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "index.sqlite").write_bytes(b"not a database at all, and long enough to be read as one" * 40)
    assert DiskTier(broken).usage().results == 0
    tier = DiskTier(tmp_path / "good")
    tier.put("k", {"n": 1}, 1.0)
    (blob,) = blobs(tmp_path / "good")
    blob.unlink()
    blob.mkdir()
    assert tier.get("k") is None
    tier.put("other", {"n": 2}, 1.0)
    assert tier.get("other") == {"n": 2}


def test_the_files_of_an_effect_are_known_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / "a.txt"
    path.parent.mkdir()
    path.write_text("x")
    monkeypatch.setattr(results, "WRITTEN_KNOWN", 2)
    cache = ResultCache(disk=DiskTier(tmp_path / "c"))
    for key in ("k", "l", "m", "m"):
        cache.wrote(key, path.parent, (path,))
    assert len(cache._written) == 2
    assert cache.written("k", path.parent) == (path,), "what a process of days forgets is still on the disk"
    other = ResultCache(disk=DiskTier(tmp_path / "c"))
    assert other.written("k", path.parent) == (path,)
    assert other.written("k", tmp_path / "elsewhere") is None
    path.write_text("longer")
    assert other.written("k", path.parent) is None


WRITER = """
import sys
from pathlib import Path
from nodegraph.cache import DiskTier
tier = DiskTier(Path(sys.argv[1]), int(sys.argv[4]))
print("ready", flush=True)
for i in range(int(sys.argv[2]), int(sys.argv[3])):
    tier.put(f"k{i}", {"text": f"{i} " * 20_000}, 1.0)
"""


def test_a_sweep_leaves_what_a_living_writer_holds_and_knows_a_used_number_for_dead(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", STAGER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    staged = Path(child.stdout.readline().strip())
    machine, pid, start, rest = staged.name.removeprefix(".tmp-").split("-", 3)
    used_up = staged.with_name(f".tmp-{machine}-{os.getpid()}-1-{rest}")  # this process started at another tick
    elsewhere = staged.with_name(f".tmp-0123456789ab-{2**22 + 1}-{start}-{rest}")
    ancient = staged.with_name(f".tmp-0123456789ab-{pid}-{start}-ancient")
    for path in (used_up, elsewhere, ancient):
        path.write_bytes(b"x")
    os.utime(ancient, (time.time() - 7200,) * 2)
    DiskTier(tmp_path)
    assert staged.exists()
    assert elsewhere.exists()  # another machine's: only age can tell
    assert not ancient.exists()
    assert used_up.exists() == (sys.platform != "linux")
    child.stdin.close()
    child.wait()
    child.stdout.close()
    DiskTier(tmp_path)
    assert not staged.exists()


STAGER = """
import sys
from pathlib import Path
from nodegraph.cache.blobs import Blobs
print(Blobs(Path(sys.argv[1]) / "blobs").stage("ab" * 20, b"half"), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becoming another user needs root")
def test_an_unreadable_blob_is_a_miss(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path)
    tier.put("k", {"text": "x" * 1000}, 1.0)
    tier.put("other", {"n": 2}, 1.0)
    (blob,) = (path for path in blobs(tmp_path) if path.stat().st_size > 900)
    blob.chmod(0)
    tier.close()
    # As a user whom file modes stop.
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "None None {'n': 2}\n"
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Permission denied" in done.stderr
    assert DiskTier(tmp_path).get("k") == {"text": "x" * 1000}, "it was whole, and others may read it"
    subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path), "put"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert blob.stat().st_mode & 0o400, "what was computed again took its place"
    assert DiskTier(tmp_path).get("k") == {"text": "x" * 1000}


READER = """
import encodings.ascii, logging, os, sys, tempfile
from pathlib import Path
from nodegraph.cache import DiskTier
folder = Path(sys.argv[1])
for path in (folder, *folder.rglob("*")):
    os.chown(path, 65534, 65534)
for path in folder.parents:
    if path.stat().st_uid == 0 and path.stat().st_mode & 0o005 != 0o005:
        path.chmod(0o755)
os.setgid(65534)
os.setuid(65534)
tier = DiskTier(folder)
print(tier.get("k"), tier.get("k"), tier.get("other"))
if sys.argv[2:]:
    tier.put("k", {"text": "x" * 1000}, 1.0)
"""


def test_an_older_index_is_emptied_and_used(tmp_path: Path) -> None:
    index = sqlite3.connect(tmp_path / "index.sqlite")
    index.execute("CREATE TABLE results (key TEXT PRIMARY KEY, blob TEXT, bytes INTEGER, seconds REAL, used REAL)")
    index.execute("CREATE TABLE causes (node TEXT, type TEXT, cause TEXT)")
    index.execute("INSERT INTO results VALUES ('k', 'b', 1, 1, 1)")
    index.execute("PRAGMA user_version = 1")
    index.commit()
    index.close()
    tier = DiskTier(tmp_path)
    assert "k" not in tier
    tier.put("k", {"n": 1}, 1.0)
    assert DiskTier(tmp_path).get("k") == {"n": 1}


def test_what_is_held_is_counted_right_whatever_happens(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 300_000)
    rng = random.Random(1)
    for number in range(60):
        tier.put(f"k{number}", result(rng.randrange(8), rng.choice([16, 32, 64])), rng.choice([0.1, 1.0, 10.0]))
        if rng.random() < 0.2:
            tier.get(f"k{rng.randrange(number + 1)}")
        if rng.random() < 0.1:
            rng.choice(blobs(tmp_path)).write_bytes(b"damaged")
        on_disk = sum(path.stat().st_size for path in blobs(tmp_path) if path.read_bytes() != b"damaged")
        assert on_disk <= tier.usage().bytes <= 300_000
    for key in list(tier._keys):
        tier.get(key)
    assert tier.usage().bytes == sum(path.stat().st_size for path in blobs(tmp_path))
    tier.clear()
    assert tier.usage().bytes == 0


def test_a_result_of_a_type_that_is_not_known_here_is_replaced(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path)
    tier.put("k", result(), 1.0)
    other = DiskTier(tmp_path)
    other.sources = ()
    assert other.get("k") is None
    other.put("k", {"n": 1}, 1.0)
    assert other.get("k") == {"n": 1}
    assert len(blobs(tmp_path)) == 1


def test_one_process_evicts_while_others_read_and_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    children = [writer(tmp_path, 0, 60, budget=700_000) for _ in range(3)]
    with caplog.at_level(logging.WARNING):
        tier = DiskTier(tmp_path, 700_000)
        while any(child.poll() is None for child in children):
            tier.refresh()
            for key in list(tier._keys)[:20]:
                found = tier.get(key)
                assert found is None or found["text"].startswith(key[1:])
        tier.refresh()
        assert tier.usage().bytes <= 700_000
        assert all(tier.get(key) is not None for key in list(tier._keys))
    assert not caplog.records
    for child in children:
        assert child.wait() == 0
        assert child.stdout is not None
        child.stdout.close()


def writer(folder: Path, start: int, end: int, budget: int = 3_000_000) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(start), str(end), str(budget)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_at_random_moments(folder: Path, times: int) -> None:
    rng = random.Random(0)
    for round in range(times):
        child = writer(folder, round * 1000, 10**9)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        tier = DiskTier(folder, 3_000_000)
        assert not list(folder.glob("blobs/*/.tmp-*"))
        keys = sorted(tier._keys)
        for key in rng.sample(keys, min(5, len(keys))) if round < times - 1 else keys:
            assert tier.get(key) is not None, key
        tier.put("after", {"n": round}, 1.0)
        assert tier.get("after") is not None
        tier.clear()


def test_killed_at_random_moments_everything_indexed_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        kill_at_random_moments(tmp_path, 12)
    assert not caplog.records


@pytest.mark.slow
def test_killed_at_two_hundred_random_moments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        kill_at_random_moments(tmp_path, 200)
    assert not caplog.records


def test_four_processes_at_once_share_one_folder(tmp_path: Path) -> None:
    children = [writer(tmp_path, 0, 30) for _ in range(4)]
    for child in children:
        assert child.wait(60) == 0
        assert child.stdout is not None
        child.stdout.close()
    tier = DiskTier(tmp_path)
    assert tier.usage().results == 30
    assert len(blobs(tmp_path)) == 30
    for i in range(30):
        assert tier.get(f"k{i}") == {"text": f"{i} " * 20_000}


def test_a_folder_removed_under_a_living_tier_is_begun_anew(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path / "cache")
    tier.put("before", result(1), 1.0)
    shutil.rmtree(tmp_path / "cache")
    tier.refresh()
    assert "before" not in tier
    tier.put("after", result(2), 1.0)
    assert DiskTier(tmp_path / "cache").get("after") is not None
    shutil.rmtree(tmp_path / "cache")
    other = DiskTier(tmp_path / "cache")  # another process was first
    other.put("others", result(3), 1.0)
    tier.refresh()
    assert "others" in tier


def test_a_neighbour_who_holds_the_index_delays_reading_by_nothing_and_writing_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    DiskTier(tmp_path).put("known", {"n": 1}, 1.0)
    holding = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); print(flush=True)"
    )
    neighbour = subprocess.Popen(
        [sys.executable, "-c", f"{holding}; input()", str(tmp_path / "index.sqlite")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert neighbour.stdout is not None
    neighbour.stdout.readline()
    monkeypatch.setattr("nodegraph.cache.index.WAIT_SECONDS", 1.0)
    try:
        tier = DiskTier(tmp_path)
        assert tier.get("known") == {"n": 1}
        began = time.monotonic()
        for number in range(50):
            tier.put(f"k{number}", {"n": number}, 1.0)
        assert time.monotonic() - began < 25, "each write waited"
        assert [record.levelname for record in caplog.records] == ["WARNING"]
    finally:
        neighbour.communicate(b"\n")
    tier.refresh()
    tier.put("too soon", {"n": 5}, 1.0)
    assert "too soon" not in DiskTier(tmp_path)
    monkeypatch.setattr("nodegraph.cache.disk.AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(tier, "_again_at", time.monotonic())  # a minute has passed
    tier.refresh()
    tier.put("again", {"n": 6}, 1.0)
    assert DiskTier(tmp_path).get("again") == {"n": 6}
