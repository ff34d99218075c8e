"""The templates for models of one's own: what they miss is said, and with tiny networks of real layout they run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
from conftest import YOURS
from nodegraph.nodes.control import FindEdges
from test_compiled import control_of, lora_of

from nodegraph.diffusion.values import Image
from nodegraph.engine import Engine
from nodegraph.pictures import decode
from nodegraph.workflow import Workflow

PATHS = sorted(YOURS.glob("*.json"))
KINDS = {"LoadModel": "checkpoint", "LoadLora": "lora", "LoadControlNet": "controlnet"}
FOLDERS = {"checkpoint": "checkpoints", "lora": "loras", "controlnet": "controlnet"}
SMALL = {"blank.width": 64, "blank.height": 64, "schedule.steps": 2}


def wanted(workflow: Workflow) -> dict[str, str]:
    """The files that it names, by `node.input`."""
    return {
        f"{id}.{KINDS[spec.type]}": str(spec.values[KINDS[spec.type]])
        for id, spec in workflow.nodes.items()
        if spec.type in KINDS
    }


@pytest.fixture
def stocked(engine: Engine) -> Engine:
    """An engine whose home has tiny networks under every name that the templates ask for."""
    made = tiny.make("sdxl")
    for path in PATHS:
        for address, name in wanted(Workflow.load(path)).items():
            kind = address.rpartition(".")[2]
            file = engine.home.models / FOLDERS[kind] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "checkpoint":
                    tiny.save_single(made, file)
                case "lora":
                    lora_of(file, width=128)
                case "controlnet":
                    control_of(made, file)
    return engine


def test_there_are_some() -> None:
    assert {type for path in PATHS for type in KINDS if f'"{type}"' in path.read_text("utf-8")} == set(KINDS)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_without_the_files_each_is_named_with_its_folder_and_nothing_else_is_wrong(
    path: Path, engine: Engine
) -> None:
    workflow = Workflow.load(path)
    problems = engine.check(workflow).problems
    assert {f"{one.node}.{one.input}" for one in problems} == set(wanted(workflow))
    (note,) = workflow.notes
    for problem in problems:
        folder = FOLDERS[str(problem.input)]
        assert str(engine.home.models / folder) in problem.message
        assert f"`models/{folder}`" in note.text
        assert f"`{problem.node}`" in note.text


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_with_the_files_it_paints_and_what_it_adds_counts(path: Path, stocked: Engine) -> None:
    workflow = Workflow.load(path).with_values(SMALL)
    result = stocked.run(workflow, targets=["decode", "save"])
    (file,) = (file for file in result.files if file.name.startswith(path.stem))
    assert decode(file.read_bytes()).shape == (3, 64, 64)
    assert Workflow.load(file) == workflow
    painted = result["decode"]["image"].tensor
    strengths = [
        f"{id}.{name}" for id, spec in workflow.nodes.items() for name in spec.values if "strength" in name
    ]
    without = stocked.run(workflow, values=dict.fromkeys(strengths, 0.0), targets=["decode"])["decode"][
        "image"
    ].tensor
    assert float((painted - without).abs().max()) > 1e-3


def test_what_the_controlnet_follows_are_the_edges_of_the_picture(stocked: Engine) -> None:
    workflow = Workflow.load(YOURS / "sdxl_edges.json")
    found = stocked.run(workflow, targets=["fit", "edges"])
    edges = found["edges"]["image"].tensor
    assert torch.equal(edges, FindEdges(Image(found["fit"]["image"].tensor), blur=10.0).tensor)
    assert 2000 < int(edges[0, 0].sum()) < 8000
    links = json.loads(workflow.dump())["nodes"]
    for name in ("follow", "follow_negative"):
        assert links[name]["links"]["image"] == {"node": "edges", "output": "image"}
