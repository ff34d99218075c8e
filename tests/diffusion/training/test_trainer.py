"""Trainings that are stopped: what they go on with, bit for bit; every picture its turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nodegraph.diffusion.training.trainer import Settings, Trainer

DATA = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def trainer(settings: Settings, seen: list[int] | None = None) -> Trainer:
    def losses(network: nn.Module, indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        if seen is not None and network.training:
            seen.extend(indices.tolist())
        noise = torch.randn(len(indices), 3, generator=generator)
        error = (network(DATA[indices] + noise) - DATA[indices]).square().mean()
        return {"error": error}

    torch.manual_seed(1)
    return Trainer(nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 3)), losses, len(DATA), settings)


def weights(one: Trainer) -> list[Tensor]:
    return [*one.network.state_dict().values(), *one.result.state_dict().values()]


@pytest.mark.parametrize("stop", [1, 7, 29])
def test_a_resumed_training_ends_in_the_same_bits(stop: int, tmp_path: Path) -> None:
    settings = Settings(30, 8, 1e-2)
    whole = trainer(settings)
    for _ in range(30):
        whole.advance()
    first = trainer(settings)
    for _ in range(stop):
        first.advance()
    first.save(tmp_path / "state")
    first.advance()  # what happened after the state is forgotten
    second = trainer(settings)
    assert second.resume(tmp_path / "state")
    assert second.done == stop
    while second.done < 30:
        second.advance()
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    assert torch.equal(whole.training_log().rows, second.training_log().rows)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_or_foreign_state_is_not_gone_on_with(tmp_path: Path) -> None:
    settings = Settings(30, 8, 1e-2)
    one = trainer(settings)
    one.advance()
    path = tmp_path / "state"
    assert not one.resume(path)
    one.save(path)
    assert not trainer(Settings(31, 8, 1e-2)).resume(path)
    path.write_bytes(path.read_bytes()[:200])
    other = trainer(settings)
    assert not other.resume(path)
    assert other.done == 0


def test_every_picture_has_its_turn_and_held_out_ones_never() -> None:
    seen: list[int] = []
    one = trainer(Settings(18, 5, held_out=0.1), seen)
    for _ in range(18):
        one.advance()
    assert len(one.held_out) == 5
    assert sorted(seen[:45]) == sorted(one.training.tolist()) == sorted(seen[45:])
    assert seen[:45] != seen[45:]
    assert set(seen).isdisjoint(one.held_out.tolist())


def test_the_loss_falls_on_pictures_that_were_held_out() -> None:
    one = trainer(Settings(300, 16, 1e-2, held_out=0.2))
    before = one.validate()
    for _ in range(300):
        one.advance()
    log = one.training_log()
    assert log.columns == ("step", "error", "total", "held out")
    assert log.rows[-1, 0] == 300
    assert float(log.rows[-1, 3]) == one.validate() < 0.8 * before


def test_a_gradient_is_clipped() -> None:
    one, other = trainer(Settings(1, 8, 1e-2, clip=1e-9)), trainer(Settings(1, 8, 1e-2))
    one.advance()
    other.advance()
    state = one._optimiser.state_dict()["state"][0]["exp_avg"]
    assert float(state.norm()) < 1e-9 < float(other._optimiser.state_dict()["state"][0]["exp_avg"].norm())


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="none is left"):
        trainer(Settings(1, held_out=0.999))
