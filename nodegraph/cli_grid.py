"""The command that runs a workflow at every pair of values of two inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from nodegraph import cli_run
from nodegraph.console import show
from nodegraph.errors import CheckError, Problem
from nodegraph.grid import Axis, axis_of, grid_of
from nodegraph.node import NodeType
from nodegraph.options import Events, Kept, Output, Sets, Setup, WorkflowFile, spread
from nodegraph.workflow import Workflow

app = typer.Typer()


@app.command()
@spread
def grid(
    workflow: WorkflowFile,
    x: Annotated[
        list[str], typer.Option("--x", metavar="NODE.INPUT=VALUES", help="From left to right: 1,3,5 or 1..5.")
    ],
    y: Annotated[
        list[str] | None, typer.Option("--y", metavar="NODE.INPUT=VALUES", help="From top to bottom.")
    ] = None,
    picture: Annotated[
        str | None, typer.Option("--picture", help="The node whose picture is shown, where there are several.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the grid as a workflow to this file; run nothing.")
    ] = None,
    values: Sets = None,
    output: Output = Path("out"),
    as_events: Events = False,
    *,
    setup: Setup,
    kept: Kept,
) -> None:
    """Run a workflow at every pair of values of two inputs; what pairs share is computed once.

    Prints the paths of the single pictures and, last, of a labelled sheet of all of them.
    """
    opened = setup.open(workflow, values, output)
    types = opened.catalog.nodes
    axes = [_axis(given, flag, opened.workflow, types) for given, flag in ((x, "--x"), (y, "--y")) if given]
    made = grid_of(opened.workflow, types, axes[0], axes[1] if len(axes) > 1 else None, picture)
    if save is not None:
        made.save(save)
        show(save)
        return
    cli_run.run_with(setup.engine(opened, kept.cache(opened.home)), made, as_events=as_events)


def _axis(given: Sequence[str], flag: str, workflow: Workflow, types: Mapping[str, NodeType]) -> Axis:
    if len(given) > 1:
        words = f"{flag} is given {len(given)} times; give one input with all its values, as node.input=1,3,5"
        raise CheckError([Problem(f"{words}, and a second input with {'--y' if flag == '--x' else '--x'}")])
    text = given[0]
    address, equals, values = text.partition("=")
    if not equals or "." not in address:
        raise CheckError([Problem(f"{flag} {text[:80]}: write it as node.input=1,3,5")])
    return axis_of(address, values, workflow, types)
