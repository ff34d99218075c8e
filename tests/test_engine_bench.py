"""The budgets of the engine, with room for a busy machine."""

from __future__ import annotations

import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))

from engine import BUDGET_CACHED, BUDGET_COLD, BUDGET_GROWTH, measure, table  # type: ignore[import-not-found]


def test_the_budgets_hold_and_cost_is_linear() -> None:
    rows = [measure(1_000, repeats=3), measure(10_000, repeats=3)]
    print(table(rows))
    slack = 4  # shared cores; `make bench` prints the figures of a quiet machine
    for row in rows:
        assert row.cold < slack * BUDGET_COLD
        assert row.cached < slack * BUDGET_CACHED
    assert rows[1].cold < BUDGET_GROWTH * rows[0].cold
