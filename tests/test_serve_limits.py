"""What a server gives to strangers is bounded: guesses of the token, time for a request's head, decoding."""

from __future__ import annotations

import asyncio
import http.client
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image
from real_server import JSON, PICTURE, Running, running

from nodegraph.home import Home
from nodegraph.serve import server as server_module
from nodegraph.serve import thumbnails
from nodegraph.serve.guesses import ADDRESSES, ALLOWED, WINDOW, Guesses
from nodegraph.serve.launch import make_runner
from nodegraph.serve.refuse import Refused
from nodegraph.serve.security import Access
from nodegraph.serve.server import Server
from nodegraph.serve.service import Service
from nodegraph.serve.thumbnails import Thumbnails

TOKEN = "a token of more than sixteen"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("guarded") / "home", NODEGRAPH_TOKEN=TOKEN) as server:
        yield server


# Guesses


def asked(server: Running, address: str, token: str | None, **headers: str) -> tuple[int, str | None]:
    """The status of a question from an address of this machine, and Retry-After."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30, source_address=(address, 0))
    given = headers if token is None else {"Authorization": f"Bearer {token}", **headers}
    connection.request("GET", "/api/queue", headers=given)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.headers["Retry-After"]


def test_an_address_that_guesses_has_to_wait_and_others_do_not(guarded: Running) -> None:
    session = guarded.ask("POST", "/api/session", {"token": TOKEN}).headers["Set-Cookie"].split(";")[0]
    for number in range(ALLOWED):
        assert asked(guarded, "127.0.0.7", f"wrong {number}")[0] == 401
    status, retry_after = asked(guarded, "127.0.0.7", "wrong again")
    assert status == 429
    assert 1 <= int(retry_after or 0) <= WINDOW
    assert asked(guarded, "127.0.0.7", TOKEN)[0] == 429, "else a guess could still be seen to be right"
    assert asked(guarded, "127.0.0.7", None)[0] == 401, "who shows nothing guesses nothing"
    assert asked(guarded, "127.0.0.7", None, Cookie=session)[0] == 200, "open sessions go on"
    assert asked(guarded, "127.0.0.8", TOKEN)[0] == 200


def _status(server: Running, address: str, *question: Any) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30, source_address=(address, 0))
    connection.request(*question)
    status = connection.getresponse().status
    connection.close()
    return status


def test_opening_a_session_with_wrong_tokens_counts_as_well(guarded: Running) -> None:
    question = ("POST", "/api/session", b'{"token": "wrong"}', JSON)
    assert [_status(guarded, "127.0.1.1", *question) for _ in range(ALLOWED + 2)] == [401] * ALLOWED + [429] * 2


def test_a_page_of_another_site_cannot_lock_anybody_out(guarded: Running) -> None:
    """It may follow links to the editor, with whatever it takes for a token."""
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for _ in range(2 * ALLOWED):
        assert _status(guarded, "127.0.1.2", "GET", "/?token=wrong", None, navigation) == 401
    assert asked(guarded, "127.0.1.2", TOKEN)[0] == 200


def test_guesses_are_forgotten_after_a_while_and_kept_for_so_many_addresses() -> None:
    now = 100.0
    guesses = Guesses(clock=lambda: now)
    for _ in range(ALLOWED):
        guesses.check("2001:db8::1")
        guesses.wrong("2001:db8::1")
        now += 1
    for same in ("2001:db8::1", "2001:db8::ffff:2"):
        with pytest.raises(Refused, match="heard again in 50 s") as refused:
            guesses.check(same)
        assert refused.value.headers == {"Retry-After": "50"}
    guesses.check("2001:db8:0:1::1")
    now += 50
    guesses.check("2001:db8::1")
    guesses.wrong("2001:db8::1")  # the oldest is forgotten, the others are not
    with pytest.raises(Refused):
        guesses.check("2001:db8::1")
    for number in range(ADDRESSES + 5):
        guesses.wrong(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(guesses._wrong) == ADDRESSES
    guesses.check("2001:db8::1")


def test_an_address_in_both_notations_is_one() -> None:
    guesses = Guesses(clock=lambda: 0.0)
    for _ in range(ALLOWED):
        guesses.wrong("::ffff:192.0.2.1")
    for same in ("192.0.2.1", "::ffff:192.0.2.1"):
        with pytest.raises(Refused):
            guesses.check(same)
    guesses.check(None)


# Slow requests


def test_a_head_that_never_ends_is_hung_up_on(tmp_path: Path) -> None:
    """The first on a connection, and one after a request that was answered; a byte now and then does not help."""

    async def dripped(port: int, first: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        answered = await reader.readuntil(b"}") if first else b""
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
            while not reader.at_eof():
                writer.write(b"X-Slow: 1\r\n")
                await writer.drain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1000), 0.1)
        except ConnectionError:
            pass
        finally:
            writer.close()
        return answered

    async def main() -> None:
        home = Home(tmp_path, tmp_path)
        server = Server(home, Access(), Service(home, workers=0))
        runner = make_runner(server, head_seconds=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]
            async with asyncio.timeout(60):
                assert await dripped(port, b"") == b""
                answered = await dripped(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert answered.startswith(b"HTTP/1.1 200 ")
        finally:
            await runner.cleanup()

    asyncio.run(main())


async def upload(port: int, announced: int, sent: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin to send a picture."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /api/uploads?name=x HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {announced}"
    writer.write(f"{head}\r\n\r\n".encode() + b"x" * sent)
    await writer.drain()
    return reader, writer


def test_slow_requests_hold_nobody_up_and_all_together_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "BODIES_BYTES", 4 * 2**20)
    monkeypatch.setattr(server_module, "SMALL_BODIES_BYTES", 2**20)

    async def status(port: int, size: int) -> int:
        reader, writer = await upload(port, size, size)
        answer = await reader.readline()
        writer.close()
        return int(answer.split()[1])

    async def main() -> None:
        home = Home(tmp_path, tmp_path)
        server = Server(home, Access(), Service(home, workers=0))
        runner = make_runner(server)
        await runner.setup()
        slow = []
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]
            async with asyncio.timeout(60):
                slow += [await upload(port, 60 * 2**20, 1000) for _ in range(8)]
                assert await status(port, 2 * 2**20) == 422, "there is room, only it is no picture"
                slow.append(await upload(port, 60 * 2**20, 5 * 2**20 // 2))
                while server._bodies < 5 * 2**20 // 2:
                    await asyncio.sleep(0.01)
                assert await status(port, 5 * 2**20 // 4) == 429
                assert await status(port, 2**20 - 10_000) == 422, "small ones still have room"
                for _, writer in slow:
                    writer.close()
                while server._bodies:
                    await asyncio.sleep(0.01)
                assert await status(port, 3 * 2**20 // 2) == 422
        finally:
            await runner.cleanup()

    asyncio.run(main())


# Decoding


def test_the_server_decodes_no_picture_itself(guarded: Running) -> None:
    (guarded.home / "inputs").mkdir(exist_ok=True)
    (guarded.home / "inputs" / "a.png").write_bytes(PICTURE)
    sent = {"Authorization": f"Bearer {TOKEN}"}
    answer = guarded.ask("GET", "/api/uploads/a.png?size=64", headers=sent)
    assert answer.status == 200
    assert answer.body[8:12] == b"WEBP"
    assert "_imaging" not in Path(f"/proc/{guarded.process.pid}/maps").read_text()


def test_a_picture_that_hangs_its_decoder_costs_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, hanging = tmp_path / "a.png", tmp_path / "pipe.png"
    Image.new("RGB", (300, 200), "red").save(picture)
    os.mkfifo(hanging)  # opening it waits for a writer that never comes
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")

    async def main() -> None:
        small = Thumbnails()
        try:
            monkeypatch.setattr(thumbnails, "SECONDS", 60.0)
            assert (await small.get(picture, 64))[8:12] == b"WEBP"
            (decoder,) = small._idle
            with pytest.raises(Refused, match="no thumbnail of this file") as refused:
                await small.get(tmp_path / "b.png", 64)
            assert str(tmp_path) not in str(refused.value)
            assert small._idle == [decoder], "what is only no picture does no harm"
            monkeypatch.setattr(thumbnails, "SECONDS", 0.2)
            with pytest.raises(Refused, match="takes too much"):
                await small.get(hanging, 64)
            assert small._idle == []
            assert decoder._child.returncode is not None
            monkeypatch.setattr(thumbnails, "SECONDS", 60.0)
            assert (await small.get(picture, 128))[8:12] == b"WEBP"
            (decoder,) = small._idle
            decoder._child.kill()  # as the system does where memory runs out
            await decoder._child.wait()
            assert (await small.get(picture, 256))[8:12] == b"WEBP"
            several = await asyncio.gather(*(small.get(picture, size) for size in (512, 1024, 512, 64)))
            assert several[0] == several[2]
            assert len(small._idle) <= thumbnails.AT_ONCE
        finally:
            await small.close()

    asyncio.run(main())


def test_a_file_without_a_thumbnail_is_decoded_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[tuple[str, int]] = []
    now = 100.0
    real = thumbnails._Decoder.shrink

    async def shrink(decoder: thumbnails._Decoder, path: Path, size: int) -> bytes:
        decoded.append((path.name, size))
        return await real(decoder, path, size)

    monkeypatch.setattr(thumbnails._Decoder, "shrink", shrink)
    bad, hanging = tmp_path / "bad.png", tmp_path / "pipe.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    os.mkfifo(hanging)

    async def main() -> None:
        nonlocal now
        small = Thumbnails(lambda: now)
        try:
            said = set()
            for size in (64, 64, 256):
                with pytest.raises(Refused, match="no thumbnail of this file") as refused:
                    await small.get(bad, size)
                said.add(str(refused.value))
            assert decoded == [("bad.png", 64)]
            assert len(said) == 1
            Image.new("RGB", (30, 20), "red").save(bad)
            assert (await small.get(bad, 64))[8:12] == b"WEBP"
            decoded.clear()
            monkeypatch.setattr(thumbnails, "SECONDS", 0.2)
            for _ in range(3):
                with pytest.raises(Refused, match="takes too much"):
                    await small.get(hanging, 64)
            assert decoded == [("pipe.png", 64)]
            now += thumbnails.AGAIN_SECONDS
            with pytest.raises(Refused, match="takes too much"):
                await small.get(hanging, 64)
            assert len(decoded) == 2
            monkeypatch.setattr(thumbnails, "REFUSALS", 2)
            for n in range(4):
                (tmp_path / f"{n}.png").write_bytes(b"none")
                with pytest.raises(Refused):
                    await small.get(tmp_path / f"{n}.png", 64)
            assert len(small._refused) == 2, "what is remembered is bounded"
        finally:
            await small.close()

    asyncio.run(main())


def test_thumbnails_that_several_asked_for_at_once_are_counted_once(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (300, 200), "red").save(picture)

    async def main() -> None:
        small = Thumbnails()
        try:
            await asyncio.gather(*(small.get(picture, 64) for _ in range(4)))
            (kept,) = small._kept.values()
            assert small._bytes == len(kept)
        finally:
            await small.close()

    asyncio.run(main())
