"""How far a run is and how long it still takes, by what its nodes took in earlier runs.

The work of a run is what it has to compute: a node whose result is cached is none, and neither are those that
only such a node would have needed. Each node counts by the seconds that it took lately, a new one by the mean of
the others; while a node tells steps, its own pace says more and more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from nodegraph import events
from nodegraph.plan import Plan

Timings = Mapping[str, tuple[float, int | None]]


class Forecast:
    """Follows the events of one run.

    Args:
        plan: what is run.
        timings: what nodes took lately: seconds, and the steps that they told, if any.
        clock: tells seconds.
    """

    def __init__(self, plan: Plan, timings: Timings, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._timings = {name: timings[name] for name in plan.steps if name in timings}
        self._clock = clock
        known = [seconds for seconds, _ in self._timings.values()]
        self._usual = sum(known) / len(known) if any(known) else 1.0
        self._there: set[str] = set()  # results that need not be computed any more
        # Nodes that have to be computed and have not ended, with their weights.
        self._waiting: dict[str, float] = {}
        self._unknown: set[str] = set()  # those among them that nothing is known of
        self._whole = self._rest = 0.0  # weight of all that has to be computed, and of what has not ended
        self._node: str | None = None  # computes
        self._began = 0.0
        self._step = self._total = 0
        self._share = 0.0

    def take(self, event: events.Event) -> None:
        """Take in what happened."""
        match event:
            case events.Cached(node):
                self._end(node)
            case events.Started(str(node)):
                if not self._whole:
                    self._survey()
                self._begin(node)
            case events.Progress(node, step, total):
                if node not in self._waiting:  # a thread that an ended node left behind
                    return
                if node != self._node:  # it goes on after a lazy input
                    self._begin(node)
                if total and total != self._total:
                    self._resize(node, total)
                self._step, self._total = step, total or 0
            case events.Finished(str(node)):
                self._end(node)

    @property
    def share(self) -> float:
        """The share of the work that is done, in [0, 1]; it never goes back."""
        if self._whole:
            doing = self._waiting.get(self._node or "", 0.0) * self._part
            self._share = max(self._share, min(1.0, 1 - (self._rest - doing) / self._whole))
        return self._share

    @property
    def left(self) -> float | None:
        """Seconds until the end; None where a node is to come that nothing is known of."""
        name = self._node or ""
        if not self._whole or len(self._unknown) > (name in self._unknown):
            return None
        expected = self._waiting.get(name, 0.0)
        elapsed = self._clock() - self._began
        after = max(0.0, self._rest - expected)
        part = self._part
        told = elapsed / part - elapsed if self._step and part else None
        if name in self._unknown:
            return None if told is None else after + told
        usual = max(0.0, expected - elapsed)
        return after + (usual if told is None else part * told + (1 - part) * usual)

    @property
    def _part(self) -> float:
        """How much of the node that computes is done, by its steps."""
        return min(1.0, self._step / self._total) if self._total else 0.0

    def _survey(self) -> None:
        """Find what has to be computed: that comes once all that is cached has been told."""
        pending = [name for name in self._plan.targets if name not in self._there]
        while pending:
            name = pending.pop()
            if name in self._waiting:
                continue
            self._waiting[name] = max(1e-6, self._timings.get(name, (self._usual, None))[0])
            step = self._plan.steps[name]
            for entry, links in step.links.items():
                if entry not in step.shape.lazy:
                    pending.extend(link.node for link in links if link.node not in self._there)
        self._unknown = self._waiting.keys() - self._timings.keys()
        self._whole = self._rest = sum(self._waiting.values())

    def _begin(self, node: str) -> None:
        self._node, self._began = node, self._clock()
        self._step = self._total = 0

    def _end(self, node: str) -> None:
        self._there.add(node)
        self._rest -= self._waiting.pop(node, 0.0)
        self._unknown.discard(node)
        if node == self._node:
            self._node, self._step, self._total = None, 0, 0

    def _resize(self, node: str, total: int) -> None:
        """A node tells how many steps it takes; it was timed with another number of them."""
        before = self._timings.get(node, (0.0, None))[1]
        if before and before != total:
            weight = self._timings[node][0] * total / before
            more = weight - self._waiting[node]
            self._waiting[node] = weight
            self._whole += more
            self._rest += more
