"""What goes from a full cache: the fewest seconds saved a byte, counted less the longer nobody asked."""

from __future__ import annotations

import pytest

from nodegraph.cache.eviction import DAY, Stored, going

NOW = 1_000_000_000.0
DEAR = Stored("dear", 100, 50.0, NOW)
CHEAP = Stored("cheap", 100, 5.0, NOW)
LARGE = Stored("large", 10_000, 60.0, NOW)
OLD = Stored("old", 100, 40.0, NOW - 10 * DAY)
ALL = [DEAR, CHEAP, LARGE, OLD]


@pytest.mark.parametrize(
    ("bytes", "names"),
    [
        (0, []),
        (1, ["old"]),
        (100, ["old"]),
        (101, ["old", "large"]),
        (10_101, ["old", "large", "cheap"]),
        (10**9, ["old", "large", "cheap", "dear"]),
    ],
)
def test_what_is_worth_least_goes_first_and_no_more_than_is_asked_for(bytes: int, names: list[str]) -> None:
    assert going(ALL, bytes, NOW) == names


def test_a_clock_that_was_set_back_makes_nothing_precious() -> None:
    ahead = Stored("ahead", 100, 4.0, NOW + 1000 * DAY)
    assert going([DEAR, CHEAP, ahead], 1, NOW) == ["ahead"]
    assert going([Stored("empty", 0, 1.0, NOW), CHEAP], 1, NOW) == ["cheap"]
