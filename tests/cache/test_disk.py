"""The disk tier: shared, bounded, whole after any death, and never the reason that a run fails."""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import pytest
import torch

from nodegraph.cache import DiskTier, MemoryTier, ResultCache
from nodegraph.cache.disk import VERSION
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
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with caplog.at_level(logging.WARNING):
            cache = ResultCache(MemoryTier(), DiskTier(small))
            for seed in range(12):
                cache.put(f"k{seed}", result(seed), 1.0)
            assert all(cache.get(f"k{seed}") is not None for seed in range(12))
            stored = cache.disk
            assert stored is not None
            assert 1 <= sum(stored.get(f"k{seed}") is not None for seed in range(12)) < 12
        assert len(caplog.records) == 1
        assert "cannot write to the cache" in caplog.text
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


def test_the_files_of_an_effect_are_known_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.txt"
    path.parent.mkdir()
    path.write_text("x")
    ResultCache(disk=DiskTier(tmp_path / "c")).wrote("k", path.parent, (path,))
    other = ResultCache(disk=DiskTier(tmp_path / "c"))
    assert other.written("k", path.parent) == (path,)
    assert other.written("k", tmp_path / "elsewhere") is None
    path.write_text("longer")
    assert other.written("k", path.parent) is None


WRITER = """
import sys
from pathlib import Path
from nodegraph.cache import DiskTier
tier = DiskTier(Path(sys.argv[1]), 3_000_000)
print("ready", flush=True)
for i in range(int(sys.argv[2]), int(sys.argv[3])):
    tier.put(f"k{i}", {"text": f"{i} " * 20_000}, 1.0)
"""


def writer(folder: Path, start: int, end: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(start), str(end)]
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
