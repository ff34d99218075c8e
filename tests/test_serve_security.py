"""Every attack of docs/security.md tried on a real server process: the doors, names, files and sizes."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import Shell
from PIL import Image, PngImagePlugin
from real_server import JSON, PICTURE, Running, running, workflow

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


def raw(server: Running, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(4096).split(b"\r\n", 1)[0]


def test_no_host_two_hosts_and_a_url_as_the_target(server: Running) -> None:
    assert b" 400 " in raw(server, b"GET /api/queue HTTP/1.0\r\n\r\n")
    assert b" 400 " in raw(server, b"GET /api/queue HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert b" 400 " in raw(server, b"GET http://evil.example/api/queue HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b" 200 " in raw(server, b"GET /api/queue HTTP/1.1\r\nHost: localhost\r\n\r\n")


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
    assert b" 403 " in raw(server, head + b"Origin: %s\r\nOrigin: http://evil.example\r\n\r\n" % mine)


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
    return int(raw(server, f"GET /api/events HTTP/1.1\r\n{lines}\r\n".encode()).split()[1])


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


# Names

TRAVERSALS = [
    "../x", "..", ".", "/etc/passwd", "a/b", "a/../../b", "..\\x", "C:\\x", "C:x", "\\\\host\\share", "x\0.json",
    "con", "NUL", "com1.txt", "aux .x", "x.", "x ", ".hidden", "~root", "x:y", "x|y", "x\ny", "x\r", "\u202ex", "a" * 300,
    "%2e%2e", "..%2f..%2fevil", "．．／x", "x\u2215y", "", " x",
]  # fmt: skip


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_of_a_workflow_leaves_its_folder(server: Running, name: str) -> None:
    before = sorted(path for path in server.home.parent.rglob("*") if "logs" not in path.parts)
    address = f"/api/workflows/{quote(name, safe='')}"
    for method, path, body in (("PUT", address, {"workflow": workflow()}), ("GET", address, None),
                               ("DELETE", address, None), ("POST", f"{address}/rename", {"name": "fine"}),
                               ("POST", "/api/workflows/none/rename", {"name": name})):  # fmt: skip
        assert 400 <= server.ask(method, path, body).status < 500
    after = sorted(path for path in server.home.parent.rglob("*") if "logs" not in path.parts)
    assert [path for path in after if path not in before and "cache" not in path.parts] == []


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_name_of_a_picture_leaves_its_folder(server: Running, name: str) -> None:
    answer = server.ask("POST", f"/api/uploads?name={quote(name, safe='')}", headers={"Content-Type": "image/png"},
                        content=PICTURE)  # fmt: skip
    if answer.status == 201:  # what is no path, but no good name either, is stored under a good one
        stored = server.home / "inputs" / answer.json["name"]
        assert stored.parent == server.home / "inputs"
        assert re.fullmatch(r"[\w(][\w ().,+'-]*\.png", answer.json["name"])
        assert stored.is_file()
    else:
        assert answer.status == 422
    strange = [path for path in (server.home / "inputs").rglob("*") if path.suffix != ".png"]
    assert strange == []
    assert server.get(f"/api/uploads/{quote(name, safe='')}").status in (404, 422)


def test_addresses_with_dots_lead_nowhere(server: Running) -> None:
    (server.home / "secret.txt").write_text("secret")
    for path in ("/../secret.txt", "/..%2fsecret.txt", "/api/uploads/../secret.txt", "/api/uploads/..%2f..%2fsecret.txt",
                 "/assets/../../secret.txt", "/assets/..%2f..%2fpyproject.toml", "/api/templates/../../pyproject",
                 "/api/templates/..%2f..%2fpyproject", "/api/template-pictures/..%2fx", "//etc/passwd",
                 "/api/uploads/%2fetc%2fpasswd", "/api/uploads/C:%5cwindows", "/api/artifacts/..%2f..%2fsecret",
                 "/api/uploads//etc/passwd", "/api/uploads/file:%2f%2f%2fetc%2fpasswd"):  # fmt: skip
        answer = server.get(path)
        assert answer.status in (400, 404, 422), path
        assert b"secret" not in answer.body or answer.json["code"]


def test_links_lead_nowhere(server: Running, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({**workflow(), "title": "Secret"}))
    (tmp_path / "secret.png").write_bytes(PICTURE)
    for folder in ("workflows", "inputs", "trash"):
        (server.home / folder).mkdir(exist_ok=True)
    (server.home / "workflows" / "linked.json").symlink_to(secret)
    (server.home / "inputs" / "linked.png").symlink_to(tmp_path / "secret.png")
    (server.home / "inputs" / "folder").symlink_to(tmp_path)
    assert server.get("/api/workflows/linked").status == 404
    assert server.ask("PUT", "/api/workflows/linked", {"workflow": workflow()}).status == 404
    assert "Secret" in secret.read_text()
    assert "linked" not in {entry["name"] for entry in server.get("/api/workflows").json["workflows"]}
    assert server.get("/api/uploads/linked.png").status == 404
    assert server.get("/api/uploads/folder/secret.png").status == 404
    stored = server.ask(
        "POST", "/api/uploads?name=linked.png", headers={"Content-Type": "image/png"}, content=PICTURE
    )
    assert stored.json["name"] == "linked-2.png"


def test_what_lies_in_a_workflows_place_and_is_no_file_is_said_so(server: Running) -> None:
    folder = server.home / "workflows"
    folder.mkdir(exist_ok=True)
    (folder / "folder.json").mkdir()
    (folder / "circle.json").symlink_to("circle.json")
    os.mkfifo(folder / "pipe.json")
    for name in ("folder", "circle", "pipe"):
        address = f"/api/workflows/{name}"
        assert server.get(address).status == 404, name
        assert server.ask("PUT", address, {"workflow": workflow()}).status == 404, name
        assert server.ask("DELETE", address).status == 404, name
        assert server.ask("POST", f"{address}/rename", {"name": "other"}).status == 404, name


# Files


def picture(format: str = "PNG", size: tuple[int, int] = (8, 8), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, format, **options)
    return buffer.getvalue()


def put(server: Running, data: bytes, name: str = "x.png", kind: str = "image/png"):  # type: ignore[no-untyped-def]
    return server.ask("POST", f"/api/uploads?name={quote(name)}", headers={"Content-Type": kind}, content=data)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(document.cookie)</script>"


@pytest.mark.parametrize(
    "data",
    [HTML, SVG, b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script>1</script></html>", b"",
     b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + HTML, b"\xff\xd8\xff" + HTML, b"RIFF\0\0\0\0WEBP" + SVG,
     picture("GIF"), picture("BMP"), picture("TIFF"), picture()[:40], b"%PDF-1.4", b"SIMPLE  =                    T" * 90],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
def test_what_is_no_picture_is_not_stored(server: Running, data: bytes) -> None:
    before = sorted((server.home / "inputs").glob("*"))
    for name, kind in (("x.png", "image/png"), ("x.html", "image/png"), ("x.svg", "image/webp")):
        assert put(server, data, name, kind).status == 422
    for kind in ("image/svg+xml", "text/html", "image/gif", "application/octet-stream", "multipart/form-data"):
        assert put(server, data, "x.png", kind).status == 415
    assert sorted((server.home / "inputs").glob("*")) == before


def test_only_pixels_survive_an_upload(server: Running) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", HTML.decode())
    text.add_itxt("nodegraph", json.dumps(workflow()))
    exif = Image.Exif()
    exif[0x010E] = "<script>alert(2)</script>"
    polyglots = [
        picture(pnginfo=text) + HTML + b"PK\x03\x04",
        picture("JPEG", exif=exif, comment=SVG) + SVG,
        picture("WEBP", exif=exif, lossless=True) + HTML,
    ]
    for data in polyglots:
        assert b"<script>" in data
        stored = put(server, data, "evil.py")
        assert stored.status == 201
        assert stored.json["name"].endswith((".png", ".jpg"))
        answer = server.get(stored.json["content"])
        assert answer.headers["Content-Type"] in ("image/png", "image/jpeg")
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        for trace in (b"<script", b"<svg", b"PK\x03\x04", b"alert", b"nodegraph"):
            assert trace not in answer.body
        with Image.open(io.BytesIO(answer.body)) as found:
            red = found.convert("RGB").getpixel((4, 4))
        assert isinstance(red, tuple)
        assert red[0] > 240
        assert max(red[1:]) < 20


def test_the_upload_named_evil_py_and_other_names(server: Running) -> None:
    """Another server of this field stores an upload named evil.py, and one named ..%2F..%2Fevil.png as it is."""
    assert put(server, picture(size=(9, 9)), "shell.py").json["name"] == "shell.png"
    assert put(server, picture("JPEG"), "photo.png").json["name"] == "photo.jpg"
    assert put(server, picture(), "../../evil.png").status == 422
    first = put(server, picture(size=(5, 5)), "Übung (1).png").json["name"]
    assert first == "Übung (1).png"
    assert put(server, picture(size=(5, 5)), "Übung (1).png").json["name"] == first, "the same again is the same"
    assert put(server, picture(size=(6, 6)), "Übung (1).png").json["name"] == "Übung (1)-2.png"
    assert put(server, picture(size=(7, 7)), "<b>?*.png").json["name"] == "_b___.png"


def test_a_page_put_into_the_input_folder_by_hand_is_not_shown(server: Running) -> None:
    (server.home / "inputs").mkdir(exist_ok=True)
    for name in ("page.html", "page.svg", "page.png", "page"):
        (server.home / "inputs" / name).write_bytes(HTML)
        answer = server.get(f"/api/uploads/{name}")
        assert answer.status == 415
        assert b"<script>" not in answer.body
        assert server.get(f"/api/uploads/{name}?size=64").status == 415
        (server.home / "inputs" / name).unlink()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that is enormous: complete where it is square, else it only says so."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width // 8 + 2) * height if width == height else 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")  # fmt: skip


@pytest.mark.parametrize("size", [(8193, 8193), (15_000, 15_000), (2**31 - 1, 1), (0, 10), (2**31 - 1, 2**31 - 2)])
def test_a_picture_that_grows_is_refused(server: Running, size: tuple[int, int]) -> None:
    data = bomb(*size)
    assert len(data) < 100_000
    answer = put(server, data)
    assert answer.status == 422
    if size[0] == size[1]:
        assert re.search("limit|bomb", answer.json["message"])
    assert server.get("/health").json["status"] != "degraded"


def test_text_that_grows_is_refused(server: Running) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("nodegraph", "x" * 50_000_000, zip=True)
    data = picture(pnginfo=text)
    assert len(data) < 100_000
    answer = server.ask("POST", "/api/import", headers={"Content-Type": "image/png"}, content=data)
    assert answer.status == 422
    assert put(server, data).status == 422


def test_bodies_are_bounded(server: Running) -> None:
    too_large = {"Content-Length": str(2**40), **JSON}
    for method, path in (("POST", "/api/runs"), ("PUT", "/api/workflows/x"), ("POST", "/api/session")):
        assert server.ask(method, path, headers=too_large).status == 413
    assert server.ask("POST", "/api/uploads?name=x", headers={"Content-Length": str(2**40), "Content-Type": "image/png"}).status == 413  # fmt: skip
    assert server.ask("POST", "/api/session", headers=JSON, content=b" " * 5000).status == 413
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b" " * 4096 + b"\r\n1000\r\n")  # fmt: skip
        connection.sendall(b" " * 4096 + b"\r\n")
        assert b" 413 " in connection.recv(100)


def test_bodies_together_are_bounded(server: Running) -> None:
    head = b"POST /api/uploads?name=x HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 60000000\r\n\r\n"
    waiting = []
    try:
        for _ in range(8):  # announced, and never sent
            waiting.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            waiting[-1].sendall(head)
        deadline = time.monotonic() + 10
        while (answer := put(server, b"x" * 60_000_000)).status != 429:
            assert time.monotonic() < deadline
        assert answer.json["code"] == "busy"
        assert answer.headers["Retry-After"] == "1"
        assert server.ask("POST", "/api/check", {"workflow": workflow()}).status == 200, "small ones still fit"
    finally:
        for connection in waiting:
            connection.close()
    while put(server, b"x" * 60_000_000).status == 429:
        assert time.monotonic() < deadline + 10


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"workflow":' * 50_000, b'{"workflow":{"a":NaN}}', b'{"workflow":{"a":1e999}}',
     b'{"workflow":{},"workflow":{}}', b'{"workflow":{"a":"\\ud800"}}', b"\xff\xfe{}", b"", b"{" * 10,
     b'{"workflow":{"a":' + b"1" * 5000 + b"}}", b'{"workflow":{}}\0'],
    ids=lambda content: repr(content[:24]),
)  # fmt: skip
def test_json_that_is_made_to_hurt(server: Running, content: bytes) -> None:
    for path in ("/api/runs", "/api/plan", "/api/check", "/api/session"):
        if path != "/api/session" or len(content) <= 4096:
            assert server.ask("POST", path, headers=JSON, content=content).status == 400
    assert server.ask("POST", "/api/import", headers=JSON, content=content).status == 422


@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "NaN", '"\\ud800"', "[" * 2000 + "]" * 2000, "1" * 5000, '{"a":1,"a":2}']
)
def test_a_document_with_values_that_are_made_to_hurt(server: Running, value: str) -> None:
    text = '{"format":"nodegraph","version":1,"nodes":{"n":{"type":"Say","values":{"text":' + value + "}}}}"
    assert server.ask("POST", "/api/import", headers=JSON, content=text.encode()).status == 422
    body = f'{{"workflow":{text}}}'.encode()
    for path in ("/api/runs", "/api/plan", "/api/check"):
        answer = server.ask("POST", path, headers=JSON, content=body)
        assert answer.status in (400, 422) or answer.json["problems"], value
    assert server.ask("PUT", "/api/workflows/hurt", headers=JSON, content=body).status in (400, 422)


@pytest.mark.parametrize("body", [None, [], {"workflow": {}, "extra": 1}, {"workflow": []}, {"workflow": "x"}, 3])
def test_json_of_another_shape(server: Running, body: object) -> None:
    for path in ("/api/runs", "/api/plan", "/api/check"):
        assert server.ask("POST", path, headers=JSON, content=json.dumps(body).encode()).status == 422


def test_a_compressed_body_is_not_unpacked(server: Running) -> None:
    body = zlib.compress(b" " * 30_000_000)
    headers = {**JSON, "Content-Encoding": "deflate"}
    assert server.ask("POST", "/api/check", headers=headers, content=body).status in (400, 415)


def test_a_pickle_called_safetensors_is_refused_by_name(server: Running) -> None:
    """A checkpoint that is no safetensors never reaches a loader: it is found by parsing, whatever it is called."""
    folder = server.home / "models" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    marker = server.home / "owned"
    payload = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    for name in ("evil.safetensors", "evil.SAFETENSORS", "evil.ckpt", "evil.pt"):
        (folder / name).write_bytes(payload)
        data = workflow()
        data["nodes"]["model"]["values"]["checkpoint"] = name
        answer = server.ask("POST", "/api/runs", {"workflow": data})
        if answer.status == 201:
            run = answer.json["id"]
            deadline = time.monotonic() + 60
            while (found := server.get(f"/api/runs/{run}").json)["status"] in ("queued", "running"):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert found["status"] == "failed"
            assert found["error"]["node"] == "model" or "model" in found["nodes"]
        else:
            assert answer.status == 422
    assert not marker.exists()


def test_nothing_that_was_tried_was_taken_for_a_fault_of_the_server(server: Running) -> None:
    """Last, after all of the above: no error and no traceback in the log, not even for requests that are no HTTP."""
    raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
    raw(server, b"\x16\x03\x01 not HTTP at all\r\n\r\n")
    lines = (server.home / "logs" / "server.log").read_text("utf-8").splitlines()
    assert [
        line for line in lines if "Traceback" in line or json.loads(line)["level"] in ("error", "critical")
    ] == []
