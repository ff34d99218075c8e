"""The diffusion transformer: what a text tells each position."""

from __future__ import annotations

import torch
from torch import nn

from nodegraph.diffusion.networks.dit import DiT


def test_a_text_gives_every_position_an_embedding_of_its_own() -> None:
    torch.manual_seed(0)
    network = DiT(2, 8, width=32, depth=1, heads=2, text_width=16).eval()
    nn.init.normal_(network.outward.weight)  # the blocks still add nothing: their gates start at zero
    text, mask = torch.zeros(2, 1, 16), torch.ones(2, 1, dtype=torch.bool)
    pooled = torch.randn(1, 16) * torch.tensor([[1.0], [-1.0]])

    def told_apart() -> torch.Tensor:
        with torch.no_grad():
            one, other = network(torch.zeros(2, 2, 8, 8), torch.ones(2), text, mask, pooled)
        return (one - other).abs().unfold(1, 2, 2).unfold(2, 2, 2).sum((0, 3, 4))

    assert told_apart().max() == 0
    nn.init.normal_(network.layout_outward.weight)
    assert told_apart().min() > 0.1
    assert told_apart().std() > 0.1
