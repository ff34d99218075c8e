"""The networks in a file or folder: every tensor sorted by the part it belongs to, under one set of names.

Networks get the names of diffusers and transformers, whatever layout they came in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from nodegraph.diffusion.checkpoints.header import Entry, Header, ModelRefused, read, unscaled
from nodegraph.diffusion.checkpoints.layouts import layout_of
from nodegraph.diffusion.checkpoints.names import (
    Rename,
    frames_vae_renamer,
    open_clip_name,
    unet_renamer,
    vae_renamer,
)

# `text_encoder` and `text_encoder_2` are CLIP's, whatever folder they came from.
PartName = Literal[
    "denoiser", "denoiser_2", "vae", "text_encoder", "text_encoder_2", "t5", "llm", "controlnet", "image_encoder"
]

# The folders of a network for little noise and of one that reads pictures, which are loaded by themselves.
SECOND, EYES = APART = "transformer_2", "image_encoder"
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
    ("text_encoders.t5xxl.transformer.", "t5", "lets go"),
    ("text_encoders.umt5xxl.transformer.", "t5", "lets go"),
    ("text_encoders.qwen3_4b.transformer.", "llm", "lets go"),
    ("text_encoders.qwen25_7b.transformer.", "llm", "lets go"),
)
_BARE_STYLES = {"text_encoder": "clip", "t5": "lets go", "llm": "lets go", "image_encoder": "lets go"}
_FOLDERS: tuple[tuple[str, PartName], ...] = (
    ("unet", "denoiser"),
    ("transformer", "denoiser"),
    (SECOND, "denoiser_2"),
    ("vae", "vae"),
    ("text_encoder", "text_encoder"),
    ("text_encoder_2", "text_encoder_2"),
    ("text_encoder_3", "t5"),
    (EYES, "image_encoder"),
)
_LLM = "layers.0.self_attn.o_proj.weight"  # CLIP calls it out_proj
# What only T5's encoder has: its own embedding, or the first of its projections.
_T5 = ("shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight")
# Weights of old diffusers VAEs.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class Source:
    """Where a weight comes from: a tensor of a file, whole, or some of its rows, or turned.

    Args:
        path, key, entry: the tensor, by the name that the file has for it.
        shape: of the weight that is made of it.
        rows: the first of them and the one after the last, where the weight is not all of the tensor.
        swapped: whether the two halves of the rows change places.
        transposed: whether rows and columns change places.
        scale: the number that an 8-bit weight is multiplied by, where there is one.
    """

    path: Path
    key: str
    entry: Entry
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    swapped: bool = False
    transposed: bool = False
    scale: Entry | None = None


@dataclass
class Part:
    """One network's weights by name, and where it is of a folder, that and its own configuration."""

    weights: dict[str, Source] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    folder: Path | None = None

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a weight; None where there is none of that name."""
        source = self.weights.get(name)
        return None if source is None else source.shape

    def count(self, pattern: str) -> int:
        """One more than the highest number that a pattern's group finds in the names; 0 where it finds none.

        What has more than nine digits counts nothing: the network will say that it has no place for it.
        """
        found = (match[1] for name in self.weights if (match := re.match(pattern, name)))
        return max((int(digits) for digits in found if len(digits) < 10), default=-1) + 1


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
    tensors, scales = unscaled(header)
    parts: dict[PartName, dict[str, Entry]] = {}
    naming: dict[PartName, str] = {}
    for key, entry in tensors.items():
        for prefix, part, style in _PREFIXES:
            if key.startswith(prefix):
                parts.setdefault(part, {})[key] = entry
                naming[part] = prefix + "|" + style
                break
    if "denoiser" not in parts and "controlnet" not in parts and (bare := _bare(header)) is not None:
        parts = {bare: tensors}
        naming = {bare: "|" + _BARE_STYLES.get(bare, "")}
    found = {part: _renamed(header, part, entries, *naming[part].split("|")) for part, entries in parts.items()}
    for one in found.values() if scales else ():
        one.weights = {name: replace(source, scale=scales.get(source.key)) for name, source in one.weights.items()}
    return Contents(path, found, header.metadata, frozenset(header.tensors), header.dtype, header.bytes)


def _bare(header: Header) -> PartName | None:
    """The one part that a file without prefixes holds."""
    keys = header.tensors.keys()
    if keys & {"input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight"}:
        return "controlnet"
    if keys & {"decoder.conv_in.weight", "encoder.conv_in.weight", "decoder.middle.0.residual.0.gamma"}:
        return "vae"
    if keys & {"text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight"}:
        return "text_encoder"
    if keys & {"vision_model.embeddings.class_embedding", "embeddings.class_embedding"}:
        return "image_encoder"
    if keys & set(_T5):
        return "t5"
    if any(key.endswith(_LLM) for key in keys):
        return "llm"
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
        rename: Rename = unet_renamer(bare)
    elif part == "denoiser" and (known := layout_of({name: entry.shape for name, (_, entry) in bare.items()})):
        layout, width = known
        for key, (full, entry) in bare.items():
            for piece in layout.pieces(key, entry.shape, width):
                source = Source(header.path, full, entry, piece.shape, piece.rows, piece.swapped)
                made.weights[piece.name] = source
        return made
    elif part == "vae":
        original = any(key.startswith(("decoder.mid.", "encoder.mid.")) for key in bare)
        frames = any(key.startswith("decoder.middle.") for key in bare)
        rename = vae_renamer(bare) if original else frames_vae_renamer(bare) if frames else _modern_vae
    elif style == "open_clip":
        rename = open_clip_name
    else:
        rename = _clip_name if style == "clip" else _RENAMES.get(part, str)
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
        rows = shape[0] // 3 if shape else 0
        for third, letter in enumerate("qkv"):
            source = Source(path, key, entry, (rows, *shape[1:]), (third * rows, (third + 1) * rows))
            yield f"{match[1]}.{letter}_proj.{match[2]}", source
    elif style == "open_clip" and key.endswith("text_projection"):
        yield name, Source(path, key, entry, shape[::-1], transposed=True)
    elif part == "vae" and len(shape) == 4 and re.search(r"\.attentions\.0\.to_(q|k|v|out\.0)\.", name):
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


def _eyes_name(key: str) -> str | None:
    # A projection to where texts lie is of no use here.
    return None if key.startswith("visual_projection.") else key.removeprefix("vision_model.")


def _t5_name(key: str) -> str | None:
    # The encoder's embedding is the shared one: files hold it under either name, or twice.
    return {"encoder.embed_tokens.weight": "shared.weight", "spiece_model": None}.get(key, key)


def _llm_name(key: str) -> str | None:
    # Heads, and the eyes of models that see, are of no use here.
    if re.match(r"lm_head\.|(model\.)?visual\.", key):
        return None
    return re.sub(r"^(model\.language_model\.|language_model\.model\.|language_model\.|model\.)", "", key)


def _modern_vae(key: str) -> str:
    return re.sub(r"\.(query|key|value|proj_attn)\.(?=weight|bias)", lambda m: f".{_OLD_ATTENTION[m[1]]}.", key)


_RENAMES: dict[PartName, Rename] = {
    "vae": _modern_vae,
    "denoiser": str,
    "denoiser_2": str,
    "t5": _t5_name,
    "llm": _llm_name,
    "image_encoder": _eyes_name,
}


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
        found = [read(file) for file in files]
        headers += found
        if part.startswith("text_encoder") and any(header.tensors.keys() & set(_T5) for header in found):
            part = "t5"
        elif part.startswith("text_encoder") and any(key.endswith(_LLM) for one in found for key in one.tensors):
            part = "llm"
        made = parts[part] = Part(config=config if isinstance(config, dict) else {}, folder=path / folder)
        rename = _RENAMES.get(part, _clip_name)
        for file, header in zip(files, found, strict=True):
            for key, entry in header.tensors.items():
                if (name := rename(key)) not in (None, "embeddings.position_ids"):
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
