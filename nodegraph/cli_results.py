"""The commands about results: what is kept, why, whether it can be made again, and whether it is right."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from nodegraph.cache import DiskTier, ResultCache, Usage
from nodegraph.console import say, show
from nodegraph.errors import DocumentError
from nodegraph.home import Home
from nodegraph.options import FAILED, CacheFolder, Device, Output, Sets, Setup, WorkflowFile, spread
from nodegraph.workflow import Workflow

app = typer.Typer()
cache_app = typer.Typer(no_args_is_help=True, help="The results that are kept on disk.")


@app.command()
@spread
def verify(
    picture: Annotated[Path, typer.Argument(help="A picture made by nodegraph.")],
    setup: Setup,
) -> None:
    """Make a picture again and compare its pixels; exit status 1 where they differ."""
    from nodegraph.verify import verify as verify_picture

    engine = setup.engine(setup.open(picture), ResultCache())
    verdict = verify_picture(picture, engine)
    if verdict.changed_nodes:
        show(f"the first node that is no longer what it was: {verdict.changed_nodes[0]}")
    for line in verdict.changed_versions:
        show(f"changed: {line}")
    if verdict.altered:
        show("the file was altered after it was written")
    if verdict.first_different is not None:
        show(f"the first node that gave something else: {verdict.first_different}")
    elif not verdict.same and verdict.compared:
        show(f"the {verdict.compared} nodes whose results are known gave the same")
    show("the pixels are identical" if verdict.same else "the pixels differ")
    if not verdict.same:
        raise typer.Exit(FAILED)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="A workflow, or a picture that carries one.")],
    b: Annotated[Path, typer.Argument(help="Another.")],
) -> None:
    """Say what changed between two workflows or pictures; exit status 1 where anything did."""
    from nodegraph.diff import diff as diff_workflows
    from nodegraph.diff import diff_entries
    from nodegraph.receipt import read

    lines = diff_workflows(Workflow.load(a), Workflow.load(b))
    with suppress(DocumentError):  # one of them is no picture
        first, second = read(a).receipt, read(b).receipt
        lines += diff_entries("file", first.files, second.files)
        lines += diff_entries("version", first.versions, second.versions)
        lines += diff_entries("run on", first.place, second.place)
    show("\n".join(lines) if lines else "no difference")
    if lines:
        raise typer.Exit(FAILED)


@app.command()
def selftest(
    device: Device = None,
) -> None:
    """Prove the samplers on this machine: measured orders and errors beside the expected ones."""
    from nodegraph.diffusion.proofs.oracles import selftest as measure
    from nodegraph.engine import default_device

    failed = 0
    for finding in measure(device or default_device()):
        failed += not finding.holds
        mark = "ok  " if finding.holds else "FAIL"
        show(f"{mark} {finding.what:58} {finding.measured:<12.5g} expected {finding.expected}")
    show(f"{failed} of the findings do not hold" if failed else "everything holds")
    if failed:
        raise typer.Exit(FAILED)


@app.command("explain-cache")
@spread
def explain_cache(
    workflow: WorkflowFile,
    values: Sets = None,
    folder: CacheFolder = None,
    output: Output = Path("out"),
    *,
    setup: Setup,
) -> None:
    """Say for each node whether its result is cached or not needed, and if neither, what changed since it ran."""
    from nodegraph.explain import explain

    opened = setup.open(workflow, values, output)
    cache = ResultCache(disk=DiskTier(folder or opened.home.cache))
    engine = setup.engine(opened, cache)
    for node, state, why in explain(engine.plan(opened.workflow), cache, output):
        show(f"{node}: {state}: {why}" if why else f"{node}: {state}")


@cache_app.command("info")
def cache_info(folder: CacheFolder = None) -> None:
    """Say how many results are kept, and how large they are."""
    usage = _disk(folder).usage()
    show(f"{usage.folder}: {usage.results} results, {usage.bytes / 1e6:.1f} MB of {usage.budget / 1e9:.1f} GB")


@cache_app.command("clear")
def cache_clear(folder: CacheFolder = None) -> None:
    """Remove every result."""
    disk = _disk(folder)
    before = disk.usage()
    disk.clear()
    _tell_removed(before, disk.usage(), 0)


@cache_app.command("prune")
def cache_prune(
    size: Annotated[float, typer.Option(help="Gigabytes to keep.")], folder: CacheFolder = None
) -> None:
    """Remove what is cheapest to compute again, until the rest fits a size."""
    disk = _disk(folder)
    before = disk.usage()
    disk.prune(int(size * 1e9))
    _tell_removed(before, disk.usage(), int(size * 1e9))


def _tell_removed(before: Usage, after: Usage, wanted: int) -> None:
    """Say what went, and end with status 1 where more than the bytes that are wanted is left."""
    show(f"removed {before.results - after.results} results, {(before.bytes - after.bytes) / 1e6:.1f} MB")
    if after.bytes > wanted:
        say(f"{after.results} results could not be removed, {after.bytes / 1e6:.1f} MB; try again later")
        raise typer.Exit(FAILED)


def _disk(folder: Path | None) -> DiskTier:
    return DiskTier(folder or Home.of_user().cache)
