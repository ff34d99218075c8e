"""What the queue and the disk refuse, as it is answered over HTTP."""

from __future__ import annotations

import asyncio
import errno
from typing import Annotated, Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from real_server import workflow

from nodegraph.errors import CheckError, DocumentError, FileRefused, Problem
from nodegraph.home import Home
from nodegraph.serve.app import make_app
from nodegraph.serve.refuse import STATUS, of_exception, of_validation
from nodegraph.serve.security import Access
from nodegraph.serve.server import Server
from nodegraph.serve.service import Service


def submit_thrice(home: Home, **options: Any) -> list[tuple[int, Any, str | None]]:
    """Status, answer and Retry-After of three submits to a paused server on a real port."""

    async def scenario() -> list[tuple[int, Any, str | None]]:
        runner = web.AppRunner(make_app(Server(home, Access(), Service(home, device="cpu", **options))))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            found = []
            async with aiohttp.ClientSession() as session:
                async with session.post(f"{url}/api/queue/pause") as paused:
                    assert paused.status == 200
                for _ in range(3):
                    async with session.post(f"{url}/api/runs", json={"workflow": workflow()}) as response:
                        found.append((response.status, await response.json(), response.headers.get("Retry-After")))
            return found
        finally:
            await runner.cleanup()

    return asyncio.run(scenario())


def test_a_full_queue_answers_429_and_when_to_come_back(home: Home) -> None:
    first, second, third = submit_thrice(home, max_queued=2)
    assert (first[0], second[0], third[0]) == (201, 201, 429)
    assert third[1]["code"] == "busy"
    assert int(third[2] or 0) >= 1


def test_a_full_disk_answers_507_and_says_so(home: Home) -> None:
    for status, answer, _ in submit_thrice(home, reserve=2**62):
        assert status == 507
        assert answer["code"] == "disk_full"
        assert "not accepted" in answer["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(OSError(errno.ENOSPC, "No space left"), 507), (DocumentError("no"), 422), (FileRefused("no"), 422),
     (CheckError([Problem("bad", "node", "input")]), 422), (web.HTTPNotFound(), 404),
     (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405), (OSError(errno.EIO, "bad"), None), (KeyError("x"), None)],
)  # fmt: skip
def test_what_an_exception_amounts_to(error: Exception, status: int | None) -> None:
    refused = of_exception(error)
    assert (None if refused is None else STATUS[refused.code]) == status


class Asked(BaseModel):
    """What a request may carry."""

    model_config = ConfigDict(extra="forbid", strict=True)
    workflow: dict[str, int]
    priority: Annotated[int, Field(le=9)] = 0
    names: list[str] = []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], 'body: [] does not fit; give an object, {"name": ...}'),
        ({}, "body.workflow: it is missing; give it a value"),
        ({"workflow": "x"}, 'body.workflow: "x" does not fit; give an object, {"name": ...}'),
        ({"workflow": {"a": "x" * 100}}, f'body.workflow.a: "{"x" * 58}… does not fit; give a whole number'),
        ({"workflow": {}, "priority": 10}, "body.priority: 10 is too large; give at most 9"),
        ({"workflow": {}, "names": {"a": 1}}, "body.names: an object does not fit; give a list, [...]"),
        ({"workflow": {}, "colour": 1}, "body.colour: this field does not exist; remove it or correct its name"),
    ],
)
def test_what_does_not_fit_is_said_in_words_of_json(body: object, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Asked.model_validate(body)
    assert of_validation(error.value, "body").message == words


def test_problems_keep_their_place() -> None:
    refused = of_exception(CheckError([Problem("too small", "sampler", "steps"), Problem("a cycle")]))
    assert refused is not None
    assert [(one.message, one.node, one.input) for one in refused.problems] == [
        ("too small", "sampler", "steps"),
        ("a cycle", None, None),
    ]
