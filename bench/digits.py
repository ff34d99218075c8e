"""How well `workflows/train_digits.json` learns: samples of each class, read by a classifier that never saw them.

    python bench/digits.py

The workflow trains on all 1,797 digits of scikit-learn, 8 x 8 pixels. The reader is a support vector machine that
has nothing of the network in it: it is fitted to three quarters of the real digits and measured on the rest.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import JsonValue
from sklearn.svm import SVC

from nodegraph import Engine, Workflow
from nodegraph.diffusion.models import trained
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.training.datasets import digits
from nodegraph.diffusion.training.learning import pictures
from nodegraph.diffusion.values import Latent, Sigmas, Weights

WORKFLOW = Path(__file__).parent.parent / "workflows" / "train_digits.json"
SAMPLER_STEPS = 20


class Findings(NamedTuple):
    """What was measured.

    `accuracy` and `deviation` are by guidance scale: the share of samples that the reader reads as the class that
    was asked for, and the standard deviation of their pixels, which are in [-1, 1].
    """

    seconds: float
    parameters: int
    first_loss: float
    last_loss: float
    reader: float
    accuracy: dict[float, float]
    deviation: dict[float, float]
    real_deviation: float


def train(engine: Engine, values: Mapping[str, JsonValue] | None = None) -> tuple[Weights, torch.Tensor, float]:
    """The weights, the log's rows (step, ..., total, held out) and the seconds of the workflow's training."""
    started = time.perf_counter()
    result = engine.run(Workflow.load(WORKFLOW), values=values, targets=["train"])
    trained_model = result["train"]
    return trained_model["weights"], trained_model["log"].rows, time.perf_counter() - started


def samples(weights: Weights, guidance_scale: float, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`each` samples of every class (N, 1, 8, 8) in [-1, 1], and the classes that were asked for."""
    checkpoint = trained.checkpoint(weights)
    live, model = trained.load(checkpoint, None, "cpu"), trained.describe(checkpoint, None).model
    sigmas = Sigmas(schedule("karras", model.parametrization, SAMPLER_STEPS))
    negative = live.text_encoder.encode("", {})
    blank = Latent(torch.zeros(each, 1, 8, 8))
    found = []
    for label in range(10):
        positive = live.text_encoder.encode(str(label), {})
        for step in sample(
            live.denoiser, blank, sigmas, positive, negative,
            name="dpmpp_2m", seed=label * each, guidance_scale=guidance_scale,
        ):  # fmt: skip
            result = step.x
        found.append(result.clone())
    return torch.cat(found), torch.arange(10).repeat_interleave(each)


def measure(engine: Engine, each: int = 50, values: Mapping[str, JsonValue] | None = None) -> Findings:
    """Train, sample at three guidance scales, and have the samples read."""
    weights, rows, seconds = train(engine, values)
    data = digits()
    real = pictures(data, slice(None)).flatten(1)
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
    known, fresh = order[: len(real) * 3 // 4], order[len(real) * 3 // 4 :]
    reader = SVC(C=10).fit(real[known].numpy(), data.labels[known].numpy())
    accuracy, deviation = {}, {}
    for scale in (1.0, 2.0, 4.0):
        painted, asked = samples(weights, scale, each)
        seen = ((painted + 1) / 2).clamp(0, 1).flatten(1).numpy()
        accuracy[scale] = float((reader.predict(seen) == asked.numpy()).mean())
        deviation[scale] = float(painted.std())
    return Findings(
        seconds,
        sum(tensor.numel() for tensor in weights.tensors.values()),
        float(rows[0, -2]),
        float(rows[-1, -2]),
        float(reader.score(real[fresh].numpy(), data.labels[fresh].numpy())),
        accuracy,
        deviation,
        float((real * 2 - 1).std()),
    )


def table(found: Findings) -> str:
    """The findings in Markdown."""
    lines = [
        f"{found.parameters:,} parameters, {found.seconds:.0f} s, loss {found.first_loss:.3f} to "
        f"{found.last_loss:.3f}; the reader reads {found.reader:.1%} of real digits that it did not see.",
        "",
        "| guidance scale | samples read as asked | deviation of pixels |",
        "|---|---|---|",
    ]
    for scale, share in found.accuracy.items():
        lines.append(f"| {scale:g} | {share:.1%} | {found.deviation[scale]:.3f} |")
    lines.append(f"| real digits | {found.reader:.1%} | {found.real_deviation:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table. A training that is cached is not repeated, and its seconds say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=50, help="samples of each class")
    args = parser.parse_args()
    print(table(measure(Engine(device="cpu"), args.each)))


if __name__ == "__main__":
    main()
