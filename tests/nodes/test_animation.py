"""Walks between seeds, and animated files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from nodegraph.nodes import animation as a
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from PIL import Image as Pillow
from torch import Tensor

from nodegraph import Context
from nodegraph.diffusion.sampling.noise import between
from nodegraph.diffusion.values import Image
from nodegraph.files import Files


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context("node", files=Files(output=tmp_path))


def walk(context: Context, seeds: str, frames: int = 4, *, loop: bool = True) -> Tensor:
    model, encoder, vae = m.LoadModel(context, "analytic://gmm?size=8&channels=3")
    sigmas = s.Schedule(model, "karras", 12)
    positive = m.Encode(context, encoder)
    return a.LatentWalk(
        context, model, vae, positive, sigmas, seeds=seeds, frames=frames, loop=loop, guidance_scale=1
    ).tensor


def test_a_walk_passes_the_pictures_of_its_seeds(context: Context) -> None:
    model, encoder, vae = m.LoadModel(context, "analytic://gmm?size=8&channels=3")
    frames = walk(context, "3, 9", loop=False)
    assert frames.shape == (5, 3, 8, 8)
    for frame, seed in ((0, 3), (4, 9)):
        alone = s.Sampler(
            context, model, m.Encode(context, encoder), s.EmptyLatent(vae), s.Schedule(model, "karras", 12),
            seed=seed, guidance_scale=1,
        ).tensor  # fmt: skip
        assert torch.allclose(frames[frame], alone[0], atol=1e-5)


def test_a_loop_comes_back_and_steps_are_small(context: Context) -> None:
    frames = walk(context, "3, 9", frames=20)
    assert len(frames) == 40
    jumps = (frames - frames.roll(1, 0)).flatten(1).norm(dim=1)
    apart = float((frames[0] - frames[20]).norm())
    assert float(jumps.max()) < 0.7 * apart


def test_a_walk_that_is_too_long_and_frames_without_numbers_are_refused(context: Context) -> None:
    with pytest.raises(ValueError, match="500 seeds with 600 frames each are more than 3,000; give fewer"):
        walk(context, ",".join("0" * 500), frames=600)
    with pytest.raises(ValueError, match="are no numbers"):
        a.SaveAnimation(context, Image(torch.full((2, 3, 4, 4), torch.nan)))
    assert context.written == []


def test_noise_keeps_its_variance_on_the_way() -> None:
    first, second = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(0))
    for share in (0.0, 0.25, 0.5, 1.0):
        assert float(between(first, second, share).var()) == pytest.approx(1, abs=0.02)
    assert torch.equal(between(first, second, 0.0), first)


@pytest.mark.parametrize("seeds", ["", "7", "a, b", "1, -2", "1 2"])
def test_seeds_that_are_none_are_refused(context: Context, seeds: str) -> None:
    with pytest.raises(ValueError, match="seeds"):
        walk(context, seeds)


@pytest.mark.parametrize(("format", "suffix"), [("WEBP", ".webp"), ("GIF", ".gif")])
def test_an_animation_holds_every_frame(context: Context, format: str, suffix: str) -> None:
    shades = torch.linspace(0, 1, 5).view(5, 1, 1, 1).expand(5, 3, 6, 6)
    a.SaveAnimation(context, Image(shades.contiguous()), "film", format, 10.0, 2)  # type: ignore[arg-type]
    path = context.written[0]
    assert path.suffix == suffix
    with Pillow.open(io.BytesIO(path.read_bytes())) as film:
        assert (film.n_frames, film.size) == (5, (12, 12))
        found = []
        for frame in range(5):
            film.seek(frame)
            film.load()
            found.append(film.convert("RGB").getpixel((6, 6))[0])
            assert film.info["duration"] == 100
    assert found == pytest.approx([0, 64, 128, 191, 255], abs=6)
