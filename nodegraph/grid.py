"""A grid of values: a workflow at every pair of values of two of its inputs, as one workflow.

A node that no value reaches is there once, one that a single axis reaches is there once for each value of that
axis, and only what both reach is there for every pair: whatever the pairs share is computed once. A labelled sheet
shows all pictures, and each is saved by itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import product

from pydantic import JsonValue

from nodegraph import strict_json
from nodegraph.errors import CheckError, Problem, did_you_mean
from nodegraph.fields import NOT_IN_NAMES
from nodegraph.node import NodeType
from nodegraph.subgraphs import expanded, input_within
from nodegraph.workflow import MAX_BYTES, Link, NodeSpec, Position, Workflow

MAX_CELLS = 400
MAX_NODES = 20_000  # nodes of all pairs together, before those that are alike become one
MAX_READ = 512 * 2**20  # characters of the same
SHEET, SAVE = "ContactSheet", "SaveImage"
ROW = 600.0  # pixels from a node to the one below it: room for a sampler and the picture that it shows
LONGEST = 40  # characters of a value in a label
NUMBER = r"(-?[0-9]{1,40}(?:\.[0-9]{1,40})?)"
ZERO_BEFORE = re.compile(r"(?<![0-9eE+-])(?<!(?<!\.)\.)-?0+(?=[0-9])")
RANGE = re.compile(rf"\s*{NUMBER}\.\.{NUMBER}(?::{NUMBER})?\s*")


@dataclass(frozen=True)
class Axis:
    """An input, as `node.input` or `use/inner.input`, and the values that it is given one after the other."""

    address: str
    values: tuple[JsonValue, ...]

    @property
    def labels(self) -> list[str]:
        """A name for each value, such as `steps 20`; a text is its own."""
        name = self.address.rpartition(".")[2].replace("_", " ")
        return [
            _shown(value) if isinstance(value, str) and value else f"{name} {_shown(value)}"
            for value in self.values
        ]


def grid_of(
    workflow: Workflow,
    types: Mapping[str, NodeType],
    x: Axis,
    y: Axis | None = None,
    picture: str | None = None,
) -> Workflow:
    """One workflow that makes the picture of every pair of values, and a sheet of all of them.

    Args:
        workflow: the document; subgraphs in it are replaced by their nodes.
        types: the node types that are there.
        x: the values that go from left to right.
        y: those that go from top to bottom.
        picture: id of the node whose picture is shown; needed where several end nodes take one.

    Raises:
        CheckError: an axis names no input, has no values or one twice, or reaches no picture.
    """
    axes = [axis for axis in (x, y) if axis is not None]
    _refuse(_problems(workflow, types, axes))
    merged = _Merged(types)
    cells = []
    for values in product(*((axis.values) for axis in reversed(axes))):
        one = workflow.with_values(
            {axis.address: value for axis, value in zip(axes, reversed(values), strict=True)}
        )
        flat, problems = expanded(one)
        _refuse(list(problems))
        if len(flat.nodes) * math.prod(len(axis.values) for axis in axes) > MAX_NODES:
            _refuse([Problem(f"the grid comes to more than {MAX_NODES:,} nodes; give fewer values")])
        cells.append(merged.add(flat))
        if merged.read * math.prod(len(axis.values) for axis in axes) > MAX_READ * len(cells):
            _refuse([Problem("the grid has too many values for so long a workflow; give fewer values")])
        if merged.written > MAX_BYTES:
            _refuse([Problem(f"the grid comes to more than {MAX_BYTES:,} bytes; give fewer values")])
    shown = _shown_node(types, merged, cells, axes, picture)
    return _document(workflow, merged, cells, shown, x, y)


def axis_of(address: str, text: str, workflow: Workflow, types: Mapping[str, NodeType]) -> Axis:
    """An axis from an address and values as they are written, such as `sampler.seed` and `1..5`.

    Raises:
        CheckError: the text is no list of values, or there is no such input to tell what it should be.
    """
    node, _, entry = address.rpartition(".")
    within = input_within(workflow, node, entry)
    type = types.get(within[0]) if within else None
    declared = type.input(within[1]) if within and type is not None else None
    try:
        return Axis(address, values_of(text, is_text=declared is not None and "str" in declared.types))
    except ValueError as error:
        _refuse(_misnamed(workflow, types, address))  # a name that is wrong says why the values are not understood
        raise CheckError([Problem(str(error), node=node or None, input=entry)]) from None


def values_of(text: str, *, is_text: bool) -> tuple[JsonValue, ...]:
    """The values in `1,3,5`, `1..5`, `0..1:0.25`, or a JSON list; texts need no quotes unless they hold a comma.

    Raises:
        ValueError: it is none of these; the message says what to write.
    """
    if text.lstrip().startswith("["):
        try:
            found = strict_json.loads(text)
        except ValueError as error:
            raise ValueError(f"{text[:80]!r} is no JSON list: {error}") from None
        return tuple(found)
    match = None if is_text else RANGE.fullmatch(text)
    if not is_text and ZERO_BEFORE.search(text):
        plain = ZERO_BEFORE.sub(lambda zeros: "-" if zeros[0].startswith("-") else "", text)
        raise ValueError(f"{text[:80]!r} has a number that begins with a zero; write {plain[:80]}")
    if match:
        return _range(*match.groups())
    parts = [part.strip() for part in text.split(",")]
    if is_text:
        return tuple(parts)
    try:
        return tuple(strict_json.loads(part) for part in parts)
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is no list of values; write 1,3,5 or 1..5 or 0..1:0.25 or a JSON list"
        ) from None


def _range(first: str, last: str, step: str | None) -> tuple[JsonValue, ...]:
    low, high, by = (json.loads(part) for part in (first, last, step or "1"))
    if by <= 0 or (high - low) / by >= MAX_CELLS:
        raise ValueError(f"{first}..{last} has too many values, or a step of 0; {MAX_CELLS} are the most")
    count = math.floor((high - low) / by + 1e-9) + 1
    return tuple(
        low + index * by if isinstance(by, int) else round(low + index * by, 10) for index in range(count)
    )


def _shown(value: JsonValue) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise CheckError(problems)


def _problems(workflow: Workflow, types: Mapping[str, NodeType], axes: Sequence[Axis]) -> list[Problem]:
    problems = []
    for axis in axes:
        node, _, entry = axis.address.rpartition(".")
        if not axis.values:
            problems.append(Problem("give it at least one value", node=node, input=entry))
        if len({json.dumps(value) for value in axis.values}) != len(axis.values):
            problems.append(Problem("one of its values is there twice", node=node, input=entry))
        problems += _unknown_input(workflow, types, axis.address)
    if len(axes) == 2 and axes[0].address == axes[1].address:
        problems.append(Problem("both axes name this input; give two inputs, or one axis", *_place(axes[0])))
    if math.prod(len(axis.values) for axis in axes) > MAX_CELLS:
        problems.append(Problem(f"the grid has more than {MAX_CELLS} pictures; give fewer values"))
    return problems


def _unknown_input(workflow: Workflow, types: Mapping[str, NodeType], address: str) -> list[Problem]:
    node, _, entry = address.rpartition(".")
    within = input_within(workflow, node, entry)
    type = types.get(within[0]) if within else None
    if within is None or type is None or type.input(within[1]) is not None:
        return []
    names = [one.name for one in type.inputs]
    message = f"{type.name} has no such input; it has {', '.join(map(repr, names)) or 'none'}."
    return [Problem(message + did_you_mean(within[1], names), node=node, input=entry)]


def _misnamed(workflow: Workflow, types: Mapping[str, NodeType], address: str) -> list[Problem]:
    """What is wrong with the name of an input, whatever its values are."""
    try:
        _, problems = expanded(workflow.with_values({address: None}))
    except CheckError as error:
        return list(error.problems)
    return [*_unknown_input(workflow, types, address), *problems]


def _place(axis: Axis) -> tuple[str, str]:
    node, _, entry = axis.address.rpartition(".")
    return node, entry


class _Merged:
    """The nodes of many workflows, alike ones once."""

    def __init__(self, types: Mapping[str, NodeType]) -> None:
        self.types = types
        self.nodes: dict[str, NodeSpec] = {}
        self.read = self.written = 0  # characters of all nodes added, and of those that are there once
        self._known: dict[str, str] = {}
        self._numbers: dict[str, int] = {}  # the last that was given to nodes of one name

    def add(self, workflow: Workflow) -> dict[str, str]:
        """Add a workflow's nodes; returns the id here of each of its ids."""
        names: dict[str, str] = {}
        before = {
            id: [
                link.node for there in spec.links.values() for link in _many(there) if link.node in workflow.nodes
            ]
            for id, spec in workflow.nodes.items()
        }
        try:
            order = list(TopologicalSorter(before).static_order())
        except CycleError as error:
            circle = " -> ".join(error.args[1][:8])
            raise CheckError([Problem(f"these nodes feed each other in a circle: {circle}")]) from None
        for id in order:
            names[id] = self._node(id, _renamed(workflow.nodes[id], names))
        return names

    def _node(self, id: str, spec: NodeSpec) -> str:
        key = f"{id} {spec.model_dump_json()}"
        self.read += len(key)
        if key not in self._known:
            self.written += len(key)
            wish = name = id.replace("/", " ")[:90]
            while name in self.nodes:
                self._numbers[wish] = self._numbers.get(wish, 1) + 1
                name = f"{wish} {self._numbers[wish]}"
            self._known[key] = name
            self.nodes[name] = spec
        return self._known[key]

    def above(self, ids: Sequence[str]) -> dict[str, int]:
        """The given nodes and those that they need, and how many steps each is from a beginning."""
        depths: dict[str, int] = {}
        for id, spec in self.nodes.items():  # what a node needs was added before it
            links = [link.node for there in spec.links.values() for link in _many(there)]
            depths[id] = 1 + max((depths[one] for one in links if one in depths), default=-1)
        needed, waiting = set[str](), list(ids)
        while waiting:
            id = waiting.pop()
            if id in self.nodes and id not in needed:
                needed.add(id)
                waiting += [link.node for there in self.nodes[id].links.values() for link in _many(there)]
        return {id: depth for id, depth in depths.items() if id in needed}


def _renamed(spec: NodeSpec, names: Mapping[str, str]) -> NodeSpec:
    def renamed(link: Link) -> Link:
        name = names.get(link.node, link.node.replace("/", " "))
        return Link(node=name, output=link.output)

    links: dict[str, Link | list[Link]] = {
        entry: [renamed(link) for link in there] if isinstance(there, list) else renamed(there)
        for entry, there in spec.links.items()
    }
    return spec.model_copy(update={"links": links})


def _many(there: Link | list[Link]) -> list[Link]:
    return there if isinstance(there, list) else [there]


@dataclass(frozen=True)
class _Ending:
    """A node that takes a picture and gives nothing on."""

    id: str
    input: str


def _shown_node(
    types: Mapping[str, NodeType],
    merged: _Merged,
    cells: Sequence[Mapping[str, str]],
    axes: Sequence[Axis],
    picture: str | None,
) -> _Ending:
    endings = []
    for id, name in cells[0].items():
        spec = merged.nodes[name]
        type = types.get(spec.type)
        if type is None or type.outputs or spec.muted or spec.bypassed:
            continue
        taken = [
            one.name for one in type.inputs if "Image" in one.types and isinstance(spec.links.get(one.name), Link)
        ]
        if taken:
            endings.append(_Ending(id, taken[0]))
    if picture is not None:
        endings = [one for one in endings if one.id == picture]
        if not endings:
            raise CheckError(
                [Problem("it is no node that ends with a picture; choose one that does", node=picture)]
            )
    reached = [one for one in endings if len({names[one.id] for names in cells}) == len(cells)]
    names = " and ".join(axis.address for axis in axes)
    if not reached:
        raise CheckError([Problem(f"no picture depends on {names}; choose inputs that one is made from")])
    saving = [one for one in reached if types[merged.nodes[cells[0][one.id]].type].effect == "files"] or reached
    if len(saving) > 1:
        known = ", ".join(one.id for one in saving)
        raise CheckError(
            [Problem(f"several nodes end with a picture that depends on {names}: {known}; choose one")]
        )
    return saving[0]


def _document(
    workflow: Workflow,
    merged: _Merged,
    cells: Sequence[Mapping[str, str]],
    shown: _Ending,
    x: Axis,
    y: Axis | None,
) -> Workflow:
    """The nodes that the shown ones need, with the sheet after them."""
    ends = [names[shown.id] for names in cells]
    depths = merged.above(ends)
    nodes = {id: merged.nodes[id] for id in depths}
    down = y.labels if y else [""]
    for end, (row, column) in zip(ends, product(down, x.labels), strict=True):
        spec = nodes[end]
        if spec.type == SAVE:
            name = f"{str(spec.values.get('name', 'image'))[:40]} {column} {row}".strip()
            nodes[end] = spec.model_copy(update={"values": {**spec.values, "name": _file_name(name)}})
    links = [link for end in ends for link in _many(nodes[end].links[shown.input])]
    last = 1 + max(depths.values())
    sheet, save = _fresh(nodes, "sheet"), _fresh(nodes, "save sheet")
    values: dict[str, JsonValue] = {"across": "\n".join(x.labels), "down": "\n".join(down) if y else ""}
    nodes[sheet] = NodeSpec(type=SHEET, values=values, links={"pictures": links})
    title = f"{workflow.title or 'Grid'}: {' by '.join(axis.address for axis in (x, y) if axis)}"
    nodes[save] = NodeSpec(type=SAVE, values={"name": "sheet"}, links={"image": Link(node=sheet, output="image")})
    return Workflow(
        title=title[:200],
        description=workflow.description,
        nodes=nodes,
        layout=_layout({**depths, sheet: last, save: last + 1}),
    )


def _file_name(text: str) -> str:
    return re.sub(f"[{NOT_IN_NAMES}]+", " ", text)[:120].strip() or "image"


def _fresh(nodes: Mapping[str, NodeSpec], wish: str) -> str:
    number, name = 1, wish
    while name in nodes:
        number += 1
        name = f"{wish} {number}"
    return name


def _layout(depths: Mapping[str, int]) -> dict[str, Position]:
    """Places by how far each node is from a beginning, those of one distance below each other."""
    rows: dict[int, int] = {}
    layout = {}
    for id, depth in depths.items():
        row = rows.get(depth, 0)
        rows[depth] = row + 1
        layout[id] = Position(x=320.0 * depth, y=ROW * row)
    return layout
