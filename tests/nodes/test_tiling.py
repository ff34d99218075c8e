"""Pictures that tile: no seam where they meet, from every kind of network; what the nodes around them do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import torch
from conftest import ROOT
from nodegraph.nodes.models import Encode, EncodeEach, LoadModel, VAEDecode, VAEEncode
from nodegraph.nodes.sampling import AspectPreset, EmptyLatent, Sampler, Schedule
from nodegraph.nodes.tiling import MeasureSeam, RepeatImage, Tileable
from torch import Tensor

from nodegraph import Context
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.networks.circular import circular
from nodegraph.diffusion.sampling.rolling import back, offset, rolled
from nodegraph.diffusion.values import Image, Latent, Wrap
from nodegraph.engine import Engine
from nodegraph.home import Home
from nodegraph.pictures import decode
from nodegraph.workflow import Workflow

sys.path.insert(0, str(ROOT / "tests" / "diffusion" / "checkpoints"))
import tiny

PROMPTS = ["sunset", "rainbow", "sunrise over mountains", "bridge at night"] * 2  # they reach top and bottom
diffusers = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_embedded_models_pictures_have_no_seam(context: Context) -> None:
    """Without Tileable the seam is the sharpest place of all; with it, one like the others.

    The others are those on the VAE's own grid of 4 pixels, where this VAE always draws more sharply.
    """
    plain, encoder, vae = LoadModel(context, "emoji")

    def painted(wrap: Wrap | None) -> Tensor:
        parts = (plain, vae) if wrap is None else Tileable(plain, vae, wrap)
        guides = EncodeEach(context, encoder, "\n".join(PROMPTS)), Encode(context, encoder)
        sigmas = Schedule(parts[0], "karras", steps=10)
        blank = EmptyLatent(vae, batch_size=len(PROMPTS))
        latent = Sampler(context, parts[0], guides[0], blank, sigmas, guides[1], "dpmpp_2m", seed=1)
        return VAEDecode(context, parts[1], latent).tensor

    def grid(picture: Tensor, side: int) -> list[float]:
        steps = (picture - picture.roll(1, side)).abs().transpose(side, 3).mean((0, 1, 2))
        return steps[::4].tolist()

    seam, *inside = grid(painted(None), 2)
    assert seam > 1.2 * max(inside)
    tiles = painted("both")
    for side in (2, 3):
        seam, *inside = grid(tiles, side)
        assert 0.8 * min(inside) < seam < max(inside)  # nor one that was smeared
        assert 0.6 < seam / mean(inside) < 1.6


def test_a_seam_is_measured_against_what_is_inside() -> None:
    waves = torch.sin(torch.arange(32) * 2 * torch.pi / 32) / 2 + 0.5
    tile = Image(waves.expand(1, 3, 8, 32).contiguous())
    assert MeasureSeam(tile).horizontal == pytest.approx(1, abs=0.6)
    assert MeasureSeam(tile).vertical == 0
    ramp = Image(torch.linspace(0, 1, 32).expand(1, 3, 8, 32).contiguous())
    assert MeasureSeam(ramp).horizontal == pytest.approx(31)
    assert torch.equal(RepeatImage(ramp, 3, 2).tensor, torch.cat([torch.cat([ramp.tensor] * 3, 3)] * 2, 2))


@pytest.mark.parametrize("wrap", ["both", "horizontal", "vertical"])
def test_a_vae_that_wraps_moves_its_picture_with_the_latent(context: Context, wrap: Wrap) -> None:
    """Decoding a latent that was moved around its edges is moving the picture; encoding is the way back."""
    model, _, vae = LoadModel(context, "emoji")
    tileable = Tileable(model, vae, wrap).vae
    latent = noise(1, 12, 16, 16)
    by = (5 if wrap != "horizontal" else 0, 3 if wrap != "vertical" else 0)
    moved = Latent(latent.roll(by, (2, 3)))
    pixels = (by[0] * 4, by[1] * 4)

    def off(part: object) -> float:
        picture = VAEDecode(context, part, Latent(latent)).tensor.roll(pixels, (2, 3))  # type: ignore[arg-type]
        return float((VAEDecode(context, part, moved).tensor - picture).abs().max())  # type: ignore[arg-type]

    assert off(tileable) < 0.03
    assert off(vae) > 0.1
    picture = VAEDecode(context, tileable, Latent(latent))
    again = VAEEncode(context, tileable, picture).tensor.roll(by, (2, 3))
    rolled_picture = Image(picture.tensor.roll(pixels, (2, 3)))
    assert float((VAEEncode(context, tileable, rolled_picture).tensor - again).abs().max()) < 0.05


def test_tiles_that_save_memory_leave_no_seam_either(context: Context) -> None:
    model, _, vae = LoadModel(context, "emoji")
    tileable = Tileable(model, vae, "both").vae
    latent = Latent(noise(1, 12, 32, 32))
    whole, parts = VAEDecode(context, tileable, latent), VAEDecode(context, tileable, latent, tile=64)
    assert parts.tensor.shape == whole.tensor.shape == (1, 3, 128, 128)
    edge = (whole.tensor - parts.tensor)[..., [0, -1]].abs().mean()
    assert float(edge) < 1.5 * float((whole.tensor - parts.tensor).abs().mean()) + 1e-4


@diffusers
@pytest.mark.parametrize("wrap", ["both", "horizontal"])
def test_a_unet_that_wraps_knows_no_edge(tmp_path: Path, wrap: Wrap) -> None:
    """Its estimate of a latent moved around the edges is its estimate, moved: along the wrapped sides, exactly."""
    folder = tiny.save_folder(tiny.make("sd1"), tmp_path / "sd1")
    handles = describe("sd1", folder, "digest")
    live = load(handles.model.checkpoint, folder, "cpu")
    words = live.text_encoder.encode("a cat", {}).conditions
    x = noise(1, 4, 16, 24)

    def off(denoiser: object, by: tuple[int, int]) -> float:
        with torch.inference_mode():
            there = denoiser.predict(x.roll(by, (2, 3)), 2.0, words)[0]  # type: ignore[attr-defined]
            here = denoiser.predict(x, 2.0, words)[0]  # type: ignore[attr-defined]
        return float((there - here.roll(by, (2, 3))).abs().max())

    around = live.denoiser.wrapping(wrap)  # type: ignore[attr-defined]
    assert off(live.denoiser, (0, 8)) > 1e-2
    assert off(around, (0, 8)) < 1e-4
    assert (off(around, (8, 0)) < 1e-4) == (wrap == "both")
    assert off(live.denoiser, (0, 8)) > 1e-2  # the networks, which others share, are as they were


def test_convolutions_are_themselves_again_after_an_error() -> None:
    layer = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
    x = noise(1, 1, 6, 6)
    before = layer(x)
    with circular([layer], "both"):
        moved = layer(x.roll(2, 3))
        assert torch.allclose(moved, layer(x).roll(2, 3), atol=1e-6)
        assert not torch.allclose(moved, before.roll(2, 3), atol=1e-3)
    with pytest.raises(RuntimeError, match="channels"), circular([layer], "both"):
        layer(noise(1, 3, 6, 6))
    assert torch.equal(layer(x), before)


def test_every_place_becomes_a_seam_equally_often() -> None:
    x = torch.zeros(1, 1, 8, 12)
    drawn = [offset(sigma, x, "both") for sigma in torch.logspace(-2, 2, 2000).tolist()]
    for counts, size in ((torch.tensor([a for a, _ in drawn]), 8), (torch.tensor([b for _, b in drawn]), 12)):
        share = counts.bincount(minlength=size) / len(drawn)
        assert float((share - 1 / size).abs().max()) < 0.03
    assert offset(1.5, x, "both") == offset(1.5, x, "both")
    assert {offset(sigma, x, "horizontal")[0] for sigma in (0.1, 1.0, 7.0)} == {0}
    assert {offset(sigma, x, None) for sigma in (0.1, 1.0, 7.0)} == {(0, 0)}
    y = noise(1, 2, 8, 12)
    assert torch.equal(back([rolled(y, (3, 5))], (3, 5))[0], y)


def test_a_transformers_estimate_lies_where_its_latent_does(context: Context) -> None:
    """At a small sigma the estimate is nearly the latent; a roll that is not taken back would tear them apart."""
    model, encoder, _ = LoadModel(context, "emoji")
    live = context.open(model.checkpoint).denoiser
    x = noise(2, 12, 16, 16)
    conditions = Encode(context, encoder, "a cat").conditions
    with torch.inference_mode():
        (found,) = live.wrapping("both").predict(x, 0.02, conditions)  # type: ignore[attr-defined]
    assert offset(0.02, x, "both") != (0, 0)
    assert float((found - x).abs().mean()) < 0.1


def test_a_formula_has_edges(context: Context) -> None:
    model, encoder, vae = LoadModel(context, "analytic://gmm?size=8")
    parts = Tileable(model, vae)
    words = Encode(context, encoder)
    with pytest.raises(ValueError, match="take Tileable out"):
        Sampler(context, parts.model, words, EmptyLatent(vae), Schedule(model), guidance_scale=1)


@pytest.mark.parametrize(
    ("aspect", "sides"),
    [("1:1 square", (1024, 1024)), ("16:9 screen", (1344, 768)), ("9:16 story", (768, 1344))],
)
def test_presets_keep_the_area(context: Context, aspect: str, sides: tuple[int, int]) -> None:
    vae = replace(LoadModel(context, "emoji").vae, size=1024, downscale=8)
    found = AspectPreset(vae, aspect)  # type: ignore[arg-type]
    assert tuple(found) == sides
    larger = AspectPreset(vae, aspect, scale=4)  # type: ignore[arg-type]
    assert larger.width * larger.height == pytest.approx(4 * 1024**2, rel=0.06)
    assert larger.width % 64 == larger.height % 64 == 0


def test_the_shipped_sticker_is_transparent_around_and_white_inside(engine: Engine) -> None:
    result = engine.run(Workflow.load(ROOT / "workflows" / "art" / "sticker.json"))
    picture = decode(result.files[0].read_bytes())
    assert picture.shape == (4, 256, 256)
    opacity = picture[3]
    assert opacity[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
    assert opacity[96:160, 96:160].min() == 1
    assert 0.2 < opacity.mean() < 0.9
