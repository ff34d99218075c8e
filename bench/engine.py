"""Microseconds per node of the engine itself, beside a plain loop that calls the same functions.

Run with `python bench/engine.py`. The graph is a chain of trivial nodes; check, plan, keys, execution and
events with a listener are all counted. "Cached" runs the same workflow again.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import NamedTuple

from nodegraph import node
from nodegraph.cache import MemoryTier, ResultCache
from nodegraph.catalog import Catalog
from nodegraph.check import check
from nodegraph.events import Event
from nodegraph.execute import execute
from nodegraph.files import Files
from nodegraph.node import declaration_of
from nodegraph.plan import plan
from nodegraph.registry import Registered, Registry
from nodegraph.workflow import Link, NodeSpec, Workflow

BUDGET_COLD = 30.0
BUDGET_CACHED = 15.0
BUDGET_GROWTH = 2.5


@node(category="bench")
def Increment(value: int = 0, by: int = 1) -> int:
    """Add one number to another."""
    return value + by


class Row(NamedTuple):
    """Median microseconds a node over several runs."""

    nodes: int
    loop: float
    cold: float
    cached: float


def chain(length: int) -> Workflow:
    """A chain of trivial nodes."""
    nodes = {"n0": NodeSpec(type="Increment", values={"value": 0})}
    for index in range(1, length):
        link = Link(node=f"n{index - 1}", output="value")
        nodes[f"n{index}"] = NodeSpec(type="Increment", values={"by": 1}, links={"value": link})
    return Workflow(nodes=nodes)


def trivial_registry() -> Registry:
    """A registry that holds the trivial node alone."""
    declared = declaration_of(Increment)
    assert declared is not None
    registry = Registry()
    registry.nodes["Increment"] = Registered(declared.type, Increment, None, False)
    return registry


def measure(length: int, repeats: int = 5) -> Row:
    """Time a chain of `length` nodes: the plain loop, a cold run, and the same run again."""
    workflow, registry, files = chain(length), trivial_registry(), Files()
    catalog = Catalog(nodes={name: entry.type for name, entry in registry.nodes.items()})
    seen: list[Event] = []

    def run(cache: ResultCache) -> float:
        seen.clear()
        started = time.perf_counter()
        checked = check(workflow, catalog, files)
        execute(plan(checked, files), lambda: registry, cache, files=files, listen=seen.append)
        return (time.perf_counter() - started) / length * 1e6

    loops, colds, cacheds = [], [], []
    run(ResultCache())
    gc.collect()
    gc.freeze()
    for _ in range(repeats):
        started = time.perf_counter()
        value = 0
        for _ in range(length):
            value = Increment(value=value, by=1)
        loops.append((time.perf_counter() - started) / length * 1e6)
        cache = ResultCache(MemoryTier())
        colds.append(run(cache))
        cacheds.append(run(cache))
    gc.unfreeze()
    return Row(length, statistics.median(loops), statistics.median(colds), statistics.median(cacheds))


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| nodes | plain loop, us a node | cold | cached |", "|---|---|---|---|"]
    lines += [f"| {row.nodes:,} | {row.loop:.2f} | {row.cold:.1f} | {row.cached:.1f} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Print the table and whether the budgets hold."""
    rows = [measure(1_000), measure(10_000)]
    print(table(rows))
    growth = rows[1].cold / rows[0].cold
    print(f"\nAt 10,000 nodes {growth:.2f} times the figure at 1,000 (budget {BUDGET_GROWTH}).")
    print(f"Budgets: cold {BUDGET_COLD:g} us a node, cached {BUDGET_CACHED:g} us a node.")


if __name__ == "__main__":
    main()
