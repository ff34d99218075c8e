"""Sides that a model cannot paint, found before anything runs: some models paint pictures of one size alone.

A node's input that is painted says by which model (`painted_by`, see `fields`). What is linked to it says the
sides in values of its own (`side` in their schema), or is painted too and so of its own model's size; between the
two, nodes may make it larger or smaller by a value (`scales`). The size is in the model's file; no tensor is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nodegraph.errors import FileRefused, Problem
from nodegraph.files import Files
from nodegraph.workflow import Link

if TYPE_CHECKING:
    from nodegraph.check import Bound

MODELS = "checkpoints"  # the kind of file that says what its model paints
SHRINKS = (1, 2, 4, 8)  # pixels a side that one place of a latent may stand for, in models of one size
MOST_SCALES = 16  # one after the other that are followed
SOUND = 1e6  # sides and factors above are refused where they are given


class _Scale(NamedTuple):
    """A value by which a node makes what is linked to it larger or smaller."""

    node: str
    input: str
    factor: float


def wrong_sides(nodes: Mapping[str, Bound], files: Files) -> list[Problem]:
    """A problem for each value that asks a model for sides which it does not paint.

    Nothing is said where a side or a factor comes over a link, or where other nodes stand between it and what
    paints.
    """
    found: dict[Problem, None] = {}  # several may paint on one latent
    for bound in nodes.values():
        for entry, model in bound.shape.painted_by.items():
            maker = _only(bound.links.get(entry))
            painter = _only(bound.links.get(model))
            if maker is not None and painter is not None:
                found.update(dict.fromkeys(_compared(maker, painter, nodes, files)))
    return list(found)


def _compared(link: Link, painter: Link, nodes: Mapping[str, Bound], files: Files) -> Iterator[Problem]:
    maker, scales = _unscaled(link, nodes)
    bound = nodes.get(maker.node)
    if bound is None:
        return
    sides = [(name, bound.values.get(name)) for name in bound.shape.sides]
    first = _painter(bound, maker) if scales else None
    if first is None and not any(type(side) is int for _, side in sides):
        return
    named = _model(painter, nodes, files)
    only = None if named is None else _only_side(named[1])
    if named is None or only is None:
        return
    alone = f"{named[0]} paints {only} x {only} pixels alone"
    if not scales:
        for name, side in sides:
            if type(side) is int and side != only:
                message = f"is {side}, but {alone}; make it {only}, and the picture larger after it is painted"
                yield Problem(message, node=maker.node, input=name)
        return
    if first is not None:  # nothing is known of a latent that goes from one model to another
        sides = [("", only)] if _model(first, nodes, files) == named else []
    for _, side in sides:
        if type(side) is int and 0 < side < SOUND and not _may_become(only, side, scales):
            node, entry, factor = scales[0]
            made = side * math.prod(one.factor for one in scales)
            message = (
                f"is {factor:g} and makes it {made:g} pixels, but {alone}; make it {factor * only / made:.3g}, "
                "and the picture larger after it is painted"
            )
            yield Problem(message, node=node, input=entry)
            return


def _unscaled(link: Link, nodes: Mapping[str, Bound]) -> tuple[Link, list[_Scale]]:
    """Where a link comes from behind the nodes that make it larger or smaller, and these, the last one first."""
    scales: list[_Scale] = []
    for _ in range(MOST_SCALES):  # a circle ends too
        bound = nodes.get(link.node)
        scale = None if bound is None else next(iter(bound.shape.scales.items()), None)
        if bound is None or scale is None:
            break
        entry, scaled = scale
        factor, before = bound.values.get(entry), _only(bound.links.get(scaled))
        if not isinstance(factor, int | float) or not 0 < factor < SOUND or before is None:
            break
        scales.append(_Scale(link.node, entry, factor))
        link = before
    return link, scales


def _painter(bound: Bound, made: Link) -> Link | None:
    """Where the model comes from that painted an output; None where it is no painted one."""
    wire = bound.shape.outputs.get(made.output)
    for entry, model in bound.shape.painted_by.items():
        if wire is not None and wire[0] in bound.shape.inputs[entry].types:
            return _only(bound.links.get(model))
    return None


def _may_become(only: int, side: int, scales: list[_Scale]) -> bool:
    """Whether a side may come to the only one that a model paints, each step rounded to the latent's places."""
    for shrink in SHRINKS:
        places = side // shrink
        for scale in reversed(scales):
            places = max(1, round(places * scale.factor))
        if places == only // shrink:
            return True
    return False


def _model(link: Link, nodes: Mapping[str, Bound], files: Files) -> tuple[str, Path] | None:
    """The name and file of the model that an output comes from, through nodes that take and give such a one."""
    for _ in nodes:  # a circle ends too
        bound = nodes.get(link.node)
        if bound is None:
            return None
        for entry, kind in bound.shape.files.items():
            name = bound.values.get(entry)
            if kind == MODELS and isinstance(name, str):
                try:
                    path = files.find(kind, name, known=lambda _: ())
                except FileRefused:  # told as a problem of its own
                    return None
                return None if path is None else (name, path)
        wire = bound.shape.outputs.get(link.output)
        onward = None
        for taken in bound.shape.inputs.values():
            if wire is not None and wire[0] in taken.types:
                onward = _only(bound.links.get(taken.name))
                break
        if onward is None:
            return None
        link = onward
    return None


def _only(links: tuple[Link, ...] | None) -> Link | None:
    return links[0] if links is not None and len(links) == 1 else None


def _only_side(path: Path) -> int | None:
    # Imported here: just the few workflows that name sides ask for it.
    from nodegraph.diffusion.checkpoints.painted import only_side

    return only_side(path)
