"""Files get second names on a real kernel that refuses hard links, as it does on FAT and on many network drives."""

from __future__ import annotations

import os
import platform
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from real_server import COPY_CAT, PICTURE, Running, running

from nodegraph.named import name_also, write_whole
from nodegraph.workflow import Workflow

# A process that imports this can make no hard link, nor can its children: a filter of system calls says EPERM.
NO_LINKS = """
import ctypes, os, struct
NUMBERS = {"x86_64": (86, 265), "aarch64": (37,)}[os.uname().machine]
code = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # load the number of the call
code += [struct.pack("HBBI", 0x15, len(NUMBERS) - at, 0, number) for at, number in enumerate(NUMBERS)]
code += [struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000), struct.pack("HBBI", 0x06, 0, 0, 0x00050001)]
program = ctypes.create_string_buffer(b"".join(code))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()
"""


@pytest.fixture
def no_links(tmp_path: Path) -> str:
    """A folder for PYTHONPATH; a Python that has it there makes no hard links."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("needs the filter of system calls of Linux")
    folder = tmp_path / "no_links"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NO_LINKS)
    (tmp_path / "one").write_text("one")
    tried = subprocess.run(
        [sys.executable, "-c", "import os; os.link('one', 'two')"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Operation not permitted" in tried.stderr, tried.stderr
    return str(folder)


def test_a_file_is_on_the_disk_before_its_name_is_and_has_the_mode_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced, modes = tmp_path / "picture.png", [], []
    fsync = os.fsync

    def told(descriptor: int) -> None:
        fsync(descriptor)
        stats = os.fstat(descriptor)
        synced.append((stats.st_size, path.read_text() if path.exists() else None))
        modes.append(stat.S_IMODE(stats.st_mode))

    monkeypatch.setattr(os, "fsync", told)
    (tmp_path / "any").touch()
    write_whole(path, b"first")
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode  # of a new file, as the umask says
    path.chmod(0o640)
    write_whole(path, b"second one")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("second one", 0o640)
    assert synced == [(5, None), (10, "first")]
    assert modes[1] == 0o640  # before anybody could read what is new
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "folder", b"no file")
    assert {entry.name for entry in tmp_path.iterdir()} == {"picture.png", "any", "folder"}


def test_what_is_saved_may_be_read_by_whom_it_was(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.touch(0o644)
    path.chmod(0o644)
    Workflow(title="mine").save(path)
    assert (Workflow.load(path).title, stat.S_IMODE(path.stat().st_mode)) == ("mine", 0o644)


def test_a_name_that_is_taken_stays_what_it_is(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        name_also(source, target)
    assert target.read_text() == "old"
    name_also(source, tmp_path / "free")
    assert (tmp_path / "free").read_text() == "new"


def test_without_hard_links_the_server_uploads_renames_restores_and_saves(tmp_path: Path, no_links: str) -> None:
    home = tmp_path / "home"
    with running(home, PYTHONPATH=no_links) as server:
        uploaded = [
            server.ask("POST", "/api/uploads?name=cat.png", content=PICTURE, headers={"Content-Type": "image/png"})
            for _ in range(2)
        ]
        assert [one.json["name"] for one in uploaded] == ["cat.png", "cat.png"], [one.body for one in uploaded]
        for name in ("one", "two"):
            saved = server.ask("PUT", f"/api/workflows/{name}", {"workflow": {**COPY_CAT, "title": name}})
            assert saved.status == 201, saved.body
        assert server.ask("POST", "/api/workflows/one/rename", {"name": "two"}).status == 409
        assert server.get("/api/workflows/two").json["workflow"]["title"] == "two"
        renamed = server.ask("POST", "/api/workflows/one/rename", {"name": "three"})
        assert (renamed.status, renamed.json["name"]) == (200, "three")
        trashed = server.ask("DELETE", "/api/workflows/three").json
        assert server.ask("POST", f"/api/trash/{trashed['id']}/restore").json["name"] == "three"
        assert {one["name"] for one in server.get("/api/workflows").json["workflows"]} == {"two", "three"}

        artifact = made(server)
        address = f"/api/artifacts/{artifact['id']}"
        content = server.get(address).body
        assert server.ask("DELETE", address).status == 200
        assert server.get(address).status == 404
        assert server.ask("POST", f"{address}/restore").status == 200
        assert server.get(address).body == content
        assert server.faults() == []
    left = [path for path in home.rglob("*") if path.name.startswith(".") and path.suffix == ".tmp"]
    assert left == []


def made(server: Running) -> dict[str, str]:
    """The artifact of a run that saves a picture."""
    run = server.ask("POST", "/api/runs", {"workflow": COPY_CAT})
    assert run.status == 201, run.body
    deadline = time.monotonic() + 120
    while (found := server.get(f"/api/runs/{run.json['id']}").json)["status"] in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found["status"] == "succeeded", found
    (artifact,) = found["artifacts"]
    return dict(artifact)
