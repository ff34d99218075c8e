"""Why a node would run: what changed since it last did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nodegraph.cache import ResultCache
from nodegraph.plan import Plan, Step


class Explanation(NamedTuple):
    """What a run would do with a node: find its result, do without it, or run it, and why."""

    node: str
    state: Literal["cached", "not needed", "not cached"]
    why: str


def explain(plan: Plan, cache: ResultCache, output: Path) -> list[Explanation]:
    """For each node of a plan whether its result is kept, and what changed since the last run if it is not.

    A node that writes files need not run where they stand unaltered in the output folder.
    """
    causes = cache.remembered({step.id: step.shape.type.name for step in plan.steps.values()})
    kept = {step.id for step in plan.steps.values() if _is_kept(step, cache, output)}
    runs = _would_run(plan, kept)
    found = []
    for name, step in plan.steps.items():
        if name in kept:
            found.append(Explanation(name, "cached", ""))
        elif name in runs:
            found.append(_explain(step, output, causes.get(name)))
        else:
            found.append(Explanation(name, "not needed", "what uses it is cached"))
    return found


def _is_kept(step: Step, cache: ResultCache, output: Path) -> bool:
    if step.shape.type.effect == "files":
        return cache.written(step.key, output) is not None
    return step.key in cache


def _would_run(plan: Plan, kept: set[str]) -> set[str]:
    runs: set[str] = set()
    pending = [name for name in plan.targets if name not in kept]
    while pending:
        name = pending.pop()
        if name not in runs:
            runs.add(name)
            links = plan.steps[name].links.values()
            pending.extend(link.node for several in links for link in several if link.node not in kept)
    return runs


def _explain(step: Step, output: Path, before: str | None) -> Explanation:
    effect = step.shape.type.effect
    if effect == "always":
        return Explanation(step.id, "not cached", "its effect happens on every run")
    if before is None:
        return Explanation(step.id, "not cached", "it has not run here under this name")
    changes = _changes(json.loads(before), json.loads(step.cause), step)
    if changes:
        return Explanation(step.id, "not cached", "; ".join(changes))
    if effect == "files":
        why = f"nothing changed, but what it wrote is not, or no longer, in {output}"
        return Explanation(step.id, "not cached", why)
    return Explanation(
        step.id, "not cached", "nothing changed: it was too quick to be worth storing, failed, or was evicted"
    )


def _changes(before: list[Any], now: list[Any], step: Step) -> list[str]:
    """The causes have the shape [schema, type, version, code, values, links] and maybe a device."""
    found = []
    if before[0] != now[0]:
        found.append("this nodegraph names results otherwise than the one that ran it")
    if before[2] != now[2]:
        found.append(f"the declared version of the node was {before[2]}, is {now[2]}")
    if before[3] != now[3]:
        found.append(f"the code of {step.shape.type.module} changed, or that of nodegraph.diffusion below it")
    found += _values(before[4], now[4])
    for entry, links in now[5].items():
        if entry not in before[5]:
            found.append(f"{entry} is now linked to {_joined(step.links[entry])}")
        elif before[5][entry] != links:
            found.append(f"{entry} comes from {_joined(step.links[entry])}, which changed")
    found += [
        f"{entry} was linked, is {now[4][entry]!r}" if entry in now[4] else f"{entry} was linked"
        for entry in before[5]
        if entry not in now[5]
    ]
    if before[6:] != now[6:]:
        found.append(f"the device was {_joined(before[6:])}, is {_joined(now[6:])}")
    return found


def _values(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = []
    for name in now:
        if name in before and before[name] != now[name]:
            if isinstance(now[name], dict) and "file" in now[name]:
                found.append(f"the content of the file {name} changed")
            else:
                found.append(f"{name} was {before[name]!r}, is {now[name]!r}")
    return found


def _joined(parts: Any) -> str:
    return ", ".join(map(str, parts)) or "not asked"
