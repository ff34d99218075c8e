"""Calling one node: its function, once more after running out of memory, and its outputs by port."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from nodegraph.errors import NodegraphError, is_out_of_memory
from nodegraph.registry import Registered
from nodegraph.undisturbed import put_back, ways_of_torch

log = logging.getLogger("nodegraph.call")
Outputs = dict[str, Any]


class OutOfMemory(NodegraphError):
    """A node ran out of memory, and again after everything that could be freed was freed."""


def call(
    node: Registered,
    arguments: Mapping[str, Any],
    free: Callable[[], None],
    situation: Callable[[Exception], str],
) -> Outputs:
    """Call a node and return its outputs by port.

    Args:
        node: what to call.
        arguments: by parameter.
        free: gives memory back; called once where the node runs out of it, before it is tried again.
        situation: says how much memory was needed, how much is free and who holds the rest.

    Raises:
        OutOfMemory: it ran out of memory twice.
        NodegraphError: it returned something else than it declares.
        Exception: whatever the node raised.
    """
    try:
        return _ports(node, _called(node, arguments))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    free()
    try:
        return _ports(node, _called(node, arguments))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        told = "; ".join(filter(None, (message(error).splitlines()[0], situation(error))))
        raise OutOfMemory(
            f"out of memory, again after everything that could be freed was freed: {told}. "
            "Make the picture or the batch smaller, or close other programs that use the device"
        ) from error


def _called(node: Registered, arguments: Mapping[str, Any]) -> Any:
    before = ways_of_torch()
    try:
        return node.function(**arguments)
    finally:
        if ways_of_torch() != before and (changed := put_back(before)):
            log.warning("%s changed %s for all nodes; that was put back", node.type.name, changed)


def message(error: BaseException) -> str:
    """An error in words: its text alone where it was raised on purpose, else with its type."""
    try:
        text = str(error)
    except Exception:  # an exception of a plugin may fail even to be shown
        text = ""
    if isinstance(error, NodegraphError | ValueError | MemoryError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _ports(node: Registered, returned: Any) -> Outputs:
    declared = node.type.outputs
    if not declared:
        return {}
    values = tuple(returned) if node.named_outputs and isinstance(returned, tuple) else (returned,)
    if len(values) != len(declared):
        raise NodegraphError(f"it returned {len(values)} values but declares {len(declared)} outputs")
    for port, value in zip(declared, values, strict=True):
        if type(value).__name__ != port.type and not _is_a(value, port.type):
            raise NodegraphError(
                f"its output {port.name!r} is declared {port.type} but it returned {type(value).__name__}"
            )
    return {port.name: value for port, value in zip(declared, values, strict=True)}


def _is_a(value: Any, declared: str) -> bool:
    names = {base.__name__ for base in type(value).__mro__}
    return declared.startswith("~") or declared in names or (declared == "float" and type(value) is int)
