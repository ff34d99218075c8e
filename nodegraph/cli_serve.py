"""The commands about the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodegraph.home import Home
from nodegraph.options import Plugins

app = typer.Typer()


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
    open_browser: Annotated[bool, typer.Option("--open", help="Open the editor in a browser.")] = False,
) -> None:
    """Serve the editor and the API until Ctrl-C, and print the one URL to open."""
    from nodegraph.serve.launch import Options
    from nodegraph.serve.launch import serve as run_server

    run_server(
        Options(
            home=Home.of_user(home),
            host=host,
            port=port,
            token=token,
            allow_hosts=tuple(allow_host or ()),
            workers=workers,
            plugins=tuple(plugins or ()),
            open_browser=open_browser,
        )
    )
