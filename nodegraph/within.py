"""Values of nodes inside a subgraph, by an address such as `use/inner.input`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue

from nodegraph.errors import CheckError, Problem, did_you_mean

if TYPE_CHECKING:
    from nodegraph.workflow import NodeSpec, Subgraph, Workflow

PREFIX = "subgraph:"
MAX_DEPTH = 16
MAX_WITHIN = 200  # values set inside subgraphs at once; each looks at the whole document

Nodes = Mapping[str, "NodeSpec"]
W = TypeVar("W", bound="Workflow")


def given(spec: NodeSpec, entry: str, value: JsonValue) -> NodeSpec:
    """A node whose input has a value; a link to that input goes."""
    links = {key: link for key, link in spec.links.items() if key != entry}
    return spec.model_copy(update={"values": {**spec.values, entry: value}, "links": links})


def with_value_within(workflow: W, id: str, entry: str, value: JsonValue) -> W:
    """A copy of a workflow in which an input of a node such as `use/inner` has a value.

    A definition that has other uses keeps its values for them: the one use gets a definition of its own. Results
    have the keys that they would have without, because keys know no subgraphs.

    Raises:
        CheckError: nothing in the workflow is called so, or a use gives that input already.
    """
    *uses, name = id.split("/")
    if len(uses) > MAX_DEPTH:
        raise CheckError([Problem(f"subgraphs are nested at most {MAX_DEPTH} deep", node=id[:200])])
    definitions = _walk(workflow, uses, id)
    spec = definitions[-1].nodes.get(name)
    if spec is None:
        hint = did_you_mean(name, definitions[-1].nodes)
        message = f"the subgraph {_used(workflow, uses)!r} has no node {name!r}.{hint}"
        raise CheckError([Problem(message, node=id, input=entry)])
    _refuse_given(workflow, definitions, uses, name, entry)
    return _changed(workflow, uses, name, given(spec, entry, value))


def _walk(workflow: Workflow, uses: Sequence[str], id: str) -> list[Subgraph]:
    """The definitions that the uses lead through."""
    found: list[Subgraph] = []
    nodes: Nodes = workflow.nodes
    for depth, use in enumerate(uses):
        path = "/".join(uses[: depth + 1])
        if use not in nodes:
            raise CheckError([Problem(f"{id!r} leads to no node {path!r}.{did_you_mean(use, nodes)}")])
        kind = nodes[use].type
        definition = workflow.subgraphs.get(kind.removeprefix(PREFIX)) if kind.startswith(PREFIX) else None
        if definition is None:
            message = f"is of type {kind!r}, which is no subgraph of this workflow: there is no node inside it"
            raise CheckError([Problem(message, node=path)])
        found.append(definition)
        nodes = definition.nodes
    return found


def _used(workflow: Workflow, uses: Sequence[str]) -> str:
    nodes: Nodes = workflow.nodes
    kind = ""
    for use in uses:
        kind = nodes[use].type.removeprefix(PREFIX)
        nodes = workflow.subgraphs[kind].nodes
    return kind


def _refuse_given(
    workflow: Workflow, definitions: Sequence[Subgraph], uses: Sequence[str], name: str, entry: str
) -> None:
    """A use's own value or link takes the place of what is inside: a value set there would change nothing."""
    targets = {(name, entry)}
    for depth in reversed(range(len(uses))):
        scope: Nodes = definitions[depth - 1].nodes if depth else workflow.nodes
        use = scope[uses[depth]]
        ports = {
            port
            for port, all in definitions[depth].inputs.items()
            if any((one.node, one.input) in targets for one in all)
        }
        port = next((one for one in sorted(ports) if one in use.values or one in use.links), None)
        if port is not None:
            where = "/".join(uses[: depth + 1])
            message = f"{where!r} gives this input through {port!r}; set {where}.{port} instead"
            raise CheckError([Problem(message, node="/".join([*uses, name]), input=entry)])
        targets = {(uses[depth], one) for one in ports}


def _changed(workflow: W, uses: Sequence[str], name: str, spec: NodeSpec) -> W:
    use, *deeper = uses
    kind = workflow.nodes[use].type.removeprefix(PREFIX)
    workflow, kind = _own(workflow, None, use, kind)
    for inner in deeper:
        nested = workflow.subgraphs[kind].nodes[inner].type.removeprefix(PREFIX)
        workflow, kind = _own(workflow, kind, inner, nested)
    return _with_definition(workflow, kind, _with_node(workflow.subgraphs[kind], name, spec))


def _own(workflow: W, scope: str | None, use: str, kind: str) -> tuple[W, str]:
    """A workflow in which nothing but this use has the definition of this use, and the name of that definition."""
    if sum(one.type == PREFIX + kind for one in _specs(workflow)) <= 1:
        return workflow, kind
    number = 2
    while (fresh := f"{kind[:90]} {number}") in workflow.subgraphs:
        number += 1
    copied = _with_definition(workflow, fresh, workflow.subgraphs[kind])
    if scope is None:
        spec = copied.nodes[use].model_copy(update={"type": PREFIX + fresh})
        return copied.model_copy(update={"nodes": {**copied.nodes, use: spec}}), fresh
    outer = copied.subgraphs[scope]
    spec = outer.nodes[use].model_copy(update={"type": PREFIX + fresh})
    return _with_definition(copied, scope, _with_node(outer, use, spec)), fresh


def _specs(workflow: Workflow) -> Iterable[NodeSpec]:
    yield from workflow.nodes.values()
    for definition in workflow.subgraphs.values():
        yield from definition.nodes.values()


def _with_node(definition: Subgraph, name: str, spec: NodeSpec) -> Subgraph:
    return definition.model_copy(update={"nodes": {**definition.nodes, name: spec}})


def _with_definition(workflow: W, name: str, definition: Subgraph) -> W:
    return workflow.model_copy(update={"subgraphs": {**workflow.subgraphs, name: definition}})
