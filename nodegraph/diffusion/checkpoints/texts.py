"""The text encoders of a file by their role in a family: CLIP L and G, T5, language models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nodegraph.diffusion.checkpoints import llm, t5
from nodegraph.diffusion.checkpoints.assembly import Missing, clip_network
from nodegraph.diffusion.checkpoints.clip import END, Encoder, Summary
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.parts import Contents, Part, PartName

# Each role with the part of a checkpoint that plays it, and in words.
ROLES: dict[str, tuple[PartName, str]] = {
    "clip-l": ("text_encoder", "CLIP L"),
    "clip-g": ("text_encoder_2", "CLIP G"),
    "t5": ("t5", "T5"),
    "qwen3": ("llm", "Qwen 3"),
    "qwen2.5-vl": ("llm", "Qwen 2.5 VL"),
}


def read(
    found: Contents, roles: Sequence[str], dtype: torch.dtype, networks: dict[str, nn.Module]
) -> dict[str, Any]:
    """The live encoders of a file by role, `Missing` where it has none; their networks join `networks`."""
    made: dict[str, Any] = {}
    for role in roles:
        part_name, words = ROLES[role]
        part = found.parts.get(part_name)
        made[role] = (
            Missing(found, f"text encoder {words}") if part is None else one(role, part, dtype, found.path)
        )
    live = [encoder.network for encoder in made.values() if not isinstance(encoder, Missing)]
    if live:
        networks["text_encoder"] = nn.ModuleList(live)
    return made


def one(role: str, part: Part, dtype: torch.dtype, path: Path) -> Encoder | t5.T5 | llm.LanguageModel:
    """One live encoder."""
    if ROLES[role][0] == "llm":
        return llm.load(part, dtype, path)
    if role == "t5":
        return t5.load(part, dtype, path)
    small = role == "clip-l"
    projected = "text_projection.weight" in part.weights
    network = clip_network(part, "quick_gelu" if small else "gelu", projected, dtype, path)
    patches = Patches(network, "text_encoder" if small else "text_encoder_2")
    summary: Summary = "projected" if projected else "plain"
    return Encoder(network, "penultimate", END if small else 0, summary, patches=patches)


def used(encoder: Any, **how: Any) -> Any:
    """A CLIP encoder used as a family does (see `Encoder`); one that is missing stays so."""
    return encoder if isinstance(encoder, Missing) else replace(encoder, **how)
