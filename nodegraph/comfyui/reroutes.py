"""The points that ComfyUI's editor leads links through where they are no nodes; each names the one before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nodegraph.comfyui.graph import MAX_POINTS, MAX_VIA, Place, numbers, record, rows, text


class Reroutes:
    """The points of one list of links.

    Args:
        data: a workflow, or one of its subgraphs.
        moved: where a place in it lies in the whole.
    """

    def __init__(self, data: Mapping[str, Any], moved: Callable[[Place], Place]) -> None:
        extra = record(data.get("extra") or {}, "`extra`")
        given = rows(data.get("reroutes"), "`reroutes`") or rows(extra.get("reroutes"), "`reroutes`")
        self.points: dict[str, tuple[Place, str]] = {}
        for one in given:
            point = record(one, "a reroute")
            x, y = numbers(rows(point.get("pos"), "a position"), 2, "a position")
            before = text(point.get("parentId") or "", "the reroute before one")
            self.points[text(point.get("id"), "the id of a reroute")] = moved((x, y)), before
        self.known: dict[str, tuple[Place, ...]] = {}
        self.left = MAX_POINTS
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
            found: list[Place] = []
            id = last
            while id in self.points and len(found) < MAX_VIA and self.left > 0:
                point, id = self.points[id]
                found.append(point)
                self.left -= 1
            self.known[last] = tuple(found[::-1])
        return self.known[last]
