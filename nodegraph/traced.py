"""What the files of a run tell of how they were made: the digests of the results before each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nodegraph.cache import ResultCache, digest_of
from nodegraph.call import Outputs
from nodegraph.plan import Plan, Step

# The texts that the files of a node carry, from the plan, the node, and the digests of results so far.
Metadata = Callable[[Plan, str, Mapping[str, str]], Mapping[str, str]]


class Traced:
    """The digests of a run's results, as far as a file that it writes depends on them.

    Args:
        plan: of the run.
        cache: knows the digests of earlier results.
        metadata: gives the texts of files; None where they carry none, and nothing is traced.
    """

    def __init__(self, plan: Plan, cache: ResultCache, metadata: Metadata | None) -> None:
        self._plan = plan
        self._cache = cache
        self._metadata = metadata
        self._digests: dict[str, str] = {}  # of what this run computed, by key
        files = [name for name, step in plan.steps.items() if step.shape.type.effect == "files"]
        self._nodes = plan.ancestors(*files) if metadata is not None else set()

    def digest(self, step: Step, outputs: Outputs) -> str | None:
        """The digest of what a node gave; None where no file depends on it, or it has none."""
        if step.id not in self._nodes:
            return None
        digest = digest_of(outputs)
        if digest is not None:
            self._digests[step.key] = digest
        return digest

    def texts(self, step: Step) -> Mapping[str, str] | None:
        """The texts that the files of an effect carry."""
        if self._metadata is None:
            return None
        needed = self._plan.ancestors(step.id)
        results = {}
        for name, other in self._plan.steps.items():
            digest = (self._digests.get(other.key) or self._cache.digest(other.key)) if name in needed else None
            if digest is not None:
                results[name] = digest
        return self._metadata(self._plan, step.id, results)
