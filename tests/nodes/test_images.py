"""Picture nodes, each against what it must do to pixels."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from nodegraph.nodes import images as nodes
from torch import Tensor

from nodegraph import Context, events
from nodegraph.diffusion.values import Image, Mask
from nodegraph.errors import FileRefused
from nodegraph.files import Files
from nodegraph.pictures import decode, encode_png


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


RAMP = Image(torch.linspace(0, 1, 16).expand(1, 3, 8, 16).contiguous())
NOISY = Image(random(2, 3, 8, 16))


@pytest.fixture
def context(tmp_path: Path) -> Context:
    files = Files({"images": [tmp_path]}, output=tmp_path / "out")
    return Context("node", files=files, metadata={"nodegraph": "the workflow"})


def test_load_and_save_are_inverse(context: Context, tmp_path: Path) -> None:
    exact = (random(2, 4, 5, 6) * 255).round() / 255
    nodes.SaveImage(context, Image(exact), name="cat")
    assert [path.name for path in context.written] == ["cat-0001.png", "cat-0002.png"]
    (tmp_path / "cat.png").write_bytes(context.written[1].read_bytes())
    loaded = nodes.LoadImage(context, "cat.png")
    assert torch.equal(loaded.image.tensor, exact[1:])
    assert torch.allclose(loaded.mask.tensor, 1 - exact[1:, 3:])
    assert b"the workflow" in context.written[0].read_bytes()


def test_an_opaque_picture_has_an_empty_mask(context: Context, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(random(3, 4, 4)))
    assert float(nodes.LoadImage(context, "a.png").mask.tensor.sum()) == 0


def test_a_file_that_is_no_picture_is_refused(context: Context, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"<svg/>")
    with pytest.raises(FileRefused, match="not a readable"):
        nodes.LoadImage(context, "a.png")


def test_a_picture_without_numbers_is_refused_and_not_saved_as_black(context: Context) -> None:
    picture = random(2, 3, 8, 8)
    picture[1, 0, :2] = float("nan")
    for format in ("PNG", "JPEG", "WEBP"):
        with pytest.raises(
            ValueError, match=r"16 of the 384 values of the picture are no numbers \(NaN\).*plugin"
        ):
            nodes.SaveImage(context, Image(picture), format=format)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no numbers"):
        nodes.CompareImages(Image(picture), Image(random(2, 3, 8, 8)))
    assert context.written == []
    nodes.SaveImage(context, Image(torch.full((1, 3, 4, 4), torch.inf)))  # as white as can be
    assert decode(context.written[0].read_bytes()).min() == 1


@pytest.mark.parametrize(("format", "magic"), [("JPEG", b"\xff\xd8"), ("WEBP", b"RIFF")])
def test_other_formats(context: Context, format: str, magic: bytes) -> None:
    nodes.SaveImage(context, RAMP, format=format)  # type: ignore[arg-type]
    content = context.written[0].read_bytes()
    assert content.startswith(magic)
    assert decode(content).shape == (3, 8, 16)


def test_preview_shows_and_writes_nothing(tmp_path: Path) -> None:
    seen: list[events.Event] = []
    nodes.PreviewImage(Context("p", listen=seen.append, previews=True), NOISY)
    assert isinstance(seen[0], events.Preview)
    assert seen[0].image.startswith(b"\xff\xd8")
    assert not list(tmp_path.iterdir())
    broken = Image(torch.full((1, 3, 8, 8), torch.nan))
    with pytest.raises(ValueError, match="no numbers"):
        nodes.PreviewImage(Context("p", files=Files(previews=tmp_path / "previews")), broken)


def test_resize_and_scale() -> None:
    assert nodes.ResizeImage(RAMP, 32, 24).tensor.shape == (1, 3, 24, 32)
    doubled = nodes.ScaleImage(NOISY, 2, "nearest").tensor
    assert torch.equal(doubled[..., ::2, ::2], NOISY.tensor)
    assert torch.equal(doubled[..., 1::2, 1::2], NOISY.tensor)
    flat = Image(torch.full((1, 3, 9, 9), 0.25))
    for kind in ("nearest", "area", "bilinear", "bicubic"):
        assert torch.allclose(nodes.ResizeImage(flat, 5, 4, kind).tensor, torch.tensor(0.25))  # type: ignore[arg-type]
    average = nodes.ResizeImage(NOISY, 8, 4, "area").tensor
    assert torch.allclose(average[0, 0, 0, 0], NOISY.tensor[0, 0, :2, :2].mean())


def test_crop_and_pad_are_inverse() -> None:
    padded = nodes.PadImage(NOISY, 1, 2, 3, 4, color="#ff0080")
    assert padded.tensor.shape == (2, 3, 14, 20)
    assert padded.tensor[0, :, 0, 0].tolist() == pytest.approx([1, 0, 128 / 255])
    assert torch.equal(nodes.CropImage(padded, 1, 2, 16, 8).tensor, NOISY.tensor)
    with pytest.raises(ValueError, match="the rectangle ends at 21 x 8"):
        nodes.CropImage(NOISY, 5, 0, 16, 8)


def test_flip_and_rotate() -> None:
    assert torch.equal(nodes.FlipImage(RAMP).tensor[0, 0, 0], RAMP.tensor[0, 0, 0].flip(0))
    assert torch.equal(nodes.FlipImage(NOISY, "vertical").tensor[..., 0, :], NOISY.tensor[..., -1, :])
    once = nodes.RotateImage(NOISY, 1)
    assert once.tensor.shape == (2, 3, 16, 8)
    assert torch.equal(once.tensor[..., 0, 0], NOISY.tensor[..., 0, -1])  # against the clock
    assert torch.equal(nodes.RotateImage(once, 3).tensor, NOISY.tensor)


def test_colours() -> None:
    opaque = Image(torch.cat([NOISY.tensor, torch.full((2, 1, 8, 16), 0.5)], 1))
    inverted = nodes.InvertImage(opaque).tensor
    assert torch.allclose(inverted[:, :3], 1 - NOISY.tensor)
    assert float(inverted[:, 3].mean()) == 0.5
    assert torch.allclose(nodes.AdjustImage(NOISY).tensor, NOISY.tensor, atol=1e-6)
    assert torch.allclose(nodes.AdjustImage(RAMP, brightness=0.5).tensor, RAMP.tensor / 2)
    assert torch.allclose(nodes.AdjustImage(RAMP, contrast=0.0).tensor, torch.tensor(0.5))
    grey = nodes.AdjustImage(NOISY, saturation=0).tensor
    assert torch.allclose(grey[:, 0], grey[:, 2])
    pure = Image(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 4, 4).contiguous())
    assert float(nodes.AdjustImage(pure, saturation=0).tensor[0, 0, 0, 0]) == pytest.approx(0.2126)


def test_blur_keeps_the_mean_and_spreads_a_point() -> None:
    point = torch.zeros(1, 3, 31, 31)
    point[..., 15, 15] = 1
    blurred = nodes.BlurImage(Image(point), 2.0).tensor[0, 0]
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-4)
    offsets = torch.arange(31) - 15.0
    assert float((blurred.sum(0) * offsets**2).sum()) == pytest.approx(4.0, rel=0.02)  # variance = radius squared
    assert torch.equal(nodes.BlurImage(NOISY, 0).tensor, NOISY.tensor)


@pytest.mark.parametrize("radius", [0.1, 0.7, 3.0, 20.0, 200.0])
def test_blur_is_the_sum_over_every_pixel_with_the_edges_repeated(radius: float) -> None:
    """Against the definition, in float64: a matrix over the rows and one over the columns."""
    picture = torch.rand(2, 3, 24, 37, generator=torch.Generator().manual_seed(1))
    reach = max(1, int(3 * radius + 0.5))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-(offsets**2) / (2 * radius**2))

    def along(side: int) -> torch.Tensor:
        """(side, side): how much of each pixel is in each."""
        seen = (torch.arange(side)[:, None] + offsets.long()).clamp(0, side - 1)
        return torch.zeros(side, side, dtype=torch.float64).scatter_add_(
            1, seen, (weights / weights.sum()).expand(side, -1)
        )

    expected = along(24) @ picture.double() @ along(37).T
    blurred = nodes.BlurImage(Image(picture), radius).tensor
    assert torch.allclose(blurred.double(), expected, atol=2e-6, rtol=0)


def test_blur_leaves_a_flat_picture_alone_and_takes_no_longer_for_a_large_radius() -> None:
    flat = Image(torch.full((1, 3, 16, 16), 0.3))
    assert torch.equal(nodes.BlurImage(flat, 50.0).tensor, flat.tensor)
    picture = Image(torch.rand(1, 3, 512, 512))
    took = []
    for radius in (20.0, 200.0):  # a convolution takes some 20 times as long for the second
        began = time.process_time()
        nodes.BlurImage(picture, radius)
        took.append(time.process_time() - began)
    assert took[1] < 12 * max(took[0], 0.05)


def test_sharpening_raises_an_edge() -> None:
    edge = Image((RAMP.tensor > 0.5).float() * 0.5 + 0.25)
    sharp = nodes.SharpenImage(edge, 1.0, 1.0).tensor
    assert float(sharp.max()) > 0.8
    assert float(sharp.min()) < 0.2
    assert torch.allclose(nodes.SharpenImage(edge, 0.0).tensor, edge.tensor)


def test_blend_modes() -> None:
    a, b = Image(torch.full((1, 3, 2, 2), 0.8)), Image(torch.full((1, 3, 2, 2), 0.5))
    expected = {"normal": 0.5, "multiply": 0.4, "screen": 0.9, "add": 1.0, "difference": 0.3}
    for mode, value in expected.items():
        assert float(nodes.BlendImages(a, b, mode, 1.0).tensor[0, 0, 0, 0]) == pytest.approx(value)  # type: ignore[arg-type]
        assert torch.equal(nodes.BlendImages(a, b, mode, 0.0).tensor, a.tensor)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="differ in size"):
        nodes.BlendImages(a, NOISY)


def test_composite_leaves_what_is_not_masked_untouched() -> None:
    mask = torch.zeros(1, 1, 8, 16)
    mask[..., :5] = 1
    result = nodes.CompositeImage(NOISY, RAMP, Mask(mask)).tensor
    assert torch.equal(result[..., 5:], NOISY.tensor[..., 5:])
    assert torch.equal(result[..., :5], RAMP.tensor[..., :5].expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="differ in size"):
        nodes.CompositeImage(NOISY, RAMP, Mask(torch.zeros(1, 1, 4, 4)))


def test_batches() -> None:
    batch = nodes.BatchImages([NOISY, RAMP])
    assert batch.tensor.shape == (3, 3, 8, 16)
    assert torch.equal(nodes.PickImage(batch, 2).tensor, RAMP.tensor)
    with pytest.raises(ValueError, match="no picture 3 in a batch of 3"):
        nodes.PickImage(batch, 3)
    with pytest.raises(ValueError, match="differ in size"):
        nodes.BatchImages([NOISY, Image(torch.zeros(1, 3, 4, 4))])


def test_a_grid_shows_every_picture_and_its_label() -> None:
    plain = nodes.GridImage([NOISY, RAMP], columns=2, scale=2).tensor
    assert plain.shape == (1, 3, 2 * (16 + 8) + 8, 2 * (32 + 8) + 8)
    shown = plain[0, :, 8:24:2, 8:40:2]
    assert torch.allclose(shown, NOISY.tensor[0], atol=0.003)
    labelled = nodes.GridImage([NOISY, RAMP], columns=2, labels="one\ntwo", scale=2).tensor
    under = labelled[0, :, 25 : 25 + 19, 8:40]
    assert labelled.shape[2] > plain.shape[2]
    assert float(under.min()) < 0.2  # there is ink


def test_comparison() -> None:
    same = nodes.CompareImages(NOISY, NOISY)
    assert (same.psnr, same.ssim) == (100.0, pytest.approx(1.0))
    shifted = nodes.CompareImages(RAMP, Image(RAMP.tensor * 0.9))
    assert shifted.psnr == pytest.approx(float(-10 * torch.log10((RAMP.tensor * 0.1).square().mean())), abs=1e-3)
    assert 0.5 < shifted.ssim < 1
    assert torch.allclose(shifted.difference.tensor, RAMP.tensor * 0.1, atol=1e-6)
    with pytest.raises(ValueError, match="differ"):
        nodes.CompareImages(NOISY, RAMP)


def test_a_picture_that_covers_keeps_its_proportions_and_at_its_own_size_every_bit() -> None:
    wide = Image(torch.cat([torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 16), torch.zeros(1, 3, 8, 8)], 3))
    assert nodes.ResizeImage(wide, 8, 8, fit="cover").tensor.eq(1).all()
    assert not nodes.ResizeImage(wide, 8, 8).tensor.eq(1).all()
    same = nodes.ResizeImage(RAMP, RAMP.tensor.shape[3], RAMP.tensor.shape[2], fit="cover")
    assert torch.equal(same.tensor, RAMP.tensor)
