"""Trainings that are stopped: what they go on with, bit for bit; every picture its turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nodegraph.diffusion.training import state
from nodegraph.diffusion.training.state import StateDamaged
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


def test_there_is_none_or_a_foreign_one(tmp_path: Path) -> None:
    settings = Settings(30, 8, 1e-2)
    one = trainer(settings)
    one.advance()
    path = tmp_path / "state"
    assert not one.resume(path)
    one.save(path)
    assert not trainer(Settings(31, 8, 1e-2)).resume(path)


def rewritten(path: Path, *, sound: bool, notes: object = None, drop: str = "", **changed: Tensor) -> None:
    """Change what is in a state; a `sound` one has a fitting digest all the same."""
    kept = state.read(path)
    assert kept is not None
    tensors = {key: value for key, value in kept.tensors.items() if not drop or not key.startswith(drop)}
    tensors |= {key.replace("__", "."): value for key, value in changed.items()}
    if sound:
        state.write(path, state.Kept(kept.settings, notes or kept.notes, tensors))  # type: ignore[arg-type]
        return
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata=metadata | ({} if notes is None else {"notes": str(notes)}))


NAN = torch.full((3,), torch.nan)
DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "empty": lambda path: path.write_bytes(b""),
    "a page lost": lambda path: path.write_bytes(path.read_bytes()[:-200] + bytes(200)),
    "no digest": lambda path: save_file({}, path, metadata={"settings": "{}", "notes": "{}"}),
    "another number of steps": lambda path: rewritten(path, sound=False, notes='{"done": 3}'),
    "deep": lambda path: rewritten(path, sound=False, notes="[" * 100_000),
    "other weights": lambda path: rewritten(path, sound=False, network__2__bias=torch.ones(3)),
    "no optimiser": lambda path: rewritten(path, sound=False, drop="optimiser"),
    "notes of nothing": lambda path: rewritten(path, sound=True, notes={"nothing": 1}),
    "negative": lambda path: rewritten(path, sound=True, notes={"done": -5, "log": [], "sums": {}, "summed": 0}),
    "beyond": lambda path: rewritten(path, sound=True, notes={"done": 31, "log": [], "sums": {}, "summed": 0}),
    "no numbers": lambda path: rewritten(path, sound=True, network__2__bias=NAN),
    "no weights": lambda path: rewritten(path, sound=True, drop="network.0"),
    "no moments": lambda path: rewritten(path, sound=True, drop="optimiser.1.exp"),
    "another shape": lambda path: rewritten(path, sound=True, average__2__bias=torch.ones(4)),
    "generator": lambda path: rewritten(path, sound=True, generator=torch.zeros(10, dtype=torch.uint8)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused_and_nothing_taken_from_it(damage: str, tmp_path: Path) -> None:
    settings = Settings(30, 8, 1e-2)
    one = trainer(settings)
    one.advance()
    one.save(tmp_path / "state")
    assert trainer(settings).resume(tmp_path / "state")
    DAMAGES[damage](tmp_path / "state")
    other, fresh = trainer(settings), trainer(settings)
    with pytest.raises(StateDamaged):
        other.resume(tmp_path / "state")
    assert other.done == 0
    assert other.advance() == fresh.advance()
    assert all(torch.equal(a, b) for a, b in zip(weights(other), weights(fresh), strict=True))


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
