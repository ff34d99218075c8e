"""A typed, caching node-graph workflow engine for diffusion models.

::

    from nodegraph import Workflow, run

    result = run("workflows/text_to_image.json", values={"prompt.text": "a blue car"})
    print(result.files)
"""

from nodegraph.context import Context
from nodegraph.engine import Engine, run
from nodegraph.errors import NodegraphError
from nodegraph.graph import Graph
from nodegraph.node import Lazy, node
from nodegraph.wire import Codec
from nodegraph.workflow import Link, NodeSpec, Workflow

__all__ = [
    "Codec",
    "Context",
    "Engine",
    "Graph",
    "Lazy",
    "Link",
    "NodeSpec",
    "NodegraphError",
    "Workflow",
    "node",
    "run",
]
__version__ = "0.1.0"
