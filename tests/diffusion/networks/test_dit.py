"""The diffusion transformer: what a text tells each position, and the latent that it recalls."""

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


def test_a_text_recalls_a_latent_that_each_patch_is_told_of() -> None:
    torch.manual_seed(0)
    network = DiT(2, 8, width=32, depth=1, heads=2, text_width=16, memory=24).eval()
    nn.init.normal_(network.outward.weight)
    assert network.memory is not None
    text, mask, pooled = torch.zeros(1, 1, 16), torch.ones(1, 1, dtype=torch.bool), torch.randn(1, 16)

    def changed() -> torch.Tensor:
        with torch.no_grad():
            found = network(torch.zeros(1, 2, 8, 8), torch.ones(1), text, mask, pooled)
            return (found - without).abs()[0].sum(0)

    without = network(torch.zeros(1, 2, 8, 8), torch.ones(1), text, mask, pooled).detach()
    nn.init.normal_(network.recalled.weight)
    assert changed().max() == 0  # nothing has been learnt, and nothing is recalled
    with torch.no_grad():
        network.memory.outward.bias.view(2, 8, 8)[:, :2, 4:6] = 1.0
    assert network.memory(pooled).sum() == 8
    assert changed()[:2, 4:6].min() > 20 * changed()[2:].max() > 0  # elsewhere only by attention
