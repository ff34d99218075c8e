"""ComfyUI's workflows as its editor saves them: nodes with positions, values by order, links with numbers.

A use of one of its subgraphs becomes the nodes within, named `use:node`; what leads in and out becomes reroutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nodegraph.comfyui.graph import (
    BYPASSED,
    MUTED,
    PRIMITIVE,
    REROUTE,
    USE,
    Copies,
    Graph,
    Node,
    Place,
    Points,
    Source,
    numbers,
    record,
    refuse,
    rows,
    shown,
    text,
    whole,
)
from nodegraph.comfyui.reroutes import Reroutes
from nodegraph.comfyui.table import AFTER, SEEDS, WIDGETS
from nodegraph.sizes import Sizes

OUTSIDE_IN, OUTSIDE_OUT = "-10", "-20"  # what stands for the inputs and the outputs inside a subgraph
MAX_DEPTH = 16  # uses within uses
MAX_PARTS, MAX_COPIED_PARTS = 300_000, 30_000  # nodes, links and the inputs of uses: in all, and in subgraphs
MAX_ENTRIES, MAX_COPIED_ENTRIES = (
    1_000_000,
    200_000,
)  # inputs, outputs and values of nodes: likewise; 150 bytes each
LONGEST_USE = 64  # characters of the id of a use, which begins those of all nodes within
AFTER_SEED = ("fixed", "increment", "decrement", "randomize")


def is_saved(data: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a workflow as the editor saves it."""
    return isinstance(data.get("nodes"), list) and ("last_node_id" in data or isinstance(data.get("links"), list))


def read(data: Mapping[str, Any]) -> Graph:
    """The graph of a saved workflow. Raises DocumentError."""
    given = record(data.get("definitions") or {}, "`definitions`").get("subgraphs")
    definitions = {}
    for one in rows(given, "`subgraphs`"):
        definition = record(one, "a subgraph")
        definitions[text(definition.get("id"), "the id of a subgraph")] = definition
    reading = _Reading(definitions)
    _bounded(_Extents(definitions).of(data), reading.copies)
    reading.scope(data, _Scope())
    frames = [record(one, "a group") for one in rows(data.get("groups"), "`groups`")]
    return Graph(reading.nodes, frames, reading.copies, reading.apart)


@dataclass(frozen=True)
class _Scope:
    """Where the nodes of a list stand: what their ids begin with, from which place, in which mode."""

    prefix: str = ""
    origin: Place | None = None
    mode: int = 0


class _Extent(NamedTuple):
    """What a list of nodes comes to: the parts in it, those in the subgraphs that it uses, and how deep they go.

    `entries` are the inputs, outputs and values of its nodes, `copied_entries` those in the subgraphs;
    `characters` are those of the definitions, once for each use.
    """

    own: int
    entries: int
    copied: int = 0
    copied_entries: int = 0
    characters: int = 0
    depth: int = 0


class _Extents:
    """Sizes what uses of subgraphs come to without building any; each definition is looked at once."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self.definitions = definitions
        self.known: dict[str, _Extent] = {}
        self.sizes = Sizes()

    def of(self, data: Mapping[str, Any], depth: int = 0) -> _Extent:
        """The extent of the whole, or of a definition that is `depth` uses in. Raises DocumentError."""
        nodes = [record(one, "a node") for one in rows(data.get("nodes"), "`nodes`")]
        own = sum(len(rows(data.get(name), f"`{name}`")) for name in ("nodes", "links"))
        total = _Extent(own, sum(map(_entries, nodes)))
        for type, uses in Counter(text(one.get("type"), "the type of a node") for one in nodes).items():
            if type not in self.definitions:
                continue
            inner = self.known.get(type)
            if inner is None and depth < MAX_DEPTH:
                inner = self.known[type] = self.of(self.definitions[type], depth + 1)
            if inner is None or depth + 1 + inner.depth > MAX_DEPTH:
                raise refuse(f"its subgraphs are nested more than {MAX_DEPTH} deep")
            inputs = len(rows(self.definitions[type].get("inputs"), "the inputs of a subgraph"))
            total = _Extent(
                total.own,
                total.entries,
                total.copied + uses * (inner.own + inputs + inner.copied),
                total.copied_entries + uses * (inner.entries + inner.copied_entries),
                total.characters + uses * (self.sizes.of(self.definitions[type]) + inner.characters),
                max(total.depth, 1 + inner.depth),
            )
        return total


def _entries(node: Mapping[str, Any]) -> int:
    lists = (node.get(name) for name in ("inputs", "outputs", "widgets_values"))
    return sum(len(one) for one in lists if isinstance(one, list | dict))


def _bounded(extent: _Extent, copies: Copies) -> None:
    """Refuse, before anything is built, what would come to too much."""
    if extent.copied > MAX_COPIED_PARTS:
        raise refuse(f"its subgraphs come to more than {MAX_COPIED_PARTS:,} nodes, links and inputs")
    if extent.own > MAX_PARTS:
        raise refuse(f"it has more than {MAX_PARTS:,} nodes and links")
    if extent.copied_entries > MAX_COPIED_ENTRIES:
        raise refuse(
            f"the nodes of its subgraphs come to more than {MAX_COPIED_ENTRIES:,} inputs, outputs and values"
        )
    if extent.entries > MAX_ENTRIES:
        raise refuse(f"its nodes have more than {MAX_ENTRIES:,} inputs, outputs and values")
    copies.count(extent.characters)


class _Reading:
    def __init__(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        self.definitions = definitions
        self.nodes: dict[str, Node] = {}
        self.copies = Copies()
        self.points = Points()
        self.apart: Counter[tuple[str, str]] = Counter()

    def scope(self, data: Mapping[str, Any], scope: _Scope) -> None:
        given = [record(one, "a node") for one in rows(data.get("nodes"), "`nodes`")]
        types = {
            text(one.get("id"), "the id of a node"): text(one.get("type"), "the type of a node") for one in given
        }
        if len(types) < len(given):
            raise refuse("two nodes have the same id")
        uses = {id for id, type in types.items() if type in self.definitions}
        places = [place for one in given if (place := _place(one.get("pos")))]
        corner = (min(x for x, _ in places), min(y for _, y in places)) if places and scope.origin else None
        reroutes = Reroutes(data, lambda place: _moved(place, corner, scope.origin) or place, self.points)
        lines = self._lines(data, scope, uses, reroutes)
        for one, (id, type) in zip(given, types.items(), strict=True):
            entries = [record(entry, f"an input of node {id}") for entry in rows(one.get("inputs"), "`inputs`")]
            node = Node(
                type,
                _widgets(type, one.get("widgets_values"), entries),
                text(one.get("title") or "", f"the title of node {id}"),
                _moved(_place(one.get("pos")), corner, scope.origin),
                scope.mode or whole(one.get("mode") or 0, f"the mode of node {id}"),
                tuple(
                    text(record(output, f"an output of node {id}").get("name") or "", "the name of an output")
                    for output in rows(one.get("outputs"), "`outputs`")
                ),
            )
            for number, entry in enumerate(entries):
                line = entry.get("link")
                if line is not None and (source := lines.get(text(line, "a link"))) is not None:
                    name = text(entry.get("name") or f"input_{number}", "the name of an input")
                    if name in node.inputs:
                        node.under[name] = node.inputs[name]
                    node.inputs[name] = source
            if id in uses:
                self._use(scope.prefix + id, node, scope)
            else:
                self.nodes[scope.prefix + id] = node

    def _lines(
        self, data: Mapping[str, Any], scope: _Scope, uses: set[str], reroutes: Reroutes
    ) -> dict[str, Source]:
        """Where each link of a list comes from, by its number."""
        lines: dict[str, Source] = {}
        for one in rows(data.get("links"), "`links`"):
            last = None
            if isinstance(one, dict):
                last = one.get("parentId")
                one = [one.get(name) for name in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
            parts = rows(one, "a link")
            if len(parts) < 3:
                raise refuse(f"a link is {shown(parts)}; it should say its number, a node and an output")
            number, node, slot = text(parts[0], "a link's number"), text(parts[1], "a link's node"), parts[2]
            slot = whole(slot, "a link's output")
            via = reroutes.via(number, last)
            if scope.prefix and node == OUTSIDE_IN:
                source = Source(f"{scope.prefix}in:{slot}", 0, via)
            elif node in uses:
                source = Source(f"{scope.prefix}{node}:out:{slot}", 0, via)
            else:
                source = Source(scope.prefix + node, slot, via)
            lines[number] = source
            if scope.prefix and len(parts) > 4 and str(parts[3]) == OUTSIDE_OUT:
                end = f"{scope.prefix}out:{whole(parts[4], 'an output of a subgraph')}"
                self.nodes[end] = Node(REROUTE, {"": source}, is_joint=True)
        return lines

    def _use(self, id: str, use: Node, scope: _Scope) -> None:
        """A use of a subgraph: the nodes within, and a reroute (or a value) for each of its inputs."""
        if len(id) - len(scope.prefix) > LONGEST_USE:
            raise refuse(f"the id {shown(id[len(scope.prefix) :])} is longer than {LONGEST_USE} characters")
        definition = self.definitions[use.type]
        self.apart[USE, text(definition.get("name") or use.type, "the name of a subgraph")] += 1
        for slot, one in enumerate(rows(definition.get("inputs"), "the inputs of a subgraph")):
            given = use.inputs.get(text(record(one, "an input of a subgraph").get("name") or "", "its name"))
            if isinstance(given, Source):
                self.nodes[f"{id}:in:{slot}"] = Node(REROUTE, {"": given}, is_joint=True)
            elif given is not None:
                self.nodes[f"{id}:in:{slot}"] = Node(PRIMITIVE, {"value": given}, is_joint=True)
        mode = use.mode if use.mode in (MUTED, BYPASSED) else 0
        self.scope(definition, _Scope(f"{id}:", use.place or (0.0, 0.0), scope.mode or mode))


def _widgets(type: str, given: object, entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The values of a node by name: a list has the order of its type, or of its inputs that have a widget."""
    if isinstance(given, dict):
        return dict(given)
    values = rows(given, "`widgets_values`")
    names = WIDGETS.get(type) or _named(entries, values)
    return {names[at] if at < len(names) else f"value_{at + 1}": value for at, value in enumerate(values)}


def _named(entries: list[Mapping[str, Any]], values: list[Any]) -> list[str]:
    """The names of a list of values, from the inputs that have a widget; none where they cannot be told apart."""
    names: list[str] = []
    for entry in entries:
        if "widget" in entry:
            names.append(text(entry.get("name") or "", "the name of an input"))
            if names[-1] in SEEDS and len(names) < len(values) and values[len(names)] in AFTER_SEED:
                names.append(AFTER)
    return names if len(names) == len(values) else []


def _place(given: object) -> Place | None:
    if given is None:
        return None
    if isinstance(given, dict):
        given = [given.get("0"), given.get("1")]
    x, y = numbers(rows(given, "a position"), 2, "a position")
    return x, y


def _moved(place: Place | None, corner: Place | None, origin: Place | None) -> Place | None:
    """A place inside a subgraph, moved so that its corner is where the use stands."""
    if place is None or corner is None or origin is None:
        return place
    return place[0] - corner[0] + origin[0], place[1] - corner[1] + origin[1]
