"""The stream: every event once and in order, whoever reads how slowly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from nodegraph.serve.events import BLOCK, PREVIEWS, Batch, Events, Subscription, preview_frame


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def events(budget: int = 2**20, number: int = 0) -> Events:
    return Events(number, lambda _: None, budget)


async def drain(subscription: Subscription, upto: int) -> list[Batch]:
    batches = []
    while not batches or batches[-1].number < upto:
        batches.append(await asyncio.wait_for(anext(subscription), 5))
    return batches


def test_everybody_gets_every_event_once_and_in_order() -> None:
    async def scenario() -> None:
        stream = events()
        early = stream.subscribe()
        for n in range(3000):
            assert stream.publish({"event": "queued", "n": n}) == n + 1
        late = stream.subscribe(after=1500)
        whole = [json.loads(batch.text) for batch in await drain(early, 3000)]
        assert [event["n"] for batch in whole for event in batch] == list(range(3000))
        rest = [json.loads(batch.text) for batch in await drain(late, 3000)]
        assert [event["number"] for batch in rest for event in batch] == list(range(1501, 3001))

    run(scenario())


def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice() -> None:
    async def scenario() -> None:
        stream = events()
        seen: list[int] = []
        for n in range(200):
            stream.publish({"event": "progress", "n": n})
            if n % 7 == 0:  # it was away; now it reads a little and goes again
                client = stream.subscribe(after=seen[-1] if seen else 0)
                batch = await anext(client)
                seen += [event["number"] for event in json.loads(batch.text)]
                client.close()
        assert seen == list(range(1, len(seen) + 1))
        assert await stream.since(seen[-1], 1000) == [
            event for event in await stream.since(0, 1000) or [] if event["number"] > seen[-1]
        ]

    run(scenario())


def test_what_is_kept_is_bounded_and_who_missed_something_is_told() -> None:
    async def scenario() -> None:
        stream = events(budget=20_000)
        sleeper = stream.subscribe(previews=True)
        for n in range(5000):
            stream.publish({"event": "progress", "n": n})
            stream.preview("r" * 20, "node", bytes(1000))
        assert len(stream._texts) < 1000
        assert sum(map(len, stream._texts)) < 20_000
        assert len(sleeper.previews) == PREVIEWS
        batch = await anext(sleeper)
        assert (batch.reset, batch.size, batch.number) == (True, 0, 5000)
        assert len(batch.previews) == PREVIEWS
        stream.publish({"event": "queued"})
        batch = await asyncio.wait_for(anext(sleeper), 5)
        assert (batch.reset, json.loads(batch.text)[0]["number"]) == (False, 5001)
        assert await stream.since(3, 10) is None
        assert await stream.since(99_999, 10) is None  # another server's number

    run(scenario())


def test_a_text_is_joined_once_for_all_who_stand_at_the_same_place() -> None:
    async def scenario() -> None:
        stream = events()
        clients = [stream.subscribe() for _ in range(50)]
        for n in range(20):
            stream.publish({"event": "queued", "n": n})
        texts = [(await anext(client)).text for client in clients]
        assert all(text is texts[0] for text in texts)

    run(scenario())


def test_numbers_are_reserved_long_before_they_are_used() -> None:
    reserved: list[int] = []
    stream = Events(BLOCK, reserved.append, budget=1000)
    for _ in range(BLOCK // 2):
        stream._number += 1
    stream.publish({"event": "queued"})
    assert stream.number == BLOCK + BLOCK // 2 + 1
    assert reserved == [3 * BLOCK]


def test_only_who_asked_gets_previews_and_the_oldest_go_first() -> None:
    async def scenario() -> None:
        stream = events()
        assert not stream.watched
        blind, seeing = stream.subscribe(), stream.subscribe(previews=True)
        assert stream.watched
        for n in range(PREVIEWS + 3):
            stream.preview("run", "Knoten ü", bytes([n]))
        batch = await anext(seeing)
        assert batch.previews == [preview_frame("run", "Knoten ü", bytes([n + 3])) for n in range(PREVIEWS)]
        assert not blind.previews
        seeing.close()
        assert not stream.watched
        assert [batch async for batch in seeing] == []

    run(scenario())


def test_the_frame_is_laid_out_as_the_contract_says() -> None:
    frame = preview_frame("abc", "ü", b"jpeg")
    assert frame == b"\x01\x03\x00\x02abc\xc3\xbcjpeg"
