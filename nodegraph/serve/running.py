"""A run in a worker's hands, as the server sees it: what each node is doing, and what clients are told."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from nodegraph.serve.models import Artifact, Run
from nodegraph.serve.store import Claim

_NODE_STATES = {
    "started": "running",
    "progress": "running",
    "cached": "cached",
    "finished": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
}
_TOLD = ("node", "step", "total", "note", "seconds", "message", "input")
_OUTLOOK = ("share", "left")


@dataclass
class Running:
    """One attempt at a run."""

    claim: Claim
    worker: int
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    total: int | None = None
    event: int = 0  # number of the newest event that `nodes` includes
    cancelling: bool = False
    outlook: dict[str, float] = field(
        default_factory=dict
    )  # `share` done, and seconds that were `left`, at `told`
    told: float = 0.0

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.claim.id

    @property
    def busy(self) -> str | None:
        """The node that began last and has not ended."""
        return next((name for name in reversed(self.nodes) if self.nodes[name]["state"] == "running"), None)

    def apply(self, report: dict[str, Any], artifacts: list[Artifact]) -> dict[str, Any] | None:
        """Take in what the worker told; returns the event that clients get, None where it is none."""
        kind = report.get("event")
        state = _NODE_STATES.get(kind) if isinstance(kind, str) else None
        if state is None:
            return None
        event: dict[str, Any] = {"event": kind, "run": self.id}
        event.update({name: report[name] for name in _TOLD if report.get(name) is not None})
        node = event.get("node")
        outlook = {name: float(report[name]) for name in _OUTLOOK if report.get(name) is not None}
        if outlook:
            self.outlook, self.told = outlook, time.monotonic()
            event |= outlook
        if node is None:
            if kind != "started":
                return None
            self.total = event.get("total")
            return {**event, "attempt": self.claim.attempt}
        known = self.nodes.setdefault(str(node), {})
        known["state"] = state
        known.update({name: event[name] for name in _TOLD[1:] if name in event})
        if kind == "finished":
            event["artifacts"] = [artifact.model_dump(mode="json") for artifact in artifacts]
        return event

    @property
    def left(self) -> float | None:
        """Seconds that it still takes, by what the worker told last."""
        left = self.outlook.get("left")
        return None if left is None else max(0.0, left - (time.monotonic() - self.told))

    def overlay(self, run: Run) -> None:
        """Say in a run how far it is at this moment."""
        run.total = self.total
        run.share, run.left, run.node = self.outlook.get("share"), self.left, self.busy

    def stop(self, state: str, message: str | None = None) -> None:
        """What was running when the run ended did not end by itself."""
        for known in self.nodes.values():
            if known["state"] == "running":
                known["state"] = state
                if message is not None:
                    known["message"] = message

    @property
    def dumped(self) -> str:
        """The state of the nodes as JSON text, to be kept."""
        return json.dumps(self.nodes)
