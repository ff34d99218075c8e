"""Workflows of ComfyUI, in its API format and as its editor saves them, as documents of this engine, and back.

Nodes that correspond are translated; of every other the type, the values and the links stay, so that nothing is
lost and a check names what is missing. A KSampler becomes two nodes, Schedule and Sampler. An EmptyLatentImage,
which knows no VAE, is given the one that the workflow decodes with. Noise is drawn in another way, so a seed gives
another picture here; seeds from 2^53 on, which a browser cannot hold, are taken modulo 2^53.

`table` says what corresponds, for both directions; `writing` is the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from nodegraph.comfyui import api_format, saved_format
from nodegraph.comfyui.graph import refuse, straightened
from nodegraph.comfyui.read_apart import Note
from nodegraph.comfyui.readers import READERS
from nodegraph.comfyui.reading import Translation

__all__ = ["Note", "Translated", "is_from_comfyui", "translated"]


class Translated(NamedTuple):
    """A document as JSON data, and what became of each node of ComfyUI."""

    document: dict[str, Any]
    notes: list[Note]


def is_from_comfyui(data: object) -> TypeGuard[dict[str, Any]]:
    """Whether JSON data is a workflow of ComfyUI, in either of its formats."""
    if not isinstance(data, dict) or "format" in data:
        return False
    return saved_format.is_saved(data) or api_format.is_api(data)


def translated(data: Mapping[str, Any]) -> Translated:
    """The document of a workflow of ComfyUI, and a note on each node. Raises DocumentError where there is none."""
    try:
        read = saved_format.read if saved_format.is_saved(data) else api_format.read
        translation = Translation(straightened(read(data)), READERS)
        return Translated(translation.document(), translation.notes)
    except RecursionError:
        raise refuse("it is nested too deeply") from None
