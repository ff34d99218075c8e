"""Names that lead elsewhere, tried on a real server process: of workflows, pictures and addresses; links and pipes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from real_server import PICTURE, Running, running, workflow

from nodegraph.files import Files
from nodegraph.serve.names import safe_name
from nodegraph.serve.uploads import Uploads

TRAVERSALS = [
    "../x", "..", ".", "/etc/passwd", "a/b", "a/../../b", "..\\x", "C:\\x", "C:x", "\\\\host\\share", "x\0.json",
    "con", "NUL", "com1.txt", "aux .x", "x.", "x ", ".hidden", "~root", "x:y", "x|y", "x\ny", "x\r", "\u202ex", "a" * 300,
    "%2e%2e", "..%2f..%2fevil", "．．／x", "x\u2215y", "", " x",
    "\u0301x", "x\u200d", "x\u200cy", "क\u200d", "क\u200d\u200dक", "x\u2066y", "x\u200ey", "x\u00ady", "\ufeffx", "x (\u0301)",
    "x\ue000", "x\ud7ffy\u2028",
    "x\ufe0f", "x\u034f", "x\U000e0100", "x\u17b4", "x\u180b", "x\u180f", "\u3164", "x\u115f", "x\uffa0",
    "con\ufe0f", "e" + "\u0301" * 99, "क" + "\u0301" * 8 + "\u200d\u0301", "x²", "½",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("open") / "home") as server:
        yield server


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
        assert safe_name(answer.json["name"]) == answer.json["name"]
        assert stored.is_file()
    else:
        assert answer.status == 422
    strange = [path for path in (server.home / "inputs").rglob("*") if path.suffix != ".png"]
    assert strange == []
    assert server.get(f"/api/uploads/{quote(name, safe='')}").status in (404, 422)


@pytest.mark.parametrize("name", ["My first (1)", "हिन्दी", "क्\u200dष", "မျှော်လင့်ချက်", "東京2", "Ⅷ", "_x", "été"])
def test_names_of_every_script_are_taken(server: Running, name: str) -> None:
    address = f"/api/workflows/{quote(name, safe='')}"
    assert server.ask("PUT", address, {"workflow": workflow()}).status == 201
    assert server.get(address).status == 200
    assert name in {entry["name"] for entry in server.get("/api/workflows").json["workflows"]}


def test_what_is_listed_can_be_read(server: Running) -> None:
    """Files that somebody put there: a name is either in both or in none."""
    folder = server.home / "workflows"
    folder.mkdir(exist_ok=True)
    for name in ("x²", "½", "x\ufe0f", "\u3164", "fine", "x\u0301y", "Ⅷ"):
        (folder / f"{name}.json").write_text(json.dumps(workflow()))
    listed = {entry["name"] for entry in server.get("/api/workflows").json["workflows"]}
    assert {"fine", "Ⅷ"} <= listed
    for name in listed:
        assert server.get(f"/api/workflows/{quote(name, safe='')}").status == 200, name


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


def test_an_upload_is_written_once_however_many_names_are_taken(tmp_path: Path) -> None:
    counters = Path("/proc/self/io")
    if not counters.exists():
        pytest.skip("this system does not count what a process writes")

    def written() -> int:
        return int(counters.read_text().split("wchar: ")[1].split()[0])

    def add(number: int) -> str:
        content = io.BytesIO()
        noise = random.Random(number).randbytes(3 * 256 * 256)
        Image.frombytes("RGB", (256, 256), noise).save(content, "PNG")
        before = written()
        stored = asyncio.run(uploads.add("cat.png", content.getvalue()))
        assert written() - before < 4 * stored.bytes  # it goes to the decoder and comes back, too
        return stored.name

    uploads = Uploads(tmp_path, Files())
    assert [add(number) for number in range(9)] == ["cat.png", *(f"cat-{number}.png" for number in range(2, 10))]
    assert add(4) == "cat-5.png"  # the same picture again
    assert len(list(tmp_path.iterdir())) == 9
