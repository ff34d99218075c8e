"""The values of a run: what its nodes gave, each dropped when the last node that reads it has run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence

from nodegraph.call import Outputs
from nodegraph.plan import Step


class Values:
    """Outputs by node, held no longer than they are read in this run; the cache may keep them longer.

    Args:
        steps: of the plan.
        targets: the wanted nodes, whose outputs are read after the run.
    """

    def __init__(self, steps: Mapping[str, Step], targets: Sequence[str]) -> None:
        self._outputs: dict[str, Outputs] = {}
        self._released: set[str] = set()  # nodes that no longer count as readers of their inputs
        self._readers = Counter(
            link.node for step in steps.values() for links in step.links.values() for link in links
        )
        self._readers.update(targets)

    def __contains__(self, name: str) -> bool:
        return name in self._outputs

    def get(self, name: str) -> Outputs | None:
        """What a node gave, where it is held."""
        return self._outputs.get(name)

    def put(self, name: str, outputs: Outputs) -> None:
        """Hold what a node gave, where anybody is still to read it."""
        if self._readers[name]:
            self._outputs[name] = outputs

    def release(self, step: Step) -> None:
        """Drop the values that only this node still needed: it has run, or need not."""
        if step.id in self._released:
            return
        self._released.add(step.id)
        for links in step.links.values():
            for link in links:
                self._readers[link.node] -= 1
                if not self._readers[link.node]:
                    self._outputs.pop(link.node, None)

    def reclaim(self, step: Step) -> None:
        """Count a node as a reader of its inputs again: it was thought done and must run after all."""
        if step.id in self._released:
            self._released.discard(step.id)
            self._readers.update(link.node for links in step.links.values() for link in links)

    def drop_but(self, names: Container[str]) -> None:
        """Drop the values of all other nodes."""
        self._outputs = {name: outputs for name, outputs in self._outputs.items() if name in names}
