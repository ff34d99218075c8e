"""Bodies made to hurt, tried on a real server process: pictures that are none, or grow; JSON; sizes; a pickle."""

from __future__ import annotations

import io
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from PIL import Image, PngImagePlugin
from real_server import JSON, Running, running, workflow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("open") / "home") as server:
        yield server


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
    server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
    server.raw(b"\x16\x03\x01 not HTTP at all\r\n\r\n")
    assert server.faults() == []


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def made(receipt: str) -> bytes:
    """A WebP as ours are, with a receipt of its own in the comment."""
    exif = Image.Exif()
    texts = {"nodegraph": json.dumps(workflow()), "nodegraph-receipt": receipt}
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + json.dumps(texts).encode()
    return picture("WEBP", exif=exif)


def test_what_could_not_be_written_back_is_refused(server: Running) -> None:
    document = {
        "format": "nodegraph",
        "version": 1,
        "nodes": {"a": {"type": "LoadImage", "values": {"image": "?"}}},
    }

    def ask(path: str, body: str) -> tuple[int, str]:
        answer = server.ask("POST", path, headers=JSON, content=body.encode())
        return answer.status, answer.body.decode()

    long = json.dumps({"workflow": document}).replace('"?"', json.dumps("a" * 300))
    status, said = ask("/api/check", long)
    assert (status, "there is no 'aaa" in said) == (200, True)
    for depth in (190, 260, 300, 900):
        axis = {"input": "a.image", "values": f"[{nested(depth)}]"}
        status, said = ask("/api/grid", json.dumps({"workflow": document, "x": axis}))
        assert (status, "nested too deeply" in said) == (200, depth > 200), said[:200]
        for path, body in (
            ("/api/check", json.dumps({"workflow": document}).replace('"?"', nested(depth))),
            ("/api/import", json.dumps(document).replace('"?"', nested(depth))),
        ):
            status, said = ask(path, body)
            assert status in ((200,) if depth < 200 else (400, 422)), (path, depth, said[:200])
            assert depth < 200 or "nested too deeply" in said
    for receipt, comes_back in (
        ('{"a": "b"}', True), ('{"a": "\ud800"}', False), (f'{{"a": {nested(300)}}}', False),
        (f'{{"a": {nested(190)}}}', True),
    ):  # fmt: skip
        answer = server.ask("POST", "/api/import", headers={"Content-Type": "image/webp"}, content=made(receipt))
        assert answer.status == 200, answer.body[:300]
        assert answer.json["receipt"] == (json.loads(receipt) if comes_back else None)
