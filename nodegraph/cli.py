"""The command line. Exit status: 0 done, 1 a run failed, 2 refused before it ran, 130 cancelled."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from nodegraph import __version__, cli_export, cli_grid, cli_models, cli_results, cli_run, cli_serve
from nodegraph.catalog import load_catalog
from nodegraph.check import check as check_workflow
from nodegraph.console import Words, say, show, show_json
from nodegraph.errors import NodeError, NodegraphError, RunError
from nodegraph.heap import keep_pages
from nodegraph.home import PREVIEWS, Home
from nodegraph.options import (
    CANCELLED,
    FAILED,
    REFUSED,
    Events,
    Kept,
    Models,
    Output,
    Plugins,
    Sets,
    Setup,
    WorkflowFile,
    open_workflow,
    spread,
    tell_imported,
)
from nodegraph.raised import innermost, way

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
plugin_app = typer.Typer(no_args_is_help=True, help="Write plugins.")
app.add_typer(plugin_app, name="plugin")
app.add_typer(cli_results.cache_app, name="cache")
app.add_typer(cli_results.app)
app.add_typer(cli_serve.app)
app.add_typer(cli_models.app)
app.add_typer(cli_grid.app)
app.add_typer(cli_export.app)


@app.command()
@spread
def run(
    workflow: WorkflowFile,
    values: Sets = None,
    output: Output = Path("out"),
    targets: Annotated[
        list[str] | None, typer.Option("--target", help="Run only what this node needs; may be repeated.")
    ] = None,
    as_events: Events = False,
    *,
    setup: Setup,
    kept: Kept,
    traceback: Annotated[
        bool, typer.Option("--traceback", envvar="NODEGRAPH_TRACEBACK", help="Of a node that fails.")
    ] = False,
) -> None:
    """Run a workflow; print the plain values that it ends with, and the paths of the files that it wrote.

    Pictures that are only shown, by PreviewImage, go to the folder `previews` of the output.
    """
    opened = setup.open(workflow, values, output)
    opened.files.previews = output / PREVIEWS
    if not as_events:
        tell_imported(opened.imported)
    try:
        engine = setup.engine(opened, kept.cache(opened.home))
        cli_run.run_with(engine, opened.workflow, targets=targets, as_events=as_events)
    except NodeError as error:
        if traceback and error.__cause__ is not None:
            error.add_note(way(error.__cause__))
        raise


@app.command()
def check(workflow: WorkflowFile, values: Sets = None, plugins: Plugins = None, models: Models = None) -> None:
    """Report every problem of a workflow, without running it."""
    opened = open_workflow(workflow, values, plugins, models=models)
    tell_imported(opened.imported)
    checked = check_workflow(opened.workflow, opened.catalog, opened.files)
    checked.raise_problems()
    show(f"{workflow}: {len(checked.nodes)} nodes, no problem")


@app.command()
def nodes(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole catalog as JSON.")] = False,
    plugins: Plugins = None,
) -> None:
    """List the node types, and the plugins that could not be imported."""
    home = Home.of_user()
    catalog = load_catalog(home.cache, [home.plugins, *(plugins or [])])
    if as_json:
        show_json(json.loads(catalog.model_dump_json()), indent=1)
        return
    by_category = sorted(catalog.nodes.values(), key=lambda entry: (entry.category, entry.name))
    for entry in by_category:
        show(f"{entry.category:20} {entry.name:22} {entry.doc.splitlines()[0]}")
    for problem in catalog.problems:
        say(f"could not be imported: {problem.origin}: {problem.message}")
    say(f"{len(by_category)} node types; the plugin folder is {home.plugins}")


@app.command("build-web")
def build_web(
    force: Annotated[bool, typer.Option("--force", help="Build also where nothing has changed.")] = False,
) -> None:
    """Build the browser editor of a source tree; an installed wheel carries it ready-made."""
    from nodegraph import bundle

    try:
        bundle.build(force=force)
    except bundle.BuildFailed as error:
        say(str(error))
        raise typer.Exit(FAILED) from None


@app.command()
def version() -> None:
    """Print the version."""
    show(__version__)


@plugin_app.command("new")
def plugin_new(
    name: Annotated[str, typer.Argument(help="Name of the package, a Python module name.")],
    folder: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path(),
) -> None:
    """Write a working, tested plugin package."""
    from nodegraph.scaffold import new_plugin

    show(new_plugin(name, folder))


def main() -> None:
    """Run the command line; errors are a message and an exit status, never a traceback."""
    # Threads that spin while they wait slow a busy machine down many times over; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_pages()
    for stream in (sys.stdout, sys.stderr):
        # Names of files and what is in them may hold what no terminal takes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:  # writes what is warned of where no command has set up a log
        logging.lastResort.setFormatter(Words())
    try:
        status = _run()
        print(end="", flush=True)
    except OSError as error:
        status = FAILED
        if error.errno != errno.EPIPE:  # a reader that left, as `head` does, is no error
            say(f"{error.filename or 'cannot write the output'}: {error.strerror or error}")
    _let_go()
    sys.exit(status)


def _run() -> int | str | None:
    """Run the command that is asked for; returns its exit status."""
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        return end.code
    except NodegraphError as error:
        say(str(error))
        if isinstance(error, NodeError) and (cause := error.__cause__) is not None and (line := innermost(cause)):
            say(f"  {type(cause).__name__} at {line}")
        for note in getattr(error, "__notes__", ()):
            say(note)
        return FAILED if isinstance(error, RunError) else REFUSED
    except KeyboardInterrupt:
        return CANCELLED
    return 0


def _let_go() -> None:
    """Drop what could not be written: it would be tried, and fail, once more when the process ends."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            print(end="", file=stream, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
