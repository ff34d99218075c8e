"""Nodes that stay in the document and take no part in a run.

Bypassed ones hand on what they were given; muted ones take along what depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping

from nodegraph.node import Input, NodeType, Output
from nodegraph.workflow import Link, NodeSpec, Workflow

Links = Link | list[Link]


def taking_part(workflow: Workflow, types: Mapping[str, NodeType]) -> Workflow:
    """What of a workflow a run is about; the workflow itself where no node is bypassed or muted."""
    return without_muted(without_bypassed(workflow, types))


def without_muted(workflow: Workflow) -> Workflow:
    """The workflow without its muted nodes and what depends on them; the workflow itself where there are none."""
    silent = {name for name, spec in workflow.nodes.items() if spec.muted}
    if not silent:
        return workflow
    readers: dict[str, list[str]] = {}
    for name, spec in workflow.nodes.items():
        for there in spec.links.values():
            for link in there if isinstance(there, list) else (there,):
                readers.setdefault(link.node, []).append(name)
    waiting = list(silent)
    while waiting:
        for name in readers.get(waiting.pop(), ()):
            if name not in silent:
                silent.add(name)
                waiting.append(name)
    nodes = {name: spec for name, spec in workflow.nodes.items() if name not in silent}
    layout = {name: place for name, place in workflow.layout.items() if name in nodes}
    return workflow.model_copy(update={"nodes": nodes, "layout": layout})


def without_bypassed(workflow: Workflow, types: Mapping[str, NodeType]) -> Workflow:
    """The workflow without its bypassed nodes; the workflow itself where there are none.

    A reader of a bypassed node's output gets what is linked to the first of that node's inputs that takes the same
    type. Where there is no such input, or nothing is linked to it, the reader's link is gone.
    """
    if not any(spec.bypassed for spec in workflow.nodes.values()):
        return workflow
    nodes = {
        name: spec.model_copy(update={"links": _joined(spec, workflow, types)})
        for name, spec in workflow.nodes.items()
        if not spec.bypassed
    }
    layout = {name: place for name, place in workflow.layout.items() if name in nodes}
    return workflow.model_copy(update={"nodes": nodes, "layout": layout})


def _joined(spec: NodeSpec, workflow: Workflow, types: Mapping[str, NodeType]) -> dict[str, Links]:
    links: dict[str, Links] = {}
    for entry, there in spec.links.items():
        if isinstance(there, list):
            if many := [source for one in there for source in _sources(one, workflow, types)]:
                links[entry] = many
        elif found := _sources(there, workflow, types):
            links[entry] = found[0]
    return links


def _sources(link: Link, workflow: Workflow, types: Mapping[str, NodeType]) -> list[Link]:
    """What a link leads to when every bypassed node is passed by; nothing where they only lead in a circle."""
    found: list[Link] = []
    seen: set[tuple[str, str]] = set()
    waiting = [link]
    while waiting:
        one = waiting.pop()
        spec = workflow.nodes.get(one.node)
        if spec is None or not spec.bypassed:
            found.append(one)
        elif (one.node, one.output) not in seen:
            seen.add((one.node, one.output))
            waiting.extend(reversed(_through(spec, one.output, types.get(spec.type))))
    return found


def _through(spec: NodeSpec, output: str, node_type: NodeType | None) -> list[Link]:
    given = next((entry for entry in node_type.outputs if entry.name == output), None) if node_type else None
    if node_type is None or given is None:
        return []
    entry = next((entry for entry in node_type.inputs if _takes(entry, given)), None)
    there = spec.links.get(entry.name) if entry else None
    return [] if there is None else list(there) if isinstance(there, list) else [there]


def _takes(entry: Input, output: Output) -> bool:
    return any(kind in (output.type, *output.bases) for kind in entry.types)
