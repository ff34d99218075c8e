"""What faster training is worth: the loss and the samples after the same processor time, against a plain training.

    python bench/training.py [--seconds 40] [--seeds 2]

Each training gets the same seconds of processor time on one thread, which other programs on the machine do not
shorten; how many steps fit is measured first, so that its learning rate falls to the end. First the digits, in
pixels: each measure alone against a training that has none. Then pictures in the latents of the embedded VAE,
encoded once or anew for every step.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import mean

import torch
from torch import Tensor, nn

from nodegraph.diffusion.models import emoji, trained
from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.training import learning
from nodegraph.diffusion.training.datasets import digits
from nodegraph.diffusion.training.objectives import Objective, Parts
from nodegraph.diffusion.training.trainer import Losses, Settings, Trainer
from nodegraph.diffusion.training.values import Dataset
from nodegraph.diffusion.values import Checkpoint, Latent, Sigmas, Weights
from nodegraph.home import PACKAGE

BATCH = 64
TRIAL = 12  # steps that are timed first, after as many that are not
PLAIN = Objective("flow", times="uniform")


@dataclass(frozen=True)
class Way:
    """One way to train: its name in the table, what is minimised, and the decay of the average."""

    name: str
    objective: Objective = PLAIN
    average: float = 0.0


DIGITS = (
    Way("plain: uniform times, no average"),
    Way("logit-normal times", Objective("flow", times="logit_normal")),
    Way("min-SNR, gamma 5", Objective("flow", min_snr=5.0, times="uniform")),
    Way("average of the weights, decay 0.99", average=0.99),
    Way("logit-normal times and average", Objective("flow", times="logit_normal"), 0.99),
)


@dataclass(frozen=True)
class Found:
    """After one training: steps taken, held-out loss at uniform times, and the distance of its samples."""

    steps: int
    loss: float
    distance: float = 0.0


def parts_of(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Four fifths of a data set to train on, and the rest."""
    order = torch.randperm(len(dataset.captions), generator=torch.Generator().manual_seed(seed))
    cut = len(order) * 4 // 5
    known, fresh = (
        replace(
            dataset,
            pictures=dataset.pictures[part],
            captions=tuple(dataset.captions[i] for i in part.tolist()),
            labels=dataset.labels[part],
            style=dataset.style[part],
        )
        for part in (order[:cut], order[cut:])
    )
    return known, fresh


def within(seconds: float, make: Callable[[int], Trainer]) -> Trainer:
    """The training whose steps take so many seconds of processor time, done."""
    trial = make(10_000)
    for _ in range(TRIAL):
        trial.advance()
    started = time.process_time()
    for _ in range(TRIAL):
        trial.advance()
    trainer = make(max(1, int(seconds * TRIAL / (time.process_time() - started))))
    while trainer.done < trainer.settings.steps:
        trainer.advance()
    return trainer


def held_out_loss(network: nn.Module, losses: Losses, count: int) -> float:
    """The plain loss on pictures that were not trained on, over 8 draws of noise."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        draws = [losses(network, torch.arange(count), generator)["diffusion"] for _ in range(8)]
    return float(torch.stack(draws).mean())


def frechet(a: Tensor, b: Tensor) -> float:
    """The Frechet distance of two Gaussians with the means and covariances of rows (N, D) of pixels."""
    a, b = a.double(), b.double()
    first, second = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross)


def on_digits(way: Way, seconds: float, seed: int) -> Found:
    """Train on digits and compare 500 samples with those that were set aside."""
    known, fresh = parts_of(digits(), seed)
    captions = learning.Captions.of(known, "class")
    config = trained.TrainedConfig(
        size=known.size, channels=1, condition="class", words=captions.vocabulary.words,
        styles=known.styles, network=trained.NetworkShape(width=64, depth=3, patch=2),
    )  # fmt: skip
    clean, real = (learning.latents(part, None, "cpu") for part in (known, fresh))
    losses = learning.diffusion_losses(clean, known, captions, way.objective, 0.1)
    trainer = within(seconds, lambda steps: _trainer(config, losses, len(clean), steps, way.average, seed))
    plain = learning.diffusion_losses(real, fresh, learning.Captions.of(fresh, "class"), PLAIN, 0.0)
    made = _samples(trained.pack(config, {"model": trainer.result}))
    distance = frechet(made.flatten(1), real.flatten(1))
    return Found(trainer.done, held_out_loss(trainer.result, plain, len(real)), distance)


def in_latents(cached: bool, seconds: float, seed: int) -> Found:
    """Train on digits of 64 pixels in the embedded VAE's latents, encoded once, or a batch at every step."""
    data = digits()
    large = data.pictures.repeat_interleave(8, 2).repeat_interleave(8, 3)
    known, fresh = parts_of(replace(data, pictures=large), seed)
    folder = PACKAGE / "diffusion" / "embedded" / "emoji"
    vae = emoji.load(Checkpoint("emoji", "emoji", "emoji"), folder, "cpu").vae
    assert isinstance(vae, Autoencoder)
    captions = learning.Captions.of(known, "class")
    config = trained.TrainedConfig(
        size=64, channels=vae.channels, condition="class", words=captions.vocabulary.words, styles=known.styles,
        network=trained.NetworkShape(width=64, depth=3, patch=4), autoencoder=trained.shape_of(vae),
    )  # fmt: skip
    started = time.process_time()
    count = len(known.captions)
    clean = learning.latents(known, vae, "cpu") if cached else torch.zeros(count, vae.channels, 16, 16)
    of_latents = learning.diffusion_losses(clean, known, captions, PLAIN, 0.1)

    def encoding(network: nn.Module, indices: Tensor, generator: torch.Generator) -> Parts:
        with torch.no_grad():
            clean[indices] = vae.encode(learning.pictures(known, indices, 3))
        return of_latents(network, indices, generator)

    losses = of_latents if cached else encoding
    left = seconds - (time.process_time() - started)
    trainer = within(left, lambda steps: _trainer(config, losses, count, steps, 0.99, seed))
    real = learning.latents(fresh, vae, "cpu")
    plain = learning.diffusion_losses(real, fresh, learning.Captions.of(fresh, "class"), PLAIN, 0.0)
    return Found(trainer.done, held_out_loss(trainer.result, plain, len(real)))


def _trainer(
    config: trained.TrainedConfig, losses: Losses, count: int, steps: int, average: float, seed: int
) -> Trainer:
    with learning.seeded(seed):
        network = trained.compose(config)
    return Trainer(network, losses, count, Settings(steps, BATCH, average=average, held_out=0, seed=seed))


def _samples(weights: Weights) -> Tensor:
    """500 samples (N, 1, 8, 8) without guidance, 50 of each class."""
    checkpoint = trained.checkpoint(weights)
    live, model = trained.load(checkpoint, None, "cpu"), trained.describe(checkpoint, None).model
    sigmas = Sigmas(schedule("karras", model.parametrization, 20))
    found = []
    for label in range(10):
        positive = live.text_encoder.encode(str(label), {})
        for step in sample(
            live.denoiser, Latent(torch.zeros(50, 1, 8, 8)), sigmas, positive, name="dpmpp_2m", seed=50 * label
        ):
            last = step.x
        found.append(last.clone())
    return torch.cat(found)


def row(name: str, found: list[Found], plain: list[Found]) -> str:
    """A row of a table: means over the seeds, and the ratio of each seed's loss to the plain training's."""
    ratios = [one.loss / other.loss for one, other in zip(found, plain, strict=True)]
    spread = f" ({min(ratios):.3f} to {max(ratios):.3f})" if len(ratios) > 1 else ""
    cells = [name, f"{mean(one.steps for one in found):.0f}", f"{mean(one.loss for one in found):.4f}"]
    cells.append(f"{mean(ratios):.3f}{spread}")
    if found[0].distance:
        cells.append(f"{mean(one.distance for one in found):.2f}")
    return f"| {' | '.join(cells)} |"


def tables(seconds: float, seeds: int) -> Iterator[str]:
    """Both tables in Markdown, a line at a time."""
    yield f"{seconds:g} s of processor time each, {seeds} seeds; held-out loss at uniform times."
    yield ""
    yield "| digits, 8 x 8 pixels | steps | loss | of the plain one's | Frechet distance of samples |"
    yield "|---|---|---|---|---|"
    plain: list[Found] = []
    for way in DIGITS:
        found = [on_digits(way, seconds, seed) for seed in range(seeds)]
        plain = plain or found
        yield row(way.name, found, plain)
    yield ""
    yield "| digits, 64 x 64 pixels, in latents | steps | loss | of the first one's |"
    yield "|---|---|---|---|"
    anew = [in_latents(False, seconds, seed) for seed in range(seeds)]
    yield row("encoded anew for every step", anew, anew)
    yield row("encoded once, its time counted", [in_latents(True, seconds, seed) for seed in range(seeds)], anew)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40, help="of processor time for each training")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each kind")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for line in tables(args.seconds, args.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
