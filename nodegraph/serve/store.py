"""The durable queue and the history of runs, in one SQLite file.

Every method is one transaction, on disk (`synchronous=FULL`) when it returns. A run is queued until a claim gives
it to one worker under a lease, a token that nobody else has; only the holder of the lease may end the run, put
it back, or give it up. So a worker that was thought dead and speaks up later changes nothing.

The owner of the file is the one server of a home. Whatever is still running when a server begins was left by one
that died, and is queued again in its old place.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from nodegraph.serve.storefile import StoreFile

MAX_LOSSES = 2  # how often a run is tried again after its worker died
LATELY = 4  # how many runs of a title say how long its nodes take
MAX_ATTEMPTS = 10  # a run that takes the server itself down each time must end some day
_QUEUED = "phase = 1 ORDER BY first, second"


@dataclass(frozen=True)
class Submission:
    """A run to be queued: its workflow as JSON text, and what is known about it without reading that."""

    workflow: str
    title: str
    targets: list[str] | None
    priority: int


@dataclass(frozen=True)
class Claim:
    """A run that is in one worker's hands until it is finished, released or lost."""

    id: str
    lease: str
    attempt: int
    workflow: str
    targets: list[str] | None
    timings: dict[str, tuple[float, int | None]] = field(default_factory=dict)


class Store:
    """The queue and the history of one home. For one thread; see `Service` for the way in from a server.

    Args:
        file: holds them.
    """

    def __init__(self, file: StoreFile) -> None:
        self.file = file

    # Into the queue and out of it

    def submit(self, submissions: Sequence[Submission], limit: int) -> list[str | None]:
        """Put runs at the end of their priority, all in one write; they are durable when this returns their ids.

        None stands for a run that was not taken because `limit` runs wait already.
        """
        room = max(0, limit - self.count(1))
        ids: list[str | None] = [secrets.token_hex(10) for _ in submissions[:room]]
        with self.file.transaction() as database:
            (rank,) = database.execute("SELECT COALESCE(MAX(rank), 0) FROM runs WHERE phase < 2").fetchone()
            for run, one in zip(ids, submissions, strict=False):
                rank += 1
                database.execute(
                    "INSERT INTO runs (id, title, priority, rank, created) VALUES (?, ?, ?, ?, ?)",
                    (run, one.title, one.priority, rank, time.time()),
                )
                wanted = None if one.targets is None else json.dumps(one.targets)
                database.execute("INSERT INTO documents VALUES (?, ?, ?)", (run, one.workflow, wanted))
        return ids + [None] * (len(submissions) - len(ids))

    def claim(self, worker: str) -> Claim | None:
        """Take the run that goes next, or None where there is none or the queue is paused."""
        lease = f"{worker}-{secrets.token_hex(8)}"
        if self.paused or self.file.read(f"SELECT 1 FROM runs WHERE {_QUEUED} LIMIT 1").fetchone() is None:
            return None
        with self.file.transaction() as database:
            taken = database.execute(
                "UPDATE runs SET status = 'running', started = ?, attempts = attempts + 1, lease = ? "
                f"WHERE number = (SELECT number FROM runs WHERE {_QUEUED} LIMIT 1) RETURNING id, attempts",
                (time.time(), lease),
            ).fetchone()
            if taken is None:
                return None
            workflow, targets = database.execute(
                "SELECT workflow, targets FROM documents WHERE run = ?", (taken["id"],)
            ).fetchone()
        wanted = None if targets is None else json.loads(targets)
        return Claim(taken["id"], lease, taken["attempts"], workflow, wanted, self.timings(taken["id"]))

    def finish(
        self,
        claim: Claim,
        status: str,
        *,
        seconds: float | None = None,
        total: int | None = None,
        error: str | None = None,
        nodes: str = "{}",
    ) -> bool:
        """End a run. False, and nothing changes, where the lease is not the one it is held under."""
        with self.file.transaction() as database:
            return bool(
                database.execute(
                    "UPDATE runs SET status = ?, finished = ?, seconds = ?, total = ?, error = ?, nodes = ?, "
                    "cancelling = 0, lease = NULL WHERE id = ? AND lease = ? AND status = 'running'",
                    (status, _now(database), seconds, total, error, nodes, claim.id, claim.lease),
                ).rowcount
            )

    def release(self, claim: Claim) -> bool:
        """Put a run back in its old place as if it had not been begun; False where it was cancelled meanwhile."""
        with self.file.transaction() as database:
            return bool(
                database.execute(
                    "UPDATE runs SET status = 'queued', started = NULL, lease = NULL, attempts = attempts - 1 "
                    "WHERE id = ? AND lease = ? AND status = 'running' AND NOT cancelling",
                    (claim.id, claim.lease),
                ).rowcount
            )

    def lose(self, claim: Claim) -> Literal["queued", "cancelled", "failed"]:
        """Put a run whose worker died back in its old place, where it is `queued`.

        Else nothing changes, and it is to end: `cancelled` as it was asked for, or `failed` where it was tried too
        often already, or the lease is not the one it is held under.
        """
        with self.file.transaction() as database:
            if database.execute(
                "UPDATE runs SET status = 'queued', started = NULL, losses = losses + 1, lease = NULL "
                "WHERE id = ? AND lease = ? AND status = 'running' AND NOT cancelling AND losses < ?",
                (claim.id, claim.lease, MAX_LOSSES),
            ).rowcount:
                return "queued"
            return "cancelled" if self.required(claim.id)["cancelling"] else "failed"

    def recover(self) -> int:
        """Queue again what a server that died left running; returns how many runs that were."""
        gave_up = {
            "kind": "worker",
            "message": f"the server ended {MAX_ATTEMPTS} times while this run was running; it is not begun again",
        }
        with self.file.transaction() as database:
            now = _now(database)
            database.execute(
                "UPDATE runs SET status = 'cancelled', cancelling = 0, finished = ?, lease = NULL "
                "WHERE status = 'running' AND cancelling",
                (now,),
            )
            database.execute(
                "UPDATE runs SET status = 'failed', error = ?, finished = ?, lease = NULL "
                "WHERE status = 'running' AND attempts >= ?",
                (json.dumps(gave_up), now, MAX_ATTEMPTS),
            )
            return database.execute(
                "UPDATE runs SET status = 'queued', started = NULL, lease = NULL WHERE status = 'running'"
            ).rowcount

    def forget(self, keep: int, size: int) -> list[str]:
        """Drop all but the newest `keep` ended runs, and of these the older whose documents exceed `size` bytes.

        The newest are those that were submitted last: a clock may have been set back since. Artifacts stay.

        Returns the ids of those that went.
        """
        newest = "SELECT number FROM runs WHERE phase = 2 ORDER BY number DESC LIMIT 1 OFFSET ?"
        gone = self._forget(f"number <= ({newest})", keep)
        last = None
        if self.file.bytes > size:  # else there is no need to read them all
            total = 0
            for number, length in self.file.read(
                "SELECT number, LENGTH(CAST(workflow AS BLOB)) FROM runs JOIN documents ON run = id "
                "WHERE phase = 2 ORDER BY number DESC"
            ):
                total += length
                if total > size:
                    last = number
                    break
        return gone if last is None else gone + self._forget("number <= ?", last)

    def _forget(self, which: str, value: int) -> list[str]:
        """Drop ended runs; returns their ids."""
        with self.file.transaction() as database:
            rows = database.execute(
                f"DELETE FROM runs WHERE phase = 2 AND {which} RETURNING id", (value,)
            ).fetchall()
            gone = [(row["id"],) for row in rows]
            database.executemany("DELETE FROM documents WHERE run = ?", gone)
            database.executemany("DELETE FROM shown WHERE run = ?", gone)
        return [row["id"] for row in rows]

    def timings(self, run: str) -> dict[str, tuple[float, int | None]]:
        """The seconds, and the steps if any, that nodes took in the newest runs of a run's title."""
        found: dict[str, tuple[float, int | None]] = {}
        for (nodes,) in self.file.read(
            "SELECT nodes FROM runs WHERE title = (SELECT title FROM runs WHERE id = ?) AND nodes IS NOT NULL "
            "ORDER BY number DESC LIMIT ?",
            (run, LATELY),
        ):
            for name, state in json.loads(nodes).items():
                if state.get("seconds") is not None:
                    found.setdefault(name, (state["seconds"], state.get("total")))
        return found

    # What users change

    def cancel(self, run: str) -> str:
        """Cancel a queued run, mark a running one as being cancelled, leave an ended one as it is.

        Returns the status that it had. Raises KeyError where there is no such run.
        """
        with self.file.transaction() as database:
            before = self.required(run)["status"]
            database.execute(
                "UPDATE runs SET status = 'cancelled', finished = ? WHERE id = ? AND status = 'queued'",
                (_now(database), run),
            )
            database.execute("UPDATE runs SET cancelling = 1 WHERE id = ? AND status = 'running'", (run,))
        return str(before)

    def clear(self) -> list[str]:
        """Cancel every queued run; returns their ids."""
        with self.file.transaction() as database:
            rows = database.execute(
                "UPDATE runs SET status = 'cancelled', finished = ? WHERE status = 'queued' RETURNING id",
                (_now(database),),
            ).fetchall()
        return [row["id"] for row in rows]

    def prioritise(self, run: str, priority: int) -> bool:
        """Give a queued run another priority, at its end; False where it is not queued."""
        with self.file.transaction() as database:
            return bool(
                database.execute(
                    "UPDATE runs SET priority = ?, rank = (SELECT MAX(rank) + 1 FROM runs WHERE phase < 2) "
                    "WHERE id = ? AND status = 'queued'",
                    (priority, run),
                ).rowcount
            )

    def move(self, run: str, before: str | None) -> bool:
        """Move a queued run in front of another, or to the end; it takes the priority of its new neighbour.

        False, and nothing changes, where one of the two is not queued.
        """
        with self.file.transaction() as database:
            rows = database.execute(f"SELECT id, priority FROM runs WHERE {_QUEUED}").fetchall()
            priorities = {row["id"]: row["priority"] for row in rows}
            order = [name for name in priorities if name != run]
            if run not in priorities or (before is not None and before not in priorities):
                return False
            if before == run:
                return True
            place = len(order) if before is None else order.index(before)
            if order:
                neighbour = order[-1] if before is None else before
                priorities[run] = priorities[neighbour]
            order.insert(place, run)
            # Above the running ones: should one of those come back, it goes before all that waited behind it.
            (highest,) = database.execute("SELECT MAX(rank) FROM runs WHERE phase < 2").fetchone()
            database.executemany(
                "UPDATE runs SET rank = ?, priority = ? WHERE id = ?",
                [(rank, priorities[name], name) for rank, name in enumerate(order, highest + 1)],
            )
        return True

    @property
    def paused(self) -> bool:
        """Whether no run is to be begun. Kept over restarts."""
        return bool(self.file.setting("paused"))

    # Looking

    def required(self, run: str) -> sqlite3.Row:
        """The row of a run. Raises KeyError where there is none."""
        row = self.file.read("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None:
            raise KeyError(run)
        found: sqlite3.Row = row
        return found

    def position(self, row: sqlite3.Row) -> int | None:
        """How many runs go before a queued one."""
        if row["phase"] != 1:
            return None
        (ahead,) = self.file.read(
            "SELECT COUNT(*) FROM runs WHERE phase = 1 AND (first, second) < (?, ?)", (row["first"], row["second"])
        ).fetchone()
        return int(ahead)

    def page(self, status: str | None, limit: int, before: str | None) -> list[sqlite3.Row]:
        """Runs in the order of the list: running, queued, ended. `before` is the last id of the page before."""
        place = (-1, 0.0, 0)
        if before is not None:
            last = self.required(before)
            place = (last["phase"], last["first"], last["second"])
        return self.file.read(
            "SELECT * FROM runs WHERE (phase, first, second) > (?, ?, ?) AND (?4 IS NULL OR status = ?4) "
            "ORDER BY phase, first, second LIMIT ?5",
            (*place, status, limit),
        ).fetchall()

    def ids(self, status: str) -> list[str]:
        """The ids of the queued or running runs, in order."""
        rows = self.file.read(
            "SELECT id FROM runs WHERE phase = ? ORDER BY first, second", ({"running": 0, "queued": 1}[status],)
        )
        return [row["id"] for row in rows]

    def count(self, phase: int) -> int:
        """How many runs are running (0), queued (1) or ended (2)."""
        (count,) = self.file.read("SELECT COUNT(*) FROM runs WHERE phase = ?", (phase,)).fetchone()
        return int(count)

    def document(self, run: str) -> tuple[str, list[str] | None]:
        """The workflow of a run as JSON text, and its targets. Raises KeyError where there is no such run."""
        row = self.file.read("SELECT workflow, targets FROM documents WHERE run = ?", (run,)).fetchone()
        if row is None:
            raise KeyError(run)
        return row["workflow"], None if row["targets"] is None else json.loads(row["targets"])


def _now(database: sqlite3.Connection) -> float:
    """The time at which something ends: after all that has ended, also before a clock was set back."""
    (first,) = database.execute("SELECT MIN(first) FROM runs WHERE phase = 2").fetchone()
    return time.time() if first is None else max(time.time(), 0.001 - first)
