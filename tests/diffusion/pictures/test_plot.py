"""Plots: points land where their numbers say, ticks are round, nothing to draw is refused."""

from __future__ import annotations

import pytest
import torch

from nodegraph.diffusion.pictures.plot import BOTTOM, LEFT, RIGHT, TOP, Curve, _ticks, line_plot


def ink(sheet: torch.Tensor, colour: tuple[int, int, int]) -> torch.Tensor:
    """Rows and columns of the pixels of one colour."""
    wanted = torch.tensor(colour).view(3, 1, 1) / 255
    return ((sheet[0] - wanted).abs().amax(0) < 0.02).nonzero()


BLUE = (0x33, 0x66, 0xCC)


def test_a_line_goes_from_corner_to_corner() -> None:
    found = ink(line_plot([Curve("", [0, 1], [0, 1])], size=(300, 200)), BLUE)
    left, right = found[found[:, 1].argmin()], found[found[:, 1].argmax()]
    assert left.tolist() == pytest.approx([200 - BOTTOM, LEFT], abs=2)
    assert right.tolist() == pytest.approx([TOP, 300 - RIGHT], abs=2)


def test_a_logarithmic_axis_makes_a_geometric_curve_straight() -> None:
    sheet = line_plot([Curve("", [0, 1, 2], [1, 10, 100])], log_y=True, size=(300, 200))
    found = ink(sheet, BLUE)
    middle = found[found[:, 1] == (LEFT + 300 - RIGHT) // 2][:, 0].float().mean()
    assert float(middle) == pytest.approx((TOP + 200 - BOTTOM) / 2, abs=2)


def test_ticks_are_round_numbers_inside_the_range() -> None:
    assert _ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert _ticks(-1.3, 2.2) == [-1, 0, 1, 2]
    assert _ticks(0, 270) == [0, 50, 100, 150, 200, 250]


def test_flat_curves_and_zeros() -> None:
    assert line_plot([Curve("flat", [1, 1], [2, 2])]).shape == (1, 3, 420, 800)
    with pytest.raises(ValueError, match="no point"):
        line_plot([Curve("", [1], [0])], log_y=True)
