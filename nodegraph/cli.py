"""The command line. Exit status: 0 done, 1 a run failed, 2 refused before it ran, 130 cancelled."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from nodegraph import __version__
from nodegraph.cache import DiskTier, ResultCache
from nodegraph.catalog import Catalog, load_catalog
from nodegraph.errors import CheckError, NodegraphError, Problem, RunError, WorkflowError
from nodegraph.home import Home
from nodegraph.workflow import Workflow

FAILED, REFUSED, CANCELLED = 1, 2, 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
cache_app = typer.Typer(no_args_is_help=True, help="The results that are kept on disk.")
app.add_typer(cache_app, name="cache")
plugin_app = typer.Typer(no_args_is_help=True, help="Write plugins.")
app.add_typer(plugin_app, name="plugin")

WorkflowFile = Annotated[Path, typer.Argument(help="A workflow's JSON file, or a PNG that carries one.")]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugins", help="A further plugin folder; may be given several times.")
]
CacheFolder = Annotated[Path | None, typer.Option("--cache-dir", help="Folder of the cached results.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NODE.INPUT=VALUE", help="Replace a value; may be given several times."),
]


@app.command()
def run(
    workflow: WorkflowFile,
    values: Sets = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder that files are written to.")] = Path(
        "out"
    ),
    targets: Annotated[
        list[str] | None, typer.Option("--target", help="Run only what this node needs; may be repeated.")
    ] = None,
    as_events: Annotated[bool, typer.Option("--events", help="Print events as JSON lines on stdout.")] = False,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0.")] = None,
    plugins: Plugins = None,
    cache_folder: CacheFolder = None,
    cache_size: Annotated[float, typer.Option(help="Gigabytes of results that are kept on disk.")] = 10.0,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep results on disk.")] = False,
) -> None:
    """Run a workflow and print the paths of the files that it wrote."""
    from nodegraph import errors
    from nodegraph.console import listener

    home = Home.of_user()
    folders = [home.plugins, *(plugins or [])]
    catalog = load_catalog(home.cache, folders)
    document = Workflow.load(workflow)
    chosen = parse_values(values or [], document, catalog)
    given = [path for value in chosen.values() if isinstance(value, str) and (path := Path(value)).is_absolute()]
    files = home.files(output=output, inputs=[workflow.parent, Path()], allowed=given)
    # Refuse before torch is imported: a typing error costs half a second, not five.
    from nodegraph.check import check as check_workflow

    check_workflow(document.with_values(chosen), catalog, files).raise_problems()

    from nodegraph.engine import Engine

    cache = _cache(cache_folder or home.cache, cache_size, no_cache)
    engine = Engine(home=home, catalog=catalog, plugins=plugins or [], cache=cache, files=files, device=device)
    with listener(as_events) as listen, _stopping() as stop:
        try:
            result = engine.run(
                document, values=chosen, targets=targets, listen=listen, stop=stop, previews=as_events
            )
        except errors.Cancelled:
            raise typer.Exit(CANCELLED) from None
    if not as_events:
        for path in result.files:
            print(path)


@app.command()
def check(workflow: WorkflowFile, values: Sets = None, plugins: Plugins = None) -> None:
    """Report every problem of a workflow, without running it."""
    from nodegraph.check import check as check_workflow

    home = Home.of_user()
    catalog = load_catalog(home.cache, [home.plugins, *(plugins or [])])
    document = Workflow.load(workflow)
    document = document.with_values(parse_values(values or [], document, catalog))
    files = home.files(output=Path("out"), inputs=[workflow.parent, Path()])
    checked = check_workflow(document, catalog, files)
    checked.raise_problems()
    print(f"{workflow}: {len(checked.nodes)} nodes, no problem")


@app.command()
def nodes(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole catalog as JSON.")] = False,
    plugins: Plugins = None,
) -> None:
    """List the node types, and the plugins that could not be imported."""
    home = Home.of_user()
    catalog = load_catalog(home.cache, [home.plugins, *(plugins or [])])
    if as_json:
        print(catalog.model_dump_json(indent=1))
        return
    by_category = sorted(catalog.nodes.values(), key=lambda entry: (entry.category, entry.name))
    for entry in by_category:
        print(f"{entry.category:20} {entry.name:22} {entry.doc.splitlines()[0]}")
    for problem in catalog.problems:
        print(f"could not be imported: {problem.origin}: {problem.message}", file=sys.stderr)
    print(f"{len(by_category)} node types; the plugin folder is {home.plugins}", file=sys.stderr)


@app.command()
def verify(
    picture: Annotated[Path, typer.Argument(help="A PNG made by nodegraph.")],
    plugins: Plugins = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0.")] = None,
) -> None:
    """Make a picture again and compare its pixels; exit status 1 where they differ."""
    from nodegraph.engine import Engine
    from nodegraph.verify import verify as verify_picture

    home = Home.of_user()
    files = home.files(output=Path("out"), inputs=[picture.parent, Path()])
    catalog = load_catalog(home.cache, [home.plugins, *(plugins or [])])
    engine = Engine(
        home=home, catalog=catalog, plugins=plugins or [], cache=ResultCache(), files=files, device=device
    )
    verdict = verify_picture(picture, engine)
    if verdict.changed_nodes:
        print(f"the first node that is no longer what it was: {verdict.changed_nodes[0]}")
    for line in verdict.changed_versions:
        print(f"changed: {line}")
    print("the pixels are identical" if verdict.same else "the pixels differ")
    if not verdict.same:
        raise typer.Exit(FAILED)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="A workflow, or a PNG that carries one.")],
    b: Annotated[Path, typer.Argument(help="Another.")],
) -> None:
    """Say what changed between two workflows or pictures; exit status 1 where anything did."""
    from nodegraph.diff import diff as diff_workflows
    from nodegraph.diff import diff_entries
    from nodegraph.receipt import read

    lines = diff_workflows(Workflow.load(a), Workflow.load(b))
    if a.suffix == b.suffix == ".png":
        first, second = read(a)[1], read(b)[1]
        lines += diff_entries("file", first.files, second.files)
        lines += diff_entries("version", first.versions, second.versions)
    print("\n".join(lines) if lines else "no difference")
    if lines:
        raise typer.Exit(FAILED)


@app.command()
def selftest(
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0.")] = None,
) -> None:
    """Prove the samplers on this machine: measured orders and errors beside the expected ones."""
    from nodegraph.diffusion.oracles import selftest as measure
    from nodegraph.engine import default_device

    failed = 0
    for finding in measure(device or default_device()):
        failed += not finding.holds
        mark = "ok  " if finding.holds else "FAIL"
        print(f"{mark} {finding.what:58} {finding.measured:<12.5g} expected {finding.expected}", flush=True)
    print(f"{failed} of the findings do not hold" if failed else "everything holds")
    if failed:
        raise typer.Exit(FAILED)


@app.command("explain-cache")
def explain_cache(
    workflow: WorkflowFile, values: Sets = None, plugins: Plugins = None, folder: CacheFolder = None
) -> None:
    """Say for each node whether its result is cached, and if not, what changed since the last run."""
    from nodegraph.engine import Engine
    from nodegraph.explain import explain

    home = Home.of_user()
    catalog = load_catalog(home.cache, [home.plugins, *(plugins or [])])
    document = Workflow.load(workflow)
    document = document.with_values(parse_values(values or [], document, catalog))
    disk = DiskTier(folder or home.cache)
    files = home.files(output=Path("out"), inputs=[workflow.parent, Path()])
    engine = Engine(home=home, catalog=catalog, cache=ResultCache(disk=disk), files=files)
    for node, cached, why in explain(engine.plan(document), disk):
        print(f"{node}: cached" if cached else f"{node}: not cached: {why}")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@plugin_app.command("new")
def plugin_new(
    name: Annotated[str, typer.Argument(help="Name of the package, a Python module name.")],
    folder: Annotated[Path, typer.Option(help="Where its folder is made.")] = Path(),
) -> None:
    """Write a working, tested plugin package."""
    from nodegraph.scaffold import new_plugin

    print(new_plugin(name, folder))


@cache_app.command("info")
def cache_info(folder: CacheFolder = None) -> None:
    """Say how many results are kept, and how large they are."""
    usage = _disk(folder).usage()
    print(f"{usage.folder}: {usage.results} results, {usage.bytes / 1e6:.1f} MB of {usage.budget / 1e9:.1f} GB")


@cache_app.command("clear")
def cache_clear(folder: CacheFolder = None) -> None:
    """Remove every result."""
    disk = _disk(folder)
    before = disk.usage()
    disk.clear()
    print(f"removed {before.results} results, {before.bytes / 1e6:.1f} MB")


@cache_app.command("prune")
def cache_prune(
    size: Annotated[float, typer.Option(help="Gigabytes to keep.")], folder: CacheFolder = None
) -> None:
    """Remove what is cheapest to compute again, until the rest fits a size."""
    disk = _disk(folder)
    before = disk.usage()
    disk.prune(int(size * 1e9))
    after = disk.usage()
    print(f"removed {before.results - after.results} results, {(before.bytes - after.bytes) / 1e6:.1f} MB")


def _disk(folder: Path | None) -> DiskTier:
    return DiskTier(folder or Home.of_user().cache)


def _cache(folder: Path, gigabytes: float, disabled: bool) -> ResultCache:
    return ResultCache() if disabled else ResultCache(disk=DiskTier(folder, int(gigabytes * 1e9)))


def parse_values(settings: Sequence[str], document: Workflow, catalog: Catalog) -> dict[str, Any]:
    """`node.input=value` settings as values: text where the input takes text, else JSON.

    Raises:
        CheckError: a setting has no `=`, or its value is not JSON where JSON is needed.
    """
    values: dict[str, Any] = {}
    problems = []
    for setting in settings:
        address, equals, text = setting.partition("=")
        if not equals:
            problems.append(Problem(f"--set {setting}: write it as node.input=value"))
            continue
        values[address] = text
        node, _, entry = address.rpartition(".")
        spec = document.nodes.get(node)
        node_type = catalog.nodes.get(spec.type) if spec is not None else None
        declared = node_type.input(entry) if node_type is not None else None
        if declared is not None and (declared.many or "str" not in declared.types):
            try:
                values[address] = json.loads(text)
            except ValueError:
                if not declared.many:
                    message = f"{text!r} is not {' or '.join(declared.types)}"
                    problems.append(Problem(message, node=node, input=entry))
    if problems:
        raise CheckError(problems)
    return values


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second ends the process at once."""
    stop = threading.Event()

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        print("cancelling; press Ctrl-C again to stop at once", file=sys.stderr)
        stop.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def main() -> None:
    """Run the command line; errors are a message and an exit status, never a traceback."""
    # Threads that spin while they wait slow a busy machine down many times over; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(standalone_mode=True)
    except WorkflowError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    except RunError as error:
        print(error, file=sys.stderr)
        sys.exit(FAILED)
    except NodegraphError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        sys.exit(CANCELLED)
