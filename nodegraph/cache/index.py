"""The index of the disk tier: SQLite, shared by every process that uses the folder."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VERSION = 2
WAIT_SECONDS = 10.0  # for a neighbour who writes; one that is stopped meanwhile holds the lock for ever
# `held` follows `blobs` by triggers, so that how much is kept is known without counting.
_SCHEMA = (
    "DROP TABLE IF EXISTS results",
    "DROP TABLE IF EXISTS causes",
    """CREATE TABLE results (
        key TEXT PRIMARY KEY, blob TEXT NOT NULL, seconds REAL NOT NULL, used REAL NOT NULL, digest TEXT
    ) WITHOUT ROWID""",
    "CREATE INDEX results_by_blob ON results (blob)",
    "CREATE TABLE blobs (digest TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE held (bytes INTEGER NOT NULL)",
    "INSERT INTO held VALUES (0)",
    "CREATE TRIGGER blob_came AFTER INSERT ON blobs BEGIN UPDATE held SET bytes = bytes + new.bytes; END",
    "CREATE TRIGGER blob_went AFTER DELETE ON blobs BEGIN UPDATE held SET bytes = bytes - old.bytes; END",
    "CREATE TABLE runs (shape TEXT PRIMARY KEY, used REAL NOT NULL, causes BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS written (
        key TEXT NOT NULL, folder TEXT NOT NULL, files TEXT NOT NULL, PRIMARY KEY (key, folder)
    ) WITHOUT ROWID""",
)


class Index:
    """A connection to the index of a folder. Safe for threads; a transaction excludes every other writer.

    Raises:
        OSError: the index is of a newer version, or the folder cannot be made.
        sqlite3.Error: it cannot be opened, or is no index.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._path = path = folder / "index.sqlite"
        self._lock = threading.RLock()
        self._seen = -1
        if read_only:
            self._connection = self._connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
            self._file = _identity(path)
            if self._version() != VERSION:
                raise OSError(f"its index has version {self._version()}; this nodegraph reads {VERSION}")
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = self._connect(str(path))
        if self._version() > VERSION:
            raise OSError(
                f"its index has version {self._version()}, made by a newer nodegraph; this one reads {VERSION}"
            )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._file = _identity(path)
        if self._version() == VERSION:  # so a neighbour who holds the lock delays no reading
            return
        with self.transaction():
            if self._version() < VERSION:
                for statement in _SCHEMA:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {VERSION}")

    @property
    def moved(self) -> bool:
        """Whether another file, or none, is where this one was."""
        return _identity(self._path) != self._file

    def query(self, statement: str, *values: Any) -> list[Any]:
        """The rows of one statement."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements within, or none; no other process writes meanwhile."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def changed(self) -> bool:
        """Whether another connection has written since this was last asked."""
        ((seen,),) = self.query("PRAGMA data_version")
        before, self._seen = self._seen, seen
        return bool(before != seen)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _version(self) -> int:
        ((version,),) = self._connection.execute("PRAGMA user_version").fetchall()
        return int(version)

    @staticmethod
    def _connect(path: str, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=WAIT_SECONDS, check_same_thread=False, isolation_level=None, uri=uri)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is there, None for none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
