"""What the samplers here and those of diffusers are both walked with: one network, one start, one kind of schedule."""

from __future__ import annotations

import sys

import torch
from conftest import ROOT

from nodegraph.diffusion.values import Parametrization

sys.path.insert(0, str(ROOT / "bench"))

from peers import STABLE, network  # type: ignore[import-not-found]

__all__ = ["BETAS", "FLOW", "NETWORK", "STABLE", "START"]
NETWORK = network()
FLOW = Parametrization("flow", "flow", 0.005, 80.0)
START = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}  # as diffusers calls them
