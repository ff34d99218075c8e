"""The SQLite file of a home: its tables, its transactions, and a full disk told from other trouble."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VERSION = 1
WAIT_SECONDS = 10.0  # for another program that writes

# `phase`, `first` and `second` put runs in the order in which they are listed, and queued runs in the order in
# which they go.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL DEFAULT 'queued',
    title TEXT NOT NULL, priority INTEGER NOT NULL, rank INTEGER NOT NULL, created REAL NOT NULL, started REAL,
    finished REAL, seconds REAL, attempts INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
    cancelling INTEGER NOT NULL DEFAULT 0, total INTEGER, error TEXT, nodes TEXT, lease TEXT,
    phase INTEGER AS (CASE status WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END),
    first REAL AS (CASE status WHEN 'running' THEN -started WHEN 'queued' THEN -priority ELSE -finished END),
    second INTEGER AS (CASE status WHEN 'queued' THEN rank ELSE -number END)
);
CREATE INDEX IF NOT EXISTS runs_listed ON runs (phase, first, second);
CREATE INDEX IF NOT EXISTS runs_titled ON runs (title, number);
CREATE TABLE IF NOT EXISTS documents (run TEXT PRIMARY KEY, workflow TEXT NOT NULL, targets TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS artifacts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, path TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL, node TEXT, run TEXT, media_type TEXT NOT NULL, width INTEGER, height INTEGER,
    bytes INTEGER NOT NULL, created REAL NOT NULL, receipt TEXT
);
CREATE TABLE IF NOT EXISTS shown (
    run TEXT NOT NULL, artifact TEXT NOT NULL, PRIMARY KEY (run, artifact)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shown_by_artifact ON shown (artifact);
CREATE TABLE IF NOT EXISTS trashed (
    artifact TEXT PRIMARY KEY, row TEXT NOT NULL, runs TEXT NOT NULL
) WITHOUT ROWID;
"""


class StoreFull(Exception):
    """The disk has no room for what was to be stored; nothing was changed."""


class StoreFile:
    """The open file that the queue and the gallery share. For one thread; see `Database`.

    Args:
        path: the SQLite file; made where it is not there.

    Raises:
        sqlite3.Error: the file is no such database.
        StoreFull: there is no room to make it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.database = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        self.database.row_factory = sqlite3.Row
        with _room():
            (version,) = self.database.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise sqlite3.DatabaseError(f"it has version {version}, made by a newer nodegraph than this")
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = FULL")
            self.database.executescript(_SCHEMA)
            self.database.execute(f"PRAGMA user_version = {VERSION}")

    @property
    def bytes(self) -> int:
        """How much is stored; the file may be larger, and has the rest free."""
        size, pages, free = (
            self.read(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        return int(size * (pages - free))

    def read(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """The rows that a query finds."""
        return self.database.execute(query, values)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and on disk afterwards. Raises StoreFull where there is no room."""
        with _room():
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def setting(self, name: str) -> int:
        """A number that outlives the server; 0 where it was never set."""
        row = self.read("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row["value"])

    def set(self, name: str, value: int) -> None:
        """Set such a number."""
        with self.transaction() as database:
            database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))


@contextmanager
def _room() -> Iterator[None]:
    """Tell a full disk from other trouble. A WAL that cannot grow is an input/output error on some systems."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")):
            raise StoreFull(str(error)) from error
        raise
