"""The event stream: numbered, resumable, bounded.

Every event is serialised once and kept, up to a budget of bytes, in one place that all subscribers read from at
their own pace. A subscriber is a position in the stream: one that never reads costs nothing, and is told to
begin anew once what it has not read is no longer kept.

Numbers never go back, not even after a crash: blocks of them are reserved on disk long before they are used.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

DEFAULT_BYTES = 32 * 2**20
TOGETHER_SECONDS = 0.03  # events within this time of each other wake subscribers once
MAX_BATCH = 2000
PREVIEWS = 4  # pictures that wait for one subscriber
BLOCK = 1_000_000
OVERHEAD = 60  # bytes that a short text costs beside its characters


class Batch(NamedTuple):
    """What a subscriber gets at once.

    `text` is the JSON array of `size` events, ready to be sent, up to the one of `number`. `reset` says that
    events before `number` are no longer kept and were missed. `previews` are binary frames.
    """

    text: str
    size: int
    number: int
    reset: bool
    previews: list[bytes]


class Events:
    """The stream of one server. For its event loop alone.

    Args:
        number: the number that earlier servers may have used up to; this one may use BLOCK more.
        reserve: called with a higher number up to which it wants to go on, half a block ahead.
        budget: bytes of events that are kept.
    """

    def __init__(self, number: int, reserve: Callable[[int], None], budget: int = DEFAULT_BYTES) -> None:
        self._budget = budget
        self._reserve = reserve
        self._reserved = number + BLOCK
        self._number = number
        self._texts: list[str] = []
        self._base = number + 1  # the number of _texts[0]
        self._gone = 0  # texts at the front that were let go
        self._bytes = 0
        self._subscriptions: set[Subscription] = set()
        self.watched_changed: Callable[[bool], None] = lambda _: None
        self._waking: asyncio.TimerHandle | None = None
        self._joined: tuple[int, int, str] = (0, 0, "[]")

    @property
    def number(self) -> int:
        """The number of the newest event."""
        return self._number

    @property
    def watched(self) -> bool:
        """Whether anybody wants previews."""
        return any(subscription.wants_previews for subscription in self._subscriptions)

    def publish(self, event: dict[str, Any]) -> int:
        """Number an event and tell everybody; returns its number."""
        self._number += 1
        if self._number + BLOCK // 2 > self._reserved:
            self._reserved += BLOCK
            self._reserve(self._reserved)
        text = json.dumps({**event, "number": self._number, "time": round(time.time(), 3)}, ensure_ascii=False)
        self._texts.append(text)
        self._bytes += len(text) + OVERHEAD
        while self._bytes > self._budget:
            self._bytes -= len(self._texts[self._gone]) + OVERHEAD
            self._texts[self._gone] = ""
            self._gone += 1
        if self._gone > len(self._texts) // 2:
            del self._texts[: self._gone]
            self._base += self._gone
            self._gone = 0
        self._wake_soon()
        return self._number

    def preview(self, run: str, node: str, jpeg: bytes) -> None:
        """Show a picture to those who want pictures."""
        watching = [subscription for subscription in self._subscriptions if subscription.wants_previews]
        if watching:
            frame = preview_frame(run, node, jpeg)
            for subscription in watching:
                subscription.previews.append(frame)
            self._wake_soon()

    async def since(self, after: int, limit: int = MAX_BATCH) -> list[dict[str, Any]] | None:
        """Up to `limit` events that follow number `after`; None where they are no longer kept."""
        found = self._between(after, limit)
        return None if found is None else [json.loads(text) for text in found]

    def subscribe(self, after: int | None = None, *, previews: bool = False) -> Subscription:
        """Everything that follows number `after`, else everything from now on; leave it with `close`."""
        subscription = Subscription(self, self._number if after is None else after, previews)
        self._subscriptions.add(subscription)
        if previews:
            self.watched_changed(True)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """What `close` of a subscription does here."""
        self._subscriptions.discard(subscription)
        if subscription.wants_previews:
            self.watched_changed(self.watched)

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def _between(self, after: int, limit: int) -> list[str] | None:
        first = after + 1 - self._base
        if first < self._gone or after > self._number:
            # A number from the future belongs to another server's stream.
            return None
        return self._texts[first : first + limit]

    def _joined_since(self, after: int) -> tuple[int, int, str] | None:
        """(first number, how many, their JSON array): joined once for all who stand at the same place."""
        if self._joined[:2] != (after + 1, min(self._number - after, MAX_BATCH)):
            found = self._between(after, MAX_BATCH)
            if found is None:
                return None
            self._joined = (after + 1, len(found), f"[{','.join(found)}]")
        return self._joined

    def _wake_soon(self) -> None:
        if self._waking is None and self._subscriptions:
            self._waking = asyncio.get_running_loop().call_later(TOGETHER_SECONDS, self._wake)

    def _wake(self) -> None:
        self._waking = None
        for subscription in self._subscriptions:
            subscription.news.set()


class Subscription:
    """A place in the stream. `async for batch in subscription` gives batches until it is closed.

    Nothing is queued for it but a few previews, of which the oldest go first.
    """

    def __init__(self, events: Events, position: int, previews: bool) -> None:
        self._events = events
        self.position = position
        self.wants_previews = previews
        self.previews: deque[bytes] = deque(maxlen=PREVIEWS)
        self.news = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """Leave the stream."""
        self._closed = True
        self._events.leave(self)
        self.news.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Batch:
        while not self._closed:
            self.news.clear()
            batch = self._take()
            if batch is not None:
                return batch
            await self.news.wait()
        raise StopAsyncIteration

    def _take(self) -> Batch | None:
        newest = self._events.number
        joined = self._events._joined_since(self.position) if self.position != newest else (0, 0, "[]")
        if joined is None:
            self.position = newest
            return Batch("[]", 0, newest, True, self._previews())
        self.position += joined[1]
        if not joined[1] and not self.previews:
            return None
        return Batch(joined[2], joined[1], self.position, False, self._previews())

    def _previews(self) -> list[bytes]:
        frames = list(self.previews)
        self.previews.clear()
        return frames


def preview_frame(run: str, node: str, jpeg: bytes) -> bytes:
    """The binary frame of a preview, as `models` describes it."""
    run_id, node_id = run.encode("ascii"), node.encode()
    return struct.pack(">BBH", 1, len(run_id), len(node_id)) + run_id + node_id + jpeg
