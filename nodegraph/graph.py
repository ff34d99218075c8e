"""Building a workflow in Python: call nodes with keyword arguments and links, save the JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodegraph.errors import CheckError, DeclarationError, Problem, did_you_mean
from nodegraph.node import declaration_of
from nodegraph.workflow import Link, NodeSpec, Workflow


class Handle:
    """A node in a graph under construction; its outputs are attributes and give links."""

    def __init__(self, id: str, type: str, outputs: tuple[str, ...]) -> None:
        self._id = id
        self._type = type
        self._outputs = outputs

    def __getattr__(self, name: str) -> Link:
        if name.startswith("_") or name not in self._outputs:
            known = ", ".join(self._outputs) or "none"
            hint = did_you_mean(name, self._outputs)
            raise AttributeError(f"{self._type} has no output {name!r}; it has {known}.{hint}")
        return Link(node=self._id, output=name)


class Graph:
    """Collects nodes into a `Workflow`.

    ::

        graph = Graph("A red apple")
        model = graph.add(LoadModel, checkpoint="emoji")
        prompt = graph.add(Encode, text_encoder=model.text_encoder, text="a red apple")
        graph.workflow().save("apple.json")
    """

    def __init__(self, title: str = "", description: str = "") -> None:
        self.title = title
        self.description = description
        self._nodes: dict[str, NodeSpec] = {}

    def add(self, node: Callable[..., Any], id: str | None = None, **inputs: Any) -> Handle:
        """Add a node. An input is a literal, an output of another handle, a list of these, or a handle with
        a single output.

        Raises:
            DeclarationError: the function is not a node.
            CheckError: an input is not one of the node's, or the id is taken.
        """
        declaration = declaration_of(node)
        if declaration is None:
            raise DeclarationError(f"{node!r} is no node; decorate it with @node")
        node_type = declaration.type
        name = id or self._fresh(node_type.name)
        if name in self._nodes:
            raise CheckError([Problem("another node has this id; choose a different one", node=name)])
        values: dict[str, Any] = {}
        links: dict[str, Link | list[Link]] = {}
        for entry, value in inputs.items():
            if node_type.input(entry) is None:
                known = [declared.name for declared in node_type.inputs]
                message = f"{node_type.name} has no such input; it has {', '.join(known)}."
                raise CheckError([Problem(message + did_you_mean(entry, known), node=name, input=entry)])
            if isinstance(value, list) and value and all(isinstance(one, Link | Handle) for one in value):
                links[entry] = [_link(one) for one in value]
            elif isinstance(value, Link | Handle):
                links[entry] = _link(value)
            else:
                values[entry] = value
        self._nodes[name] = NodeSpec(type=node_type.name, values=values, links=links)
        return Handle(name, node_type.name, tuple(port.name for port in node_type.outputs))

    def workflow(self) -> Workflow:
        """The document so far."""
        return Workflow(title=self.title, description=self.description, nodes=dict(self._nodes))

    def _fresh(self, type_name: str) -> str:
        base = "".join(
            f"_{letter.lower()}" if letter.isupper() and i and not type_name[i - 1].isupper() else letter.lower()
            for i, letter in enumerate(type_name)
        )
        number = 1
        name = base
        while name in self._nodes:
            number += 1
            name = f"{base}_{number}"
        return name


def _link(value: Link | Handle) -> Link:
    if isinstance(value, Link):
        return value
    if len(value._outputs) != 1:
        raise AttributeError(f"{value._type} has several outputs; name one: {', '.join(value._outputs)}")
    return Link(node=value._id, output=value._outputs[0])
