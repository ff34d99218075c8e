"""What the embedded model's training makes small."""

from __future__ import annotations

import sys

import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import train_emoji  # type: ignore[import-not-found]


def test_losses_are_weighted_where_they_are_summed_and_not_where_they_are_logged() -> None:
    losses = {
        "recall": torch.tensor(2.0),
        "apart": torch.tensor(0.5, requires_grad=True),
        "loss": torch.tensor(4.0),
    }
    whole = train_emoji.weighted(losses)
    assert float(whole.detach()) == 2.0 + 3.0 * 0.5 + 4.0
    whole.backward()
    assert losses["apart"].grad is not None
    assert float(losses["apart"].grad) == 3.0
    assert float(losses["apart"].detach()) == 0.5
