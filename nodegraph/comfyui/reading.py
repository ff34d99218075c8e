"""From a graph of ComfyUI to a document of this engine, with a note on each node that says what became of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from nodegraph.comfyui.graph import BYPASSED, MUTED, Graph, Node, Points, Source, numbers, shown
from nodegraph.comfyui.read_apart import NOTES, Became, Note, SeedMode, taken_apart, taken_in
from nodegraph.comfyui.said import Said, as_said
from nodegraph.comfyui.table import AFTER, APART, NAMESAKES, READ, SAMPLERS_READ, Rule
from nodegraph.fields import NOT_IN_NAMES

CHECKPOINT_LOADERS = ("CheckpointLoaderSimple", "UNETLoader")
COLUMN = 300  # from a node to one that reads it, where both came of the same one
ROOM = 440  # below a node, for the next that came of the same one; the Sampler is 422 high
SEED_INPUTS = {"Sampler": "seed", "Seed": "value"}  # by the type here
SEED_LIMIT = 2**53  # the first whole number that a browser does not hold
_NUMBERED = re.compile(r"(.+)_(\d{1,6})", re.ASCII)  # one of the links of a list
_FILE_NAME = re.compile(f"[{NOT_IN_NAMES}]+")
AFTER_RUN: dict[object, SeedMode] = {"randomize": "random", "increment": "increment"}  # others leave it as it is


@dataclass(eq=False)
class Draft:
    """A node of the document before it has a name; a link to another draft beside it is `(draft, output)`."""

    type: str
    name: str
    values: dict[str, Any] = field(default_factory=dict)
    links: dict[str, Source | tuple[Draft, str] | list[Source]] = field(default_factory=dict)

    def put(self, name: str, given: Any) -> None:
        """Fill an input with what one of ComfyUI has: a link, a value, or nothing (None)."""
        if isinstance(given, Source):
            self.links[name] = given
        elif given is not None:
            self.values[name] = given


@dataclass
class Reading:
    """What a node was read as: drafts, their outputs by the slot they have there, and what is worth knowing.

    An output may be a source: what the node hands on as it got it.
    """

    drafts: list[Draft]
    outputs: Mapping[int, tuple[Draft, str] | Source]
    absorbed: tuple[str, ...] = ()  # ids of nodes that these stand for as well
    told: list[str] = field(default_factory=list)
    is_kept: bool = False


class Untold(Exception):
    """A node cannot be said here; why."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


Reader = Callable[["Translation", Node], Reading]


class Translation:
    """One graph on its way to a document."""

    def __init__(self, graph: Graph, readers: Mapping[str, Reader]) -> None:
        self.graph = graph
        self.readers = readers
        self.notes: list[Note] = []
        self.names: dict[int, str] = {}  # of drafts, by their identity
        self.origins: dict[tuple[str, int], Source | tuple[Draft, str] | None] = {}  # of what is handed on
        self.taken: Counter[str] = Counter()
        self.nodes: dict[str, dict[str, Any]] = {}
        self.layout: dict[str, dict[str, float]] = {}
        self.bends: list[dict[str, Any]] = []
        self.points = Points()

    def document(self) -> dict[str, Any]:
        """The document as JSON data."""
        beside = {id: node for id, node in self.graph.nodes.items() if node.type in NOTES}
        self.read = {id: self._read(node) for id, node in self.graph.nodes.items() if id not in beside}
        absorbed = self._absorbed()
        for id in absorbed:
            del self.read[id]
        for reading in self.read.values():
            for draft in reading.drafts:
                self._name(draft)
        for id, reading in self.read.items():
            self._write(self.graph.nodes[id], reading)
        for id, by in absorbed.items():
            self.notes.append(taken_in(self.graph.nodes[id].type, self._first_name(self.read[by]), id))
        self.notes += taken_apart(self.graph)
        return {
            "format": "nodegraph",
            "version": 1,
            "nodes": self.nodes,
            "layout": self.layout,
            "description": self._told(),
            "groups": [_group(one) for one in self.graph.frames if one.get("bounding")],
            "notes": [_note(node) for node in beside.values()],
            "bends": self.bends,
        }

    def value(self, node: Node, name: str, default: Any) -> Any:
        """A value that has to be known to say the node here. Raises Untold where it is linked."""
        given = node.inputs.get(name, default)
        if isinstance(given, Source):
            raise Untold(Said("its `{name}` is linked; give it a value there", name=name))
        return given

    def word(self, node: Node, name: str, default: str = "") -> str:
        """A text that has to be known to say the node here. Raises Untold where it is none."""
        given = self.value(node, name, default)
        if not isinstance(given, str):
            raise Untold(Said("its `{name}` is {given}, not a text", name=name, given=shown(given)))
        return given

    @cached_property
    def vae(self) -> Source | None:
        """What the workflow decodes with, else any VAE that it loads."""
        decoders = (
            node.inputs.get("vae") for node in self.graph.nodes.values() if node.type.startswith("VAEDecode")
        )
        first = next((Source(one.node, one.slot) for one in decoders if isinstance(one, Source)), None)
        return first or self._first("VAELoader", 0) or self._first("CheckpointLoaderSimple", 2)

    @cached_property
    def model(self) -> Source | None:
        """The first model that the workflow loads."""
        return next((found for type in CHECKPOINT_LOADERS if (found := self._first(type, 0))), None)

    @cached_property
    def text_encoder(self) -> Source | None:
        """What the workflow reads its prompts with, else what its checkpoint brings."""
        encoders = (node.inputs.get("clip") for node in self.graph.nodes.values() if node.type == "CLIPTextEncode")
        first = next((Source(one.node, one.slot) for one in encoders if isinstance(one, Source)), None)
        return first or self._first("CheckpointLoaderSimple", 1)

    def _first(self, type: str, slot: int) -> Source | None:
        return next((Source(id, slot) for id, node in self.graph.nodes.items() if node.type == type), None)

    def _read(self, node: Node) -> Reading:
        if node.lists is not None:
            return returned(node, node.lists)
        try:
            reader = self.readers.get(node.type)
            if reader is not None:
                return reader(self, node)
            rule = READ.get(node.type)
            if rule is not None:
                return by_rule(self, node, rule)
            return kept(node, "there is no counterpart here")
        except Untold as why:
            return kept(node, why.why)

    def _absorbed(self) -> dict[str, str]:
        """The nodes that live on in others, each with one: all its readers stand for it, or are such nodes."""
        standing: dict[str, set[str]] = {}
        for id, reading in self.read.items():
            for other in reading.absorbed:
                standing.setdefault(other, set()).add(id)
        gone: dict[str, str] = {}
        for id, by in standing.items():
            if all(reader in by or reader in gone for reader in self.graph.readers.get(id, ())):
                gone[id] = min(by)
        return gone

    def _name(self, draft: Draft) -> None:
        name = re.sub(r"[^\w-]+", "_", draft.name).strip("_-")[:80] or "node"
        free = name
        while free in self.nodes:
            self.taken[name] += 1
            free = f"{name}_{self.taken[name] + 1}"
        self.names[id(draft)] = free
        self.nodes[free] = {}

    def _first_name(self, reading: Reading) -> str:
        return self.names[id(reading.drafts[0])]

    def _write(self, node: Node, reading: Reading) -> None:
        first_column = _column(reading.drafts[0])
        for number, draft in enumerate(reading.drafts):
            name = self.names[id(draft)]
            self.nodes[name].update(self._spec(draft, node if number == 0 else None, node.mode))
            if number == 0:
                self._bend(name, draft)
            if node.place:
                x, y = node.place
                column = _column(draft) - first_column
                self.layout[name] = {"x": x + column * COLUMN, "y": y + number * ROOM}
        first = self._first_name(reading)
        if reading.is_kept:
            self.notes.append(Note(first, node.type[:200], "kept", tuple(map(as_said, reading.told)), id=node.id))
        else:
            types = list(dict.fromkeys(draft.type for draft in reading.drafts))
            one, other = types[0], " and ".join(types[1:])
            first_said = Said("as {one} and {other}", one=one, other=other) if other else Said("as {one}", one=one)
            seed = self._seed(first, node, reading)
            became: Became = "adjusted" if reading.told else "translated"
            said = (first_said, *map(as_said, reading.told))
            self.notes.append(Note(first, node.type[:200], became, said, seed, node.id))

    def _seed(self, name: str, node: Node, reading: Reading) -> tuple[str, SeedMode] | None:
        """The seed of a node that the next run has another of; one that counts down is `told`."""
        entry = SEED_INPUTS.get(reading.drafts[0].type)
        nodes = (node, *(self.graph.nodes[id] for id in reading.absorbed))
        after = next((one.inputs[AFTER] for one in nodes if isinstance(one.inputs.get(AFTER), str)), None)
        if entry not in reading.drafts[0].values or after is None:
            return None
        if after == "decrement":
            reading.told.append(Said("its seed was one less after each run; here it stays as it is"))
        return (f"{name}.{entry}", AFTER_RUN[after]) if after in AFTER_RUN else None

    def _bend(self, name: str, draft: Draft) -> None:
        """Keep the points of the links of a node, as long as there are not too many in all."""
        for entry, given in draft.links.items():
            for one in given if isinstance(given, list) else [given]:
                if not isinstance(one, Source) or not one.via or not (link := self._links(one)):
                    continue
                if points := [{"x": x, "y": y} for x, y in self.points.take(partial(tuple, one.via))]:
                    self.bends.append({"node": name, "input": entry[:200], "link": link, "points": points})

    def _spec(self, draft: Draft, titled: Node | None, mode: int) -> dict[str, Any]:
        spec: dict[str, Any] = {"type": draft.type[:200]}
        if values := {name[:200]: value for name, value in draft.values.items() if value is not None}:
            spec["values"] = values
        links = {name[:200]: link for name, given in draft.links.items() if (link := self._links(given))}
        if links:
            spec["links"] = links
        if titled is not None and titled.title and titled.title != titled.type:
            spec["title"] = titled.title[:200]
        if mode in (MUTED, BYPASSED):
            spec["muted" if mode == MUTED else "bypassed"] = True
        return spec

    def _links(self, given: Source | tuple[Draft, str] | list[Source]) -> Any:
        if isinstance(given, list):
            return [link for one in given if (link := self._links(one))]
        origin = self._origin(given) if isinstance(given, Source) else given
        if origin is None:
            return None
        if isinstance(origin, Source):
            return {"node": self.names[id(self.read[origin.node].drafts[-1])], "output": self._slot(origin)}
        draft, output = origin
        return {"node": self.names[id(draft)], "output": output[:200]}

    def _origin(self, source: Source) -> Source | tuple[Draft, str] | None:
        """Where a link comes from, behind the nodes that hand it on; a source where they do not say its output."""
        passed: list[tuple[str, int]] = []
        found: Source | tuple[Draft, str] | None = source
        while isinstance(found, Source):
            at = (found.node, found.slot)
            reading = self.read.get(found.node)
            if at in self.origins or reading is None:  # also where they hand it on in a circle
                found = self.origins.get(at)
                break
            if found.slot not in reading.outputs:
                break
            passed.append(at)
            self.origins[at] = None
            found = reading.outputs[found.slot]
        self.origins.update(dict.fromkeys(passed, found))
        return found

    def _slot(self, source: Source) -> str:
        names = self.graph.nodes[source.node].outputs
        known = 0 <= source.slot < len(names) and names[source.slot]
        return (known or f"output_{source.slot}")[:200]

    def _told(self) -> str:
        left = Counter(note.type for note in self.notes if note.became == "kept")
        told = "Imported from ComfyUI."
        if left:
            kinds = ", ".join(name if count == 1 else f"{name} ({count})" for name, count in left.items())
            told += f" These node types have no counterpart here and are kept as they were: {kinds}."
        return told[:2000]


def kept(node: Node, why: str) -> Reading:
    """A node as it was: its type, values and links; but for a seed that a browser does not hold."""
    told = [why]
    links = {name: value for name, value in node.inputs.items() if isinstance(value, Source)}
    values = {
        name: cleaned(name, value, told) if isinstance(value, int) and value >= SEED_LIMIT else value
        for name, value in node.inputs.items()
        if name not in links
    }
    type = APART + node.type if node.type in NAMESAKES else node.type or "node"
    return Reading([Draft(type, node.type, values, dict(links))], {}, told=told, is_kept=True)


def returned(node: Node, lists: tuple[str, ...]) -> Reading:
    """A node of this engine that was written as it is: the links of a list, numbered there, are one list again."""
    draft = Draft(node.type or "node", node.type)
    numbered: dict[str, list[tuple[int, Source]]] = {}
    for name, value in node.inputs.items():
        part = _NUMBERED.fullmatch(name)
        if isinstance(value, Source) and name in lists:
            draft.links[name] = [value]
        elif isinstance(value, Source) and part and part[1] in lists:
            numbered.setdefault(part[1], []).append((int(part[2]), value))
        else:
            draft.put(name, value)
    for name, links in numbered.items():
        draft.links[name] = [source for _, source in sorted(links, key=lambda one: one[0])]
    return Reading([draft], {slot: (draft, name) for slot, name in enumerate(node.outputs) if name})


def _column(draft: Draft) -> int:
    """How many drafts beside it a draft reads, one after the other."""
    read = [link[0] for link in draft.links.values() if isinstance(link, tuple) and isinstance(link[0], Draft)]
    return 1 + max(map(_column, read)) if read else 0


def by_rule(translation: Translation, node: Node, rule: Rule) -> Reading:
    """A node that needs no more than other names."""
    is_negative = rule.name == "prompt" and translation.graph.read_as.get(node.id) == {"negative"}
    draft = Draft(rule.type, "negative" if is_negative else rule.name)
    told: list[str] = []
    for here, there in (*rule.links.items(), *rule.values.items()):
        value = node.inputs.get(there)
        if isinstance(value, Source):
            draft.links[here] = value
        elif here in rule.values and value is not None:
            back = {theirs: ours for ours, theirs in rule.choices.get(here, {}).items()}
            draft.values[here] = cleaned(there, back.get(value, value) if isinstance(value, str) else value, told)
    for there, neutral in rule.fixed.items():
        value = node.inputs.get(there, neutral)
        if value != neutral:
            if isinstance(value, Source):
                sentence = "`{name}` is linked and is left out: there is none here, and {neutral} is what is done"
            else:
                sentence = (
                    "`{name}` was {value} and is left out: there is none here, and {neutral} is what is done"
                )
            told.append(Said(sentence, name=there, value=shown(value), neutral=shown(neutral)))
    for here in rule.left:
        origin = getattr(translation, here)
        if origin is not None:
            draft.links[here] = origin
    return Reading([draft], {slot: (draft, name) for slot, name in enumerate(rule.outputs)}, told=told)


def cleaned(name: str, value: Any, told: list[str]) -> Any:
    """A value as it is written here; where it had to be changed, what is `told`."""
    if name in ("seed", "noise_seed") and isinstance(value, int) and not isinstance(value, bool):
        if value >= SEED_LIMIT:
            told.append(
                Said("the seed {seed} is taken modulo 2^53, which is as large as a browser holds", seed=value)
            )
        return value % SEED_LIMIT
    if not isinstance(value, str):
        return value
    if name == "image":
        return value.removesuffix(" [input]")  # the folder, which ComfyUI may write behind a name
    if name == "sampler_name":
        return SAMPLERS_READ.get(value, value)
    if name == "filename_prefix":
        plain = _FILE_NAME.sub("_", value)[:120] or "image"
        if plain != value:
            told.append(
                Said(
                    "the name {name} is no file name here and became {became}",
                    name=shown(value),
                    became=repr(plain),
                )
            )
        return plain
    return value.replace("\\", "/") if "_name" in name else value


def _group(one: Any) -> dict[str, Any]:
    bounding = one["bounding"]
    x, y, width, height = numbers(bounding if isinstance(bounding, list) else [], 4, "a group's `bounding`")
    color = one.get("color")
    is_color = isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color)
    text = one.get("title") if isinstance(one.get("title"), str) else ""
    return {
        "x": x, "y": y, "width": width, "height": height, "text": text[:1000],
        **({"color": color} if is_color else {}),
    }  # fmt: skip


def _note(node: Node) -> dict[str, Any]:
    x, y = node.place or (0.0, 0.0)
    words = "\n".join(_words(node))
    return {"x": x, "y": y, "width": 300.0, "height": 160.0, "text": words[:100_000]}


def _words(node: Node) -> Iterator[str]:
    return (value for value in node.inputs.values() if isinstance(value, str))
