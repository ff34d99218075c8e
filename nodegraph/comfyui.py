"""Workflows of ComfyUI, in its API format and as its editor saves them, as documents of this engine.

Nodes that correspond are translated; of every other the type, the values and the links stay, so that nothing is
lost and a check names what is missing. A KSampler becomes two nodes, Schedule and Sampler. An EmptyLatentImage,
which knows no VAE, is given the one that the workflow decodes with. Noise is drawn in another way, so a seed gives
another picture here; seeds from 2^53 on, which a browser cannot hold, are taken modulo 2^53.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeGuard

from nodegraph.errors import DocumentError

MUTED, BYPASSED = 2, 4
NOTES = ("Note", "MarkdownNote")
LOADER = "CheckpointLoaderSimple"
ROOM = 380  # below a Sampler, for its Schedule
SAMPLERS = {
    "uni_pc": "unipc",
    "uni_pc_bh2": "unipc",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
    "dpmpp_sde_gpu": "dpmpp_sde",
}

Source = tuple[str, int]  # a node's id and the number of its output


@dataclass(frozen=True)
class Rule:
    """How one of ComfyUI's node types is written here: names of inputs here and there, and outputs in order."""

    type: str
    name: str
    links: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    widgets: tuple[str, ...] = ()


def same(*names: str) -> dict[str, str]:
    """Inputs that have one name here and there."""
    return {name: name for name in names}


SAMPLER = Rule(
    "Sampler",
    "sampler",
    {**same("model", "positive", "negative"), "latent": "latent_image"},
    {"sampler": "sampler_name", "seed": "seed", "guidance_scale": "cfg"},
    ("latent",),
    ("seed", "control_after_generate", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
)
SCHEDULE = Rule(
    "Schedule", "schedule", same("model"), {"kind": "scheduler", "steps": "steps", "strength": "denoise"}
)
RULES = {
    LOADER: Rule(
        "LoadModel",
        "model",
        values={"checkpoint": "ckpt_name"},
        outputs=("model", "text_encoder", "vae"),
        widgets=("ckpt_name",),
    ),
    "CLIPTextEncode": Rule(
        "Encode", "prompt", {"text_encoder": "clip"}, same("text"), ("conditioning",), ("text",)
    ),
    "KSampler": SAMPLER,
    "EmptyLatentImage": Rule(
        "EmptyLatent",
        "blank",
        same("vae"),
        same("width", "height", "batch_size"),
        ("latent",),
        ("width", "height", "batch_size"),
    ),
    "VAEDecode": Rule("VAEDecode", "decode", {"vae": "vae", "latent": "samples"}, outputs=("image",)),
    "VAEDecodeTiled": Rule(
        "VAEDecode",
        "decode",
        {"vae": "vae", "latent": "samples"},
        {"tile": "tile_size"},
        ("image",),
        ("tile_size", "overlap", "temporal_size", "temporal_overlap"),
    ),
    "VAEEncode": Rule("VAEEncode", "encode", {"vae": "vae", "image": "pixels"}, outputs=("latent",)),
    "VAEEncodeForInpaint": Rule(
        "MaskInpaint",
        "inpaint",
        {"vae": "vae", "image": "pixels", "mask": "mask"},
        outputs=("latent",),
        widgets=("grow_mask_by",),
    ),
    "SaveImage": Rule(
        "SaveImage", "save", {"image": "images"}, {"name": "filename_prefix"}, widgets=("filename_prefix",)
    ),
    "PreviewImage": Rule("PreviewImage", "preview", {"image": "images"}),
    "LoadImage": Rule(
        "LoadImage", "picture", values=same("image"), outputs=("image", "mask"), widgets=("image", "upload")
    ),
    "LoraLoader": Rule(
        "LoadLora",
        "lora",
        {"model": "model", "text_encoder": "clip"},
        {"lora": "lora_name", "strength": "strength_model", "text_strength": "strength_clip"},
        ("model", "text_encoder"),
        ("lora_name", "strength_model", "strength_clip"),
    ),
    "VAELoader": Rule("LoadVAE", "vae", same("model"), {"vae": "vae_name"}, ("vae",), ("vae_name",)),
    "ControlNetLoader": Rule(
        "LoadControlNet",
        "controlnet",
        values={"controlnet": "control_net_name"},
        outputs=("control_net",),
        widgets=("control_net_name",),
    ),
    "ControlNetApply": Rule(
        "ApplyControlNet",
        "control",
        {"conditioning": "conditioning", "controlnet": "control_net", "image": "image"},
        same("strength"),
        ("conditioning",),
        ("strength",),
    ),
    "ImageInvert": Rule("InvertImage", "inverted", same("image"), outputs=("image",)),
    "ImageScale": Rule(
        "ResizeImage",
        "resized",
        same("image"),
        same("width", "height"),
        ("image",),
        ("upscale_method", "width", "height", "crop"),
    ),
    "InvertMask": Rule("InvertMask", "inverted_mask", same("mask"), outputs=("mask",)),
    "LatentUpscaleBy": Rule(
        "LatentScale",
        "larger",
        {"latent": "samples"},
        {"factor": "scale_by"},
        ("latent",),
        ("upscale_method", "scale_by"),
    ),
}


@dataclass
class Node:
    """A node as ComfyUI has it, whichever of its two formats it came in."""

    type: str
    inputs: dict[str, Any]
    title: str = ""
    place: tuple[float, float] | None = None
    mode: int = 0
    outputs: tuple[str, ...] = ()


def is_from_comfyui(data: object) -> TypeGuard[dict[str, Any]]:
    """Whether JSON data is a workflow of ComfyUI, in either of its formats."""
    if not isinstance(data, dict) or "format" in data:
        return False
    return _is_saved(data) or (
        bool(data) and all(isinstance(node, dict) and "class_type" in node for node in data.values())
    )


def translated(data: Mapping[str, Any]) -> dict[str, Any]:
    """The document, as JSON data, of a workflow of ComfyUI. Raises DocumentError where it cannot be read."""
    try:
        nodes = _saved(data) if _is_saved(data) else _exported(data)
        return _Translation(nodes).document(data)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        why = repr(error)[:200]
        raise DocumentError(f"this looks like a ComfyUI workflow, but cannot be read as one: {why}") from None


def _is_saved(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("nodes"), list) and ("last_node_id" in data or isinstance(data.get("links"), list))


def _exported(data: Mapping[str, Any]) -> dict[str, Node]:
    return {
        str(name): Node(
            str(node["class_type"]),
            {
                entry: (str(value[0]), int(value[1])) if _is_link(value, data) else value
                for entry, value in dict(node.get("inputs") or {}).items()
            },
            str((node.get("_meta") or {}).get("title") or ""),
        )
        for name, node in data.items()
    }


def _is_link(value: object, nodes: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int) and str(value[0]) in nodes


def _saved(data: Mapping[str, Any]) -> dict[str, Node]:
    sources = dict(_lines(data.get("links") or []))
    nodes: dict[str, Node] = {}
    for one in data["nodes"]:
        entries = [entry for entry in one.get("inputs") or [] if isinstance(entry, dict)]
        inputs = _widgets(str(one["type"]), one.get("widgets_values"), entries)
        for number, entry in enumerate(entries):
            if entry.get("link") in sources:
                inputs[str(entry.get("name") or f"input_{number}")] = sources[entry["link"]]
        nodes[str(one["id"])] = Node(
            str(one["type"]),
            inputs,
            str(one.get("title") or ""),
            _place(one.get("pos")),
            int(one.get("mode") or 0),
            tuple(str(output.get("name") or "") for output in one.get("outputs") or []),
        )
    return nodes


def _lines(links: list[Any]) -> Iterator[tuple[Any, Source]]:
    for one in links:
        if isinstance(one, dict):
            yield one["id"], (str(one["origin_id"]), int(one["origin_slot"]))
        else:
            yield one[0], (str(one[1]), int(one[2]))


def _widgets(kind: str, given: object, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The values of a saved node by name: a list of them has the order of its type, or of its inputs."""
    if isinstance(given, dict):
        return {str(name): value for name, value in given.items()}
    values = given if isinstance(given, list) else []
    rule = RULES.get(kind)
    named = [str(entry.get("name")) for entry in entries if "widget" in entry]
    names = rule.widgets if rule else tuple(named) if len(named) == len(values) else ()
    return {names[at] if at < len(names) else f"value_{at + 1}": value for at, value in enumerate(values)}


def _place(given: object) -> tuple[float, float] | None:
    if isinstance(given, dict):
        given = [given.get("0"), given.get("1")]
    if not isinstance(given, list) or len(given) < 2:
        return None
    return float(given[0]), float(given[1])


class _Translation:
    def __init__(self, nodes: dict[str, Node]) -> None:
        self.comfy = nodes
        self.names: dict[str, str] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.layout: dict[str, dict[str, float]] = {}
        self.left: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.sources: dict[Source, Source | None] = {}

    def document(self, data: Mapping[str, Any]) -> dict[str, Any]:
        notes = {id: node for id, node in self.comfy.items() if node.type in NOTES}
        used = {
            id: node
            for id, node in self.comfy.items()
            if id not in notes and node.type not in ("Reroute", "PrimitiveNode")
        }
        for id, node in used.items():
            rule = RULES.get(node.type)
            self.names[id] = self._free(rule.name if rule else node.type)
            self.nodes[self.names[id]] = {}
        for id, node in used.items():
            self._node(self.names[id], node)
        found: dict[str, Any] = {"format": "nodegraph", "version": 1, "nodes": self.nodes, "layout": self.layout}
        found["description"] = self._told()
        groups = data.get("groups") if _is_saved(data) else None
        found["groups"] = [_group(one) for one in groups or [] if isinstance(one, dict) and one.get("bounding")]
        found["notes"] = [_note(node) for node in notes.values() if node.place]
        return found

    def _told(self) -> str:
        told = "Imported from ComfyUI."
        if self.left:
            kinds = ", ".join(name if count == 1 else f"{name} ({count})" for name, count in self.left.items())
            told += f" These node types have no counterpart here and are kept as they were: {kinds}."
        return told[:2000]

    def _free(self, name: str) -> str:
        name = re.sub(r"[^\w-]+", "_", name).strip("_-")[:80] or "node"
        free = name
        while free in self.nodes:
            self.taken[name] += 1
            free = f"{name}_{self.taken[name] + 1}"
        return free

    def _node(self, name: str, node: Node) -> None:
        rule = RULES.get(node.type)
        inputs = dict(node.inputs)
        if rule is None:
            self.left[node.type[:200]] += 1
            self.nodes[name] = self._spec(node, Rule(node.type[:200], "", same(*inputs), same(*inputs)), inputs)
        else:
            if node.type == "EmptyLatentImage":
                inputs["vae"] = self._vae
            elif node.type == "VAELoader":
                inputs["model"] = self._loaded(0)
            inputs = {entry: _changed(entry, value) for entry, value in inputs.items()}
            self.nodes[name] = self._spec(node, rule, inputs)
        if node.place:
            self.layout[name] = {"x": node.place[0], "y": node.place[1]}
        if rule is SAMPLER:
            schedule = self._free(SCHEDULE.name)
            self.nodes[schedule] = self._spec(Node("", {}, mode=node.mode), SCHEDULE, inputs)
            self.nodes[name].setdefault("links", {})["sigmas"] = {"node": schedule, "output": "sigmas"}
            if node.place:
                self.layout[schedule] = {"x": node.place[0], "y": node.place[1] + ROOM}

    def _spec(self, node: Node, rule: Rule, inputs: Mapping[str, Any]) -> dict[str, Any]:
        spec: dict[str, Any] = {"type": rule.type}
        values: dict[str, Any] = {}
        links: dict[str, Any] = {}
        for here, there in {**rule.links, **rule.values}.items():
            value = inputs.get(there)
            if isinstance(value, tuple):
                if link := self._link(value):
                    links[here[:200]] = link
            elif value is not None and there in inputs and here in rule.values:
                values[here[:200]] = value
        if values:
            spec["values"] = values
        if links:
            spec["links"] = links
        if node.title and node.title != node.type:
            spec["title"] = node.title[:200]
        if node.mode in (MUTED, BYPASSED):
            spec["muted" if node.mode == MUTED else "bypassed"] = True
        return spec

    def _link(self, source: Source) -> dict[str, str] | None:
        """The output that a link comes from, past nodes that only lead lines; None where it comes from nowhere."""
        before: Source | None = source
        passed: dict[Source, None] = {}
        while before is not None and before not in self.sources:
            node = self.comfy.get(before[0])
            if node is None or node.type != "Reroute":
                self.sources[before] = before
            else:
                passed[before] = self.sources[before] = None  # what leads to itself comes from nowhere
                before = next((one for one in node.inputs.values() if isinstance(one, tuple)), None)
        origin = None if before is None else self.sources[before]
        self.sources.update(dict.fromkeys(passed, origin))  # many links may end at one long line
        if origin is None or origin[0] not in self.names:
            return None
        source, node = origin, self.comfy[origin[0]]
        rule = RULES.get(node.type)
        names = rule.outputs if rule else node.outputs
        slot = source[1]
        name = names[slot] if 0 <= slot < len(names) and names[slot] else f"output_{slot}"
        return {"node": self.names[source[0]], "output": name[:200]}

    @cached_property
    def _vae(self) -> Source | None:
        """What the workflow decodes with, else the VAE of its checkpoint."""
        decoders = (node.inputs.get("vae") for node in self.comfy.values() if node.type.startswith("VAEDecode"))
        return next((one for one in decoders if isinstance(one, tuple)), self._loaded(2))

    def _loaded(self, slot: int) -> Source | None:
        return None if self._loader is None else (self._loader, slot)

    @cached_property
    def _loader(self) -> str | None:
        return next((id for id, node in self.comfy.items() if node.type == LOADER), None)


def _changed(entry: str, value: Any) -> Any:
    if entry == "seed" and isinstance(value, int):
        return value % 2**53
    if entry == "sampler_name" and isinstance(value, str):
        return SAMPLERS.get(value, value)
    if entry.endswith("_name") and isinstance(value, str):
        return value.replace("\\", "/")
    return value


def _group(one: Mapping[str, Any]) -> dict[str, Any]:
    x, y, width, height = (float(part) for part in one["bounding"][:4])
    color = one.get("color")
    shown = {"color": color} if isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color) else {}
    return {
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "text": str(one.get("title") or "")[:1000],
        **shown,
    }


def _note(node: Node) -> dict[str, Any]:
    assert node.place is not None
    words = "\n".join(value for value in node.inputs.values() if isinstance(value, str))
    return {"x": node.place[0], "y": node.place[1], "width": 300.0, "height": 160.0, "text": words[:100_000]}
