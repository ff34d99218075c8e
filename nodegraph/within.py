"""Values of nodes inside a subgraph, by an address such as `use/inner.input`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue

from nodegraph.errors import HINTED, CheckError, Problem, did_you_mean

if TYPE_CHECKING:
    from nodegraph.workflow import NodeSpec, Subgraph, Workflow

PREFIX = "subgraph:"
MAX_DEPTH = 16
MAX_WITHIN = 200  # values set inside subgraphs at once
MAX_COPIED = 100_000  # nodes of definitions that uses get of their own: as many as may stand in all subgraphs
MAX_DEFINITIONS = 1000  # of a document

Nodes = Mapping[str, "NodeSpec"]
Values = Iterable[tuple[str, str, JsonValue]]
W = TypeVar("W", bound="Workflow")


def given(spec: NodeSpec, entry: str, value: JsonValue) -> NodeSpec:
    """A node whose input has a value; a link to that input goes."""
    links = {key: link for key, link in spec.links.items() if key != entry}
    return spec.model_copy(update={"values": {**spec.values, entry: value}, "links": links})


def with_values_within(workflow: W, values: Values) -> W:
    """A copy of a workflow in which inputs of nodes such as `use/inner` have values: (node, input, value) each.

    A definition that has other uses keeps its values for them: the one use gets a definition of its own. Results
    have the keys that they would have without, because keys know no subgraphs.

    Raises:
        CheckError: nothing in the workflow is called so, a use gives that input already, or the definitions that
            uses get of their own come to too much.
    """
    editing = _Editing(workflow)
    problems: list[Problem] = []
    for id, entry, value in values:
        try:
            editing.give(id, entry, value, hinted=len(problems) < HINTED)
        except CheckError as error:
            problems += error.problems
        if len(editing.subgraphs) > MAX_DEFINITIONS or editing.copied > MAX_COPIED:
            problems.append(Problem("too many values in too many subgraphs at once; set fewer of them"))
            break
    if problems:
        raise CheckError(problems)
    return editing.result(workflow)


class _Editing:
    """A workflow whose nodes and definitions are being changed; each is copied when it is changed first."""

    def __init__(self, workflow: Workflow) -> None:
        self.nodes = dict(workflow.nodes)
        self.subgraphs = dict(workflow.subgraphs)
        self.copied = 0
        self._inner: dict[str, dict[str, NodeSpec]] = {}  # the nodes of definitions that have changed
        self._uses = Counter(
            spec.type
            for nodes in chain([workflow.nodes], (one.nodes for one in workflow.subgraphs.values()))
            for spec in nodes.values()
        )
        self._numbers: dict[str, int] = {}  # the last that was given to a definition of one name
        self._ports: dict[str, dict[tuple[str, str], set[str]]] = {}

    def result(self, workflow: W) -> W:
        """The workflow with what was changed."""
        changed = {
            kind: self.subgraphs[kind].model_copy(update={"nodes": nodes}) for kind, nodes in self._inner.items()
        }
        return workflow.model_copy(update={"nodes": self.nodes, "subgraphs": self.subgraphs | changed})

    def give(self, id: str, entry: str, value: JsonValue, *, hinted: bool) -> None:
        """Give the one node of this id a value. Raises CheckError."""
        *uses, name = id.split("/")
        if len(uses) > MAX_DEPTH:
            raise CheckError([Problem(f"subgraphs are nested at most {MAX_DEPTH} deep", node=id[:200])])
        kinds = self._walk(uses, id, hinted)
        inside = self._scope(kinds[-1])
        if name not in inside:
            hint = did_you_mean(name, inside) if hinted else ""
            message = f"the subgraph {kinds[-1]!r} has no node {name!r}.{hint}"
            raise CheckError([Problem(message, node=id, input=entry)])
        self._refuse_given(kinds, uses, name, entry)
        scope: str | None = None
        for use in uses:
            scope = self._own(scope, use)
        assert scope is not None
        self._edited(scope)[name] = given(self._scope(scope)[name], entry, value)

    def _scope(self, kind: str | None) -> Nodes:
        return self.nodes if kind is None else self._inner.get(kind) or self.subgraphs[kind].nodes

    def _edited(self, kind: str | None) -> dict[str, NodeSpec]:
        """The nodes of a scope, for changing."""
        if kind is None:
            return self.nodes
        if kind not in self._inner:
            self._inner[kind] = dict(self.subgraphs[kind].nodes)
            self.copied += len(self._inner[kind])
        return self._inner[kind]

    def _walk(self, uses: Sequence[str], id: str, hinted: bool) -> list[str]:
        """The names of the definitions that the uses lead through."""
        found: list[str] = []
        nodes: Nodes = self.nodes
        for depth, use in enumerate(uses):
            path = "/".join(uses[: depth + 1])
            if use not in nodes:
                hint = did_you_mean(use, nodes) if hinted else ""
                raise CheckError([Problem(f"{id!r} leads to no node {path!r}.{hint}")])
            kind = nodes[use].type
            name = kind.removeprefix(PREFIX)
            if not kind.startswith(PREFIX) or name not in self.subgraphs:
                message = f"is of type {kind!r}, which is no subgraph of this workflow: there is no node inside it"
                raise CheckError([Problem(message, node=path)])
            found.append(name)
            nodes = self._scope(name)
        return found

    def _refuse_given(self, kinds: Sequence[str], uses: Sequence[str], name: str, entry: str) -> None:
        """A use's own value or link takes the place of what is inside: a value set there would change nothing."""
        targets = {(name, entry)}
        for depth in reversed(range(len(uses))):
            use = self._scope(kinds[depth - 1] if depth else None)[uses[depth]]
            leading = self._leading(kinds[depth])
            ports = {port for target in targets for port in leading.get(target, ())}
            port = next((one for one in sorted(ports) if one in use.values or one in use.links), None)
            if port is not None:
                where = "/".join(uses[: depth + 1])
                message = f"{where!r} gives this input through {port!r}; set {where}.{port} instead"
                raise CheckError([Problem(message, node="/".join([*uses, name]), input=entry)])
            targets = {(uses[depth], one) for one in ports}

    def _leading(self, kind: str) -> dict[tuple[str, str], set[str]]:
        """For each inner input the inputs of the subgraph that lead to it."""
        if kind not in self._ports:
            found = self._ports[kind] = {}
            for port, inner in self.subgraphs[kind].inputs.items():
                for one in inner:
                    found.setdefault((one.node, one.input), set()).add(port)
        return self._ports[kind]

    def _own(self, scope: str | None, use: str) -> str:
        """The name of the definition of a use, which nothing but this use has from now on."""
        type = self._scope(scope)[use].type
        kind = type.removeprefix(PREFIX)
        if self._uses[type] <= 1:
            return kind
        fresh = self._fresh(kind)
        definition: Subgraph = self.subgraphs[kind]
        self.subgraphs[fresh] = definition
        self._inner[fresh] = dict(self._scope(kind))
        self.copied += len(self._inner[fresh])
        self._ports[fresh] = self._leading(kind)
        self._uses.update(spec.type for spec in self._inner[fresh].values())
        self._uses[type] -= 1
        self._uses[PREFIX + fresh] += 1
        nodes = self._edited(scope)
        nodes[use] = nodes[use].model_copy(update={"type": PREFIX + fresh})
        return fresh

    def _fresh(self, kind: str) -> str:
        wish = kind[:90]
        number = self._numbers.get(wish, 1) + 1
        while f"{wish} {number}" in self.subgraphs:
            number += 1
        self._numbers[wish] = number
        return f"{wish} {number}"
