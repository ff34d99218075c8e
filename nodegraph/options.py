"""What the commands share: their options, and a workflow opened with all that belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from nodegraph import strict_json
from nodegraph.cache import DiskTier, ResultCache
from nodegraph.catalog import Catalog, load_catalog
from nodegraph.check import check
from nodegraph.comfyui import Note
from nodegraph.console import say
from nodegraph.errors import CheckError, Problem
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.schema import describe, says
from nodegraph.subgraphs import input_within
from nodegraph.workflow import Workflow

if TYPE_CHECKING:
    from nodegraph.engine import Engine

FAILED, REFUSED, CANCELLED = 1, 2, 130
MOST_TOLD, LONGEST_TOLD = 20, 400  # lines on an import, and characters of each

WorkflowFile = Annotated[Path, typer.Argument(help="A workflow's JSON file, or a picture that carries one.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugins", exists=True, file_okay=False, help="A further plugin folder; may be given several times."
    ),
]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--models",
        help="A further model folder, such as ComfyUI's models, or its extra_model_paths.yaml; may be given "
        "several times. Also $NODEGRAPH_MODELS.",
    ),
]
CacheFolder = Annotated[Path | None, typer.Option("--cache-dir", help="Folder of the cached results.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder that files are written to.")]
Device = Annotated[str | None, typer.Option("--device", help="Such as cpu or cuda:0.")]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option("--dtype", help="What weights are held in; by default what suits the device."),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        envvar="NODEGRAPH_COMPILE",
        help="Compile denoising networks: the first step takes minutes, those after it are faster.",
    ),
]
Events = Annotated[bool, typer.Option("--events", help="Print events as JSON lines on stdout.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NODE.INPUT=VALUE", help="Replace a value; may be given several times."),
]


@dataclass(frozen=True)
class Opened:
    """A workflow with the user's values in it, and what it is checked and run against."""

    home: Home
    catalog: Catalog
    workflow: Workflow
    files: Files
    imported: tuple[Note, ...] = ()  # what became of the nodes of a workflow of ComfyUI


@dataclass(frozen=True)
class Setup:
    """With what a workflow is run: options of all commands that run one, or ask for what it gave. See `spread`."""

    device: Device = None
    dtype: Dtype = None
    compiled: Compile = False
    plugins: Plugins = None
    models: Models = None

    def open(self, path: Path, settings: Sequence[str] | None = None, output: Path = Path("out")) -> Opened:
        """As `open_workflow` does."""
        return open_workflow(path, settings, self.plugins, output, self.models)

    def engine(self, opened: Opened, cache: ResultCache) -> Engine:
        """What runs it."""
        from nodegraph.engine import Engine

        return Engine(
            home=opened.home,
            catalog=opened.catalog,
            plugins=self.plugins or [],
            cache=cache,
            files=opened.files,
            device=self.device,
            dtype=self.dtype,
            compiled=self.compiled,
        )


@dataclass(frozen=True)
class Kept:
    """Where results are kept: options of the commands that run a workflow. See `spread`."""

    cache_folder: CacheFolder = None
    cache_size: Annotated[float, typer.Option(help="Gigabytes of results that are kept on disk.")] = 10.0
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep results on disk.")] = False

    def cache(self, home: Home) -> ResultCache:
        """The cache that they ask for."""
        if self.no_cache:
            return ResultCache()
        return ResultCache(disk=DiskTier(self.cache_folder or home.cache, int(self.cache_size * 1e9)))


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command as Typer reads it: in place of a parameter that is a dataclass of options, those options."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    taken: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name in groups:
            inner = get_type_hints(groups[name], include_extras=True)
            taken += [
                Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=inner[one.name])
                for one in fields(groups[name])
            ]
        else:
            taken.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))

    @wraps(command)
    def called(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{one.name: given.pop(one.name) for one in fields(kind)})
        command(**given)

    called.__signature__ = Signature(taken)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in taken}
    return called


def open_workflow(
    path: Path,
    settings: Sequence[str] | None,
    plugins: Sequence[Path] | None,
    output: Path = Path("out"),
    models: Sequence[Path] | None = None,
) -> Opened:
    """Read a workflow and put `node.input=value` settings into it.

    A setting may name a file anywhere by its path; the document itself may not.

    Raises:
        DocumentError: the file holds no workflow.
        CheckError: settings make no sense; with every other problem of the workflow then.
    """
    home = Home.of_user(models=models)
    catalog = load_catalog(home.cache, [home.plugins, *(plugins or [])])
    if catalog.plugins_left_out:
        say(
            f"no plugin is imported, for {catalog.plugins_left_out}; tried again once it is changed, or in an hour"
        )
    notes: list[Note] = []
    workflow = Workflow.load(path, notes)
    values, problems = parse_values(settings or [], workflow, catalog)
    texts = [value for value in values.values() if isinstance(value, str) and "\0" not in value]
    given = [Path(text) for text in texts if Path(text).is_absolute()]
    files = home.files(output=output, inputs=[path.parent, Path()], allowed=given)
    theirs = {note.id: note for note in notes if note.id is not None and note.node is not None}
    for address in [one for one in values if one.rpartition(".")[0] not in workflow.nodes]:
        id, _, entry = address.rpartition(".")
        if id in theirs:
            del values[address]
            problems.append(_named_otherwise(address, theirs[id], entry, workflow, catalog))
    try:
        workflow = workflow.with_values(values)
    except CheckError as error:
        problems += error.problems
        for address, value in values.items():
            with suppress(CheckError):
                workflow = workflow.with_values({address: value})
    if problems:
        raise CheckError([*problems, *check(workflow, catalog, files).problems])
    return Opened(home, catalog, workflow, files, tuple(notes))


def _named_otherwise(address: str, note: Note, entry: str, workflow: Workflow, catalog: Catalog) -> Problem:
    """A setting has ComfyUI's id of a node: what the node is called here, and what its inputs are."""
    assert note.node is not None
    type = catalog.nodes.get(workflow.nodes[note.node].type)
    inputs = [one.name for one in type.inputs if one.value_schema is not None] if type is not None else []
    message = f"{address!r} has ComfyUI's id of the node {note.type}, which is {note.node!r} here"
    if entry in inputs:
        return Problem(f"{message}; write {note.node}.{entry}")
    known = f" with the inputs {', '.join(map(repr, inputs))}" if inputs else ""
    return Problem(f"{message}{known}; write {note.node}.INPUT")


def tell_imported(notes: Sequence[Note]) -> None:
    """Say on stderr which nodes of ComfyUI are not just as they were, those that were kept first."""
    lines = [f"{one.node} ({one.type}): kept as it was: {one.message}" for one in notes if one.became == "kept"]
    lines += [f"{one.node} ({one.type}): {'; '.join(one.said[1:])}" for one in notes if one.became == "adjusted"]
    if not lines:
        return
    say(f"From ComfyUI; {len(lines)} of {len(notes)} nodes are not just as they were:")
    for line in lines[:MOST_TOLD]:
        say(f"  {line if len(line) <= LONGEST_TOLD else line[:LONGEST_TOLD] + '...'}")
    if len(lines) > MOST_TOLD:
        say(f"  and {len(lines) - MOST_TOLD} more; the editor lists all of them")


def parse_values(
    settings: Sequence[str], workflow: Workflow, catalog: Catalog
) -> tuple[dict[str, Any], list[Problem]]:
    """`node.input=value` settings as values: text where the input takes text, else JSON.

    A path that leads out of a folder is taken as it is meant on a command line, from the current folder.

    Returns the values, and a problem for each setting that has no `=`, or is not JSON where JSON is needed.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for setting in settings:
        address, equals, text = setting.partition("=")
        if not equals:
            problems.append(Problem(f"--set {setting}: write it as node.input=value"))
            continue
        values[address] = text
        node, _, entry = address.rpartition(".")
        within = input_within(workflow, node, entry)
        node_type = catalog.nodes.get(within[0]) if within else None
        declared = node_type.input(within[1]) if within and node_type is not None else None
        if declared is not None and (declared.many or "str" not in declared.types):
            try:
                values[address] = strict_json.loads(text)
            except ValueError:
                if not declared.many:
                    wanted = None if declared.value_schema is None else describe(declared.value_schema)
                    message = f"{text!r} does not fit; give {wanted or ' or '.join(declared.types)}"
                    problems.append(Problem(message, node=node, input=entry))
                    del values[address]
        elif declared is not None and says(declared.value_schema or {}, "file") and _leads_out(text):
            values[address] = str(Path(text).resolve())
    return values, problems


def _leads_out(text: str) -> bool:
    """Whether a text is the path, by way of `..`, of something that is there."""
    path = Path(text)
    with suppress(OSError, ValueError):
        return ".." in path.parts and path.exists()
    return False
