"""Text encoders in files of their own: which network is which, and what a family makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nodegraph.diffusion.checkpoints import configs, flux, qwen, sd3, texts, wan, zimage
from nodegraph.diffusion.checkpoints.assembly import Missing, there
from nodegraph.diffusion.checkpoints.detect import what_else, what_it_holds
from nodegraph.diffusion.checkpoints.families import FAMILIES
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.parts import contents
from nodegraph.diffusion.live import LiveTextEncoder, Loaded
from nodegraph.diffusion.values import Adapter, Checkpoint, TextEncoder

# Each family with the roles that it needs, those it can do without, and what puts them together.
Together = Callable[[str, Mapping[str, Any], None], LiveTextEncoder]
FAMILY_ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...], Together]] = {
    "flux": (("clip-l", "t5"), (), flux.assembled),
    "flux-schnell": (("clip-l", "t5"), (), flux.assembled),
    "z-image": (zimage.ROLES, (), zimage.assembled),
    "qwen-image": (qwen.ROLES, (), qwen.assembled),
    "wan": (wan.ROLES, (), wan.assembled),
    **dict.fromkeys(sd3.FAMILIES, (("clip-l", "clip-g"), ("t5",), sd3.assembled)),
}


def describe(family: str, files: Sequence[tuple[str, str, Path]], tokenizer: Adapter | None) -> TextEncoder:
    """The handle of text encoders in files, from headers alone.

    Args:
        family: that they are for.
        files: name, digest and path of each, in any order.
        tokenizer: how words become tokens, where no package knows.

    Raises:
        ModelRefused: a file holds no text encoder, or the family needs others.
    """
    needed, optional, _ = FAMILY_ROLES[family]
    found: dict[str, Checkpoint] = {}
    for name, digest, role, path in sorted(_roles(files, needed, optional), key=lambda one: one[2]):
        if role in found:
            raise ModelRefused(
                f"{path} and {found[role].name} are both {texts.ROLES[role][1]}, and {FAMILIES[family].title} has "
                f"one; choose {_words(needed)}"
            )
        found[role] = Checkpoint(name, digest, role)
    for role in needed:
        if role not in found:
            names = ", ".join(one.name for one in found.values()) or "none of them"
            raise ModelRefused(
                f"{FAMILIES[family].title} reads {_words(needed)}; {texts.ROLES[role][1]} is missing "
                f"({names} given)"
            )
    together = hashlib.blake2b("\n".join(one.digest for one in found.values()).encode(), digest_size=20)
    checkpoint = Checkpoint(" + ".join(one.name for one in found.values()), together.hexdigest(), family)
    return TextEncoder(checkpoint, files=tuple(found.values()), tokenizer=tokenizer)


def _roles(
    files: Sequence[tuple[str, str, Path]], needed: Sequence[str], optional: Sequence[str]
) -> list[tuple[str, str, str, Path]]:
    """Name, digest, role and path of every encoder that is of use. Of two CLIPs the narrower is L."""
    alone: list[tuple[int, str, str, Path]] = []
    found: list[tuple[str, str, str, Path]] = []
    wanted = (*needed, *optional)
    for name, digest, path in files:
        content = contents(path)
        parts = content.parts
        usable = [role for role in wanted if texts.ROLES[role][0] in parts]
        if not usable:
            other = what_it_holds(content) == "text encoder"
            what = "holds a text encoder of another kind" if other else what_else(content)
            raise ModelRefused(f"{path} {what}; a text encoder is wanted here: {_words(wanted)}")
        if parts.keys() == {"text_encoder"}:
            alone.append(
                (configs.side(parts["text_encoder"], "embeddings.token_embedding.weight", 1), name, digest, path)
            )
        else:
            found += [(name, digest, role, path) for role in usable]
    clips = [role for role in ("clip-l", "clip-g") if role in wanted]
    if len(alone) == 1 and len(clips) == 2 and alone[0][0] > 1024:
        clips = clips[1:]
    for (_, name, digest, path), role in zip(sorted(alone), [*clips, *clips[-1:] * len(alone)], strict=False):
        found.append((name, digest, role, path))
    return found


def _words(roles: Sequence[str]) -> str:
    return ", ".join(texts.ROLES[role][1] for role in roles)


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """One text encoder by its role, on the host, to be put together with others."""
    path = there(path)
    found = contents(path)
    name, _ = texts.ROLES[checkpoint.family]
    # Alone in a file, either CLIP goes by the first one's name.
    part = found.parts.get(name) or found.parts["text_encoder"]
    encoder = texts.one(checkpoint.family, part, getattr(torch, dtype), path)
    networks: dict[str, nn.Module] = {"text_encoder": encoder.network}
    live: Any = encoder
    network: Any = Missing(found, "denoising network")
    vae: Any = Missing(found, "VAE")
    return Loaded(network, live, vae, networks)


def assembled(handle: TextEncoder, encoders: Sequence[Any]) -> LiveTextEncoder:
    """The text encoder of a family from the live encoders of a handle's files, in order."""
    needed, optional, together = FAMILY_ROLES[handle.checkpoint.family]
    parts: dict[str, Any] = dict.fromkeys((*needed, *optional))
    parts |= {file.family: encoder for file, encoder in zip(handle.files, encoders, strict=True)}
    return together(handle.checkpoint.family, parts, None)
