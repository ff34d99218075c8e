"""A checkpoint of a family with a transformer, from its parts: the same steps for each family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nodegraph.diffusion.checkpoints import texts
from nodegraph.diffusion.checkpoints.assembly import Missing, opened, parametrization
from nodegraph.diffusion.checkpoints.detect import detect
from nodegraph.diffusion.checkpoints.families import FAMILIES
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.transformer import Transformer
from nodegraph.diffusion.checkpoints.vaes import vae_of
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import Checkpoint, Parametrization

Make = Callable[[Part, torch.dtype, Path, Parametrization], Transformer]


def load(
    checkpoint: Checkpoint,
    path: Path | None,
    dtype: str,
    make: Make,
    roles: Sequence[str],
    together: Callable[[str, Mapping[str, Any], Part | None], Any],
) -> Loaded:
    """The networks that a file or folder has, on the host.

    Args:
        checkpoint, path, dtype: see `loading.load`.
        make: the live transformer from its part of the file.
        roles: of the family's text encoders, see `texts`.
        together: what is made of them, and of the transformer's part where it is there.

    Raises:
        ModelRefused: a weight is missing, wrong or one too many.
    """
    found = opened(checkpoint, path)
    kind = getattr(torch, dtype)
    networks: dict[str, nn.Module] = {}
    denoiser: Any = Missing(found, "denoising network")
    part = found.parts.get("denoiser")
    if part is not None:
        denoiser = make(part, kind, found.path, parametrization(detect(found)))
        networks["denoiser"] = denoiser.network
    vae = vae_of(found, FAMILIES[checkpoint.family], networks)
    encoders = texts.read(found, roles, kind, networks)
    return Loaded(denoiser, together(checkpoint.family, encoders, part), vae, networks)
