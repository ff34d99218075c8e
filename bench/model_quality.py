"""What the embedded model is worth, measured on the pack that it was trained on: nearest pictures, styles, loss.

    python bench/model_quality.py --pack emoji128 --count 64 --steps 25

Sixty-four emoji are asked for by name, in the four styles in turn, and what is painted is compared with the real
pictures of the same emoji and styles by readers that saw neither. The figures and what they say:

* group, emoji: the nearest of the real pictures that the readers know, in the space of the 64 strongest principal
  components of pictures shrunk to 16 x 16. The neighbour's group, or its emoji among the ten nearest, is compared
  with what was asked for. This reads colour and layout, not meaning: the row of real pictures says how far
  to trust it.
* style: a support vector machine on statistics of texture and colour.
* distance: Frechet distance of Gaussians in the same 64 components, to as many real pictures. With so few pictures
  it is biased upwards, alike in both rows; only their ratio means something.
* held-out loss: the flow-matching loss on every picture that the training set aside, with its full name, at fixed
  noise.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

from emoji_data import STYLES
from train_emoji import Data, read

import nodegraph.diffusion
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.models import emoji
from nodegraph.diffusion.models.conditional import DiTDenoiser
from nodegraph.diffusion.networks.style import look
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.training.steps import flow_loss
from nodegraph.diffusion.values import Checkpoint, Latent, Sigmas

MODEL = Path(nodegraph.diffusion.__path__[0]) / "embedded" / "emoji"
COMPONENTS = 64
TOGETHER = 8
Array = NDArray[np.float64]


class Row(NamedTuple):
    """What was found on some pictures; shares in [0, 1]."""

    group: float
    concept: float
    style: float
    distance: float


@dataclass(frozen=True)
class Reader:
    """Real training pictures, by which others are read."""

    components: PCA
    points: Array
    groups: list[str]
    concepts: NDArray[np.int64]
    styles: Pipeline

    @classmethod
    def of(cls, data: Data, chosen: list[int]) -> Reader:
        """Fitted to some pictures."""
        images = data.images[chosen].float() / 255
        components = PCA(COMPONENTS, random_state=0).fit(shrunk(images))
        probe = make_pipeline(StandardScaler(), SVC(C=10)).fit(
            look(images).double().numpy(), data.styles[chosen].numpy()
        )
        concepts = np.array([data.pack.pictures[index].concept for index in chosen])
        groups = [data.pack.concepts[concept]["group"] for concept in concepts]
        return cls(components, components.transform(shrunk(images)), groups, concepts, probe)

    def read(self, images: Tensor, concepts: list[int], groups: list[str], styles: list[int], among: Array) -> Row:
        """How pictures (N, 3, H, W) are read against what was asked for; their distance is to `among`."""
        points = self.components.transform(shrunk(images))
        order = np.linalg.norm(points[:, None] - self.points[None], axis=2).argsort(axis=1)
        nearest = [self.groups[row[0]] for row in order]
        ten = [concept in self.concepts[row[:10]] for row, concept in zip(order, concepts, strict=True)]
        seen = self.styles.predict(look(images).double().numpy())
        right = [a == b for a, b in zip(nearest, groups, strict=True)]
        return Row(
            float(np.mean(right)), float(np.mean(ten)), float((seen == np.array(styles)).mean()),
            frechet(points, among),
        )  # fmt: skip


def asked_for(data: Data, count: int) -> list[int]:
    """Pictures of evenly spread emoji, as they came and not recoloured, in the styles in turn."""
    found = originals(data)
    concepts = sorted({concept for concept, _ in found})
    picked = [concepts[place * len(concepts) // count] for place in range(count)]
    pairs = [(concept, number % len(STYLES)) for number, concept in enumerate(picked)]
    return [found[pair] for pair in pairs if pair in found]


def originals(data: Data) -> dict[tuple[int, int], int]:
    """The first picture of each emoji and style, which is the one that was not recoloured."""
    found: dict[tuple[int, int], int] = {}
    for index, picture in enumerate(data.pack.pictures):
        found.setdefault((picture.concept, picture.style), index)
    return found


def shrunk(images: Tensor) -> Array:
    """Pictures at 16 x 16, flat."""
    return functional.interpolate(images, size=16, mode="area").flatten(1).double().numpy()


def frechet(a: Array, b: Array) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017, eq. 6)."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # Few pictures leave the covariances singular; a little noise on both keeps the root real.
    ridge = 1e-6 * np.eye(len(first))
    root = linalg.sqrtm((first + ridge) @ (second + ridge)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


def paint(live: Loaded, data: Data, asked: list[int], steps: int, guidance_scale: float) -> tuple[Tensor, float]:
    """Pictures of the names and styles of some pictures, in batches of one prompt each, and pictures a second."""
    model, _, vae = emoji.describe(Checkpoint("emoji", "", "emoji"), MODEL)
    sigmas = Sigmas(schedule("karras", model.parametrization, steps))
    side = vae.size // vae.downscale
    blank = Latent(torch.zeros(1, vae.latent_channels, side, side))
    negative = live.text_encoder.encode("", {})
    painted = []
    started = time.perf_counter()
    for number, index in enumerate(asked):
        picture = data.pack.pictures[index]
        name = data.pack.concepts[picture.concept]["name"]
        positive = live.text_encoder.encode(name, {STYLES[picture.style]: 1.0})
        for step in sample(
            live.denoiser, blank, sigmas, positive, negative,
            name="dpmpp_2m", seed=number, guidance_scale=guidance_scale,
        ):  # fmt: skip
            result = step.x
        painted.append(live.vae.decode(result.float().clone()))
    return torch.cat(painted), len(asked) / (time.perf_counter() - started)


@torch.no_grad()
def held_out_loss(live: Loaded, data: Data) -> float:
    """The flow-matching loss on all pictures that were set aside."""
    assert isinstance(live.denoiser, DiTDenoiser)
    network, generator = live.denoiser.network, torch.Generator().manual_seed(5)
    losses = []
    for start in range(0, len(data.held_out), TOGETHER):
        indices = data.held_out[start : start + TOGETHER]
        clean = live.vae.encode(data.images[indices].float() / 255)
        parts = []
        for index in indices:
            picture = data.pack.pictures[index]
            words = " ".join(filter(None, [picture.colour, data.pack.concepts[picture.concept]["name"]]))
            parts.append(live.text_encoder.encode(words, {STYLES[picture.style]: 1.0}).conditions[0])
        text, mask, pooled = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("embedding", "mask", "pooled")
        )
        loss = flow_loss(lambda x, t, c=(text, mask, pooled): network(x, t, *c), clean, generator)  # type: ignore[misc]
        losses += [float(loss)] * len(indices)
    return float(np.mean(losses))


def report(data: Data, count: int, steps: int, guidance_scale: float) -> str:
    """All of it, in Markdown."""
    live = emoji.load(Checkpoint("emoji", "", "emoji"), MODEL, "cpu")
    asked = asked_for(data, count)
    aside = set(asked)
    reader = Reader.of(data, [index for index in originals(data).values() if index not in aside])
    concepts = [data.pack.pictures[index].concept for index in asked]
    groups = [data.pack.concepts[concept]["group"] for concept in concepts]
    styles = [data.pack.pictures[index].style for index in asked]
    among = reader.points[np.random.default_rng(0).permutation(len(reader.points))[: len(asked)]]
    real = reader.read(data.images[asked].float() / 255, concepts, groups, styles, among)
    painted, speed = paint(live, data, asked, steps, guidance_scale)
    made = reader.read(painted, concepts, groups, styles, among)
    common = Counter(groups).most_common(1)[0][1] / len(groups)
    lines = [
        f"{len(asked)} emoji in {len(STYLES)} styles, {steps} steps, guidance scale {guidance_scale:g}.",
        "",
        "| | group, nearest | emoji, ten nearest | style probe | Frechet distance |",
        "|---|---|---|---|---|",
    ]
    for name, row in (("real", real), ("painted", made)):
        shares = " | ".join(f"{share:.0%}" for share in row[:3])
        lines.append(f"| {name} | {shares} | {row.distance:.1f} |")
    chance = 10 / len(set(reader.concepts.tolist()))
    lines.append(f"| chance | {common:.0%} | about {chance:.0%} | {1 / len(STYLES):.0%} | |")
    loss = held_out_loss(live, data)
    lines += ["", f"Held-out loss {loss:.4f}; {speed:.2f} pictures a second, one by one, text and VAE included."]
    return "\n".join(lines)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True, help="as made by tools/build_pack.py")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    args = parser.parse_args()
    print(report(read(args.pack, 64), args.count, args.steps, args.guidance_scale))


if __name__ == "__main__":
    main()
