"""ControlNets (Zhang et al. 2023): a copy of a U-Net's first half that reads a picture and steers the whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nodegraph.diffusion.checkpoints import configs
from nodegraph.diffusion.checkpoints.detect import what_else
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.parts import Part, contents
from nodegraph.diffusion.checkpoints.weights import fill
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.values import Checkpoint

FAMILY = "controlnet"


@dataclass(frozen=True, eq=False)
class ControlNetwork:
    """A live ControlNet. It paints nothing by itself."""

    network: nn.Module

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """What it adds to a U-Net: a tuple for its skips, and a tensor for its middle."""
        return self.network(*inputs, **options)

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f"a ControlNet has no {name.lstrip('_')}; link it to ApplyControlNet")


def checked(path: Path) -> Part:
    """The ControlNet of a file, from its header alone. Raises ModelRefused where it holds none."""
    found = contents(path)
    part = found.parts.get("controlnet")
    if part is None:
        raise ModelRefused(f"{path} {what_else(found)}; a ControlNet is wanted here")
    return part


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The network, on the host. Raises ModelRefused where its weights are not those of a ControlNet."""
    if path is None:
        raise ValueError("the ControlNet's file is no longer where it was; run the workflow again")
    part = checked(path)
    config = configs.control(part)
    from diffusers.models.controlnets.controlnet import ControlNetModel

    network = fill(lambda: ControlNetModel(**config), part.weights, getattr(torch, dtype), path, "ControlNet")
    live: Any = ControlNetwork(network)
    return Loaded(live, live, live, {"denoiser": network})
