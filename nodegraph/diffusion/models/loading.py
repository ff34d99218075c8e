"""From a checkpoint's name to handles, and from a handle to live networks, by family."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import ModuleType

from nodegraph.diffusion.checkpoints import (
    controlnet,
    flux,
    image_encoder,
    qwen,
    sd3,
    stable,
    text_files,
    wan,
    zimage,
)
from nodegraph.diffusion.checkpoints.detect import detect
from nodegraph.diffusion.checkpoints.families import FAMILIES as KNOWN
from nodegraph.diffusion.checkpoints.parts import contents
from nodegraph.diffusion.checkpoints.texts import ROLES
from nodegraph.diffusion.choices import choose
from nodegraph.diffusion.handles import Handles
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.models import emoji, exact, trained, upscaling
from nodegraph.diffusion.values import Checkpoint

# Each family is a module with `describe` and `load`.
FAMILIES: dict[str, ModuleType] = {
    "analytic": exact,
    "emoji": emoji,
    "trained": trained,
    controlnet.FAMILY: controlnet,
    upscaling.FAMILY: upscaling,
    image_encoder.FAMILY: image_encoder,
    **dict.fromkeys(KNOWN, stable),
    **dict.fromkeys(flux.LENGTHS, flux),
    **dict.fromkeys(sd3.FAMILIES, sd3),
    **dict.fromkeys(zimage.FAMILIES, zimage),
    **dict.fromkeys(qwen.FAMILIES, qwen),
    **dict.fromkeys(wan.NAMES, wan),
    **dict.fromkeys(ROLES, text_files),
}


def describe(name: str, path: Path | None, digest: str | None) -> Handles:
    """The handles of a checkpoint, without reading a tensor.

    Args:
        name: as the user wrote it.
        path: the file or folder that it stands for; None for a `scheme://` name.
        digest: of the content at `path`.

    Raises:
        ValueError: no family fits.
    """
    family = _family(name, path)
    identity = digest or hashlib.blake2b(name.encode(), digest_size=20).hexdigest()
    handles: Handles = FAMILIES[family].describe(Checkpoint(name, identity, family), path)
    return handles


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:
    """The live networks of a checkpoint, loaded on the host, to be used on a device.

    `dtype` (`float32`, `bfloat16`, `float16`) is what weights are held in where a part bears it.
    """
    family = choose("family of checkpoints", checkpoint.family, FAMILIES)
    loaded: Loaded = family.load(checkpoint, path, device, dtype)
    return loaded


def identity(checkpoint: Checkpoint) -> str:
    """What networks are the same by: the content of their file and, where just a part of it is read, which."""
    if checkpoint.part:
        return f"{checkpoint.digest} {checkpoint.part}"
    return f"{checkpoint.digest} {checkpoint.family}" if checkpoint.family in ROLES else checkpoint.digest


def _family(name: str, path: Path | None) -> str:
    if path is None:
        scheme = name.partition("://")[0]
        if scheme != exact.SCHEME:
            raise ValueError(f"{name}: only {exact.SCHEME}:// names stand for a model without a file")
        return "analytic"
    if path.is_dir() and (path / "config.json").is_file():
        family = json.loads((path / "config.json").read_text("utf-8")).get("family")
        if family == "emoji":
            return "emoji"
    if trained.recognises(path):
        return "trained"
    return detect(contents(path)).name
