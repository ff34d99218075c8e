"""The peers that samplers are held against, and a small random U-Net that all of them run."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodegraph.diffusion.sampling.schedules import betas, sigma_table
from nodegraph.diffusion.values import Parametrization

_TABLE = sigma_table(Parametrization("eps", "scaled_linear", 0.01, 1.0))
STABLE = Parametrization("eps", "scaled_linear", float(_TABLE[0]), float(_TABLE[-1]))
BETAS = torch.from_numpy(betas("scaled_linear")).float()


class UNet(nn.Module):
    """A U-Net of two levels that predicts noise: latents (N, channels, h, w) and timesteps (N,) in [0, 999]."""

    def __init__(self, channels: int = 4, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * width))
        self.inward = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.Conv2d(3 * width, width, 3, padding=1)
        self.outward = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor, timestep: Tensor, **_: Any) -> Tensor:
        """Predict the noise in x."""
        steps = torch.arange(self.width // 2, device=x.device) / (self.width // 2)
        angles = timestep.float()[:, None] / 100 * torch.exp(-math.log(100) * steps)
        signal = self.time(torch.cat([angles.cos(), angles.sin()], 1).to(x.dtype))[..., None, None]
        fine = functional.silu(self.inward(x))
        coarse = functional.silu(self.down(fine) + signal)
        coarse = coarse + functional.silu(self.middle(coarse))
        large = functional.interpolate(coarse, scale_factor=2, mode="nearest")
        noise: Tensor = x + self.outward(functional.silu(self.up(torch.cat([fine, large], 1))))
        return noise


def network(width: int = 32) -> UNet:
    """The U-Net with its random weights, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(width=width).eval().requires_grad_(False)


def k_diffusion(module: str) -> ModuleType:
    """A module of k-diffusion alone: `sampling` or `external`.

    Its package imports a training suite, and its picture helpers import torchvision, of which no sampler uses
    anything; both are passed by. Raises ImportError where k-diffusion is not installed.
    """
    found = importlib.util.find_spec("k_diffusion")
    if found is None:
        raise ImportError("k-diffusion is not installed: pip install --no-deps k-diffusion torchsde torchdiffeq")
    if "k_diffusion" not in sys.modules:
        package = ModuleType("k_diffusion")
        package.__spec__ = found
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules["k_diffusion"] = package
    unused = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    missing = [name for name in unused if name not in sys.modules]
    for name in missing:
        sys.modules[name] = ModuleType(name)
    vars(sys.modules[unused[1]]).setdefault("functional", sys.modules[unused[2]])
    try:
        return importlib.import_module(f"k_diffusion.{module}")
    finally:
        for name in missing:
            del sys.modules[name]
