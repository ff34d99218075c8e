"""The commands about the server, and those that talk to one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodegraph import events
from nodegraph.catalog import Catalog
from nodegraph.console import say, show
from nodegraph.errors import CheckError, FileRefused, RunError
from nodegraph.home import Home
from nodegraph.options import CANCELLED, FAILED, Compile, Models, Plugins, Sets, WorkflowFile, parse_values
from nodegraph.workflow import Workflow

if TYPE_CHECKING:
    from nodegraph.client import Client
    from nodegraph.serve.models import Run

app = typer.Typer()
ServerUrl = Annotated[
    str | None,
    typer.Option("--server", help="Address of the server; by default the one that runs on this user's home."),
]
Token = Annotated[
    str | None, typer.Option("--token", envvar="NODEGRAPH_TOKEN", help="What the server asks for, if anything.")
]


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on; other than loopback needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8187,
    home: Annotated[Path | None, typer.Option(help="The folder that everything is kept in.")] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="NODEGRAPH_TOKEN", help="What clients must show; auto makes one and prints it."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A further name that the server is called by; may be repeated."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Worker processes; by default one for each accelerator.")
    ] = None,
    plugins: Plugins = None,
    models: Models = None,
    compiled: Compile = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the editor in a browser.")] = False,
    trash_size: Annotated[
        float,
        typer.Option(min=0, help="GB of deleted pictures that are kept; those deleted longest ago go first."),
    ] = 4.0,
) -> None:
    """Serve the editor and the API until Ctrl-C, and print the one URL to open."""
    from nodegraph.serve.launch import Options
    from nodegraph.serve.launch import serve as run_server

    run_server(
        Options(
            home=Home.of_user(home, models),
            host=host,
            port=port,
            token=token,
            allow_hosts=tuple(allow_host or ()),
            workers=workers,
            plugins=tuple(plugins or ()),
            compiled=compiled,
            open_browser=open_browser,
            trash_bytes=int(trash_size * 1e9),
        )
    )


@app.command()
def submit(
    workflow: WorkflowFile,
    values: Sets = None,
    targets: Annotated[
        list[str] | None, typer.Option("--target", help="Run only what this node needs; may be repeated.")
    ] = None,
    priority: Annotated[int, typer.Option(min=-1000, max=1000, help="Runs of higher priority go first.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Show the run until it ends.")] = False,
    server: ServerUrl = None,
    token: Token = None,
) -> None:
    """Queue a workflow on a server and print the id of the run; with --follow the addresses of what it made."""
    from nodegraph.client import ApiRefused, ServerUnreachable
    from nodegraph.console import listener

    document = Workflow.load(workflow)
    with _client(server, token) as client:
        catalog = Catalog(nodes=client.nodes().nodes) if values else Catalog()
        given, problems = parse_values(values or [], document, catalog)
        if problems:
            raise CheckError(problems)
        run = client.submit(document, values=given, targets=targets, priority=priority, patience=60)
        if not follow:
            show(run.id)
            return
        say(f"the run {run.id} is queued")
        try:
            with listener(False) as listen:
                for event in client.follow(run.id):
                    _tell(listen, event)
            done = client.run(run.id)
        except KeyboardInterrupt:
            show(f"the run goes on; stop it with: nodegraph cancel {run.id}")
            raise
        except (ApiRefused, ServerUnreachable) as error:
            raise RunError(f"{error}; the server has accepted the run {run.id} and keeps it") from None
        for artifact in done.artifacts:
            show(client.url + artifact.content)
        if done.error is not None:
            say(done.error.message)
            if done.error.raised is not None and done.error.raised.at:
                say(f"  {done.error.raised.exception} at {done.error.raised.at}")
        if done.status != "succeeded":
            raise typer.Exit(CANCELLED if done.status == "cancelled" else FAILED)


@app.command()
def trash(
    empty: Annotated[
        bool, typer.Option("--empty", help="Remove all of it for good; nothing brings it back.")
    ] = False,
    server: ServerUrl = None,
    token: Token = None,
) -> None:
    """Show the deleted workflows of a server and how much its trash takes, or empty it."""
    with _client(server, token) as client:
        if empty:
            gone = client.empty_trash()
            show(f"removed for good: {_trashed(gone.workflows, gone.artifacts, gone.bytes)}")
            return
        found = client.trash()
        for one in found.workflows:
            show(f"{one.id}  {one.name}")
        say(_trashed(len(found.workflows), found.artifacts, found.bytes))


def _trashed(workflows: int, artifacts: int, size: int) -> str:
    several = ("" if count == 1 else "s" for count in (workflows, artifacts))
    return f"{workflows} workflow{next(several)}, {artifacts} file{next(several)} of runs, {size / 1e6:.1f} MB"


@app.command()
def queue(
    pause: Annotated[bool, typer.Option("--pause", help="Begin no further run.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Cancel every queued run.")] = False,
    server: ServerUrl = None,
    token: Token = None,
) -> None:
    """Show what runs and what waits on a server, or pause, resume or clear its queue."""
    with _client(server, token) as client:
        if clear:
            show(f"cancelled {client.clear()}")
        if pause or resume:
            client.pause() if pause else client.resume()
        for status in ("running", "queued"):
            for run in client.runs("running" if status == "running" else "queued", limit=1000).runs:
                show(_line(run))
        state = client.queue()
        paused = "; paused" if state.paused else ""
        say(f"{len(state.running)} running, {len(state.queued)} queued{paused}")


@app.command()
def cancel(
    runs: Annotated[list[str], typer.Argument(help="Ids of runs, as submit and queue print them.")],
    server: ServerUrl = None,
    token: Token = None,
) -> None:
    """Cancel runs on a server."""
    with _client(server, token) as client:
        for run in runs:
            show(_line(_cancelled(client, run)))


def _cancelled(client: Client, run: str) -> Run:
    from nodegraph.client import ApiRefused

    try:
        return client.cancel(run)
    except ApiRefused as refused:
        if refused.status not in (404, 422):
            raise
        raise FileRefused(f"there is no run {run!r}; nodegraph queue lists those that run and wait") from None


@contextmanager
def _client(server: str | None, token: str | None) -> Iterator[Client]:
    from nodegraph.client import Client

    with Client(server, token) as client:
        yield client


def _line(run: Run) -> str:
    state = "cancelling" if run.cancelling and run.status == "running" else run.status
    return f"{run.id} {state:10} {run.title}".rstrip()


def _tell(listen: events.Listener, event: dict[str, Any]) -> None:
    """Show an event of the server as one of the engine."""
    node = event.get("node")
    match event["event"]:
        case "started":
            listen(events.Started(node, event.get("total")))
        case "cached":
            listen(events.Cached(str(node)))
        case "progress":
            listen(events.Progress(str(node), event["step"], event.get("total"), event.get("note", "")))
        case "finished":
            listen(events.Finished(node, event["seconds"]))
        case "failed":
            listen(events.Failed(node, event["message"], event.get("input")))
        case "cancelled":
            listen(events.Cancelled(node))
        case "retrying":
            say(f"attempt {event['attempt']} ended: {event['message']}; it is tried again")
