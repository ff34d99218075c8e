"""The gallery: what runs wrote to the output folder, as rows with opaque ids.

A worker describes each file that it wrote (`describe`); the server keeps the description and from then on knows
the file by an id. No path ever comes from a client.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodegraph.carried import beside
from nodegraph.named import name_also
from nodegraph.serve.models import Artifact
from nodegraph.serve.storefile import StoreFile, StoreFull
from nodegraph.serve.trash import LONGEST, TRASH_BYTES, Held, bounded, held, latest, linked

OTHER = "application/octet-stream"
_PICTURES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact, where its file is, and the receipt (JSON text) of the run that wrote it."""

    path: Path
    artifact: Artifact
    receipt: str | None


def describe(path: Path) -> dict[str, Any]:
    """What a file is by its content: `media_type`, `bytes`, and `width` and `height` of a picture.

    Only the header is read. What is no picture or film that a browser may show is `application/octet-stream`.
    Raises OSError where the file is gone.
    """
    from PIL import Image

    found: dict[str, Any] = {"media_type": OTHER, "bytes": path.stat().st_size}
    with path.open("rb") as file:
        if file.read(12)[4:8] == b"ftyp":
            found["media_type"] = "video/mp4"
        file.seek(0)
        try:
            with Image.open(file, formats=list(_PICTURES)) as picture:
                found["media_type"] = _PICTURES[picture.format or ""]
                found["width"], found["height"] = picture.size
        except Exception:  # decoders raise OSError, SyntaxError, ValueError, struct.error, bombs
            return found
    return found


class Artifacts:
    """The rows of the gallery. For the store's thread.

    Args:
        file: holds the rows.
        outputs: the folder that runs write to.
        trash: where the files of deleted artifacts go.
        trash_budget: how many bytes of them are kept.
    """

    def __init__(self, file: StoreFile, outputs: Path, trash: Path, trash_budget: int = TRASH_BYTES) -> None:
        self._file = file
        self._outputs = outputs
        self._trash = trash
        self._trash_budget = trash_budget
        self._trash_bytes = 0

    def add(self, run: str, node: str | None, files: list[dict[str, Any]]) -> list[Artifact]:
        """Remember files that a run's node wrote, or without a `node` found written, as described by a worker.

        A file outside the output folder is left out. One that was written under the name of an earlier file, which
        somebody removed, is an artifact of its own.
        """
        found: list[str] = []
        with self._file.transaction() as database:
            for file in files:
                path = Path(str(file["path"])).resolve()
                if not path.is_relative_to(self._outputs.resolve()):
                    continue
                relative = path.relative_to(self._outputs.resolve()).as_posix()
                if node is not None:
                    # With the same receipt it is the same file: of a run that went on where another had been.
                    another = "path = ? AND NOT (bytes IS ? AND receipt IS ? AND receipt IS NOT 'null')"
                    was = (relative, file["bytes"], file.get("receipt"))
                    database.execute(
                        f"DELETE FROM shown WHERE artifact IN (SELECT id FROM artifacts WHERE {another})", was
                    )
                    database.execute(f"DELETE FROM artifacts WHERE {another}", was)
                database.execute(
                    "INSERT INTO artifacts (id, path, name, node, run, media_type, width, height, bytes, created, "
                    "receipt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO NOTHING",
                    (
                        secrets.token_hex(10), relative, path.name, node, run, file["media_type"],
                        file.get("width"), file.get("height"), file["bytes"], time.time(), file.get("receipt"),
                    ),
                )  # fmt: skip
                (name,) = database.execute("SELECT id FROM artifacts WHERE path = ?", (relative,)).fetchone()
                database.execute("INSERT OR IGNORE INTO shown VALUES (?, ?)", (run, name))
                found.append(name)
        return [_artifact(self._row(name)) for name in dict.fromkeys(found)]

    def of_runs(self, runs: list[str]) -> dict[str, list[Artifact]]:
        """The artifacts of each run, oldest first."""
        found: dict[str, list[Artifact]] = {run: [] for run in runs}
        marks = ", ".join("?" * len(runs))
        for row in self._file.read(
            "SELECT shown.run AS shown_by, artifacts.* FROM shown JOIN artifacts ON artifacts.id = shown.artifact "
            f"WHERE shown.run IN ({marks}) ORDER BY artifacts.number",
            runs,
        ):
            found[row["shown_by"]].append(_artifact(row))
        return found

    def page(self, limit: int, before: str | None) -> list[Artifact]:
        """Artifacts, newest first. Raises KeyError where `before` is none."""
        number = 2**62 if before is None else self._row(before)["number"]
        rows = self._file.read(
            "SELECT * FROM artifacts WHERE number < ? ORDER BY number DESC LIMIT ?", (number, limit)
        )
        return [_artifact(row) for row in rows]

    def deleted(self, limit: int, before: str | None) -> list[Artifact]:
        """Artifacts in the trash, what was deleted last first. Raises KeyError where `before` is none of them."""
        ids = [path.name.partition("-")[0] for path in latest(self._trash)]
        if before is not None and before not in ids:
            raise KeyError(before)
        begin = 0 if before is None else ids.index(before) + 1
        rows = (self._trashed_row(name) for name in ids[begin:])
        return [_artifact(row) for row in itertools.islice((row for row in rows if row is not None), limit)]

    def shown(self, name: str) -> Path:
        """The file of an artifact, also of one in the trash. Raises KeyError where there is none."""
        if (row := self._trashed_row(name)) is None:
            return self.get(name).path
        path = self._trashed(row)
        if path.is_symlink() or not path.is_file():
            raise KeyError(name)
        return path

    def get(self, name: str) -> StoredArtifact:
        """An artifact and its file. Raises KeyError where either is not there."""
        row = self._row(name)
        path = self._outputs / row["path"]
        if path.is_symlink() or not path.is_file():
            raise KeyError(name)
        return StoredArtifact(path, _artifact(row), row["receipt"])

    def delete(self, name: str) -> Artifact:
        """Take an artifact out of the gallery and put its file into the trash. Raises KeyError.

        What was deleted longest ago leaves the trash for good where that has grown too large.
        """
        row = self._row(name)
        path, trashed = self._outputs / row["path"], self._trashed(row)
        keeps = path.is_file() and not path.is_symlink()
        if keeps:
            self._trash.mkdir(parents=True, exist_ok=True)
            trashed.unlink(missing_ok=True)
            name_also(path, trashed)
        with _gone_again(trashed), self._file.transaction() as database:
            runs = [run for (run,) in database.execute("SELECT run FROM shown WHERE artifact = ?", (name,))]
            database.execute("DELETE FROM artifacts WHERE id = ?", (name,))
            database.execute("DELETE FROM shown WHERE artifact = ?", (name,))
            if keeps:
                kept = (name, json.dumps(dict(row)), json.dumps(runs))
                database.execute("INSERT OR REPLACE INTO trashed VALUES (?, ?, ?)", kept)
        if keeps:
            _moved(beside(path), self._receipt(name))
            path.unlink()
            self._trash_bytes += int(row["bytes"])
        else:
            with suppress(OSError):
                beside(path).unlink(missing_ok=True)
        if self._trash_bytes > self._trash_budget:
            self.bound_trash()
        return _artifact(row)

    def bound_trash(self) -> None:
        """Remove for good what was deleted longest ago, until what is in the trash fits its budget."""
        self._bound_trash(self._trash_budget)

    def in_trash(self) -> Held:
        """What is in the trash."""
        return held(self._trash)

    def empty_trash(self) -> Held:
        """Remove for good what is in the trash. Returns what went."""
        gone = self._bound_trash(0)
        return Held(len(gone), sum(gone.values()))

    def _bound_trash(self, budget: int) -> dict[Path, int]:
        gone, self._trash_bytes = bounded(self._trash, budget)
        ids = [path.name.partition("-")[0] for path in gone]
        for name in ids:
            with suppress(OSError):
                self._receipt(name).unlink(missing_ok=True)
        if gone:
            with suppress(StoreFull), self._file.transaction() as database:
                database.executemany("DELETE FROM trashed WHERE artifact = ?", [(name,) for name in ids])
        return gone

    def restore(self, name: str) -> Artifact:
        """Take an artifact out of the trash, back to its place. Raises KeyError where it is not in it.

        Its file gets its old name, or the nearest free one where a run has written another meanwhile.
        """
        found = self._file.read("SELECT * FROM trashed WHERE artifact = ?", (name,)).fetchone()
        if found is None:
            raise KeyError(name)
        row = json.loads(found["row"])
        trashed = self._trashed(row)
        if not trashed.is_file():
            raise KeyError(name)
        path = self._outputs / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path = linked(trashed, path)
        row |= {"path": path.relative_to(self._outputs).as_posix(), "name": path.name}
        with _gone_again(path), self._file.transaction() as database:
            # An artifact may be known under this name whose file somebody has removed: it gives the name up.
            gone = "SELECT id FROM artifacts WHERE path = ?"
            database.execute(f"DELETE FROM shown WHERE artifact IN ({gone})", (row["path"],))
            database.execute("DELETE FROM artifacts WHERE path = ?", (row["path"],))
            marks = ", ".join(f":{column}" for column in row)
            database.execute(f"INSERT INTO artifacts ({', '.join(row)}) VALUES ({marks})", row)
            database.executemany(
                "INSERT OR IGNORE INTO shown SELECT id, ? FROM runs WHERE id = ?",
                [(name, run) for run in json.loads(found["runs"])],
            )
            database.execute("DELETE FROM trashed WHERE artifact = ?", (name,))
        _moved(self._receipt(name), beside(path))
        trashed.unlink()
        self._trash_bytes -= int(row["bytes"])
        return _artifact(self._row(name))

    def _trashed(self, row: Mapping[str, Any] | sqlite3.Row) -> Path:
        name = f"{row['id']}-{row['name']}"
        if len(os.fsencode(name)) > LONGEST:
            name = str(row["id"])
        return self._trash / name

    def _receipt(self, name: str) -> Path:
        """Where the receipt of an artifact in the trash is: in a folder of its own, as it is no file to count."""
        return self._trash / "receipts" / f"{name}.json"

    def _trashed_row(self, name: str) -> dict[str, Any] | None:
        """What was a row, of an artifact in the trash; None where it is not there."""
        found = self._file.read("SELECT row FROM trashed WHERE artifact = ?", (name,)).fetchone()
        row: dict[str, Any] | None = None if found is None else json.loads(found["row"])
        return row

    def _row(self, name: str) -> sqlite3.Row:
        row = self._file.read("SELECT * FROM artifacts WHERE id = ?", (name,)).fetchone()
        if row is None:
            raise KeyError(name)
        found: sqlite3.Row = row
        return found


@contextmanager
def _gone_again(path: Path) -> Iterator[None]:
    """Where what is done fails, such as on a full disk, the name that a file was given for it goes.

    A file has both its names while the rows change: whatever dies in between, it is never without one.
    """
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _moved(source: Path, target: Path) -> None:
    """Move a receipt, where there is one."""
    with suppress(OSError):
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)


def _artifact(row: Mapping[str, Any] | sqlite3.Row) -> Artifact:
    content = f"/api/artifacts/{row['id']}"
    return Artifact(
        id=row["id"],
        name=row["name"],
        node=row["node"],
        run=row["run"],
        media_type=row["media_type"],
        width=row["width"],
        height=row["height"],
        bytes=row["bytes"],
        created=row["created"],
        content=content,
        thumbnail=f"{content}/thumbnail" if row["media_type"].startswith("image/") else None,
    )
