"""Sides that a model cannot paint, found before anything runs: some models paint pictures of one size alone.

A node's input that is painted says by which model (`painted_by`, see `fields`); what is linked to it says the
sides in values of its own (`side` in their schema). The size is in the model's file; none of its tensors is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nodegraph.errors import FileRefused, Problem
from nodegraph.files import Files
from nodegraph.workflow import Link

if TYPE_CHECKING:
    from nodegraph.check import Bound

MODELS = "checkpoints"  # the kind of file that says what its model paints


def wrong_sides(nodes: Mapping[str, Bound], files: Files) -> list[Problem]:
    """A problem for each side, given as a value, that the model which is to paint it does not paint.

    Nothing is said where a side comes over a link, or where more than one node stands between it and what paints.
    """
    found: dict[Problem, None] = {}  # several may paint on one latent
    for bound in nodes.values():
        for entry, model in bound.shape.painted_by.items():
            maker = _only(bound.links.get(entry))
            painter = _only(bound.links.get(model))
            if maker is not None and painter is not None and maker.node in nodes:
                found.update(dict.fromkeys(_compared(maker.node, painter, nodes, files)))
    return list(found)


def _compared(maker: str, painter: Link, nodes: Mapping[str, Bound], files: Files) -> Iterator[Problem]:
    bound = nodes[maker]
    given = [(name, bound.values.get(name)) for name in bound.shape.sides]
    if not any(type(side) is int for _, side in given):
        return
    named = _model(painter, nodes, files)
    only = None if named is None else _only_side(named[1])
    if named is None or only is None:
        return
    for name, side in given:
        if type(side) is int and side != only:
            message = (
                f"is {side}, but {named[0]} paints {only} x {only} pixels alone; make it {only}, "
                "and the picture larger after it is painted"
            )
            yield Problem(message, node=maker, input=name)


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
                    path = files.find(kind, name)
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
