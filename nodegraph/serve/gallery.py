"""The gallery: what runs wrote, a page at a time; what is taken out of it, and back, and gone for good."""

from __future__ import annotations

from pathlib import Path

from nodegraph.serve import models
from nodegraph.serve.artifacts import Artifacts, StoredArtifact
from nodegraph.serve.database import Database
from nodegraph.serve.errors import NoSuchArtifact
from nodegraph.serve.events import Events
from nodegraph.serve.listing import Listing
from nodegraph.serve.refusals import refusals
from nodegraph.serve.trash import Held


class Gallery:
    """The artifacts of one home, for the event loop; whoever looks is told of what changes.

    Args:
        home: the folder that a refusal names.
        database: the store's thread.
        listing, artifacts: the rows.
        events: where changes are published.
    """

    def __init__(
        self, home: Path, database: Database, listing: Listing, artifacts: Artifacts, events: Events
    ) -> None:
        self._home = home
        self._database = database
        self._listing = listing
        self._artifacts = artifacts
        self._events = events

    async def page(self, limit: int = 100, before: str | None = None) -> models.Gallery:
        """Artifacts, newest first. Raises NoSuchArtifact where `before` is none."""
        with refusals(self._home, NoSuchArtifact):
            return await self._database(self._listing.gallery, limit, before)

    async def deleted(self, limit: int = 100, before: str | None = None) -> models.Gallery:
        """Artifacts in the trash, what was deleted last first. Raises NoSuchArtifact where `before` is none."""
        with refusals(self._home, NoSuchArtifact):
            return await self._database(self._listing.trash, limit, before)

    async def shown(self, artifact: str) -> Path:
        """The file of an artifact, also of one in the trash. Raises NoSuchArtifact."""
        with refusals(self._home, NoSuchArtifact):
            return await self._database(self._artifacts.shown, artifact)

    async def artifact(self, artifact: str) -> StoredArtifact:
        """An artifact and its file. Raises NoSuchArtifact."""
        with refusals(self._home, NoSuchArtifact):
            return await self._database(self._artifacts.get, artifact)

    async def delete(self, artifact: str) -> models.Artifact:
        """Take an artifact out; its file goes to the trash. Raises NoSuchArtifact, DiskFull."""
        with refusals(self._home, NoSuchArtifact):
            gone = await self._database(self._artifacts.delete, artifact)
        self._events.publish({"event": "artifact", "artifact": gone.id, "deleted": True})
        return gone

    async def restore(self, artifact: str) -> models.Artifact:
        """Take an artifact out of the trash. Raises NoSuchArtifact where it is not there, DiskFull."""
        with refusals(self._home, NoSuchArtifact):
            back = await self._database(self._artifacts.restore, artifact)
        self._events.publish({"event": "artifact", "artifact": back.id, "deleted": False})
        return back

    async def trash(self) -> Held:
        """How many files the trash has, and of how many bytes."""
        return await self._database(self._artifacts.in_trash)

    async def empty_trash(self) -> Held:
        """Remove for good what is in the trash. Returns what went."""
        return await self._database(self._artifacts.empty_trash)
