"""The disk tier: results that outlive the process, shared by every process on one folder.

An index in SQLite names, for each key, a blob by the digest of its content. A blob is written whole under a
temporary name; then, while no other process writes to the index, it is renamed and indexed. So a process that
dies at any moment leaves at worst a file that a later sweep removes, and nobody removes what another has just
indexed. What is missing, short or altered is a miss. Trouble with the folder is told once and then the tier is
silent: a cache must never fail a run. Later runs try again, so that a neighbour who held the index for a while, or
a folder that was removed, costs a process of days no more than what it computed meanwhile.
"""

from __future__ import annotations

import logging
import math
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodegraph.cache import history
from nodegraph.cache.blobs import Blobs, digest_of_bytes
from nodegraph.cache.codec import Source, UnknownType, builtin_types, decode, encode
from nodegraph.cache.eviction import Stored, going
from nodegraph.cache.index import Index
from nodegraph.cache.memory import Outputs

DEFAULT_BYTES = 10 * 2**30
# Reading costs about a millisecond and a nanosecond a byte; what computes quicker than that is not kept.
READ_SECONDS, READ_SECONDS_PER_BYTE = 1e-3, 1e-9
# A full cache is emptied a little further, so that not every write has to choose what goes.
LOW_WATER = 0.95
# What is left free for those who have no other place, such as runs that wait: so many bytes, or on a small disk
# this share of it.
LEFT_FREE, LEFT_SHARE = 64 * 2**20, 0.1
AGAIN_SECONDS = 60.0  # after trouble with the folder
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

    `sources` give the types that may be made from what is stored.

    Args:
        folder: made when first written to.
        budget: bytes of blobs that are kept; what is cheap to compute for its size goes first.
    """

    def __init__(self, folder: Path, budget: int = DEFAULT_BYTES) -> None:
        self.folder = folder
        self.budget = budget
        self.sources: Sequence[Source] = (builtin_types,)
        self._blobs = Blobs(folder / "blobs")
        self._index: Index | None = None
        self._keys: set[str] = set()
        self._readable = self._writable = False
        self._again_at = -math.inf  # when the folder is worth another look
        self._told = self._told_full = False
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def refresh(self) -> None:
        """See what other processes have stored since, and whether trouble with the folder is over."""
        moved = self._index is not None and self._index.moved
        if moved or (not self._writable and time.monotonic() >= self._again_at):
            self._open()
        with self._guarded("read"):
            if self._index is not None and self._index.changed():
                self._keys = {row[0] for row in self._index.query("SELECT key FROM results")}

    def get(self, key: str) -> Outputs | None:
        """The result under a key, or None; a blob that is not what the index says is removed."""
        if key not in self._keys:
            return None
        with self._guarded("read"):
            found = self._row(key)
            if found is None:  # another process made room
                self._keys.discard(key)
                return None
            blob, size = found
            try:
                outputs: Outputs = decode(self._blobs.read(blob, size), self.sources)
            except UnknownType:
                self._keys.discard(key)  # so that what is computed now takes its place
                return None
            except PermissionError as error:  # it may be whole
                self._keys.discard(key)
                self._warn("cannot read a result in the cache in %s; it is computed again: %s", error)
                return None
            except Exception as error:  # a type of a plugin may raise anything when it is made of nonsense
                self._keys.discard(key)
                if self._row(key) == found:  # else another process has just made room
                    log.warning("a cached result is damaged and is computed again (%s: %s)", blob[:12], error)
                with self._guarded("write"):
                    self._drop([blob])
                return None
            if self._writable:
                with self._guarded("write"):
                    self._query("UPDATE results SET used = ? WHERE key = ?", time.time(), key)
            return outputs
        return None

    def put(self, key: str, outputs: Outputs, seconds: float, digest: str | None = None) -> None:
        """Keep a result that cost `seconds`, where reading it again is worth it; `digest` is told by `digest`."""
        if not self._writable or key in self._keys or seconds < READ_SECONDS:
            return
        try:
            content = encode(outputs, self.sources)
        except Exception as error:  # whatever a plugin's value does, the run goes on
            log.debug("a result is not stored: %s", error)
            return
        if seconds < READ_SECONDS + len(content) * READ_SECONDS_PER_BYTE or len(content) > self.budget:
            return
        with self._guarded("write"):
            if self._has_room(len(content)):
                self._store(key, content, seconds, digest)
                self._evict(self.budget)

    def digest(self, key: str) -> str | None:
        """The digest that `put` was given for a key."""
        with self._guarded("read"):
            for (digest,) in self._query("SELECT digest FROM results WHERE key = ?", key):
                return None if digest is None else str(digest)
        return None

    def written(self, key: str, folder: Path) -> list[list[Any]] | None:
        """What `wrote` stored for a key and an output folder."""
        with self._guarded("read"):
            return history.written(self._query, key, folder)
        return None

    def wrote(self, key: str, folder: Path, files: list[list[Any]]) -> None:
        """Remember the files that an effect wrote to an output folder, each as [path, size, time]."""
        if self._writable:
            with self._guarded("write"):
                history.wrote(self._query, key, folder, files)

    def remember(self, causes: Iterable[tuple[str, str, str]]) -> None:
        """Remember what determined the results of a run, see `history.remember`."""
        if self._writable:
            with self._guarded("write"):
                history.remember(self._query, causes)

    def remembered(self, types: Mapping[str, str]) -> dict[str, str]:
        """What determined each node's result in the run that is most like a workflow, see `history.remembered`."""
        with self._guarded("read"):
            return history.remembered(self._query, types)
        return {}

    def usage(self) -> Usage:
        """How much is held."""
        with self._guarded("read"):
            for (count,) in self._query("SELECT COUNT(*) FROM results"):
                return Usage(self.folder, count, self._held(), self.budget)
        return Usage(self.folder, 0, 0, self.budget)

    def prune(self, budget: int) -> None:
        """Evict until at most `budget` bytes are held."""
        with self._guarded("write"):
            self._evict(budget, low_water=1)

    def clear(self) -> None:
        """Remove every result."""
        with self._guarded("write"):
            history.forget(self._query)
            self._drop([blob for (blob,) in self._query("SELECT digest FROM blobs")])

    def close(self) -> None:
        """Let go of the index; the tier is empty from then on."""
        if self._index is not None:
            self._index.close()
        self._index = None
        self._writable = False
        self._again_at = math.inf
        self._keys = set()

    def _open(self) -> None:
        """Open the index, for the first time or again."""
        if self._index is not None:
            self._index.close()
        self._index, self._keys = None, set()
        self._readable = self._writable = True
        with self._guarded("open"):
            try:
                self._index = Index(self.folder)
                self._blobs.sweep({row[0] for row in self._index.query("SELECT digest FROM blobs")})
            except (OSError, sqlite3.Error) as error:
                self._open_read_only(error)

    def _open_read_only(self, error: Exception) -> None:
        """Read a cache that cannot be written, as on a read-only or a full disk. Raises where that fails too."""
        if not (self.folder / "index.sqlite").is_file():
            raise error
        try:
            self._index = Index(self.folder, read_only=True)
        except (OSError, sqlite3.Error):
            raise error from None
        self._cannot_write("cannot write to the cache in %s; new results stay in memory: %s", error)

    def _query(self, statement: str, *values: Any) -> list[Any]:
        return [] if self._index is None else self._index.query(statement, *values)

    def _row(self, key: str) -> tuple[str, int] | None:
        statement = "SELECT blob, bytes FROM results JOIN blobs ON blobs.digest = blob WHERE key = ?"
        return next(((str(blob), int(size)) for blob, size in self._query(statement, key)), None)

    def _store(self, key: str, content: bytes, seconds: float, digest: str | None) -> None:
        index = self._index
        if index is None:
            return
        blob, size = digest_of_bytes(content), len(content)
        staged = None if self._blobs.has(blob, size) else self._blobs.stage(blob, content)
        try:
            with index.transaction():
                before = self._row(key)
                # Another process may have written the same blob since, or removed it.
                if not self._blobs.has(blob, size):
                    staged = staged or self._blobs.stage(blob, content)
                    staged.replace(self._blobs.path(blob))
                index.query("INSERT OR IGNORE INTO blobs VALUES (?, ?)", blob, size)
                row = (key, blob, seconds, time.time(), digest)
                index.query("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", *row)
        finally:
            if staged is not None:
                staged.unlink(missing_ok=True)
        self._told = False
        self._keys.add(key)
        if before is not None and before[0] != blob:
            self._drop([before[0]], unless_named=True)

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes more leave the disk some room, once results that are kept have made way."""
        disk = shutil.disk_usage(self.folder)
        missing = size + min(LEFT_FREE, int(disk.total * LEFT_SHARE)) - disk.free
        if missing > 0:
            held = self._held()
            if missing > held:
                if not self._told_full:
                    log.warning("the disk of the cache in %s is full; new results stay in memory", self.folder)
                self._told_full = True
                return False
            self._evict(held - missing, low_water=1)
        self._told_full = False
        return True

    def _held(self) -> int:
        return sum(size for (size,) in self._query("SELECT bytes FROM held"))

    def _evict(self, budget: int, low_water: float = LOW_WATER) -> None:
        held = self._held()
        if held <= budget:
            return
        rows = self._query(
            "SELECT blob, bytes, MAX(seconds), MAX(used) FROM blobs JOIN results ON blob = blobs.digest "
            "GROUP BY blob"
        )
        self._drop(going((Stored(*row) for row in rows), held - budget * low_water, time.time()))

    def _drop(self, blobs: Sequence[str], unless_named: bool = False) -> None:
        """Forget blobs and the results in them, then remove their files.

        First the rows, for good; then the files, where nobody has indexed them again meanwhile. A process that
        dies between the two leaves files without rows, never rows without files.
        """
        index = self._index
        if index is None or not self._writable:
            return
        with index.transaction():
            for blob in blobs:
                if unless_named and index.query("SELECT 1 FROM results WHERE blob = ? LIMIT 1", blob):
                    continue
                gone = index.query("DELETE FROM results WHERE blob = ? RETURNING key", blob)
                self._keys.difference_update(row[0] for row in gone)
                index.query("DELETE FROM blobs WHERE digest = ?", blob)
        with index.transaction():
            for blob in blobs:
                if not index.query("SELECT 1 FROM blobs WHERE digest = ?", blob):
                    self._blobs.remove(blob)

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
                self._cannot_write("cannot write to the cache in %s; results stay in memory: %s", error)
            else:
                self._cannot_write("cannot use the cache in %s; results stay in memory: %s", error)
                self._readable = False
                self._keys = set()
                self._index = None

    def _cannot_write(self, words: str, error: Exception) -> None:
        self._writable = False
        self._again_at = time.monotonic() + AGAIN_SECONDS
        self._warn(words, error)

    def _warn(self, words: str, error: Exception) -> None:
        """Say what is wrong, unless nothing could be stored since that was said."""
        log.log(logging.DEBUG if self._told else logging.WARNING, words, self.folder, error)
        self._told = True
