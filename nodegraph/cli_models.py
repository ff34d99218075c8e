"""The command that lists models: what there is, what it is, and why the rest cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodegraph.console import say, show, show_json
from nodegraph.home import MODEL_KINDS, Home
from nodegraph.options import Models

app = typer.Typer()


@app.command()
def models(
    kinds: Annotated[list[str] | None, typer.Argument(help=f"Only these kinds: {', '.join(MODEL_KINDS)}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    folders: Models = None,
) -> None:
    """List the model files with their family, size, dtype and licence; only their headers are read."""
    from nodegraph.diffusion.checkpoints.listing import Listed, listed

    home = Home.of_user(models=folders)
    files = home.files(output=home.folder)
    unknown = [kind for kind in kinds or [] if kind not in MODEL_KINDS]
    if unknown:
        raise typer.BadParameter(f"there is no kind {unknown[0]!r}; choose from {', '.join(MODEL_KINDS)}")
    seen: dict[Path, str] = {}  # each file with the kind that it was first listed under
    shown = 0
    for kind in kinds or MODEL_KINDS:
        paths = {name: files.find(kind, name) for name in files.names(kind)}
        found = list(listed(kind, paths))
        found += [Listed(kind, name, problem=why) for name, why in files.passed_over(kind).items()]
        for entry in found:
            path = paths.get(entry.name)
            first = kind if path is None else seen.setdefault(path, kind)
            shown += first == kind
            if as_json:
                show_json(entry.as_dict())
                continue
            size = f"{entry.bytes / 1e9:.2f} GB" if entry.bytes >= 1e7 else f"{entry.bytes / 1e6:.2f} MB"
            about = f"refused: {entry.problem}" if entry.problem else entry.family
            about += f", the same file as among the {first}" if first != kind else ""
            rest = ", ".join(word for word in (entry.dtype, entry.license) if word)
            show(f"{kind:13} {entry.name:44} {size:>9}  {about}{f' ({rest})' if rest else ''}")
    places = ", ".join(
        str(home.models) if place == home.models else str(place) for place in (home.models, *home.further)
    )
    say(f"{shown} models; looked in {places}")
