"""The doors, tried on a real server process: who is answered, what changes anything, what every answer carries."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from conftest import Shell
from real_server import Running, running, workflow

from nodegraph.serve.refuse import Refused
from nodegraph.serve.security import Access, own_names, refuse_open_door

TOKEN = "a token of more than sixteen"
LONG_AGO = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("open") / "home", "--allow-host", "Studio.Example") as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("guarded") / "home", NODEGRAPH_TOKEN=TOKEN) as server:
        yield server


def page(server: Running, host: str = "localhost") -> dict[str, str]:
    """The headers that a browser sends from the editor's own page."""
    name = f"{host}:{server.port}"
    return {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}


# Host: DNS rebinding


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "127.8.9.1", "localhost.",
                                  "studio.example", "STUDIO.example"])  # fmt: skip
def test_the_server_answers_to_its_own_names(server: Running, host: str) -> None:
    for port in ("", f":{server.port}"):
        assert server.ask("GET", "/api/queue", headers={"Host": host + port}).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost", "0.0.0.0", "0", "127.1",
     "2130706433", "0x7f000001", "192.168.1.1", "[::]", "[fe80::1]", "studio.example.evil", "xn--lclhost-9za"],
)  # fmt: skip
def test_a_rebound_name_is_turned_away_before_routing(server: Running, host: str) -> None:
    for path in ("/", "/health", "/api/queue", "/metrics", "/no/such/address"):
        name = f"{host}:{server.port}"
        # A rebound page is of its own origin: Host and Origin agree, and both are the attacker's.
        answer = server.ask("GET", path, headers={"Host": name, "Origin": f"http://{name}"})
        assert answer.status == 403
        assert answer.json["code"] == "forbidden"
    assert server.ask("POST", "/api/queue/clear", headers={"Host": host}).status == 403


@pytest.mark.parametrize("host", ["", " ", "localhost:x", "localhost:99999", "user@localhost", "localhost/evil",
                                  "localhost, evil", "[::1", "::1", "localhost\\evil", "localhost:", "[::1%25lo]"])  # fmt: skip
def test_a_malformed_host_is_refused(server: Running, host: str) -> None:
    assert server.ask("GET", "/api/queue", headers={"Host": host}).status in (400, 403)


def test_no_host_two_hosts_and_a_url_as_the_target(server: Running) -> None:
    assert b" 400 " in server.raw(b"GET /api/queue HTTP/1.0\r\n\r\n")
    assert b" 400 " in server.raw(b"GET /api/queue HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert b" 400 " in server.raw(b"GET http://evil.example/api/queue HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b" 200 " in server.raw(b"GET /api/queue HTTP/1.1\r\nHost: localhost\r\n\r\n")


# Origin: cross-site request forgery


def test_the_editors_own_page_may_do_everything(server: Running) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]", "LocalHost"):
        assert server.ask("POST", "/api/queue/resume", headers=page(server, host)).status == 200
    mixed = {"Host": f"localhost:{server.port}", "Origin": f"HTTP://LOCALHOST:{server.port}"}
    assert server.ask("POST", "/api/queue/resume", headers=mixed).status == 200
    assert server.ask("POST", "/api/queue/resume").status == 200, "a program sends no Origin"


def foreign(port: int) -> list[str]:
    return ["null", "NULL", "", "http://evil.example", f"http://evil.example:{port}", f"http://localhost:{port + 1}",
            "http://localhost", f"http://127.0.0.1:{port}", f"http://[::1]:{port}", f"http://localhost:{port}/",
            f"http://localhost:{port}@evil.example", f"http://evil.example#localhost:{port}", "file://",
            f"http://localhost.:{port}x", f"localhost:{port}", f"chrome-extension://localhost:{port}",
            f"http://localhost:{port} http://evil.example", f"http://localhost:{port}.evil.example",
            f"ftp://localhost:{port}", f"http://LOCALHOST.EVIL.EXAMPLE:{port}"]  # fmt: skip


def test_requests_of_other_pages_are_refused(server: Running) -> None:
    for origin in foreign(server.port):
        headers = {"Host": f"localhost:{server.port}", "Origin": origin}
        for method, path in (("POST", "/api/queue/clear"), ("GET", "/api/workflows"), ("GET", "/"),
                             ("DELETE", "/api/workflows/x"), ("OPTIONS", "/api/runs")):  # fmt: skip
            answer = server.ask(method, path, headers=headers)
            assert answer.status == 403, f"{origin!r} may {method} {path}"
            assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_two_origins_are_refused(server: Running) -> None:
    mine = f"http://localhost:{server.port}".encode()
    head = b"POST /api/queue/clear HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: 0\r\n" % server.port
    assert b" 403 " in server.raw(head + b"Origin: %s\r\nOrigin: http://evil.example\r\n\r\n" % mine)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "anything"])
def test_a_browser_that_says_cross_site_is_refused(server: Running, site: str) -> None:
    headers = {"Sec-Fetch-Site": site}
    assert server.ask("GET", "/api/gallery", headers=headers).status == 403
    assert server.ask("POST", "/api/queue/pause", headers=headers).status == 403
    as_picture = {**headers, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert server.ask("GET", "/api/uploads/images/sketch.png", headers=as_picture).status == 403
    link = {**headers, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert server.ask("GET", "/", headers=link).status == 200, "a link to the editor may be followed"
    assert server.ask("GET", "/api/queue", headers=link).status == 403
    frame = {**headers, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert server.ask("GET", "/", headers=frame).status == 403


def upgrade(server: Running, **headers: str) -> int:
    given = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    if "Host" not in given:
        given["Host"] = f"localhost:{server.port}"
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return int(server.raw(f"GET /api/events HTTP/1.1\r\n{lines}\r\n".encode()).split()[1])


def test_the_websocket_has_the_same_doors(server: Running) -> None:
    assert upgrade(server, Origin=f"http://localhost:{server.port}") == 101
    assert upgrade(server) == 101, "a program sends no Origin"
    for origin in foreign(server.port):
        assert upgrade(server, Origin=origin) == 403
    assert upgrade(server, Sec_Fetch_Site="cross-site") == 403
    assert upgrade(server, Host="evil.example", Origin="http://evil.example") == 403


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/json", "",
     "application/json, text/plain", "text/plain; application/json"],
)  # fmt: skip
def test_what_a_form_can_send_changes_nothing(server: Running, kind: str) -> None:
    body = json.dumps({"workflow": workflow()}).encode()
    headers = {"Content-Type": kind} if kind else {}
    for method, path in (("POST", "/api/runs"), ("PUT", "/api/workflows/formed"), ("POST", "/api/check"),
                         ("POST", "/api/queue/pause")):  # fmt: skip
        answer = server.ask(method, path, headers=headers, content=body)
        assert answer.status == 415, f"{kind!r} is taken by {path}"
    assert server.get("/api/queue").json == {"paused": False, "running": [], "queued": []}


def test_reading_never_changes_anything(server: Running) -> None:
    for path in (
        "/api/queue/pause",
        "/api/queue/clear",
        "/api/workflows/x/rename",
        "/api/session",
        "/api/uploads",
    ):
        assert server.get(path).status == 405
        assert server.get(path).json["code"] == "method_not_allowed"


# Who may talk to it


def test_without_the_token_nothing_is_told(guarded: Running) -> None:
    for path in ("/api/queue", "/api/nodes", "/metrics", "/api/openapi.json", "/api/system", "/api/no/such"):
        answer = guarded.get(path)
        assert answer.status == 401
        assert answer.json["code"] == "not_authenticated"
    assert guarded.get("/health").status == 200
    assert guarded.get("/").status == 200
    assert upgrade(guarded) == 401


@pytest.mark.parametrize("shown", ["Bearer wrong", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}",
                                   f"Bearer {TOKEN}x", "Bearer \xff\xfe"])  # fmt: skip
def test_a_wrong_token_is_refused(guarded: Running, shown: str) -> None:
    assert guarded.ask("GET", "/api/queue", headers={"Authorization": shown}).status == 401


def test_the_token_opens(guarded: Running) -> None:
    assert guarded.ask("GET", "/api/queue", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
    assert upgrade(guarded, Authorization=f"Bearer {TOKEN}") == 101
    assert guarded.get(f"/api/queue?token={quote(TOKEN)}").status == 401, "never in an address"


def test_the_session_cookie(guarded: Running) -> None:
    mine = page(guarded)
    assert guarded.ask("POST", "/api/session", {"token": "wrong" * 5}, headers=mine).status == 401
    opened = guarded.ask("POST", "/api/session", {"token": TOKEN}, headers=mine)
    cookie = opened.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert opened.json["expires"] > time.time() + 86400
    sent = {"Cookie": cookie.split(";")[0]}
    assert guarded.ask("GET", "/api/queue", headers=sent).status == 200
    assert guarded.ask("POST", "/api/queue/resume", headers={**sent, **mine}).status == 200
    assert guarded.ask("POST", "/api/queue/resume", headers=sent).status == 403, "a browser sends an Origin"
    assert upgrade(guarded, **sent) == 403, "a browser sends an Origin"
    assert upgrade(guarded, **sent, Origin=f"http://localhost:{guarded.port}") == 101
    assert upgrade(guarded, **sent, Origin="http://evil.example") == 403
    name, _, value = sent["Cookie"].partition("=")
    expires, _, signature = value.partition(".")
    for forged in (f"{expires}.{'0' * 64}", f"{int(expires) + 1}.{signature}", f"{LONG_AGO}.{signature}", "", ".",
                   signature, f"9{expires}.{signature}", f"-1.{signature}", f"{'9' * 400}.{signature}"):  # fmt: skip
        assert guarded.ask("GET", "/api/queue", headers={"Cookie": f"{name}={forged}"}).status == 401
    signed = Access(TOKEN)._sign
    for until, status in ((int(time.time()) + 60, 200), (int(time.time()) - 1, 401)):
        sent = {"Cookie": f"{name}={until}.{signed(until)}"}
        assert guarded.ask("GET", "/api/queue", headers=sent).status == status, "a session ends when it says"


def test_the_printed_address_opens_one_session(guarded: Running) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{20,}", guarded.url)
    assert TOKEN not in guarded.url
    path = "/" + guarded.url.rsplit("/", 1)[1]
    first = guarded.get(path)
    assert (first.status, first.headers["Location"]) == (303, "/")
    cookie = first.headers["Set-Cookie"].split(";")[0]
    assert guarded.ask("GET", "/api/queue", headers={"Cookie": cookie}).status == 200
    second = guarded.get(path)
    assert second.status == 401
    assert "Set-Cookie" not in second.headers
    assert guarded.get("/?token=//evil.example").status == 401, "no redirect is for a client to choose"


def test_tokens_are_compared_in_constant_time() -> None:
    import inspect

    from nodegraph.serve import security

    compared = []
    original = security.hmac.compare_digest
    access = security.Access(TOKEN)
    try:
        security.hmac.compare_digest = lambda a, b: compared.append((a, b)) or original(a, b)  # type: ignore[assignment]
        assert not security.same("x" * len(TOKEN), TOKEN)
        assert security.same(TOKEN, TOKEN)
        assert not access._session_holds(f"{2**40}.{'0' * 64}")
    finally:
        security.hmac.compare_digest = original
    assert len(compared) == 3
    assert not re.search(r"token\s*[!=]=\s*[a-z]", inspect.getsource(security)), "a secret is compared with =="


def test_a_server_that_others_can_reach_needs_a_token(shell: Shell) -> None:
    refused = shell("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "--token" in refused.stderr
    for host in ("0.0.0.0", "::", "", "192.0.2.1", "studio.example", "localhost.evil.example"):
        with pytest.raises(Refused, match="--token"):
            refuse_open_door(host, None)
        refuse_open_door(host, TOKEN)
    for host in ("127.0.0.1", "localhost", "::1", "LOCALHOST"):
        refuse_open_door(host, None)
    with pytest.raises(ValueError, match="16 characters"):
        Access("short")


def test_the_names_of_a_server() -> None:
    assert own_names("127.0.0.1", ["Studio.example", "10.0.0.7"]) == {"studio.example", "10.0.0.7"}
    assert own_names("studio.local", []) == {"studio.local"}
    assert own_names("0.0.0.0", []) == own_names("::", []) == frozenset(), "an address for all is no name"
    for wrong in ("https://studio.example", "studio.example:443", "", "a b"):
        with pytest.raises(ValueError, match="--allow-host"):
            own_names("127.0.0.1", [wrong])


def test_the_log_knows_no_secrets_and_cannot_be_forged(guarded: Running) -> None:
    guarded.get("/?token=some-one-time-secret")
    guarded.get('/api/x%0d%0a{"level":"error"}')
    guarded.ask("GET", "/api/queue", headers={"Authorization": f"Bearer {TOKEN}"})
    lines = (guarded.home / "logs" / "server.log").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert any(entry.get("status") == 401 for entry in entries)
    assert not any("some-one-time-secret" in line or TOKEN in line for line in lines)
    assert not any(entry["level"] == "error" for entry in entries)


# Headers


def test_every_answer_carries_the_headers_of_a_careful_server(server: Running) -> None:
    for path in ("/", "/health", "/api/nodes", "/api/no", "/api/uploads/images/sketch.png", "/metrics"):
        headers = server.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Server"] == "nodegraph"
    policy = server.get("/").headers["Content-Security-Policy"]
    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert "unsafe-eval" not in policy
    assert directives["base-uri"] == "'none'"


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\r\n\r\n"]
)
def test_nor_does_an_answer_to_what_is_no_http_say_what_speaks_it(server: Running, sent: bytes) -> None:
    answer = server.head(sent)
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"\r\nServer: nodegraph\r\n" in answer
    assert b"aiohttp" not in answer


def test_nothing_that_was_tried_was_taken_for_a_fault_of_the_server(server: Running) -> None:
    """Last, after all of the above: no error and no traceback in the log, not even for requests that are no HTTP."""
    server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
    server.raw(b"\x16\x03\x01 not HTTP at all\r\n\r\n")
    assert server.faults() == []
