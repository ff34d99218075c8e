"""Latents that show a batch while it is made."""

from __future__ import annotations

import pytest
import torch

from nodegraph.diffusion.pictures.previews import PICTURES, glance


@pytest.mark.parametrize("shape", [(1, 4, 64, 48), (4, 4, 16, 16), (16, 3, 16, 16), (1, 16, 1, 60, 60)])
def test_what_costs_little_is_shown_as_it_is(shape: tuple[int, ...]) -> None:
    latents = torch.rand(shape)
    assert torch.equal(glance(latents), latents)


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((4, 4, 64, 64), (4, 4, 32, 32)),
        ((1, 4, 128, 96), (1, 4, 64, 48)),
        ((9, 4, 96, 128), (9, 4, 16, 21)),
        ((50, 4, 64, 64), (PICTURES, 4, 16, 16)),
        ((16, 4, 1, 4096), (16, 4, 1, 1024)),
        ((2, 16, 5, 60, 104), (2, 16, 1, 30, 52)),
    ],
)
def test_what_is_large_is_shown_small(shape: tuple[int, ...], shown: tuple[int, ...]) -> None:
    assert glance(torch.rand(shape)).shape == shown


def test_every_picture_stays_at_its_place_and_keeps_its_mean() -> None:
    latents = torch.rand(4, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    small = glance(latents)
    assert torch.allclose(small.mean((2, 3)), latents.mean((2, 3)), atol=1e-6)
    assert torch.allclose(small[1, 0, 0, 0], latents[1, 0, :2, :2].mean())


def test_of_a_video_its_first_frame_is_shown() -> None:
    latents = torch.rand(2, 3, 7, 8, 8)
    assert torch.equal(glance(latents), latents[:, :, :1])
