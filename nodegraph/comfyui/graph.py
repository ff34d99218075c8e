"""A workflow of ComfyUI, whichever of its formats it came in: nodes by id, and where their inputs come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

from nodegraph.comfyui.table import AFTER, SEEDS
from nodegraph.errors import DocumentError
from nodegraph.sizes import Sizes

REROUTE = "Reroute"
USE = "a use of a subgraph"
PRIMITIVE = "PrimitiveNode"  # the editor's own: a value that it writes into the inputs linked to it
MUTED, BYPASSED = 2, 4
SHOWN = 80  # characters of a name or a value in a message
MAX_VIA = 100  # points of a link
MAX_POINTS = 10_000  # of all links, about; see `Points`
REROUTE_SIZE = (75.0, 26.0)  # pixels, as their editor draws one
MAX_COPIED = 16 * 2**20  # characters of what is said once and comes to stand in many nodes


Place = tuple[float, float]


class Points:
    """Counts the points that links are led through. Many links may share points, and then each has its own."""

    def __init__(self) -> None:
        self._left = MAX_POINTS

    def take(self, find: Callable[[], tuple[Place, ...]]) -> tuple[Place, ...]:
        """The points of one more link; none, for it comes straight, and they are not looked for after too many."""
        found = find() if self._left > 0 else ()
        self._left -= len(found)
        return found


class Source(NamedTuple):
    """An output of a node: its id, which of its outputs, and the points that a link from it is led through."""

    node: str
    slot: int
    via: tuple[Place, ...] = ()


def same(one: object, other: object) -> bool:
    """Whether two inputs come from the same output, whichever way, or have the same value."""
    return one[:2] == other[:2] if isinstance(one, Source) and isinstance(other, Source) else one == other


@dataclass
class Node:
    """A node as ComfyUI has it: its inputs are values, or sources where they are linked."""

    type: str
    inputs: dict[str, Any]
    title: str = ""
    place: Place | None = None
    mode: int = 0
    outputs: tuple[str, ...] = ()
    under: dict[str, Any] = field(default_factory=dict)  # values that links stand in the place of
    lists: tuple[str, ...] | None = None  # of a node of this engine the inputs that take many links; else None
    id: str = ""
    is_joint: bool = False  # stands for an input or an output of a subgraph: nobody drew it


class Copies:
    """Counts what is said once in a document and is copied: uses of a subgraph, values that many nodes share."""

    def __init__(self) -> None:
        self._sizes = Sizes()
        self._left = MAX_COPIED

    def take(self, value: object) -> None:
        """Count a copy. Raises DocumentError where all of them come to too much."""
        self.count(self._sizes.of(value))

    def count(self, characters: int) -> None:
        """Count copies by their size. Raises DocumentError where all of them come to too much."""
        self._left -= characters
        if self._left < 0:
            raise refuse(
                f"what its nodes share comes to more than {MAX_COPIED:,} characters when each has its own"
            )


@dataclass
class Graph:
    """The nodes by id, what is drawn around them, and how much of it is copied."""

    nodes: dict[str, Node]
    frames: list[Mapping[str, Any]] = field(default_factory=list)
    copies: Copies = field(default_factory=Copies)
    apart: Counter[tuple[str, str]] = field(default_factory=Counter)  # what is taken apart: its kind and its type

    def __post_init__(self) -> None:
        for id, node in self.nodes.items():
            node.id = id

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """For each node that something is linked to, the nodes that read it, one for each link."""
        found: dict[str, list[str]] = {}
        for id, node in self.nodes.items():
            for value in node.inputs.values():
                if isinstance(value, Source):
                    found.setdefault(value.node, []).append(id)
        return found

    @cached_property
    def read_as(self) -> dict[str, set[str]]:
        """For each node that something is linked to, the names of the inputs that read it."""
        found: dict[str, set[str]] = {}
        for node in self.nodes.values():
            for name, value in node.inputs.items():
                if isinstance(value, Source):
                    found.setdefault(value.node, set()).add(name)
        return found

    def source(self, node: Node, name: str) -> tuple[Source, Node] | None:
        """Where an input is linked from, and the node there; None where it has a value or nothing."""
        given = node.inputs.get(name)
        if not isinstance(given, Source):
            return None
        there = self.nodes[given.node]
        self.copies.take(there.inputs)  # what is asked for is about to say what this node says
        return given, there


def straightened(graph: Graph) -> Graph:
    """The graph without what only leads lines: links come from where they begin; those from nowhere are gone.

    A PrimitiveNode's value goes into the inputs that it feeds. Linear in the document: each line is followed once.
    """
    begins: dict[Source, Source | None] = {}
    points = Points()
    for node in graph.nodes.values():
        if node.type == REROUTE:
            continue  # it goes, and what passes it is followed through it
        for name, source in [(name, one) for name, one in node.inputs.items() if isinstance(one, Source)]:
            origin = _origin(source, graph.nodes, begins)
            feeding = None if origin is None else graph.nodes[origin.node]
            if origin is not None and feeding is not None and feeding.type != PRIMITIVE:
                node.inputs[name] = origin._replace(via=points.take(partial(_via, source, graph.nodes)))
                continue
            del node.inputs[name]
            values = () if feeding is None else feeding.inputs.values()
            value = next((one for one in values if not isinstance(one, Source)), node.under.get(name))
            if value is not None:
                graph.copies.take(value)
                node.inputs[name] = value
                after = next((one for one in values if isinstance(one, str)), None)
                if name in SEEDS and after is not None:
                    node.inputs[AFTER] = after
    leading = [node for node in graph.nodes.values() if node.type in (REROUTE, PRIMITIVE)]
    graph.apart.update((node.type, node.type) for node in leading if not node.is_joint)
    kept = {id: node for id, node in graph.nodes.items() if node.type not in (REROUTE, PRIMITIVE)}
    return Graph(kept, graph.frames, graph.copies, graph.apart)


def _via(source: Source, nodes: Mapping[str, Node]) -> tuple[Place, ...]:
    """The middles of the reroutes that a link comes through, and its own points, from its beginning on."""
    points = list(source.via[::-1])
    for _ in range(MAX_VIA):
        node = nodes.get(source.node)
        if node is None or node.type != REROUTE:
            break
        if node.place:
            points.append((node.place[0] + REROUTE_SIZE[0] / 2, node.place[1] + REROUTE_SIZE[1] / 2))
        before = next((one for one in node.inputs.values() if isinstance(one, Source)), None)
        if before is None:
            break
        points += before.via[::-1]
        source = before
    return tuple(points[:MAX_VIA][::-1])


def _origin(source: Source, nodes: Mapping[str, Node], begins: dict[Source, Source | None]) -> Source | None:
    before: Source | None = source
    passed: list[Source] = []
    while before is not None and before not in begins:
        node = nodes.get(before.node)
        if node is None:
            begins[before] = None
        elif node.type != REROUTE:
            begins[before] = before
        else:
            passed.append(before)
            begins[before] = None  # what leads to itself comes from nowhere
            before = next((one for one in node.inputs.values() if isinstance(one, Source)), None)
    origin = None if before is None else begins[before]
    begins.update(dict.fromkeys(passed, origin))  # many links may end at one long line
    return origin


def shown(value: object) -> str:
    """A name or a value as a message shows it: short, whatever it is."""
    text = repr(value[: SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def refuse(message: str) -> DocumentError:
    """The error for a workflow of ComfyUI that cannot be read."""
    return DocumentError(f"this looks like a ComfyUI workflow, but cannot be read as one: {message[:300]}")


def record(value: object, what: str) -> Mapping[str, Any]:
    """A JSON object. Raises DocumentError naming what should be one."""
    if not isinstance(value, dict):
        raise refuse(f"{what} is {shown(value)}, not a JSON object")
    return value


def rows(value: object, what: str) -> list[Any]:
    """A JSON list; none is an empty one. Raises DocumentError naming what should be one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise refuse(f"{what} is {shown(value)}, not a list")
    return value


def text(value: object, what: str) -> str:
    """A text, or a number as one, which ids are too. Raises DocumentError naming what should be one."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise refuse(f"{what} is {shown(value)}, not a text")


def whole(value: object, what: str) -> int:
    """A whole number. Raises DocumentError naming what should be one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise refuse(f"{what} is {shown(value)}, not a whole number")


def numbers(values: Iterator[object] | list[object], count: int, what: str) -> list[float]:
    """Exactly so many finite numbers. Raises DocumentError naming what should be them."""
    found: list[float] = []
    for value in values:
        if len(found) == count:
            break
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
            raise refuse(f"{what} holds {shown(value)}, not a number")
        found.append(float(value))
    if len(found) < count:
        raise refuse(f"{what} holds {len(found)} numbers, not {count}")
    return found
