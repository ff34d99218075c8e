"""What changed between two workflows: nodes, values and links, one line for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nodegraph.workflow import Link, NodeSpec, Workflow


def diff(a: Workflow, b: Workflow) -> list[str]:
    """The differences that can change a result, in the order of the documents; layout and titles do not count."""
    lines = [f"- {name} ({spec.type})" for name, spec in a.nodes.items() if name not in b.nodes]
    lines += [f"+ {name} ({spec.type})" for name, spec in b.nodes.items() if name not in a.nodes]
    for name in a.nodes:
        if name in b.nodes:
            lines += _node(name, a.nodes[name], b.nodes[name])
    return lines


def diff_entries(what: str, a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """The differences between two maps of names to digests or versions."""
    return [f"{what} {line}" for line in _entries(a, b)]


def _node(name: str, a: NodeSpec, b: NodeSpec) -> list[str]:
    if a.type != b.type:
        return [f"{name}: {a.type} -> {b.type}"]
    both = {**a.values, **a.links}, {**b.values, **b.links}
    passed = [] if a.bypassed == b.bypassed else [f"{name}: {'bypassed' if b.bypassed else 'no longer bypassed'}"]
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
    if isinstance(value, Link):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, Link) for one in value):
        return "[" + ", ".join(map(str, value)) + "]"
    return repr(value)
