"""Mask nodes: 1 is repainted, 0 is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nodegraph.nodes import masks as nodes

from nodegraph.diffusion.pictures import images
from nodegraph.diffusion.values import Image, Mask


def square(low: int, high: int, size: int = 12) -> Mask:
    mask = torch.zeros(1, 1, size, size)
    mask[..., low:high, low:high] = 1
    return Mask(mask)


def area(mask: Mask) -> float:
    return float(mask.tensor.sum())


def test_colour() -> None:
    picture = torch.ones(1, 3, 4, 4)
    picture[:, 1:, 0, 0] = 0
    picture[:, 1:, 1, 1] = 0.05
    assert nodes.MaskFromColor(Image(picture), "#ff0000", 0.0).tensor[0, 0].nonzero().tolist() == [[0, 0]]
    assert area(nodes.MaskFromColor(Image(picture), "#ff0000", 0.1)) == 2
    assert area(nodes.MaskFromColor(Image(picture), "#ff0000", 1.0)) == 16


def test_alpha() -> None:
    clear = torch.ones(1, 4, 2, 2)
    clear[:, 3, 0, 0] = 0.25
    assert nodes.MaskFromAlpha(Image(clear)).tensor.flatten().tolist() == [0.75, 0, 0, 0]
    assert area(nodes.MaskFromAlpha(Image(clear[:, :3]))) == 0


def test_channels_and_back() -> None:
    picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(nodes.MaskFromImage(Image(picture), "green").tensor, picture[:, 1:2])
    mask = square(2, 5)
    assert torch.allclose(nodes.MaskFromImage(nodes.MaskToImage(mask)).tensor, mask.tensor)


def test_shapes() -> None:
    rectangle = nodes.MaskFromShape(100, 50, "rectangle", size_x=0.4, size_y=0.6)
    assert rectangle.tensor.shape == (1, 1, 50, 100)
    assert area(rectangle) == 40 * 30
    ellipse = nodes.MaskFromShape(200, 100, "ellipse", center_x=0.25)
    assert area(ellipse) == pytest.approx(torch.pi * 50 * 25, rel=0.01)
    columns = ellipse.tensor[0, 0].any(0).nonzero().flatten()
    assert (int(columns.min()), int(columns.max())) == (0, 99)


def test_invert_grow_shrink() -> None:
    assert area(nodes.InvertMask(square(4, 8))) == 144 - 16
    assert torch.equal(nodes.GrowMask(square(4, 8), 2).tensor, square(2, 10).tensor)
    assert torch.equal(nodes.GrowMask(square(2, 10), -2).tensor, square(4, 8).tensor)
    assert torch.equal(nodes.GrowMask(square(2, 5), 0).tensor, square(2, 5).tensor)


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (40, 33)])
def test_growing_is_the_maximum_of_a_square_around_each_pixel(size: tuple[int, int]) -> None:
    mask = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0))
    for pixels in (1, 2, 3, 4, 5, 13, 14, 40, 100):
        padded = torch.nn.functional.pad(mask, (pixels,) * 4, value=-torch.inf)
        expected = torch.nn.functional.max_pool2d(padded, 2 * pixels + 1, stride=1)
        assert torch.equal(nodes.GrowMask(Mask(mask), pixels).tensor, expected)
        assert torch.equal(nodes.GrowMask(Mask(-mask), -pixels).tensor, -expected)


def test_growing_far_takes_few_looks_at_each_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    real = images.functional.max_pool2d

    def counted(input: torch.Tensor, kernel: tuple[int, int], **more: Any) -> torch.Tensor:
        nonlocal looks
        looks += kernel[0] * kernel[1]
        return real(input, kernel, **more)

    monkeypatch.setattr(images.functional, "max_pool2d", counted)
    assert area(nodes.GrowMask(square(4, 5, 64), 512)) == 64 * 64
    assert looks <= 50  # and not 1025 x 1025


def test_feather_is_soft_and_threshold_hard() -> None:
    soft = nodes.FeatherMask(square(4, 8), 1.5)
    assert 0 < float(soft.tensor[0, 0, 3, 6]) < float(soft.tensor[0, 0, 6, 6]) < 1
    assert set(nodes.ThresholdMask(soft, 0.4).tensor.unique().tolist()) == {0.0, 1.0}
    assert area(nodes.ThresholdMask(Mask(torch.full((1, 1, 2, 2), 0.5)), 0.5)) == 0


@pytest.mark.parametrize(
    ("operation", "expected"), [("union", 16 + 16 - 4), ("intersection", 4), ("difference", 12)]
)
def test_combinations(operation: str, expected: int) -> None:
    assert area(nodes.CombineMasks(square(2, 6), square(4, 8), operation)) == expected  # type: ignore[arg-type]


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ"):
        nodes.CombineMasks(square(1, 2), square(1, 2, size=5))


def test_only_what_reaches_the_edge() -> None:
    picture = torch.zeros(2, 3, 9, 9)
    picture[0, :, :, 0] = 1  # the left edge, and a corridor that turns
    picture[0, :, 4, :6] = 1
    picture[0, :, 4:7, 5] = 1
    picture[0, :, 1, 4] = 1  # an island
    picture[1, :, 3:6, 3:6] = 1  # an island of another picture
    mask = nodes.MaskFromColor(Image(picture), "#ffffff", 0.1, outside=True).tensor
    expected = picture[:, :1].clone()
    expected[0, 0, 1, 4] = 0
    expected[1] = 0
    assert torch.equal(mask, expected)


def test_cutting_out_adds_to_the_transparency_that_is_there() -> None:
    picture = torch.full((2, 4, 12, 12), 0.5)
    picture[:, 3, :, 6:] = 0
    cut = nodes.CutOut(Image(picture), square(0, 3)).tensor
    assert torch.equal(cut[:, :3], picture[:, :3])
    assert float(cut[:, 3, :3, :3].max()) == 0
    assert float(cut[:, 3, :, 6:].max()) == 0
    assert float(cut[:, 3, 3:, :6].min()) == 0.5
    assert nodes.CutOut(Image(picture[:, :3]), square(0, 3)).tensor[0, 3, 5, 5] == 1
    with pytest.raises(ValueError, match="resize one"):
        nodes.CutOut(Image(picture), square(0, 3, 10))
