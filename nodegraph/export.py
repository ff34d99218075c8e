"""A workflow written for another program."""

from __future__ import annotations

from nodegraph.bypass import taking_part
from nodegraph.catalog import Catalog
from nodegraph.comfyui.writers import written
from nodegraph.comfyui.writing import Written
from nodegraph.subgraphs import expanded
from nodegraph.workflow import Workflow


def for_comfyui(workflow: Workflow, catalog: Catalog) -> Written:
    """A workflow in ComfyUI's API format, with a problem for everything that it cannot say there.

    Subgraphs are taken apart, and bypassed and muted nodes left out, as in a run.
    """
    whole, problems = expanded(workflow)
    part = taking_part(whole, catalog.nodes)
    prompt, unsaid = written(part.nodes, catalog.nodes)
    return Written(prompt, problems + unsaid)
