"""The plan: which nodes are needed, in what order, and under which keys their results are known.

A key is the digest of everything that determines a result: the node's type, version and code, its values as
validated, the content of the files it names, and the keys of what it is linked to. Keys are computed once
for the whole graph in topological order, so the cost is linear in its size; every process gets the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from nodegraph.check import Bound, Checked, Shape
from nodegraph.errors import HINTED, CheckError, FileRefused, Problem, did_you_mean
from nodegraph.files import DIGEST_SIZE, Files
from nodegraph.workflow import Link, Workflow

KEY_SCHEMA = 1
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Step(NamedTuple):
    """One node of a plan. `cause` is the text whose digest is the key: canonical JSON of all that counts."""

    id: str
    key: str
    cause: str
    shape: Shape
    values: dict[str, Any]
    links: dict[str, tuple[Link, ...]]


@dataclass(frozen=True)
class Plan:
    """The needed nodes in topological order, and those that were asked for."""

    workflow: Workflow
    steps: dict[str, Step]
    targets: tuple[str, ...]
    digests: dict[str, str]  # of the files that were named, by `kind/name`

    @cached_property
    def document(self) -> str:
        """The text of the workflow, which every file that the run writes carries."""
        return self.workflow.dump()

    def ancestors(self, *nodes: str) -> set[str]:
        """The nodes that any of these depend on, directly or not."""
        found: set[str] = set()
        pending = list(nodes)
        while pending:
            for links in self.steps[pending.pop()].links.values():
                new = {link.node for link in links} - found
                found |= new
                pending.extend(new)
        return found

    def stands(self, step: Step, files: Files) -> bool:
        """Whether the files that a step names are still what they were when it was planned."""
        for entry, kind in step.shape.files.items():
            name = step.values.get(entry)
            if isinstance(name, str):
                try:
                    path = files.find(kind, name)
                    if path is not None and files.digest(path) != self.digests.get(f"{kind}/{name}"):
                        return False
                except (FileRefused, OSError):
                    return False
        return True


def plan(
    checked: Checked, files: Files, *, targets: Sequence[str] | None = None, device: str = "cpu/float32"
) -> Plan:
    """Plan a checked workflow.

    Args:
        checked: a workflow without problems.
        files: finds and digests the files that the workflow names.
        targets: ids of the nodes that are wanted; by default every effect and every node whose outputs
            nobody uses.
        device: the kind of device and dtype, as `placement` gives them; enters the keys of nodes whose result
            depends on them.

    Raises:
        CheckError: the workflow has problems, or a target is no node of it.
    """
    checked.raise_problems()
    wanted = wanted_nodes(checked, targets)
    steps: dict[str, Step] = {}
    keys: dict[str, str] = {}
    digests: dict[str, str] = {}
    needed = _ancestors(checked.nodes, wanted)
    for name, bound in checked.nodes.items():
        if name in needed:
            cause = _cause(name, bound, keys, files, digests, device)
            key = keys[name] = hashlib.blake2b(cause.encode(), digest_size=DIGEST_SIZE).hexdigest()
            steps[name] = Step(name, key, cause, bound.shape, bound.values, bound.links)
    return Plan(checked.workflow, steps, wanted, digests)


def default_dtype(device: str) -> str:
    """What weights are held in on a device: half the bits where it computes well with them."""
    return {"cuda": "bfloat16", "mps": "float16"}.get(device.partition(":")[0], "float32")


def placement(device: str, dtype: str | None = None, compiled: bool = False) -> str:
    """What enters keys of where a node computes: `cuda:1` with its default dtype is `cuda/bfloat16`.

    Compiled networks give other last bits, so that `/compiled` follows there.
    """
    return f"{device.partition(':')[0]}/{dtype or default_dtype(device)}" + ("/compiled" if compiled else "")


def wanted_nodes(checked: Checked, targets: Sequence[str] | None) -> tuple[str, ...]:
    """The ids of the wanted nodes. Raises CheckError where a target is no node, bypassed or muted."""
    nodes = checked.nodes
    if targets is not None:
        asked = _asked(dict.fromkeys(targets), checked)
        problems: list[Problem] = []
        for name in asked:
            if name not in nodes:
                problems.append(_no_target(name, checked, hinted=len(problems) < HINTED))
        if problems:
            raise CheckError(problems)
        return tuple(dict.fromkeys(asked))
    used = {link.node for bound in nodes.values() for links in bound.links.values() for link in links}
    return tuple(name for name, bound in nodes.items() if name not in used or bound.shape.type.effect != "none")


def _asked(targets: Iterable[str], checked: Checked) -> list[str]:
    """The nodes of these ids; for a use of a subgraph every node in it."""
    inside: dict[str, list[str]] = {}
    for id in checked.nodes:
        use, within, _ = id.partition("/")
        if within:
            inside.setdefault(use, []).append(id)
    return [id for name in targets for id in ([name] if name in checked.nodes else inside.get(name) or [name])]


def _no_target(name: str, checked: Checked, *, hinted: bool) -> Problem:
    if name in checked.workflow.nodes:
        way = "bypassed" if checked.workflow.nodes[name].bypassed else "muted, or depends on a muted node"
        return Problem(f"is {way}; take it in again to run to it", node=name)
    hint = did_you_mean(name, checked.nodes) if hinted else ""
    return Problem(f"there is no node {name!r} to run to.{hint}")


def _ancestors(nodes: dict[str, Bound], targets: Iterable[str]) -> set[str]:
    needed = set(targets)
    pending = list(needed)
    while pending:
        for links in nodes[pending.pop()].links.values():
            for link in links:
                if link.node not in needed:
                    needed.add(link.node)
                    pending.append(link.node)
    return needed


def _cause(
    name: str, bound: Bound, keys: dict[str, str], files: Files, digests: dict[str, str], device: str
) -> str:
    node_type = bound.shape.type
    values = bound.values
    if bound.shape.files:
        values = {**values, **_file_values(name, bound, files, digests)}
    parts = [
        KEY_SCHEMA,
        node_type.name,
        node_type.version,
        node_type.code,
        values,
        {entry: [[keys[link.node], link.output] for link in links] for entry, links in bound.links.items()},
    ]
    if node_type.on_device:
        parts.append(device)
    try:
        return _encode(parts)
    except (TypeError, ValueError) as error:
        raise CheckError([Problem(f"a value cannot be part of a key: {error}", node=name)]) from None


def _file_values(name: str, bound: Bound, files: Files, digests: dict[str, str]) -> dict[str, Any]:
    """The file-naming values of a node with each name replaced by the digest of its content."""
    found: dict[str, Any] = {}
    for entry, kind in bound.shape.files.items():
        value = bound.values.get(entry)
        if not isinstance(value, str):
            continue
        try:
            path = files.find(kind, value)
            if path is not None:
                digest = digests[f"{kind}/{value}"] = files.digest(path)
                found[entry] = {"file": digest}
        except (FileRefused, OSError) as error:
            raise CheckError([Problem(str(error), node=name, input=entry)]) from None
    return found
