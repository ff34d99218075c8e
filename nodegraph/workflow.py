"""The saved document: nodes, their literal values, their links, and how they are laid out.

Loading is strict: an unknown field, a key given twice, NaN or a newer version is refused with words, never
guessed at. Literals (`values`) and references (`links`) sit in two maps, so neither is taken for the other.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from nodegraph import strict_json
from nodegraph.carried import (
    BESIDE_FORMAT,
    MAX_PICTURE_BYTES,
    WORKFLOW_TEXT,
    carried_text,
    is_picture,
    texts_of,
)
from nodegraph.comfyui import Note, is_from_comfyui, translated
from nodegraph.errors import HINTED, CheckError, DocumentError, Problem, did_you_mean
from nodegraph.named import write_whole
from nodegraph.plain import plain
from nodegraph.within import MAX_DEFINITIONS, MAX_DEPTH, MAX_WITHIN, given, with_values_within

FORMAT = "nodegraph"
VERSION = 1
MAX_BYTES = 32 * 2**20

# One small pure function for each version that was, from its number to a document of the next.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def _no_prototype(name: str) -> str:
    if name == "__proto__":
        raise ValueError(
            "'__proto__' cannot be a name, because no browser can keep an entry under it; give another"
        )
    return name


LONGEST_NAME, LONGEST_ID = 200, 100  # characters
LONGEST_ADDRESS = (MAX_DEPTH + 1) * (LONGEST_ID + 1) + LONGEST_NAME  # of an input inside uses of subgraphs
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
InputName = Annotated[Name, AfterValidator(_no_prototype)]
NodeId = Annotated[
    str, Field(min_length=1, max_length=LONGEST_ID, pattern=r"^[\w][\w \-]*$"), AfterValidator(_no_prototype)
]
Text = Annotated[str, Field(max_length=100_000)]
BookmarkKey = Literal["1", "2", "3", "4", "5", "6", "7", "8", "9"]
Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Link(_Document):
    """A reference to an output of another node."""

    node: NodeId
    output: Name

    def __str__(self) -> str:
        return f"{self.node}.{self.output}"


class NodeSpec(_Document):
    """One use of a node type: literals in `values`, references in `links` (a list where many fit).

    A bypassed node takes no part in a run: what is linked to it goes on to its readers. A muted node takes no part
    in a run either, and with it nothing that depends on it. A node is one or the other.
    """

    type: Name
    values: dict[InputName, JsonValue] = {}
    links: dict[InputName, Link | list[Link]] = {}
    title: Annotated[str, Field(max_length=200)] = ""
    bypassed: bool = False
    muted: bool = False

    @model_validator(mode="after")
    def _silent_in_one_way(self) -> Self:
        if self.bypassed and self.muted:
            raise ValueError("a node is bypassed or muted, not both; keep one of the two")
        return self


class Position(_Document):
    """Where the editor draws a node. Never part of a key."""

    x: Coordinate
    y: Coordinate
    width: Coordinate | None = None
    collapsed: bool = False


class Frame(_Document):
    """A note (text) or a group (title) that the editor draws around or beside nodes. Never part of a key."""

    x: Coordinate
    y: Coordinate
    width: Coordinate
    height: Coordinate
    text: Text = ""
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None


class Point(_Document):
    """A place on the editor's canvas."""

    x: Coordinate
    y: Coordinate


class Bend(_Document):
    """Points that the editor leads a link through, on its way to an input of this node. Never part of a key.

    Where there is no such link, nothing is drawn.
    """

    node: NodeId
    input: Name
    link: Link
    points: Annotated[list[Point], Field(min_length=1, max_length=100)]


class Bookmark(_Document):
    """A view that a digit leads back to in the editor: its middle, its zoom, and the uses of subgraphs around it.

    Never part of a key of a result.
    """

    x: Coordinate
    y: Coordinate
    zoom: Annotated[float, Field(gt=0, le=100)]
    path: Annotated[list[NodeId], Field(max_length=100)] = []


class InnerInput(_Document):
    """An input inside a subgraph. `at` is a place among its links where it takes many; null replaces them."""

    node: NodeId
    input: Name
    at: Annotated[int, Field(ge=0, le=100_000)] | None = None

    def __str__(self) -> str:
        return f"{self.node}.{self.input}"


class Subgraph(_Document):
    """A part of a workflow under a name of its own, used as a node of the type `subgraph:NAME`.

    What a use gives to an input goes to each of its targets in place of what they have; where a use gives nothing,
    the targets keep their own values and links.
    """

    description: Text = ""
    nodes: Annotated[dict[NodeId, NodeSpec], Field(max_length=100_000)] = {}
    inputs: Annotated[
        dict[NodeId, Annotated[list[InnerInput], Field(min_length=1, max_length=1000)]], Field(max_length=1000)
    ] = {}
    outputs: Annotated[dict[NodeId, Link], Field(max_length=1000)] = {}
    layout: dict[NodeId, Position] = {}
    groups: list[Frame] = []
    notes: list[Frame] = []
    bends: list[Bend] = []

    @model_validator(mode="after")
    def _names_its_nodes(self) -> Self:
        named = {f"layout places {name!r}": name for name in self.layout}
        named |= {
            f"input {port!r} leads to {one.node!r}": one.node for port, all in self.inputs.items() for one in all
        }
        named |= {f"output {port!r} comes from {one.node!r}": one.node for port, one in self.outputs.items()}
        what = next((what for what, name in named.items() if name not in self.nodes), None)
        if what is not None:
            raise ValueError(f"{what}, which is no node of this subgraph")
        return self


class Workflow(_Document):
    """A graph of nodes, as it is saved and shared."""

    format: Literal["nodegraph"] = "nodegraph"
    version: Literal[1] = 1
    title: Annotated[str, Field(max_length=200)] = ""
    description: Text = ""
    nodes: Annotated[dict[NodeId, NodeSpec], Field(max_length=100_000)] = {}
    layout: dict[NodeId, Position] = {}
    groups: list[Frame] = []
    notes: list[Frame] = []
    bends: list[Bend] = []
    bookmarks: dict[BookmarkKey, Bookmark] = {}
    subgraphs: Annotated[dict[NodeId, Subgraph], Field(max_length=MAX_DEFINITIONS)] = {}

    @model_validator(mode="after")
    def _layout_names_nodes(self) -> Self:
        unknown = next((name for name in self.layout if name not in self.nodes), None)
        if unknown is not None:
            raise ValueError(f"layout places {unknown!r}, which is no node of this workflow")
        return self

    @classmethod
    def parse(cls, text: str | bytes, notes: list[Note] | None = None) -> Self:
        """A workflow from JSON text, as `from_data`. Raises DocumentError that says where and what."""
        return cls.from_data(read_json(text), notes)

    @classmethod
    def from_data(cls, data: object, notes: list[Note] | None = None) -> Self:
        """A workflow from JSON data: of any version, a receipt, or a workflow of ComfyUI. Raises DocumentError.

        What became of each node of ComfyUI is put into `notes`.
        """
        if isinstance(data, dict) and data.get("format") == BESIDE_FORMAT:
            data = data.get("workflow")
        if is_from_comfyui(data):
            data, said = translated(data)
            if notes is not None:
                notes += said
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise DocumentError(f'not a workflow: a workflow is a JSON object with "format": "{FORMAT}"')
        try:
            return cls.model_validate(_migrate(data))
        except ValidationError as error:
            raise DocumentError(_explain(error)) from None
        except RecursionError:
            raise DocumentError("the JSON is nested too deeply to be a workflow") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str], notes: list[Note] | None = None) -> Self:
        """The workflow in a JSON file or a receipt, or the one that a picture of nodegraph or ComfyUI carries.

        A picture that has lost what it carried is asked for by the receipt beside it. What became of each node of
        ComfyUI is put into `notes`.

        Raises:
            DocumentError: the file is missing, too large, or none of the three.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_PICTURE_BYTES + 1)
        except OSError as error:
            raise DocumentError(f"cannot read {path}: {error.strerror or error}") from None
        try:
            if not is_picture(content):
                return cls.parse(content, notes)
            text = texts_of(path, content).get(WORKFLOW_TEXT)
            return cls.parse(carried_text(content) if text is None else text, notes)
        except DocumentError as error:
            raise DocumentError(f"{path}: {error}") from None

    def dump(self) -> str:
        """The document as JSON text: fields in a fixed order, defaults left out, a line break at the end."""
        data = {"format": self.format, "version": self.version, **self.model_dump(exclude_defaults=True)}
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the document to a JSON file: whole, or not at all."""
        write_whole(Path(path), self.dump().encode())

    def with_values(self, values: Mapping[str, JsonValue]) -> Self:
        """A copy in which `node.input` keys have the given values; a value replaces a link to that input.

        `use/inner.input` reaches a node inside a subgraph, for this one use of it.

        Raises:
            CheckError: a key is not `node.input`, or names a node that is not there.
        """
        nodes = dict(self.nodes)
        problems: list[Problem] = []
        inside: list[tuple[str, str, JsonValue]] = []
        for address, value in values.items():
            name, dot, entry = address.rpartition(".")
            if not dot or not name or not entry:
                problems.append(Problem(f"{address!r} is not of the form node.input"))
            elif "/" in name:
                inside.append((name, entry, value))
            elif name not in nodes:
                hint = (did_you_mean(name, nodes) or _some_of(nodes)) if len(problems) < HINTED else ""
                problems.append(Problem(f"{address!r} names no node.{hint}"))
            else:
                nodes[name] = given(nodes[name], entry, value)
        changed = self.model_copy(update={"nodes": nodes})
        if len(inside) > MAX_WITHIN:
            problems.append(
                Problem(f"{len(inside):,} values inside subgraphs; at most {MAX_WITHIN} can be set at once")
            )
            inside = []
        if inside:
            try:
                changed = with_values_within(changed, inside)
            except CheckError as error:
                problems += error.problems
        if problems:
            raise CheckError(problems)
        return changed


def read_json(text: str | bytes) -> object:
    """The data of a JSON text that may be a workflow. Raises DocumentError that says where and what."""
    if len(text) > MAX_BYTES:
        raise DocumentError(f"the document is {len(text):,} bytes long; {MAX_BYTES:,} is the limit")
    if not text.strip():
        raise DocumentError("the file is empty; a workflow is a JSON object")
    try:
        return strict_json.loads(text)
    except UnicodeDecodeError:
        raise DocumentError(
            "not a text, so no workflow; give a JSON file, or a picture made by nodegraph"
        ) from None
    except json.JSONDecodeError as error:
        raise DocumentError(f"not JSON: {_where(error)}") from None
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}") from None


def _some_of(names: Iterable[str]) -> str:
    """The first names, for one who cannot know them: a workflow of another program is given new ones."""
    first = list(itertools.islice(names, 13))
    if not first:
        return " The workflow has no nodes."
    return f" There is {', '.join(map(repr, first[:12]))}{' and more' if len(first) > 12 else ''}."


def _where(error: json.JSONDecodeError) -> str:
    """What is wrong with a JSON text, at which line and column, and what stands there."""
    place = f"line {error.lineno}, column {error.colno}"
    rest = error.doc[error.pos :].strip()
    if not rest or error.msg.startswith("Unterminated string"):
        return f"it breaks off at {place}; is it whole? Save or download it again"
    start = error.doc[error.pos : error.pos + 30].split("\n")[0]
    return f"{error.msg[0].lower()}{error.msg[1:]} at {place}, at {start!r}"


def document_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return Workflow.model_json_schema()


def _migrate(data: dict[str, Any]) -> dict[str, Any]:
    version = data.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise DocumentError(f'"version" must be a whole number, such as {VERSION}; got {version!r}')
    if version > VERSION:
        raise DocumentError(
            f"the document has version {version}, made by a newer nodegraph; this one reads up to {VERSION}"
        )
    while version < VERSION:
        if version not in MIGRATIONS:
            raise DocumentError(f"no document of version {version} was ever written; the first is 1")
        data = MIGRATIONS[version](data)
        version = data["version"]
    return data


def _explain(error: ValidationError) -> str:
    lines = []
    for entry in error.errors(include_url=False):
        place = " > ".join(str(part) for part in entry["loc"] if not _is_union_arm(part)) or "document"
        if "links" in entry["loc"] and entry["type"] in ("model_type", "list_type"):
            lines.append(f'{place}: a link is written {{"node": "...", "output": "..."}}, or a list of these')
        else:
            lines.append(f"{place}: {plain(entry)}")
    return "not a valid workflow:\n  " + "\n  ".join(dict.fromkeys(lines[:20]))


def _is_union_arm(part: object) -> bool:
    return isinstance(part, str) and (part == "Link" or part.startswith("list["))
