"""Subgraphs: a part of a workflow under one name, used as a node.

A use is a node of the type `subgraph:NAME`. Before a workflow is checked and planned, each use is replaced by the
nodes of its definition, with ids such as `use/inner`. All that follows sees a plain workflow, so a result has the
key that it would have without subgraphs, and every problem and event names the inner node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import islice

from pydantic import JsonValue

from nodegraph.errors import HINTED, Problem, did_you_mean
from nodegraph.sizes import Sizes
from nodegraph.within import MAX_DEPTH
from nodegraph.within import PREFIX as PREFIX
from nodegraph.workflow import InnerInput, Link, NodeSpec, Subgraph, Workflow

MAX_NODES = 100_000
MAX_PARTS = 300_000  # nodes, values and links: a few nodes with long lists may come to as much as many nodes
CHARACTERS = 100  # of a long value in a subgraph that count as one part

Links = dict[str, Link | list[Link]]


@dataclass
class _Given:
    """What a use gives to the inputs of one inner node: literals, and links as the whole workflow names them."""

    values: dict[str, JsonValue] = field(default_factory=dict)
    links: list[tuple[InnerInput, Link | list[Link]]] = field(default_factory=list)


def name_of(spec: NodeSpec) -> str | None:
    """The name of the subgraph that a node uses; None for every other node."""
    return spec.type.removeprefix(PREFIX) if spec.type.startswith(PREFIX) else None


def expanded(workflow: Workflow) -> tuple[Workflow, tuple[Problem, ...]]:
    """The workflow with the nodes of subgraphs in place of their uses; the workflow itself where it has no uses.

    Definitions that contain each other, are nested more than 16 deep or come to more than 100,000 nodes are a
    problem, found before anything is built; the workflow that comes back with it has no nodes. A use of a subgraph
    that is not there stays what it is. A bypassed use bypasses every node in it, and a muted
    one mutes them.
    """
    if not any(name_of(spec) is not None for spec in workflow.nodes.values()):
        return workflow, ()
    problem = _too_much(workflow)
    if problem is not None:
        return workflow.model_copy(update={"nodes": {}, "layout": {}}), (problem,)
    expansion = _Expansion(workflow)
    try:
        expansion.place("", workflow.nodes, {}, bypassed=False, muted=False)
    except _TooLarge:
        problem = Problem(
            f"its subgraphs come to more than {MAX_PARTS:,} values and links; "
            f"{CHARACTERS} characters of a long value are one"
        )
        return workflow.model_copy(update={"nodes": {}, "layout": {}}), (problem,)
    return workflow.model_copy(update={"nodes": expansion.nodes, "layout": {}}), tuple(expansion.problems)


def input_within(workflow: Workflow, node: str, entry: str) -> tuple[str, str] | None:
    """The node type and the input of it that an input of a node, such as `node` or `use/inner`, stands for.

    None where there is no such node.
    """
    *uses, last = node.split("/")
    nodes: Mapping[str, NodeSpec] = workflow.nodes
    for use in uses[: MAX_DEPTH + 1]:
        outer = nodes.get(use)
        scope = workflow.subgraphs.get(name_of(outer) or "") if outer is not None else None
        if scope is None:
            return None
        nodes = scope.nodes
    spec = nodes.get(last)
    for _ in range(MAX_DEPTH):
        if spec is None:
            return None
        name = name_of(spec)
        if name is None:
            return spec.type, entry
        definition = workflow.subgraphs.get(name)
        if definition is None or entry not in definition.inputs:
            return None
        target = definition.inputs[entry][0]
        spec, entry = definition.nodes[target.node], target.input
    return None


def _too_much(workflow: Workflow) -> Problem | None:
    """Why the definitions cannot be expanded, or None. Linear in the document, whatever they come to."""
    uses = {name: _uses(definition.nodes) for name, definition in workflow.subgraphs.items()}
    sizes: dict[str, int] = {}
    depths: dict[str, int] = {}
    try:
        for name in TopologicalSorter(uses).static_order():
            if name in workflow.subgraphs:
                inner = [one for one in uses[name] if one in workflow.subgraphs]
                sizes[name] = len(workflow.subgraphs[name].nodes) + sum(sizes[one] for one in inner)
                depths[name] = 1 + max((depths[one] for one in inner), default=0)
    except CycleError as error:
        circle = " -> ".join(error.args[1][:8])
        return Problem(f"these subgraphs contain each other: {circle}; take one out of the other")
    used = [name for name in _uses(workflow.nodes) if name in workflow.subgraphs]
    if max((depths[name] for name in used), default=0) > MAX_DEPTH:
        return Problem(f"its subgraphs are nested more than {MAX_DEPTH} deep; unpack some of them")
    total = len(workflow.nodes) + sum(sizes[name] for name in used)
    if total > MAX_NODES:
        return Problem(f"its subgraphs come to {total:.3g} nodes; {MAX_NODES:,} is the limit")
    return None


def _uses(specs: Mapping[str, NodeSpec]) -> list[str]:
    return [name for spec in specs.values() if (name := name_of(spec)) is not None]


class _TooLarge(Exception):
    """An expansion has come to more than MAX_PARTS."""


class _Expansion:
    def __init__(self, workflow: Workflow) -> None:
        self.subgraphs = workflow.subgraphs
        self.nodes: dict[str, NodeSpec] = {}
        self.problems: list[Problem] = []
        self.parts = 0
        self.sizes = Sizes()

    def place(
        self,
        prefix: str,
        specs: Mapping[str, NodeSpec],
        given: Mapping[str, _Given],
        *,
        bypassed: bool,
        muted: bool,
    ) -> None:
        """Add the nodes of one scope, and those of the subgraphs that it uses. Not deeper than MAX_DEPTH."""
        for name, spec in specs.items():
            values, links = dict(spec.values), self._absolute(prefix, specs, spec)
            if name in given:
                _take(given[name], values, links)
            definition = self.subgraphs.get(name_of(spec) or "")
            silent = muted or spec.muted
            passed = (bypassed or spec.bypassed) and not silent
            parts = 1 + len(values) + sum(len(_many(one)) for one in links.values())
            if prefix:  # the others stand in the document as often as here
                parts += sum(self.sizes.of(value) // CHARACTERS for value in values.values())
            self._count(parts * (1 + len(prefix) // 100))  # each of them carries the long names around it
            if definition is None:
                changed = {"values": values, "links": links, "bypassed": passed, "muted": silent}
                self.nodes[prefix + name] = spec.model_copy(update=changed)
            else:
                inner = self._given(prefix + name, definition, values, links)
                self.place(f"{prefix}{name}/", definition.nodes, inner, bypassed=passed, muted=silent)

    def _count(self, parts: int) -> None:
        self.parts += parts
        if self.parts > MAX_PARTS:
            raise _TooLarge

    def _absolute(self, prefix: str, specs: Mapping[str, NodeSpec], spec: NodeSpec) -> Links:
        return {
            entry: [self._source(prefix, specs, one) for one in there]
            if isinstance(there, list)
            else self._source(prefix, specs, there)
            for entry, there in spec.links.items()
        }

    def _source(self, prefix: str, specs: Mapping[str, NodeSpec], link: Link) -> Link:
        """The link by the id of a node that is there: an output of a subgraph is that of a node in it."""
        while (spec := specs.get(link.node)) is not None:
            definition = self.subgraphs.get(name_of(spec) or "")
            if definition is None or link.output not in definition.outputs:
                break
            prefix, specs, link = f"{prefix}{link.node}/", definition.nodes, definition.outputs[link.output]
        # Not validated again: an id with a slash is no name that a document may give.
        return Link.model_construct(node=prefix + link.node, output=link.output)

    def _given(
        self, use: str, definition: Subgraph, values: Mapping[str, JsonValue], links: Links
    ) -> dict[str, _Given]:
        found: dict[str, _Given] = {}
        for entry in dict.fromkeys([*values, *links]):
            if entry not in definition.inputs:
                known = ", ".join(map(repr, islice(definition.inputs, 20))) or "none"
                hint = did_you_mean(entry, definition.inputs) if len(self.problems) < HINTED else ""
                self.problems.append(
                    Problem(f"the subgraph has no such input; it has {known}.{hint}", node=use, input=entry)
                )
                continue
            if entry in values and entry in links:
                self.problems.append(
                    Problem("has both a value and a link; remove one of them", node=use, input=entry)
                )
            self._count(len(definition.inputs[entry]) * max(1, len(_many(links.get(entry, [])))))
            for target in definition.inputs[entry]:
                inner = found.setdefault(target.node, _Given())
                if entry in links:
                    inner.links.append((target, links[entry]))
                else:
                    inner.values[target.input] = values[entry]
        return found


def _take(given: _Given, values: dict[str, JsonValue], links: Links) -> None:
    """Put what a use gives in the place of what the node has; links with a place go among those that it has."""
    for entry, value in given.values.items():
        values[entry] = value
        links.pop(entry, None)
    placed: dict[str, tuple[list[Link], list[Link]]] = {}  # those before the last place, those after it reversed
    for target, there in sorted(given.links, key=lambda one: -1 if one[0].at is None else one[0].at):
        values.pop(target.input, None)
        if target.at is None:
            links[target.input] = there
        else:
            has = _many(links.get(target.input, []))
            before, after = placed.setdefault(target.input, ([], has[::-1]))
            while after and len(before) < target.at:
                before.append(after.pop())
            after.extend(reversed(_many(there)))
    for entry, (before, after) in placed.items():
        links[entry] = before + after[::-1]


def _many(there: Link | list[Link]) -> list[Link]:
    return there if isinstance(there, list) else [there]
