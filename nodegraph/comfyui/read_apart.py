"""What became of the nodes that are no nodes here: they live on in others, in links, or as notes on the canvas."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from nodegraph.comfyui.graph import PRIMITIVE, REROUTE, USE, Graph
from nodegraph.comfyui.said import Said

NOTES = ("Note", "MarkdownNote")
Became = Literal["translated", "adjusted", "kept"]
SeedMode = Literal["random", "increment"]


class Note(NamedTuple):
    """What became of a node of ComfyUI: its name here (None where it is none), its type there, how, and why.

    `id` is its own id there; None for what is told of several at once.
    """

    node: str | None
    type: str
    became: Became
    said: tuple[Said, ...]
    seed: tuple[str, SeedMode] | None = None  # `node.input` of a seed that each run has another of, and how found
    id: str | None = None

    @property
    def message(self) -> str:
        """All that is said, in English."""
        return "; ".join(self.said)


def taken_apart(graph: Graph) -> list[Note]:
    """A note on all that is of one type and no node here, with how many there were."""
    sentence = {
        REROUTE: "{count} of them: points of the links that they led",
        PRIMITIVE: "{count} of them: the value stands in the inputs that they fed",
        USE: "{count} of them: the nodes within stand in the place of the subgraph",
    }
    notes = Counter(node.type for node in graph.nodes.values() if node.type in NOTES)
    found = [
        Note(None, type[:200], "translated", (Said(sentence[kind], count=count),))
        for (kind, type), count in graph.apart.items()
    ]
    for type, count in notes.items():
        found.append(Note(None, type, "translated", (Said("{count} of them: notes on the canvas", count=count),)))
    return found


def taken_in(type: str, by: str, id: str) -> Note:
    """A note on a node that another one stands for as well."""
    return Note(by, type[:200], "translated", (Said("as a part of {one}", one=by),), id=id)
