"""Nodes that stay in the document and take no part in a run.

Bypassed ones hand on what they were given; muted ones take along what depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice

from nodegraph.node import Input, NodeType, Output
from nodegraph.workflow import Link, NodeSpec, Workflow

Links = Link | list[Link]
MAX_TRIED = 100  # links of a node of an unknown type that may be the one that it passes on


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
    type. Where there is no such input, or nothing is linked to it, the reader's link is gone. Of a node
    whose type is not there, the reader gets the first link that its own input takes, of up to 100.
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
    node_type = types.get(spec.type)
    inputs = {entry.name: entry for entry in node_type.inputs} if node_type else {}
    for entry, there in spec.links.items():
        wanted = inputs.get(entry)
        if isinstance(there, list):
            if many := [source for one in there for source in _sources(one, workflow, types, wanted)]:
                links[entry] = many
        elif found := _sources(there, workflow, types, wanted):
            links[entry] = found[0]
    return links


def _sources(link: Link, workflow: Workflow, types: Mapping[str, NodeType], wanted: Input | None) -> list[Link]:
    """What a link leads to when every bypassed node is passed by; nothing where they only lead in a circle."""
    found: list[Link] = []
    seen: set[tuple[str, str]] = set()
    served: set[Link] = set()
    waiting: list[tuple[Link, Link | None]] = [
        (link, None)
    ]  # and the output of an unknown node that it stands for
    while waiting:
        one, behind = waiting.pop()
        spec = workflow.nodes.get(one.node)
        if behind in served:
            continue
        if spec is None or not spec.bypassed:
            if behind is None:
                found.append(one)
            elif spec is not None and _may_take(wanted, one, types.get(spec.type)):
                found.append(one)
                served.add(behind)
        elif (one.node, one.output) not in seen:
            seen.add((one.node, one.output))
            node_type = types.get(spec.type)
            given = _through(spec, one.output, node_type) if node_type else list(islice(_links(spec), MAX_TRIED))
            behind = behind if node_type else behind or one
            waiting.extend((source, behind) for source in reversed(given))
    return found


def _through(spec: NodeSpec, output: str, node_type: NodeType) -> list[Link]:
    given = next((entry for entry in node_type.outputs if entry.name == output), None)
    entry = next((entry for entry in node_type.inputs if _takes(entry, given)), None) if given else None
    there = spec.links.get(entry.name) if entry else None
    return [] if there is None else list(there) if isinstance(there, list) else [there]


def _links(spec: NodeSpec) -> Iterator[Link]:
    return chain.from_iterable(there if isinstance(there, list) else (there,) for there in spec.links.values())


def _may_take(wanted: Input | None, source: Link, node_type: NodeType | None) -> bool:
    """Whether an input takes an output, as far as their types are known."""
    given = (
        next((entry for entry in node_type.outputs if entry.name == source.output), None) if node_type else None
    )
    if wanted is None or given is None or given.type.startswith("~"):
        return True
    return _takes(wanted, given) or any(kind.startswith("~") for kind in wanted.types)


def _takes(entry: Input, output: Output) -> bool:
    return any(kind in (output.type, *output.bases) for kind in entry.types)
