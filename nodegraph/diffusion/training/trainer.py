"""A training that can be stopped at any step and goes on as if it had not been.

Everything that the next step depends on is in what `Trainer.save` writes: weights, their average, the optimiser,
the random generator, the order of the pictures (by seed and epoch) and the log. On a CPU with the same number of
threads a resumed training ends in the same bits as one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nodegraph.diffusion.training import state
from nodegraph.diffusion.training.objectives import Parts
from nodegraph.diffusion.training.state import StateDamaged
from nodegraph.diffusion.training.steps import Average, warm_up_then_decay
from nodegraph.diffusion.training.values import TrainingLog

LOG_ROWS = 200  # about as many rows as a curve can show
HELD_OUT_LIMIT = 256
# From indices of pictures (on the CPU) and a generator to the weighted parts of the loss.
Losses = Callable[[nn.Module, Tensor, torch.Generator], Parts]


@dataclass(frozen=True)
class Settings:
    """How a training goes.

    Args:
        steps: optimiser steps in all.
        batch_size: pictures in a step.
        learning_rate: its peak, after a warm-up over a twentieth of the steps; then half a cosine down.
        average: decay of the exponential moving average of the weights, which is what is kept; 0 keeps the last.
        clip: the largest norm of the gradient.
        weight_decay: of AdamW (Loshchilov and Hutter 2019).
        held_out: share of the pictures that is never trained on.
        seed: of everything random.
        mixed_precision: bfloat16 where the device is an accelerator; weights and optimiser stay float32.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    average: float = 0.999
    clip: float = 1.0
    weight_decay: float = 0.01
    held_out: float = 0.05
    seed: int = 0
    mixed_precision: bool = True


class Trainer:
    """One training, step by step; the caller owns the loop.

    Args:
        network: what is trained, in float32 on its device.
        losses: the parts of the loss of a network on a batch, given by the pictures' indices.
        count: how many pictures there are.
        settings: how it goes.
    """

    def __init__(self, network: nn.Module, losses: Losses, count: int, settings: Settings) -> None:
        self.network = network.train()
        self.losses = losses
        self.settings = settings
        self.done = 0
        self.log: list[dict[str, float]] = []
        self._device = next(network.parameters()).device.type
        self._average = Average(network, settings.average)
        self._optimiser = torch.optim.AdamW(
            network.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=settings.weight_decay
        )
        self._generator = torch.Generator().manual_seed(settings.seed)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(settings.seed))
        aside = round(count * settings.held_out)
        self.held_out, self.training = order[:aside], order[aside:]
        if not len(self.training):
            raise ValueError(f"of {count} pictures none is left to train on; hold out less than {aside}")
        self._epoch: tuple[int, Tensor] = (-1, self.training)
        self._every = max(1, settings.steps // LOG_ROWS)
        self._sums: dict[str, float] = {}
        self._summed = 0

    @property
    def result(self) -> nn.Module:
        """The network to keep: the average, in evaluation mode."""
        return self._average.network

    def advance(self) -> dict[str, float]:
        """Take one step. Returns the parts of its loss, and `total`, their sum."""
        settings = self.settings
        share = self.done / settings.steps
        rate = warm_up_then_decay(share, self.done, settings.learning_rate, max(1, settings.steps // 20))
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        parts = self._parts(self.network, self._batch(), self._generator)
        total = torch.stack(list(parts.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._optimiser.step()
        self._average.update(self.network, self.done)
        self.done += 1
        values = {name: float(part.detach()) for name, part in {**parts, "total": total}.items()}
        self._note(values)
        return values

    @torch.no_grad()
    def validate(self) -> float:
        """The loss of the average on pictures held out, always at the same noise."""
        generator = torch.Generator().manual_seed((self.settings.seed + 1) % 2**63)
        parts = self._parts(self.result, self.held_out[:HELD_OUT_LIMIT], generator)
        return float(torch.stack(list(parts.values())).sum())

    def training_log(self) -> TrainingLog:
        """What was reported so far."""
        columns = tuple(self.log[0]) if self.log else ("step", "total")
        rows = [[row[name] for name in columns] for row in self.log]
        return TrainingLog(columns, torch.tensor(rows, dtype=torch.float64).reshape(-1, len(columns)))

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all. Raises OSError where the disk has no room for it, or refuses."""
        tensors = {"generator": self._generator.get_state()} | self._weights()
        for index, entry in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{key}": value for key, value in entry.items()}
        # Cloned: parameters that share memory are refused, and an average of decay 0 may.
        tensors = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        notes = {"done": self.done, "log": self.log, "sums": self._sums, "summed": self._summed}
        state.write(path, state.Kept(asdict(self.settings), notes, tensors))

    def resume(self, path: Path) -> bool:
        """Go on from a state where there is one of a training with these settings; says whether there was.

        Raises:
            StateDamaged: there is one that is not as it was written, or of another network; it is left alone.
        """
        kept = state.read(path)
        if kept is None or kept.settings != asdict(self.settings):
            return False
        tensors, notes = kept.tensors, kept.notes
        self._refuse_unsound(tensors, notes)
        self.network.load_state_dict(_under("network.", tensors))
        self.result.load_state_dict(_under("average.", tensors))
        optimiser = self._optimiser.state_dict()
        optimiser["state"] = {}
        for key, value in _under("optimiser.", tensors).items():
            index, _, entry = key.partition(".")
            optimiser["state"].setdefault(int(index), {})[entry] = value
        self._optimiser.load_state_dict(optimiser)
        self._generator.set_state(tensors["generator"])
        self.done, self.log = notes["done"], notes["log"]
        self._sums, self._summed = notes["sums"], notes["summed"]
        return True

    def _weights(self) -> dict[str, Tensor]:
        """The weights and their average, as they are called in a state."""
        return {
            f"{name}.{key}": value
            for name, module in (("network", self.network), ("average", self.result))
            for key, value in module.state_dict().items()
        }

    def _refuse_unsound(self, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
        """Raise StateDamaged for what could not have been a training of this network."""
        done = notes.get("done")
        if notes.keys() != {"done", "log", "sums", "summed"} or not isinstance(done, int):
            raise StateDamaged("it does not say how far the training is")
        if not 0 < done <= self.settings.steps:
            raise StateDamaged(f"it says that {done} steps of {self.settings.steps} are done")
        wanted = {"generator": self._generator.get_state()} | self._weights()
        for index, parameter in enumerate(self.network.parameters()):
            if f"optimiser.{index}.step" in tensors:  # a parameter that the loss does not reach has nothing there
                moments = {f"optimiser.{index}.{name}": parameter for name in ("exp_avg", "exp_avg_sq")}
                wanted |= moments | {f"optimiser.{index}.step": torch.zeros(())}
        for key in sorted(wanted.keys() ^ tensors.keys()):
            raise StateDamaged(f"it {'lacks' if key in wanted else 'has too much:'} {key[:80]}")
        for key, value in tensors.items():
            if value.shape != wanted[key].shape or value.dtype != wanted[key].dtype:
                raise StateDamaged(f"{key} is {value.dtype} {list(value.shape)}, which fits another network")
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise StateDamaged(f"{key} holds what are no numbers (NaN or infinite)")

    def _parts(self, network: nn.Module, indices: Tensor, generator: torch.Generator) -> Parts:
        mixed = self.settings.mixed_precision and self._device != "cpu"
        with torch.autocast(self._device, dtype=torch.bfloat16) if mixed else nullcontext():
            return self.losses(network, indices, generator)

    def _batch(self) -> Tensor:
        """The next pictures: every picture once an epoch, in an order drawn from the seed and the epoch."""
        count = len(self.training)
        first = self.done * self.settings.batch_size
        picked = []
        for place in range(first, first + self.settings.batch_size):
            epoch = place // count
            if self._epoch[0] != epoch:
                generator = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + epoch + 1) % 2**63)
                self._epoch = (epoch, self.training[torch.randperm(count, generator=generator)])
            picked.append(int(self._epoch[1][place % count]))
        return torch.tensor(picked)

    def _note(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._summed += 1
        if self.done % self._every and self.done != self.settings.steps:
            return
        row = {"step": float(self.done)} | {name: total / self._summed for name, total in self._sums.items()}
        if len(self.held_out):
            row["held out"] = self.validate()
        self.log.append(row)
        self._sums, self._summed = {}, 0


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
