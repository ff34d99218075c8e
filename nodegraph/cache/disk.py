"""The disk tier: results that outlive the process, shared by every process on one folder.

An index in SQLite names, for each key, a blob by the digest of its content. A blob is written whole under a
temporary name, then renamed, then indexed, so a process that dies at any moment leaves at worst a file that the
next sweep removes. What is missing, short or altered is a miss. Trouble with the folder is told once and then the
tier is silent: a cache must never fail a run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodegraph.cache.codec import UnknownType, decode, encode
from nodegraph.cache.memory import Outputs

VERSION = 1
DEFAULT_BYTES = 10 * 2**30
# Reading costs about a millisecond and a nanosecond a byte; what computes quicker than that is not kept.
READ_SECONDS, READ_SECONDS_PER_BYTE = 1e-3, 1e-9
ORPHAN_SECONDS = 3600
_TEMPORARY = ".tmp-"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY, blob TEXT NOT NULL, bytes INTEGER NOT NULL, seconds REAL NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS results_by_blob ON results (blob);
CREATE TABLE IF NOT EXISTS causes (
    node TEXT NOT NULL, type TEXT NOT NULL, cause TEXT NOT NULL, PRIMARY KEY (node, type)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS written (
    key TEXT NOT NULL, folder TEXT NOT NULL, files TEXT NOT NULL, PRIMARY KEY (key, folder)
) WITHOUT ROWID;
"""
log = logging.getLogger("nodegraph.cache")


@dataclass(frozen=True)
class Usage:
    """What a disk tier holds."""

    folder: Path
    results: int
    bytes: int
    budget: int


class DiskTier:
    """Results by key in a folder. Safe for threads and for processes.

    Args:
        folder: made when first written to.
        budget: bytes of blobs that are kept; what is cheap to compute for its size goes first.
    """

    def __init__(self, folder: Path, budget: int = DEFAULT_BYTES) -> None:
        self.folder = folder
        self.budget = budget
        self._lock = threading.Lock()
        self._index: sqlite3.Connection | None = None
        self._keys: set[str] = set()
        self._readable = self._writable = True
        with self._guarded("open"):
            try:
                self._open()
                self._sweep()
            except (OSError, sqlite3.Error) as error:
                self._open_read_only(error)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def refresh(self) -> None:
        """See what other processes have stored since."""
        with self._guarded("read"):
            self._keys = {row[0] for row in self._query("SELECT key FROM results")}

    def get(self, key: str) -> Outputs | None:
        """The result under a key, or None; a blob that is not what the index says is removed."""
        if key not in self._keys:
            return None
        with self._guarded("read"):
            for blob, size in self._query("SELECT blob, bytes FROM results WHERE key = ?", key):
                try:
                    content = self._blob(blob).read_bytes()
                    if len(content) != size or _digest(content) != blob:
                        raise ValueError("its content is not what the index says")
                    outputs: Outputs = decode(content)
                except UnknownType:
                    return None
                except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                    log.warning("a cached result is damaged and is computed again (%s: %s)", blob[:12], error)
                    self._drop(blob)
                    return None
                if self._writable:
                    with self._guarded("write"):
                        self._query("UPDATE results SET used = ? WHERE key = ?", time.time(), key)
                return outputs
        self._keys.discard(key)
        return None

    def put(self, key: str, outputs: Outputs, seconds: float) -> None:
        """Keep a result that cost `seconds`, where reading it again is worth it."""
        if not self._writable or key in self._keys or seconds < READ_SECONDS:
            return
        try:
            content = encode(outputs)
        except Exception as error:  # whatever a plugin's value does, the run goes on
            log.debug("a result is not stored: %s", error)
            return
        if seconds < READ_SECONDS + len(content) * READ_SECONDS_PER_BYTE or len(content) > self.budget:
            return
        with self._guarded("write"):
            blob = _digest(content)
            self._write(blob, content)
            row = (key, blob, len(content), seconds, time.time())
            self._query("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", *row)
            self._keys.add(key)
            self._evict()

    def written(self, key: str, folder: Path) -> list[list[Any]] | None:
        """What `wrote` stored for a key and an output folder."""
        with self._guarded("read"):
            for (text,) in self._query("SELECT files FROM written WHERE key = ? AND folder = ?", key, str(folder)):
                found: list[list[Any]] = json.loads(text)
                return found
        return None

    def wrote(self, key: str, folder: Path, files: list[list[Any]]) -> None:
        """Remember the files that an effect wrote to an output folder, each as [path, size, time]."""
        if self._writable:
            with self._guarded("write"):
                row = (key, str(folder), json.dumps(files))
                self._query("INSERT OR REPLACE INTO written VALUES (?, ?, ?)", *row)

    def remember(self, causes: Iterable[tuple[str, str, str]]) -> None:
        """Remember what determined each node's result in the last run: (node, type, cause)."""
        if self._writable and self._index is not None:
            with self._guarded("write"), self._lock, self._index:
                self._index.execute("BEGIN")
                self._index.executemany("INSERT OR REPLACE INTO causes VALUES (?, ?, ?)", causes)

    def remembered(self, node: str, type: str) -> str | None:
        """What determined a node's result in the last run that had it."""
        with self._guarded("read"):
            for (cause,) in self._query("SELECT cause FROM causes WHERE node = ? AND type = ?", node, type):
                return str(cause)
        return None

    def usage(self) -> Usage:
        """How much is held."""
        with self._guarded("read"):
            for (count,) in self._query("SELECT COUNT(*) FROM results"):
                return Usage(self.folder, count, self._used(), self.budget)
        return Usage(self.folder, 0, 0, self.budget)

    def prune(self, budget: int) -> None:
        """Evict until at most `budget` bytes are held."""
        with self._guarded("write"):
            self._evict(budget)

    def clear(self) -> None:
        """Remove every result."""
        with self._guarded("write"):
            self._query("DELETE FROM written")
            self._query("DELETE FROM causes")
            self._evict(-1)

    def close(self) -> None:
        """Let go of the index; the tier is empty from then on."""
        with self._lock:
            if self._index is not None:
                self._index.close()
            self._index = None
        self._keys = set()

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index = sqlite3.connect(self.folder / "index.sqlite", timeout=30, check_same_thread=False,
                                      isolation_level=None)  # fmt: skip
        (version,) = self._index.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise OSError(f"its index has version {version}, made by a newer nodegraph; this one reads {VERSION}")
        self._index.execute("PRAGMA journal_mode = WAL")
        self._index.execute("PRAGMA synchronous = NORMAL")
        self._index.executescript(_SCHEMA)
        self._index.execute(f"PRAGMA user_version = {VERSION}")
        self._keys = {row[0] for row in self._query("SELECT key FROM results")}

    def _open_read_only(self, error: Exception) -> None:
        """Read a cache that cannot be written, as on a read-only or a full disk. Raises where that fails too."""
        index = self.folder / "index.sqlite"
        if not index.is_file():
            raise error
        found = sqlite3.connect(f"{index.absolute().as_uri()}?immutable=1", uri=True, check_same_thread=False,
                                isolation_level=None)  # fmt: skip
        if found.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            raise error
        self._index = found
        self._keys = {row[0] for row in self._query("SELECT key FROM results")}
        self._writable = False
        log.warning("cannot write to the cache in %s; new results stay in memory: %s", self.folder, error)

    def _query(self, statement: str, *values: Any) -> list[Any]:
        with self._lock:
            return [] if self._index is None else self._index.execute(statement, values).fetchall()

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest[:2] / f"{digest}.blob"

    def _write(self, digest: str, content: bytes) -> None:
        path = self._blob(digest)
        if path.is_file() and path.stat().st_size == len(content):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{_TEMPORARY}{os.getpid()}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _used(self) -> int:
        rows = self._query("SELECT COALESCE(SUM(bytes), 0) FROM (SELECT DISTINCT blob, bytes FROM results)")
        return sum(size for (size,) in rows)

    def _evict(self, budget: int | None = None) -> None:
        budget = self.budget if budget is None else budget
        excess = self._used() - budget
        if excess <= 0:
            return
        now = time.time()

        def worth(row: tuple[str, int, float, float]) -> float:
            """Seconds saved a byte, halved for each day that nobody asked."""
            _, size, seconds, used = row
            return float(seconds / max(size, 1) * 0.5 ** ((now - used) / 86400))

        blobs = self._query("SELECT blob, MAX(bytes), MAX(seconds), MAX(used) FROM results GROUP BY blob")
        for blob, size, *_ in sorted(blobs, key=worth):
            if excess <= 0:
                break
            self._drop(blob)
            excess -= size

    def _drop(self, blob: str) -> None:
        gone = self._query("DELETE FROM results WHERE blob = ? RETURNING key", blob)
        self._keys.difference_update(row[0] for row in gone)
        with suppress(OSError):
            self._blob(blob).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what processes that died left: their temporary files, and old blobs that no row names."""
        named = {row[0] for row in self._query("SELECT DISTINCT blob FROM results")}
        now = time.time()
        for path in (self.folder / "blobs").glob("*/*"):
            with suppress(OSError):
                if path.name.startswith(_TEMPORARY):
                    writer = path.name.removeprefix(_TEMPORARY).partition("-")[0]
                    if not _is_running(writer):
                        path.unlink()
                elif path.stem not in named and now - path.stat().st_mtime > ORPHAN_SECONDS:
                    path.unlink()

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Turn trouble with the folder into one warning and a tier that keeps out of the way."""
        if not self._readable:
            yield
            return
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if what == "write":
                if self._writable:
                    log.warning("cannot write to the cache in %s; results stay in memory: %s", self.folder, error)
                self._writable = False
            else:
                log.warning("cannot use the cache in %s; results stay in memory: %s", self.folder, error)
                self._readable = self._writable = False
                self._keys = set()
                self._index = None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
