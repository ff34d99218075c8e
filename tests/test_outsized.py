"""Pictures that no memory here holds are problems of the document: real processes with little memory to have."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from nodegraph.check import check
from nodegraph.diffusion.models import host
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow

ROOM = 3 << 30  # bytes of addresses; a process that only checks takes less than one of them
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no other system says how much there is")


def said(home: Home, command: str, *settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nodegraph", command, ROOT / "workflows" / "your_models" / "sdxl_lora.json", *settings],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "NODEGRAPH_HOME": str(home.folder)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM)),
    )  # fmt: skip


@pytest.mark.parametrize("command", ["check", "run"])
def test_it_is_said_before_anything_runs(home: Home, command: str) -> None:
    sides = ["--set", "blank.width=8192", "--set", "blank.height=8192"]
    done = said(home, command, *sides, "--set", "blank.batch_size=3")
    assert done.returncode == 2
    assert (
        "blank.batch_size: pictures of batch_size 3, width 8192, height 8192 take 4.83 GB while they are worked on, "
        "and this machine has 3.22 GB; make them smaller or fewer"
    ) in done.stderr
    assert "take" not in said(home, command, *sides, "--set", "blank.batch_size=1").stderr


def problems(registry: Registry, tmp_path: Path, **nodes: Any) -> list[str]:
    document = Workflow.from_data(json.loads(json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes})))
    files = Files(output=tmp_path, builtin={"checkpoints": {"emoji": ROOT}})
    found = check(document, registry.catalog, files).problems
    return [str(one) for one in found if "this machine has" in one.message]


def test_what_a_link_brings_is_not_guessed_at_and_a_mask_is_no_picture(registry: Registry, tmp_path: Path) -> None:
    """A terabyte and a half is too much nearly everywhere; one side of it, or a mask, is not."""
    if (host.total() or 0) > 1.6e12:
        pytest.skip("this machine has more")
    sides = {"width": 8192, "height": 8192}
    model = {"type": "LoadModel", "values": {"checkpoint": "emoji"}}
    vae = {"vae": {"node": "model", "output": "vae"}}
    video = {"type": "EmptyVideo", "values": {**sides, "frames": 1025}, "links": vae}
    (told,) = problems(registry, tmp_path, model=model, video=video)
    assert told.startswith("video.frames: pictures of frames 1025, width 8192, height 8192 take 1650.88 GB")
    number = {"type": "Integer", "values": {"value": 8192}}
    for side in sides:
        linked = {**video, "values": {k: v for k, v in video["values"].items() if k != side}}  # type: ignore[union-attr]
        linked["links"] = {**vae, side: {"node": "number", "output": "value"}}
        assert problems(registry, tmp_path, model=model, number=number, video=linked) == []
    mask = {"type": "MaskFromShape", "values": sides}
    assert problems(registry, tmp_path, mask=mask) == []
