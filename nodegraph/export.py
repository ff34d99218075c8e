"""A workflow written for another program."""

from __future__ import annotations

from nodegraph.bypass import taking_part
from nodegraph.catalog import Catalog
from nodegraph.check import check
from nodegraph.comfyui.writers import written
from nodegraph.comfyui.writing import Written
from nodegraph.errors import Problem
from nodegraph.subgraphs import expanded
from nodegraph.workflow import NodeSpec, Workflow


def for_comfyui(workflow: Workflow, catalog: Catalog) -> Written:
    """A workflow in ComfyUI's API format, with a problem for everything that it cannot say there.

    Subgraphs are taken apart, and bypassed and muted nodes left out, as in a run. What a check says is
    a problem here too, and a value that it refuses is left out. Files need not be there.
    """
    whole, problems = expanded(workflow)
    part = taking_part(whole, catalog.nodes)
    found = [one for one in check(part, catalog).problems if not _is_foreign(one, part, catalog)]
    refused = {(one.node, one.input) for one in found}
    nodes = {name: _without(name, spec, refused) for name, spec in part.nodes.items()}
    prompt, unsaid = written(nodes, catalog.nodes)
    return Written(prompt, (*problems, *found, *unsaid))


def _is_foreign(problem: Problem, workflow: Workflow, catalog: Catalog) -> bool:
    """Whether a problem is that a type is unknown, which says no more than that ComfyUI has no node like it."""
    spec = None if problem.node is None else workflow.nodes.get(problem.node)
    return problem.input is None and spec is not None and spec.type not in catalog.nodes


def _without(name: str, spec: NodeSpec, refused: set[tuple[str | None, str | None]]) -> NodeSpec:
    values = {entry: value for entry, value in spec.values.items() if (name, entry) not in refused}
    return spec if len(values) == len(spec.values) else spec.model_copy(update={"values": values})
