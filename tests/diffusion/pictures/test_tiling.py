"""Tiles give the picture that the whole gives, and no seam where they meet."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.models.emoji import load
from nodegraph.diffusion.pictures import tiling
from nodegraph.diffusion.pictures.tiling import tiled
from nodegraph.diffusion.values import Checkpoint
from nodegraph.home import PACKAGE

EMOJI = PACKAGE / "diffusion" / "embedded" / "emoji"


@pytest.mark.parametrize("size", [(40, 56), (16, 64), (33, 17)])
def test_what_looks_no_further_than_the_overlap_is_exact(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[int, ...]] = []

    def identity_but_larger(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape))
        return functional.interpolate(part, scale_factor=2, mode="nearest")

    result = tiled(identity_but_larger, x, 16, Fraction(2))
    assert torch.allclose(result, functional.interpolate(x, scale_factor=2, mode="nearest"), atol=1e-6)
    assert max(shape[2] for shape in seen) <= 16
    assert max(shape[3] for shape in seen) <= 16
    assert {shape[0] for shape in seen} == {1}
    assert len(seen) >= 6


def test_tiles_lie_on_the_grain() -> None:
    x = torch.arange(3 * 64 * 64.0).view(1, 3, 64, 64) / 1e4
    result = tiled(lambda part: functional.avg_pool2d(part, 4), x, 26, Fraction(1, 4), grain=4)
    assert torch.allclose(result, functional.avg_pool2d(x, 4), atol=1e-5)


def test_a_real_vae_in_tiles_shows_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    live = load(Checkpoint("emoji", "x", "emoji"), Path(EMOJI), "cpu")
    ramp = torch.linspace(0, 1, 256)
    picture = torch.stack(
        [ramp[None].expand(256, -1), ramp[:, None].expand(-1, 256), ramp.flip(0).expand(256, -1)]
    )
    picture[:, 60:190, 90:100] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    with torch.inference_mode():
        latent = live.vae.encode(picture[None])
        in_tiles = tiled(live.vae.encode, picture[None], 96, Fraction(1, 4), 4)
        assert float((latent - in_tiles).abs().mean()) < 0.005 * float(latent.std())
        whole = live.vae.decode(latent)
        tiles = tiled(live.vae.decode, latent, 24, Fraction(4))
    error = (tiles - whole)[0].mean(0)
    assert float(error.abs().mean()) < 0.5 / 255
    # A seam is a column or row along which the error jumps; a whole level of 256 would be one that could be seen.
    assert float(_jump(error)) < 1 / 255
    # The same tiles cut off hard show where they meet.
    monkeypatch.setattr(tiling, "OVERLAP", 0.0)
    with torch.inference_mode():
        cut = (tiled(live.vae.decode, latent, 24, Fraction(4)) - whole)[0].mean(0)
    assert float(_jump(cut)) > 1.5 * float(_jump(error))


def _jump(error: Tensor) -> Tensor:
    """The largest mean jump of an error (H, W) from one column or row to the next."""
    return torch.cat([(error[:, 1:] - error[:, :-1]).abs().mean(0), (error[1:] - error[:-1]).abs().mean(1)]).max()


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        tiled(lambda part: part, torch.zeros(0, 3, 8, 8), 8, Fraction(1))
