"""The shipped training on digits: its samples are read by a classifier that is independent of it."""

from __future__ import annotations

import sys

import pytest
from conftest import ROOT

from nodegraph.engine import Engine

sys.path.insert(0, str(ROOT / "bench"))

from digits import measure, table  # type: ignore[import-not-found]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_classifier_reads_what_was_asked_for(engine: Engine) -> None:
    found = measure(engine)
    print(table(found))
    assert found.parameters < 450_000
    assert found.reader > 0.95
    assert found.accuracy[1.0] >= 0.90
    assert found.accuracy[2.0] >= 0.95
    assert found.accuracy[4.0] >= 0.95
    # Guidance sharpens: contrast grows with the scale, as theory says.
    assert found.deviation[1.0] < found.deviation[2.0] < found.deviation[4.0]
    assert found.last_loss < 0.6 * found.first_loss


def test_a_few_steps_of_it_learn_and_are_measured(engine: Engine) -> None:
    found = measure(engine, each=2, values={"train.steps": 50, "train.batch_size": 32, "train.average": 0.95})
    assert found.last_loss < 0.75 * found.first_loss
    assert found.reader > 0.95
    assert set(found.accuracy) == {1.0, 2.0, 4.0}
    assert len(table(found).splitlines()) == 8
