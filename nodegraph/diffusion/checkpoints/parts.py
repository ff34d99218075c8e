"""The networks in a file or folder: every tensor sorted by the part it belongs to, under one set of names.

U-Nets, ControlNets, VAEs and CLIP text encoders get the names of diffusers and transformers, whatever layout they
came in. Transformers of other families keep the names of their file; `layout` says which these are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nodegraph.diffusion.checkpoints.header import Entry, Header, ModelRefused, read
from nodegraph.diffusion.checkpoints.names import open_clip_name, unet_renamer, vae_renamer

PartName = Literal["denoiser", "vae", "text_encoder", "text_encoder_2", "text_encoder_3", "controlnet"]
Layout = Literal["diffusers", "original"]

# Prefixes of single files, longest first where one holds another, and the text encoders' naming.
_PREFIXES: tuple[tuple[str, PartName, str], ...] = (
    ("model.diffusion_model.", "denoiser", ""),
    ("diffusion_model.", "denoiser", ""),
    ("first_stage_model.", "vae", ""),
    ("vae.", "vae", ""),
    ("control_model.", "controlnet", ""),
    ("cond_stage_model.transformer.", "text_encoder", "clip"),
    ("cond_stage_model.model.", "text_encoder", "open_clip"),
    ("conditioner.embedders.0.transformer.", "text_encoder", "clip"),
    ("conditioner.embedders.0.model.", "text_encoder_2", "open_clip"),
    ("conditioner.embedders.1.model.", "text_encoder_2", "open_clip"),
    ("text_encoders.clip_l.transformer.", "text_encoder", "clip"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2", "clip"),
    ("text_encoders.t5xxl.transformer.", "text_encoder_3", ""),
)
_FOLDERS: tuple[tuple[str, PartName], ...] = (
    ("unet", "denoiser"),
    ("transformer", "denoiser"),
    ("vae", "vae"),
    ("text_encoder", "text_encoder"),
    ("text_encoder_2", "text_encoder_2"),
    ("text_encoder_3", "text_encoder_3"),
)
# Weights of old diffusers VAEs.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class Source:
    """Where a weight comes from: a tensor of a file, whole, or one of three blocks of its rows, or turned.

    Args:
        path, key, entry: the tensor, by the name that the file has for it.
        shape: of the weight that is made of it.
        third: 0, 1 or 2 where the weight is that third of the rows.
        transposed: whether rows and columns change places.
    """

    path: Path
    key: str
    entry: Entry
    shape: tuple[int, ...]
    third: int | None = None
    transposed: bool = False


@dataclass
class Part:
    """One network's weights by name, the layout of the names, and a folder's own configuration."""

    layout: Layout = "diffusers"
    weights: dict[str, Source] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    folder: Path | None = None

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a weight; None where there is none of that name."""
        source = self.weights.get(name)
        return None if source is None else source.shape

    def count(self, pattern: str) -> int:
        """One more than the highest number that a pattern's group finds in the names; 0 where it finds none."""
        numbers = [int(match[1]) for name in self.weights if (match := re.match(pattern, name))]
        return max(numbers, default=-1) + 1


@dataclass(frozen=True)
class Contents:
    """What a file or folder holds."""

    path: Path
    parts: Mapping[PartName, Part]
    metadata: Mapping[str, str]
    keys: frozenset[str]
    dtype: str
    bytes: int


def contents(path: Path) -> Contents:
    """The parts of a single file or of a diffusers folder.

    Raises:
        ModelRefused: a file is no sound safetensors file, or the folder holds none.
    """
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_file(path: Path) -> Contents:
    header = read(path)
    parts: dict[PartName, dict[str, Entry]] = {}
    naming: dict[PartName, str] = {}
    for key, entry in header.tensors.items():
        for prefix, part, style in _PREFIXES:
            if key.startswith(prefix):
                parts.setdefault(part, {})[key] = entry
                naming[part] = prefix + "|" + style
                break
    if "denoiser" not in parts and "controlnet" not in parts and (bare := _bare(header)) is not None:
        parts = {bare: dict(header.tensors)}
        naming = {bare: "|" + ("clip" if bare == "text_encoder" else "")}
    found = {part: _renamed(header, part, entries, *naming[part].split("|")) for part, entries in parts.items()}
    return Contents(path, found, header.metadata, frozenset(header.tensors), header.dtype, header.bytes)


def _bare(header: Header) -> PartName | None:
    """The one part that a file without prefixes holds."""
    keys = header.tensors.keys()
    if keys & {"input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight"}:
        return "controlnet"
    if keys & {"decoder.conv_in.weight", "encoder.conv_in.weight"}:
        return "vae"
    if keys & {"text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight"}:
        return "text_encoder"
    if any(
        re.match(
            r"(input_blocks|down_blocks|double_blocks|joint_blocks|transformer_blocks|blocks|layers)\.0\.", key
        )
        for key in keys
    ) and not any("lora" in key for key in keys):
        return "denoiser"
    return None


def _renamed(header: Header, part: PartName, entries: dict[str, Entry], prefix: str, style: str) -> Part:
    bare = {key.removeprefix(prefix): (key, entry) for key, entry in entries.items()}
    made = Part()
    if part in ("denoiser", "controlnet") and any(key.startswith("input_blocks.0.0.") for key in bare):
        rename = unet_renamer(bare)
    elif part == "denoiser" and "down_blocks.0.resnets.0.conv1.weight" not in bare:
        made.layout = "original"
        rename = str
    elif part == "vae":
        original = any(key.startswith(("decoder.mid.", "encoder.mid.")) for key in bare)
        rename = vae_renamer(bare) if original else _modern_vae
    elif style == "open_clip":
        rename = open_clip_name
    else:
        rename = _clip_name if style == "clip" else str
    for key, (full, entry) in bare.items():
        # What has no new name keeps its own, so that the network can say that it has no place for it.
        name = rename(key) if style else rename(key) or key
        if name is not None and name not in ("embeddings.position_ids", "logit_scale"):
            made.weights.update(_sources(header.path, part, name, full, entry, style))
    if style == "open_clip" and part == "text_encoder":
        _drop_last_layer(made)
    return made


def _sources(
    path: Path, part: PartName, name: str, key: str, entry: Entry, style: str
) -> Iterator[tuple[str, Source]]:
    shape = entry.shape
    if match := re.fullmatch(r"(.+)\.in_proj_(weight|bias)", name):
        for third, letter in enumerate("qkv"):
            rows = (shape[0] // 3, *shape[1:])
            yield f"{match[1]}.{letter}_proj.{match[2]}", Source(path, key, entry, rows, third=third)
    elif style == "open_clip" and key.endswith("text_projection"):
        yield name, Source(path, key, entry, shape[::-1], transposed=True)
    elif part == "vae" and ".attentions." in name and len(shape) == 4:
        yield name, Source(path, key, entry, shape[:2])
    else:
        yield name, Source(path, key, entry, shape)


def _drop_last_layer(part: Part) -> None:
    """Stable Diffusion 2 uses the last layer but one of its text encoder, and diffusers keeps no further one."""
    last = part.count(r"encoder\.layers\.(\d+)\.") - 1
    unused = [name for name in part.weights if name.startswith(f"encoder.layers.{last}.")]
    for name in [*unused, "text_projection.weight"]:
        part.weights.pop(name, None)


def _clip_name(key: str) -> str:
    return key.removeprefix("text_model.")


def _modern_vae(key: str) -> str:
    return re.sub(r"\.(query|key|value|proj_attn)\.(?=weight|bias)", lambda m: f".{_OLD_ATTENTION[m[1]]}.", key)


def _of_folder(path: Path) -> Contents:
    import json

    parts: dict[PartName, Part] = {}
    headers: list[Header] = []
    for folder, part in _FOLDERS:
        files = weight_files(path / folder)
        if not files:
            continue
        try:
            config = json.loads((path / folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            config = {}
        made = parts[part] = Part(config=config if isinstance(config, dict) else {}, folder=path / folder)
        rename = _modern_vae if part == "vae" else _clip_name if part.startswith("text_encoder") else str
        for file in files:
            header = read(file)
            headers.append(header)
            for key, entry in header.tensors.items():
                if (name := rename(key)) != "embeddings.position_ids":
                    made.weights.update(_sources(file, part, name, key, entry, ""))
    if not headers:
        raise ModelRefused(
            f"{path} holds no weights as .safetensors. A diffusers folder has folders unet or transformer, vae "
            f"and "
            "text_encoder; get the model in this form"
        )
    largest = max(headers, key=lambda header: header.bytes)
    size = sum(header.bytes for header in headers)
    return Contents(path, parts, largest.metadata, frozenset(), largest.dtype, size)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one network in a diffusers folder: one variant, all of its shards."""
    variants: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        stem = re.sub(r"-\d{5}-of-\d{5}", "", file.stem)
        variants.setdefault(stem.partition(".")[2], []).append(file)
    for name in ("", "fp16", "bf16", *variants):
        if name in variants:
            return variants[name]
    return []
