"""Pictures that the memory of this machine can never hold, found before anything runs.

A node says in the schema of its inputs which are the sides (`side`) and which the number (`count`) of the
pictures that it makes, or that are painted on the latent that it makes. Only values are looked at: what comes over
a link is not known yet. What is free when a node runs is another matter, see `afford`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nodegraph.diffusion.models.host import gigabytes, total
from nodegraph.errors import Problem

if TYPE_CHECKING:
    from nodegraph.check import Bound

HELD_BY = {"Image", "Latent"}  # what holds a picture, or becomes one
PIXEL = 2 * 3 * 4  # bytes: twice, while it is worked on, three float32 numbers
SMALL = 256 * 2**20  # bytes that every machine has


def outsized(nodes: Mapping[str, Bound]) -> list[Problem]:
    """A problem for each node whose pictures take more memory than there is."""
    return [
        problem
        for name, bound in nodes.items()
        if bound.shape.sides and (problem := _problem(name, bound)) is not None
    ]


def _problem(name: str, bound: Bound) -> Problem | None:
    given = {
        entry: value
        for entry in (*bound.shape.counts, *bound.shape.sides)
        if type(value := bound.values.get(entry)) is int and value > 1
    }
    size = PIXEL * math.prod(given.values())
    if size < SMALL or not any(port.type in HELD_BY for port in bound.shape.type.outputs):
        return None
    there = total()
    if there is None or size <= there:
        return None
    words = ", ".join(f"{entry} {value}" for entry, value in given.items())
    message = (
        f"pictures of {words} take {gigabytes(size)} while they are worked on, and this machine has "
        f"{gigabytes(there)}; make {'them smaller or fewer' if bound.shape.counts else 'it smaller'}"
    )
    return Problem(message, node=name, input=next(iter(given)))
