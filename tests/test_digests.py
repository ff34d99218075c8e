"""Digests of large files outlive the process; whatever happened to the file since is noticed."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from nodegraph import digests
from nodegraph.digests import KeptDigests
from nodegraph.files import Files

READS = """
import sys
from pathlib import Path
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
from nodegraph.files import Files
print(Files(digests=Path(sys.argv[2])).digest(Path(sys.argv[1])), sys.argv[1] in opened)
"""


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A large file, in a session to which every file is settled."""
    monkeypatch.setattr(digests.KeptDigests.__init__, "__defaults__", (0.0,))
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"a" * digests.LEAST_BYTES)
    return path


def in_another_process(path: Path, kept: Path) -> tuple[str, bool]:
    """The digest that another process finds, and whether it opened the file."""
    command = [sys.executable, "-c", READS, str(path), str(kept)]
    found, opened = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return found, opened == "True"


def digest_of(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=20).hexdigest()


def test_another_process_does_not_read_the_file_again(large: Path, tmp_path: Path) -> None:
    kept = tmp_path / "new folder" / "digests.sqlite"
    assert in_another_process(large, kept) == (digest_of(large), True)
    assert Files(digests=kept).digest(large) == digest_of(large)
    assert in_another_process(large, kept) == (digest_of(large), False)


def test_a_changed_file_is_read_again(large: Path, tmp_path: Path) -> None:
    kept = tmp_path / "digests.sqlite"
    Files(digests=kept).digest(large)
    stat = large.stat()
    # In place, of the same size, its time set back: the time of its inode tells.
    large.write_bytes(b"b" * digests.LEAST_BYTES)
    os.utime(large, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert in_another_process(large, kept) == (digest_of(large), True)
    # Another file under its name, of the same size and time.
    other = tmp_path / "other"
    other.write_bytes(b"c" * digests.LEAST_BYTES)
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(large)
    assert in_another_process(large, kept) == (digest_of(large), True)


def test_a_file_that_was_just_touched_is_not_remembered(large: Path, tmp_path: Path) -> None:
    kept = KeptDigests(tmp_path / "digests.sqlite", settled=3600)
    stat = large.stat()
    kept.learn(large, stat, "d")
    assert kept.get(large, stat) is None
    assert not kept.file.exists()


def test_a_file_of_a_clock_that_was_ahead_is_remembered(large: Path, tmp_path: Path) -> None:
    kept = KeptDigests(tmp_path / "digests.sqlite", settled=0.2)
    os.utime(large, (time.time() + 3e8, time.time() + 3e8))
    time.sleep(0.3)
    stat = large.stat()
    kept.learn(large, stat, "d" * 40)
    assert kept.get(large, stat) == "d" * 40


def test_what_was_learned_by_a_clock_that_was_ahead_goes_before_what_is_learned_now(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "MOST_ROWS", 2)
    kept = KeptDigests(tmp_path / "digests.sqlite")
    paths = [large.with_name(f"{number}") for number in range(4)]
    for path in paths:
        path.write_bytes(large.read_bytes())
        kept.learn(path, path.stat(), "d" * 40)
        with closing(sqlite3.connect(kept.file)) as connection, connection:
            connection.execute("UPDATE digests SET learned = learned + 3e8 WHERE path = ?", (str(path),))
    assert [kept.get(path, path.stat()) is not None for path in paths] == [False, False, True, True]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(large: Path, tmp_path: Path) -> None:
    kept = KeptDigests(tmp_path / "digests.sqlite")
    before = large.stat()
    large.write_bytes(b"changed" * digests.LEAST_BYTES)
    kept.learn(large, before, "d")
    assert kept.get(large, before) is None
    assert kept.get(large, large.stat()) is None


def test_small_files_and_old_rows_take_no_room(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptDigests(tmp_path / "digests.sqlite")
    small = tmp_path / "small"
    small.write_bytes(b"small")
    kept.learn(small, small.stat(), "d")
    assert not kept.file.exists()
    monkeypatch.setattr(digests, "MOST_ROWS", 2)
    clock = iter(range(int(time.time()) + 3600, sys.maxsize))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    paths = [tmp_path / str(number) for number in range(4)]
    for path in paths:
        path.write_bytes(large.read_bytes())
        kept.learn(path, path.stat(), path.name * 40)
    assert [kept.get(path, path.stat()) for path in paths] == [None, None, "2" * 40, "3" * 40]


@pytest.mark.parametrize("digest", ["../../etc/passwd", b"\xff../", "A" * 40, "a" * 41, 7])
def test_a_row_that_holds_no_digest_is_not_believed(large: Path, tmp_path: Path, digest: object) -> None:
    kept = KeptDigests(tmp_path / "digests.sqlite", settled=-1)
    kept.learn(large, large.stat(), "a" * 40)
    assert kept.get(large, large.stat()) == "a" * 40
    with sqlite3.connect(kept.file) as connection:
        connection.execute("UPDATE digests SET digest = ?", (digest,))
    assert kept.get(large, large.stat()) is None


@pytest.mark.parametrize("what", ["folder", "no database", "other columns", "below a file"])
def test_trouble_with_the_file_costs_no_more_than_reading(
    large: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level(logging.WARNING)
    kept = tmp_path / "digests.sqlite"
    if what == "folder":
        kept.mkdir()
    elif what == "no database":
        kept.write_bytes(b"nonsense" * 1000)
    elif what == "other columns":
        with closing(sqlite3.connect(kept)) as connection, connection:
            connection.execute("CREATE TABLE digests (path TEXT PRIMARY KEY, other TEXT)")
    else:
        kept.write_bytes(b"")
        kept = kept / "digests.sqlite"
    assert Files(digests=kept).digest(large) == digest_of(large)
    assert Files(digests=kept).digest(large) == digest_of(large)
    is_damaged = what in ("no database", "other columns")
    assert len(caplog.records) == is_damaged
    if is_damaged:
        assert in_another_process(large, kept) == (digest_of(large), False)


def test_threads_and_processes_may_learn_at_once(large: Path, tmp_path: Path) -> None:
    kept = tmp_path / "digests.sqlite"
    found: list[str] = []
    work = [threading.Thread(target=lambda: found.append(Files(digests=kept).digest(large))) for _ in range(8)]
    children = [
        subprocess.Popen([sys.executable, "-c", READS, str(large), str(kept)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    found += [child.communicate()[0].split()[0] for child in children]
    assert found == [digest_of(large)] * 10
    assert in_another_process(large, kept) == (digest_of(large), False)
