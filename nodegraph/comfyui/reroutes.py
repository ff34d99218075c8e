"""The points that ComfyUI's editor leads links through where they are no nodes; each names the one before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nodegraph.comfyui.graph import MAX_VIA, Place, Points, numbers, record, rows, text


class Reroutes:
    """The points of one list of links.

    Args:
        data: a workflow, or one of its subgraphs.
        moved: where a place in it lies in the whole.
        counted: of the whole.
    """

    def __init__(self, data: Mapping[str, Any], moved: Callable[[Place], Place], counted: Points) -> None:
        extra = record(data.get("extra") or {}, "`extra`")
        given = rows(data.get("reroutes"), "`reroutes`") or rows(extra.get("reroutes"), "`reroutes`")
        self.points: dict[str, tuple[Place, str]] = {}
        for one in given:
            point = record(one, "a reroute")
            x, y = numbers(rows(point.get("pos"), "a position"), 2, "a position")
            before = text(point.get("parentId") or "", "the reroute before one")
            self.points[text(point.get("id"), "the id of a reroute")] = moved((x, y)), before
        self.known: dict[str, tuple[Place, ...]] = {}
        self.counted = counted
        self.last: dict[str, str] = {}
        for one in rows(extra.get("linkExtensions"), "`linkExtensions`"):
            link = record(one, "what is said of a link")
            self.last[text(link.get("id"), "a link")] = text(link.get("parentId") or "", "a link's reroute")

    def via(self, link: str, last: object = None) -> tuple[Place, ...]:
        """The points of a link from its beginning on; `last` is the reroute that it names itself.

        Links that end at the same reroute share them; of very many, later ones come straight.
        """
        last = text(last or self.last.get(link, ""), "a link's reroute")
        if last not in self.known:
            self.known[last] = self.counted.take(partial(self._before, last))
        return self.known[last]

    def _before(self, last: str) -> tuple[Place, ...]:
        """The reroute and those before it, the first of them first."""
        found: list[Place] = []
        while last in self.points and len(found) < MAX_VIA:
            point, last = self.points[last]
            found.append(point)
        return tuple(found[::-1])
