"""From the nodes of a document to ComfyUI's API format; what cannot be said is a problem that names the node.

Nodes are written in their order. What has no counterpart keeps its type, values and links, so that the document
that is written lacks nothing; ComfyUI calls such a type missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from nodegraph.comfyui.graph import shown
from nodegraph.comfyui.said import Said, as_said
from nodegraph.comfyui.table import APART, OURS, WRITTEN, Rule
from nodegraph.errors import Problem

if TYPE_CHECKING:
    from nodegraph.node import NodeType
    from nodegraph.workflow import Link, NodeSpec

    Writer = Callable[["Writing", str], None]

Prompt = dict[str, dict[str, Any]]
OUTPUT = re.compile(r"output_(\d{1,6})", re.ASCII)  # how an output is called whose name is not known
SHIPPED = {"LoadModel": ("checkpoint", ("emoji",)), "Upscale": ("upscaler", ("upscale2x",))}


class Written(NamedTuple):
    """A document in the API format, and everything that it does not say as the workflow means it."""

    prompt: Prompt
    problems: tuple[Problem, ...]


class Slot(NamedTuple):
    """An output of a node there."""

    id: str
    slot: int


class Port(NamedTuple):
    """An output that a node here has there alone, such as conditionings that go through it."""

    node: str
    output: str


class Writing:
    """The nodes of a workflow on their way out.

    Args:
        nodes: all of them, without uses of subgraphs and without bypassed and muted ones.
        types: what each type has for inputs and outputs.
        writers: for types that need more than other names.
    """

    def __init__(
        self, nodes: Mapping[str, NodeSpec], types: Mapping[str, NodeType], writers: Mapping[str, Writer]
    ) -> None:
        self.nodes = nodes
        self.types = types
        self.writers = writers
        self.prompt: Prompt = {}
        self.problems: list[Problem] = []
        self.outputs: dict[tuple[str, str], Slot | Link | Port] = {}

    def written(self) -> Written:
        """Write every node, then put the links between them."""
        for name, spec in self.nodes.items():
            writer = self.writers.get(spec.type)
            if writer is not None:
                writer(self, name)
            elif spec.type in WRITTEN:
                self.by_rule(name, WRITTEN[spec.type])
            else:
                self.as_it_is(name)
        for node in self.prompt.values():
            inputs = {entry: self._linked(value) for entry, value in node["inputs"].items()}
            node["inputs"] = {entry: value for entry, value in inputs.items() if value is not None}
        return Written(self.prompt, tuple(self.problems))

    def link(self, name: str, entry: str) -> Link | None:
        """What is linked to an input; of several the first."""
        there = self.nodes[name].links.get(entry)
        return (there[0] if there else None) if isinstance(there, list) else there

    def links(self, name: str, entry: str) -> list[Link]:
        """Everything that is linked to an input."""
        there = self.nodes[name].links.get(entry, [])
        return there if isinstance(there, list) else [there]

    def default(self, name: str, entry: str) -> Any:
        """What an input has where nothing is given; None where something must be."""
        declared = self.types[self.nodes[name].type].input(entry) if self.nodes[name].type in self.types else None
        return None if declared is None or declared.required else declared.default

    def value(self, name: str, entry: str) -> Any:
        """The link to an input, else its value, else its default."""
        link = self.link(name, entry)
        return link if link is not None else self.nodes[name].values.get(entry, self.default(name, entry))

    def given(self, name: str) -> list[str]:
        """The inputs that are linked, or have another value than their default."""
        spec = self.nodes[name]
        return [
            *spec.links,
            *(entry for entry, value in spec.values.items() if value != self.default(name, entry)),
        ]

    @cached_property
    def family(self) -> str | None:
        """Of the first text encoder in files of its own: what a checkpoint holds, its name does not say."""
        loaders = (name for name, spec in self.nodes.items() if spec.type == "LoadTextEncoder")
        first = next(loaders, None)
        family = None if first is None else self.value(first, "family")
        return family if isinstance(family, str) else None

    @cached_property
    def twins(self) -> dict[str, str]:
        """Of two ApplyControlNet that differ in their conditioning alone, the second by the first."""
        pairs: dict[str, str] = {}
        alone: dict[str, str] = {}
        for name, spec in self.nodes.items():
            if spec.type == "ApplyControlNet":
                entries = ("controlnet", "image", "strength", "start", "end")
                alike = repr([self.value(name, entry) for entry in entries])
                if alike in alone:
                    pairs[alone.pop(alike)] = name
                else:
                    alone[alike] = name
        return pairs

    @cached_property
    def videos(self) -> dict[str, str]:
        """The ImageToVideo that a Sampler paints on, or goes on with where another stopped; "" for none."""
        found: dict[str, str] = {}
        for name in self.nodes:
            passed: dict[str, None] = {}
            while (
                name in self.nodes and self.nodes[name].type == "Sampler" and not (name in found or name in passed)
            ):
                passed[name] = None
                latent = self.link(name, "latent")
                name = latent.node if latent is not None else ""
            is_video = name in self.nodes and self.nodes[name].type == "ImageToVideo"
            found.update(dict.fromkeys(passed, name if is_video else found.get(name, "")))
        return found

    @cached_property
    def painters(self) -> dict[str, list[str]]:
        """By each ImageToVideo the Samplers that paint on it."""
        found: dict[str, list[str]] = {}
        for sampler, video in self.videos.items():
            found.setdefault(video, []).append(sampler)
        return found

    @cached_property
    def readers(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """For each output that something reads, the inputs that do; those that are not written do not count."""
        found: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for name, spec in self.nodes.items():
            left = {entry for rule in WRITTEN.get(spec.type, ()) for entry in rule.left}
            for entry in spec.links:
                for link in self.links(name, entry):
                    if entry not in left:
                        found.setdefault((link.node, link.output), []).append((name, entry))
        return found

    @cached_property
    def outputs_read(self) -> dict[str, list[str]]:
        """For each node the outputs of it that something reads."""
        found: dict[str, list[str]] = {}
        for node, output in self.readers:
            found.setdefault(node, []).append(output)
        return found

    def add(self, name: str, type: str, inputs: Mapping[str, Any]) -> str:
        """Write one node; its id. Links in `inputs` are put later, when the nodes behind them are written too."""
        id = str(len(self.prompt) + 1)
        title = self.nodes[name].title or name
        self.prompt[id] = {"class_type": type, "inputs": dict(inputs), "_meta": {"title": title}}
        return id

    def problem(self, name: str, message: str, entry: str | None = None) -> None:
        """Say what the document in the API format does not."""
        self.problems.append(Problem(as_said(message), name, entry))

    def without(self, name: str, type: str, said: set[str]) -> None:
        """A problem for each input that is given and not among those that are said."""
        for entry in self.given(name):
            if entry not in said:
                default = self.default(name, entry)
                if entry in self.nodes[name].links:
                    message = Said("{type} of ComfyUI has nothing like it; unlink it", type=type)
                else:
                    back = shown(default)
                    message = Said(
                        "{type} of ComfyUI has nothing like it; set it back to {back}", type=type, back=back
                    )
                self.problem(name, message, entry)

    def by_rule(self, name: str, rules: list[Rule]) -> str:
        """Write a node by the first of the rules that says all of it, else by the one that says most; its id."""
        rule = min(rules, key=lambda one: len(self._unsaid(name, one)) + len(self._unmet(name, one)))
        self.shipped(name)
        self.without(name, rule.comfy, {*rule.links, *rule.values, *rule.left})
        inputs: dict[str, Any] = {**rule.fixed}
        for here, there in rule.links.items():
            inputs[there] = self.link(name, here)
        for here, there in rule.values.items():
            value = self.value(name, here)
            if isinstance(value, str | int | float):
                if value in rule.alone.get(here, ()):
                    message = Said(
                        "{type} of ComfyUI has no {value}; choose another", type=rule.comfy, value=shown(value)
                    )
                    self.problem(name, message, here)
                value = rule.choices.get(here, {}).get(value, value)
            inputs[there] = value
        for entry in self._unmet(name, rule):
            self.problem(name, Said("{type} of ComfyUI needs it; give it a value", type=rule.comfy), entry)
        id = self.add(name, rule.comfy, inputs)
        for slot, output in enumerate(rule.outputs):
            self.outputs[name, output] = Slot(id, slot)
        return id

    def as_it_is(self, name: str) -> None:
        """Write a node that has no counterpart under its own type."""
        spec = self.nodes[name]
        links = {entry: self.links(name, entry) for entry in spec.links}
        single = {entry: many[0] for entry, many in links.items() if len(many) == 1}
        several = {entry: many for entry, many in links.items() if len(many) > 1}
        numbered = {f"{entry}_{at}": link for entry, many in several.items() for at, link in enumerate(many)}
        id = self.add(name, spec.type.removeprefix(APART), {**spec.values, **single, **numbered})
        node_type = self.types.get(spec.type)
        if node_type is None:
            self._foreign(name, id)
            return
        for slot, output in enumerate(node_type.outputs):
            self.outputs[name, output.name] = Slot(id, slot)
        lists = [one.name for one in node_type.inputs if one.many]
        outputs = [one.name for one in node_type.outputs]
        self.prompt[id]["_meta"][OURS] = {"outputs": outputs, "lists": lists}
        message = Said(
            "ComfyUI has no node like {type}; it keeps its type, which ComfyUI will call missing. "
            "Leave it out, or replace it there",
            type=spec.type,
        )
        self.problem(name, message)

    def _foreign(self, name: str, id: str) -> None:
        """A node of a type that is not known here, most likely one of ComfyUI that was kept."""
        type = shown(self.nodes[name].type.removeprefix(APART))
        self.problem(name, Said("is not known here; ComfyUI needs the pack that has {type}", type=type))
        free = 0
        for output in self.outputs_read.get(name, ()):
            numbered = OUTPUT.fullmatch(output)
            slot = int(numbered[1]) if numbered else free
            self.outputs[name, output] = Slot(id, slot)
            free = slot + 1
            if not numbered:
                message = Said(
                    "ComfyUI numbers outputs, and the place of {output} is not known: "
                    "it would be number {slot}; look at its links there",
                    output=shown(output),
                    slot=slot,
                )
                self.problem(name, message)

    def shipped(self, name: str) -> None:
        """A problem where a node names a file that no ComfyUI has."""
        entry, names = SHIPPED.get(self.nodes[name].type, ("", ()))
        value = self.nodes[name].values.get(entry, self.default(name, entry)) if entry else None
        if isinstance(value, str) and (value in names or value.startswith("analytic://")):
            message = Said(
                "{file} ships with nodegraph and is no file for ComfyUI; choose a file of your own",
                file=shown(value),
            )
            self.problem(name, message, entry)

    def _unsaid(self, name: str, rule: Rule) -> list[str]:
        return [entry for entry in self.given(name) if entry not in {*rule.links, *rule.values, *rule.left}]

    def _unmet(self, name: str, rule: Rule) -> list[str]:
        return [entry for entry in rule.needs if self.value(name, entry) is None]

    def _linked(self, value: Any) -> Any:
        """A value as it is written; for a link the id and the slot behind it, None where nothing is there."""
        passed: dict[tuple[str, str], None] = {}  # lists of one, which may be many and linked in a circle
        while hasattr(value, "output") and (value.node, value.output) not in passed:
            passed[value.node, value.output] = None
            value = self.outputs.get((value.node, value.output))
        if isinstance(value, Slot):
            self.outputs.update(dict.fromkeys(passed, value))
            return [value.id, value.slot]
        for one in passed:  # they lead nowhere, for whoever comes this way next as well
            self.outputs.pop(one, None)
        return None if passed else value
