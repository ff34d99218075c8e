"""What changed between two workflows: nodes, values and links, one line for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nodegraph.subgraphs import PREFIX
from nodegraph.workflow import InnerInput, Link, NodeSpec, Subgraph, Workflow


def diff(a: Workflow, b: Workflow) -> list[str]:
    """The differences that can change a result, in the order of the documents; layout and titles do not count."""
    nothing = Subgraph()
    lines = _nodes("", a.nodes, b.nodes)
    for name in dict.fromkeys([*a.subgraphs, *b.subgraphs]):
        one, other = a.subgraphs.get(name, nothing), b.subgraphs.get(name, nothing)
        lines += _nodes(f"{PREFIX}{name}/", one.nodes, other.nodes)
        lines += [f"{PREFIX}{name} input {line}" for line in _entries(one.inputs, other.inputs)]
        lines += [f"{PREFIX}{name} output {line}" for line in _entries(one.outputs, other.outputs)]
    return lines


def _nodes(prefix: str, a: Mapping[str, NodeSpec], b: Mapping[str, NodeSpec]) -> list[str]:
    lines = [f"- {prefix}{name} ({spec.type})" for name, spec in a.items() if name not in b]
    lines += [f"+ {prefix}{name} ({spec.type})" for name, spec in b.items() if name not in a]
    for name in a:
        if name in b:
            lines += _node(prefix + name, a[name], b[name])
    return lines


def diff_entries(what: str, a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """The differences between two maps of names to digests or versions."""
    return [f"{what} {line}" for line in _entries(a, b)]


def _node(name: str, a: NodeSpec, b: NodeSpec) -> list[str]:
    if a.type != b.type:
        return [f"{name}: {a.type} -> {b.type}"]
    both = {**a.values, **a.links}, {**b.values, **b.links}
    ways = {"bypassed": (a.bypassed, b.bypassed), "muted": (a.muted, b.muted)}
    passed = [
        f"{name}: {way if now else f'no longer {way}'}" for way, (before, now) in ways.items() if before != now
    ]
    return passed + [f"{name}.{line}" for line in _entries(*both)]


def _entries(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*a, *b]):
        if name not in b:
            yield f"{name}: {_shown(a[name])} -> (left out)"
        elif name not in a:
            yield f"{name}: (left out) -> {_shown(b[name])}"
        elif (type(a[name]), a[name]) != (type(b[name]), b[name]):
            yield f"{name}: {_shown(a[name])} -> {_shown(b[name])}"


def _shown(value: Any) -> str:
    if isinstance(value, (Link, InnerInput)):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, (Link, InnerInput)) for one in value):
        return "[" + ", ".join(map(str, value)) + "]"
    return repr(value)
