"""ComfyUI's API format: an object of nodes by id, each with its class and its inputs; a link is [id, slot]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodegraph.comfyui.graph import Graph, Node, Source, record, rows, text
from nodegraph.comfyui.table import OURS


def is_api(data: Mapping[str, Any]) -> bool:
    """Whether a JSON object is in the API format."""
    return bool(data) and all(isinstance(node, dict) and "class_type" in node for node in data.values())


def read(data: Mapping[str, Any]) -> Graph:
    """The graph of a document in the API format. Raises DocumentError."""
    nodes = {}
    for id, node in data.items():
        inputs = record(node.get("inputs") or {}, f"`inputs` of node {id[:80]!r}")
        about = record(node.get("_meta") or {}, f"`_meta` of node {id[:80]!r}")
        ours = about.get(OURS)
        nodes[id] = Node(
            text(node["class_type"], f"`class_type` of node {id[:80]!r}"),
            {name: _input(value, data) for name, value in inputs.items()},
            text(about.get("title") or "", f"the title of node {id[:80]!r}"),
            outputs=_names(ours, "outputs"),
            lists=None if ours is None else _names(ours, "lists"),
        )
    return Graph(nodes)


def _names(ours: object, field: str) -> tuple[str, ...]:
    """What a node of this engine that ComfyUI has none like was written with, so that it can be read again."""
    given = {} if ours is None else record(ours, f"`{OURS}` of a node")
    return tuple(text(name, f"a name in `{field}`") for name in rows(given.get(field), f"`{field}`"))


def _input(value: object, nodes: Mapping[str, Any]) -> object:
    if isinstance(value, list) and len(value) == 2:
        id, slot = value
        if isinstance(id, str | int) and isinstance(slot, int) and not isinstance(slot, bool) and str(id) in nodes:
            return Source(str(id), slot)
    return value
