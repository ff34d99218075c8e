"""Digests of large files, kept between processes, so that a checkpoint is read once and not in every process.

A row is believed while the file's path, device, inode, size and times are what they were when it was read. A file
that was touched a moment ago is not remembered: its next change could leave all of these as they are.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

LEAST_BYTES = 2**20  # what is smaller is read as quickly as it is looked up
SETTLED_SECONDS = 2.0  # the coarsest clock of a file system
MOST_ROWS = 10_000
_SCHEMA = """CREATE TABLE IF NOT EXISTS digests (
    path TEXT PRIMARY KEY, identity TEXT NOT NULL, digest TEXT NOT NULL, learned REAL NOT NULL
) WITHOUT ROWID"""
_DIGEST = re.compile("[0-9a-f]{40}")  # what is no digest names no file and no result
log = logging.getLogger("nodegraph.files")


class KeptDigests:
    """Digests by path and identity in one SQLite file. Safe for threads and processes; trouble makes it forgetful.

    Args:
        file: made when the first digest is learned. A damaged one is told of, removed and made anew.
        settled: seconds for which a file must have been left alone before its digest is kept.
    """

    def __init__(self, file: Path, settled: float = SETTLED_SECONDS) -> None:
        self.file = file
        self.settled = settled

    def get(self, path: Path, stat: os.stat_result) -> str | None:
        """The digest of a file that is what it was when its digest was learned; else None."""
        if stat.st_size < LEAST_BYTES or not self.file.is_file():
            return None
        statement = "SELECT digest FROM digests WHERE path = ? AND identity = ?"
        rows = self._ask(statement, str(path.absolute()), _identity(stat))
        return next((row[0] for row in rows if isinstance(row[0], str) and _DIGEST.fullmatch(row[0])), None)

    def learn(self, path: Path, stat: os.stat_result, digest: str) -> None:
        """Keep a file's digest; `stat` is from before it was read."""
        now = time.time()
        # A time that lies far ahead, of a clock that was set back since, no write gives a file again.
        settled = all(abs(now - one) >= self.settled for one in (stat.st_mtime, stat.st_ctime))
        if stat.st_size < LEAST_BYTES or not settled or _identity(path.stat()) != _identity(stat):
            return
        row = (str(path.absolute()), _identity(stat), digest, now)
        last = "MAX(?, (SELECT COALESCE(MAX(learned), 0) + 0.001 FROM digests))"
        self._ask(f"INSERT OR REPLACE INTO digests VALUES (?, ?, ?, {last})", *row)
        oldest = "SELECT path FROM digests ORDER BY learned DESC LIMIT -1 OFFSET ?"
        self._ask(f"DELETE FROM digests WHERE path IN ({oldest})", MOST_ROWS)

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        """The rows of one statement; none where the file cannot be used, which costs a reading."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=5)) as connection, connection:
                connection.execute(_SCHEMA)
                return connection.execute(statement, values).fetchall()
        except (OSError, sqlite3.Error) as error:
            if not _is_damaged(error):  # a full, busy or read-only folder: others tell
                log.debug("digests of files are not kept in %s: %s", self.file, error)
                return []
            log.warning("the digests of files in %s cannot be read and are made anew: %s", self.file, error)
            self.file.unlink(missing_ok=True)
        return []


def _is_damaged(error: OSError | sqlite3.Error) -> bool:
    """Whether an error is about what is in the file: no database, or one with other columns than ours."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_ERROR
    return isinstance(error, sqlite3.Error)


def _identity(stat: os.stat_result) -> str:
    return f"{stat.st_dev} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
