"""Events go to JSON and come back."""

from __future__ import annotations

import json

import pytest

from nodegraph import events

ALL = [
    events.Queued(),
    events.Started(None, 3),
    events.Started("a"),
    events.Cached("a"),
    events.Progress("a", 1, None, "loss 0.5"),
    events.Preview("a", b"\xff\xd8\x00"),
    events.Finished("a", 0.25, ("x.png", "y.png")),
    events.Finished(None, 1.5),
    events.Failed("a", "broken", "value"),
    events.Failed(None, "broken"),
    events.Cancelled("a"),
    events.Cancelled(),
]


@pytest.mark.parametrize("event", ALL, ids=repr)
def test_round_trip(event: events.Event) -> None:
    text = json.dumps(events.to_json(event))
    assert events.from_json(json.loads(text)) == event


def test_names_and_absent_nodes() -> None:
    assert events.to_json(events.Finished(None, 1.5)) == {"event": "finished", "seconds": 1.5, "files": []}
    names = {events.to_json(event)["event"] for event in ALL}
    assert names == {"queued", "started", "cached", "progress", "preview", "finished", "failed", "cancelled"}


@pytest.mark.parametrize("data", [{}, {"event": "exploded"}, {"event": 3}, {"event": "cached", "colour": 1}])
def test_nonsense_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="event"):
        events.from_json(data)
