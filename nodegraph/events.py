"""What the engine tells while it runs: small frozen tuples, to JSON and back.

An event with `node` None speaks of the whole run. Tuples, because an event object is made for every node
of every run and serialised only where somebody listens.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple


class Queued(NamedTuple):
    """The run was accepted and waits for its turn."""

    node: str | None = None


class Started(NamedTuple):
    """A node began to compute, or the run began to execute; `total` counts the run's planned nodes."""

    node: str | None = None
    total: int | None = None


class Cached(NamedTuple):
    """The node's result was there already; neither it nor its ancestors ran."""

    node: str


class Progress(NamedTuple):
    """`step` of `total` steps of a node are done; `total` None where it is not known.

    `note` is what the node wants said beside the bar, such as a loss.
    """

    node: str
    step: int
    total: int | None = None
    note: str = ""


class Preview(NamedTuple):
    """A small picture of what a node is making; `image` is an encoded JPEG."""

    node: str
    image: bytes


class Finished(NamedTuple):
    """A node or the run finished after `seconds`; `files` are what it wrote."""

    node: str | None
    seconds: float
    files: tuple[str, ...] = ()


class Failed(NamedTuple):
    """A node failed, and later the run with it; `message` says what is wrong and what to do.

    `raised` is for the author of the node: the `exception`, the line it is `at`, and the `traceback`.
    """

    node: str | None
    message: str
    input: str | None = None
    raised: dict[str, str] | None = None


class Cancelled(NamedTuple):
    """The run, and the node that was computing, stopped because somebody asked."""

    node: str | None = None


Event = Queued | Started | Cached | Progress | Preview | Finished | Failed | Cancelled
Listener = Callable[[Event], None]

_KINDS: dict[str, type[Event]] = {
    kind.__name__.lower(): kind
    for kind in (Queued, Started, Cached, Progress, Preview, Finished, Failed, Cancelled)
}


def to_json(event: Event) -> dict[str, Any]:
    """The event as JSON data: `event` names its kind, fields that are None are left out."""
    data: dict[str, Any] = {"event": type(event).__name__.lower()}
    for name, value in event._asdict().items():
        if isinstance(value, bytes):
            data[name] = base64.b64encode(value).decode("ascii")
        elif value is not None:
            data[name] = list(value) if isinstance(value, tuple) else value
    return data


def from_json(data: dict[str, Any]) -> Event:
    """The event that `to_json` described. Raises ValueError for an unknown kind or wrong fields."""
    fields = dict(data)
    name = fields.pop("event", None)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"no event is called {name!r}; known are {', '.join(_KINDS)}")
    if kind is Preview:
        fields["image"] = base64.b64decode(fields["image"], validate=True)
    if "files" in fields:
        fields["files"] = tuple(fields["files"])
    if "node" in kind._fields and "node" not in kind._field_defaults:
        fields.setdefault("node", None)
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"not a {name} event: {error}") from None
