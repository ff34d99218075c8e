"""Rows of the store as the models of the API. For the store's thread."""

from __future__ import annotations

import json
import sqlite3

from nodegraph.serve import models
from nodegraph.serve.artifacts import Artifacts
from nodegraph.serve.store import Store


class Listing:
    """Reads runs with all that belongs to them."""

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        self._store = store
        self._artifacts = artifacts

    def run(self, run: str) -> models.Run:
        """A run. Raises KeyError."""
        return self._runs([self._store.required(run)])[0]

    def details(self, run: str) -> models.RunDetails:
        """A run with the states that its nodes ended in. Raises KeyError."""
        row = self._store.required(run)
        nodes = {name: models.NodeProgress(**state) for name, state in json.loads(row["nodes"] or "{}").items()}
        return models.RunDetails(**dict(self._runs([row])[0]), nodes=nodes)

    def page(self, status: str | None, limit: int, before: str | None) -> models.Runs:
        """A page of runs. Raises KeyError where there is no run `before`."""
        rows = self._store.page(status, limit + 1, before)
        runs = self._runs(rows[:limit])
        return models.Runs(runs=runs, next=runs[-1].id if len(rows) > limit else None)

    def gallery(self, limit: int, before: str | None) -> models.Gallery:
        """A page of the gallery. Raises KeyError where there is no artifact `before`."""
        return _page(self._artifacts.page(limit + 1, before), limit)

    def trash(self, limit: int, before: str | None) -> models.Gallery:
        """A page of the artifacts in the trash. Raises KeyError where `before` is none of them."""
        return _page(self._artifacts.deleted(limit + 1, before), limit)

    def queue(self) -> models.QueueState:
        """What runs and what waits."""
        return models.QueueState(
            paused=self._store.paused, running=self._store.ids("running"), queued=self._store.ids("queued")
        )

    def _runs(self, rows: list[sqlite3.Row]) -> list[models.Run]:
        artifacts = self._artifacts.of_runs([row["id"] for row in rows])
        position = None
        runs = []
        for row in rows:
            if row["status"] == "queued":  # they follow each other on a page
                position = self._store.position(row) if position is None else position + 1
            runs.append(
                models.Run(
                    id=row["id"],
                    status=row["status"],
                    title=row["title"],
                    priority=row["priority"],
                    position=position if row["status"] == "queued" else None,
                    created=row["created"],
                    started=row["started"],
                    finished=row["finished"],
                    seconds=row["seconds"],
                    attempts=row["attempts"],
                    cancelling=bool(row["cancelling"]),
                    total=row["total"],
                    error=models.RunFailure.model_validate_json(row["error"]) if row["error"] else None,
                    artifacts=artifacts[row["id"]],
                )
            )
        return runs


def _page(found: list[models.Artifact], limit: int) -> models.Gallery:
    """A page out of what was found, which is one more where there is another page."""
    return models.Gallery(artifacts=found[:limit], next=found[limit - 1].id if len(found) > limit else None)
