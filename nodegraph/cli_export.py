"""The commands that write a workflow for another program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nodegraph.console import say, show, show_json
from nodegraph.errors import CheckError
from nodegraph.export import for_comfyui
from nodegraph.options import REFUSED, Plugins, Sets, WorkflowFile, open_workflow

app = typer.Typer()


@app.command("export-comfyui")
def export_comfyui(
    workflow: WorkflowFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; by default it is printed.")
    ] = None,
    values: Sets = None,
    plugins: Plugins = None,
    partly: Annotated[
        bool,
        typer.Option(
            "--partly", help="Write it also where ComfyUI has nothing like a part of it, and warn of that."
        ),
    ] = False,
) -> None:
    """Write a workflow in ComfyUI's API format. What ComfyUI has nothing like is said, with a way out."""
    opened = open_workflow(workflow, values, plugins)
    prompt, problems = for_comfyui(opened.workflow, opened.catalog)
    if problems and not partly:
        say(str(CheckError(problems)))
        say("Nothing is written. Change these, or write the rest all the same with --partly.")
        raise typer.Exit(REFUSED)
    for problem in problems:
        say(f"warning: {problem}")
    if output is None:
        show_json(prompt, indent=2)
    else:
        output.write_text(json.dumps(prompt, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        show(output)
