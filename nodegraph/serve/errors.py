"""What the service raises on purpose; the HTTP API answers each with its own status."""

from __future__ import annotations

from nodegraph.errors import NodegraphError


class NoSuchRun(NodegraphError):
    """There is no run of that id."""


class NoSuchArtifact(NodegraphError):
    """There is no artifact of that id, or its file is gone."""


class NotQueued(NodegraphError):
    """Only a queued run can be moved or given another priority."""


class QueueFull(NodegraphError):
    """Too many runs wait; nothing was accepted. Try again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class DiskFull(NodegraphError):
    """There is no room on the disk; nothing was accepted or changed."""


class QueueDamaged(NodegraphError):
    """The file of the queue is damaged, or no such file."""


class HomeUnusable(NodegraphError):
    """The home cannot be locked, or its queue not opened: held elsewhere, forbidden, or of a newer version."""


class HomeTaken(NodegraphError):
    """Another server runs on the same home folder."""
