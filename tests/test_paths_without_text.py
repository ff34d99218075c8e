"""Folders whose names are bytes of another encoding, as disks of other systems have them: not text, yet in use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from real_server import COPY_CAT, running


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A folder called `caf` and the byte that Latin-1 has for an e with an accent."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes nothing but text")
    shutil.copy(ROOT / "workflows" / "images" / "sketch.png", folder / "cat.png")
    (folder / "cat.json").write_text(json.dumps(COPY_CAT))
    return folder


def test_a_run_writes_there_tells_of_it_and_knows_it_again(latin: Path) -> None:
    command = [sys.executable, "-m", "nodegraph", "run", latin / "cat.json", "--output", latin / "out", "--events"]
    told = [
        subprocess.run(
            command,
            env={**os.environ, "NODEGRAPH_HOME": str(latin / "home"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for _ in range(2)
    ]
    (picture,) = (latin / "out").glob("*.png")  # written once: the second run knew the folder
    for lines in told:
        assert json.loads(lines[-1])["files"] == [str(picture)]


def test_a_server_there_answers(latin: Path) -> None:
    with running(latin / "home") as server:
        for address in ("/api/system", "/api/models", "/api/nodes", "/api/workflows", "/health"):
            assert server.get(address).status == 200, address
        missing = server.ask("POST", "/api/check", {"workflow": COPY_CAT})
        assert missing.status == 200
        assert "there is no 'cat.png'" in missing.json["problems"][0]["message"]
        assert server.faults() == []
