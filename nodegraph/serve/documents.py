"""Stored workflows: a JSON file each, saved only over the revision that was read, deleted into a trash folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import NamedTuple

from nodegraph.errors import DocumentError
from nodegraph.named import name_also
from nodegraph.serve.models import (
    OpenedWorkflow,
    SavedWorkflow,
    StoredWorkflow,
    StoredWorkflows,
    Trash,
    TrashedWorkflow,
)
from nodegraph.serve.names import inside, new_id, safe_name, shortened, write_whole
from nodegraph.serve.refuse import Refused
from nodegraph.serve.trash import WORKFLOWS_BYTES, Held, bounded, emptied, held
from nodegraph.workflow import MAX_BYTES, Workflow

_TRASHED = re.compile(r"([0-9a-f]{24})-(\d+)-(.+)\.json", re.DOTALL)


class _Listed(NamedTuple):
    stamp: tuple[int, int]
    entry: StoredWorkflow


class WorkflowStore:
    """Workflows as files in a folder. Blocking; safe for threads of one process.

    Args:
        folder: one `NAME.json` for each workflow.
        trash: where deleted ones go.
    """

    def __init__(self, folder: Path, trash: Path) -> None:
        self.folder = folder
        self.trash_folder = trash
        self._lock = threading.Lock()
        self._entries: dict[str, _Listed] = {}

    def listed(self) -> StoredWorkflows:
        """Every stored workflow, newest first; one that cannot be read is listed with what is wrong."""
        found = []
        for path in self.folder.glob("*.json") if self.folder.is_dir() else ():
            try:
                if safe_name(path.stem) == path.stem and path.is_file() and not path.is_symlink():
                    found.append(self._entry(path))
            except (OSError, Refused):
                continue  # deleted meanwhile, or put there under a name that no request can have
        found.sort(key=lambda entry: (-entry.modified, entry.name))
        return StoredWorkflows(workflows=found)

    def read(self, name: str) -> OpenedWorkflow:
        """A stored workflow. Raises Refused where there is none, DocumentError where its file holds none."""
        path = self._path(name)
        content, modified = self._content(path)
        document = Workflow.parse(content)
        return OpenedWorkflow(
            name=path.stem,
            revision=revision_of(content),
            modified=modified,
            workflow=json.loads(document.dump()),
        )

    def save(self, name: str, workflow: Workflow, revision: str | None) -> tuple[SavedWorkflow, bool]:
        """Save over the given revision, or under a new name with None. Returns what was saved and if it is new.

        Raises:
            Refused: `conflict` where another revision is stored, or something is where nothing was expected.
        """
        path = self._path(name)
        content = workflow.dump().encode()
        if len(content) > MAX_BYTES:
            raise Refused("too_large", f"the document is {len(content):,} bytes long; {MAX_BYTES:,} is the limit")
        with self._lock:
            try:
                stored = revision_of(self._content(path)[0])
            except Refused:
                stored = None
            if stored is not None and stored == revision_of(content):
                return self._saved(path, stored), False
            if stored != revision:
                raise _conflict(path.stem, stored, revision)
            write_whole(path, content)
            return self._saved(path, revision_of(content)), stored is None

    def rename(self, name: str, new: str) -> SavedWorkflow:
        """Give a workflow another name. Raises Refused where there is none, or the new name is taken."""
        source, target = self._path(name), self._path(new)
        with self._lock:
            content, _ = self._content(source)
            if source != target:
                self._move(source, target)
            return self._saved(target, revision_of(content))

    def delete(self, name: str) -> TrashedWorkflow:
        """Put a workflow into the trash folder. Raises Refused where there is none."""
        path = self._path(name)
        with self._lock:
            self._content(path)
            trashed = TrashedWorkflow(id=new_id(), name=path.stem, deleted=float(int(time.time())))
            self.trash_folder.mkdir(parents=True, exist_ok=True)
            path.replace(self.trash_folder / f"{trashed.id}-{int(trashed.deleted)}-{path.stem}.json")
            bounded(self.trash_folder, WORKFLOWS_BYTES)
            return trashed

    def trash(self) -> Trash:
        """The deleted workflows, newest first, and how much they take."""
        found = [entry for _, entry in self._trashed()]
        size = held(self.trash_folder).bytes
        return Trash(workflows=sorted(found, key=lambda entry: -entry.deleted), bytes=size)

    def empty_trash(self) -> Held:
        """Remove for good what is in the trash. Returns what went."""
        with self._lock:
            return emptied(self.trash_folder)

    def restore(self, id: str) -> SavedWorkflow:
        """Take a workflow out of the trash, under its old name or the nearest free one."""
        with self._lock:
            for path, entry in self._trashed():
                if entry.id == id:
                    return self._restore(path, entry.name)
        raise Refused("not_found", f"nothing in the trash has the id {id!r}")

    def _restore(self, path: Path, name: str) -> SavedWorkflow:
        revision = revision_of(path.read_bytes())
        for number in range(1, 10_000):
            mark = "" if number == 1 else f" ({number})"
            target = self._path(shortened(name, len(mark)) + mark)
            try:
                self._move(path, target)
            except Refused:
                continue
            return self._saved(target, revision)
        raise Refused("conflict", f"every name like {name!r} is taken")

    def _path(self, name: str) -> Path:
        return inside(self.folder, safe_name(name) + ".json")

    def _content(self, path: Path) -> tuple[bytes, float]:
        """What is stored there, and when it was changed; of one file, whatever takes its place meanwhile."""
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            raise Refused("not_found", f"there is no workflow {path.stem!r}") from None

    def _move(self, source: Path, target: Path) -> None:
        """Rename without ever replacing: a second name fails where it is taken."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            name_also(source, target)
        except FileExistsError:
            raise Refused("conflict", f"there is a workflow {target.stem!r} already") from None
        source.unlink()

    def _saved(self, path: Path, revision: str) -> SavedWorkflow:
        return SavedWorkflow(name=path.stem, revision=revision, modified=path.stat().st_mtime)

    def _entry(self, path: Path) -> StoredWorkflow:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._entries.get(path.name)
        if known is not None and known.stamp == stamp:
            return known.entry
        (content, modified), title, problem = self._content(path), "", None
        try:
            title = Workflow.parse(content).title
        except DocumentError as error:
            problem = str(error)
        entry = StoredWorkflow(
            name=path.stem,
            title=title,
            revision=revision_of(content),
            modified=modified,
            problem=problem,
        )
        self._entries[path.name] = _Listed(stamp, entry)
        return entry

    def _trashed(self) -> list[tuple[Path, TrashedWorkflow]]:
        found = []
        for path in self.trash_folder.glob("*.json") if self.trash_folder.is_dir() else ():
            match = _TRASHED.fullmatch(path.name)
            if match and path.is_file() and not path.is_symlink():
                entry = TrashedWorkflow(id=match[1], name=match[3], deleted=float(match[2]))
                found.append((path, entry))
        return found


def revision_of(content: bytes) -> str:
    """The digest of a stored text."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _conflict(name: str, stored: str | None, asked: str | None) -> Refused:
    if stored is None:
        return Refused("conflict", f"{name!r} was deleted or renamed meanwhile; save it without a revision")
    if asked is None:
        return Refused("conflict", f"there is a workflow {name!r} already; read it first, or choose another name")
    return Refused("conflict", f"{name!r} was changed elsewhere since it was read; open it again or save a copy")
