"""Every shipped workflow: sound, laid out, the same after a round trip, and it runs."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT, YOURS
from nodegraph.nodes.images import CompareImages

from nodegraph.diffusion.values import Image
from nodegraph.engine import Engine
from nodegraph.pictures import decode
from nodegraph.workflow import Workflow

ALL = sorted((ROOT / "workflows").rglob("*.json"))
PATHS = [path for path in ALL if YOURS not in path.parents]
FEW = {
    "SampleGrid": {"steps": 4},
    "Schedule": {"steps": 4},
    "TrainDiffusion": {"steps": 4},
    "LatentWalk": {"frames": 2},
}
FIRST = {"batch_variations", "compare_samplers", "image_to_image", "inpaint", "text_to_image"}


def quick(path: Path) -> Workflow:
    """A shipped workflow with little to compute, inside of subgraphs too."""
    data = json.loads(path.read_bytes())
    for part in (data, *data.get("subgraphs", {}).values()):
        for spec in part["nodes"].values():
            few = FEW.get(spec["type"], {})
            spec["values"] = {**spec.get("values", {}), **few}
            spec["links"] = {name: link for name, link in spec.get("links", {}).items() if name not in few}
    return Workflow.from_data(data)


def test_the_first_ones_are_there() -> None:
    assert {path.stem for path in PATHS} >= FIRST


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_is_sound_and_shown(path: Path, engine: Engine) -> None:
    engine.check(Workflow.load(path)).raise_problems()
    assert (ROOT / "docs" / "images" / f"{path.stem}.png").is_file()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_is_laid_out_and_documented(path: Path) -> None:
    workflow = Workflow.load(path)
    assert path.read_text("utf-8") == workflow.dump()
    assert workflow.title
    assert len(workflow.description) > 40
    assert set(workflow.layout) == set(workflow.nodes)
    places = {(place.x, place.y) for place in workflow.layout.values()}
    assert len(places) == len(workflow.nodes)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_runs_and_a_second_run_executes_nothing(path: Path, engine: Engine) -> None:
    workflow = quick(path)
    result = engine.run(workflow)
    pictures = [file for file in result.files if file.suffix == ".png"]
    assert pictures
    for file in pictures:
        picture = decode(file.read_bytes())
        assert picture.shape[1] >= 64
        assert 0.05 < picture.std() < 0.6  # neither blank nor noise on noise
        assert Workflow.load(file) == workflow
    again = engine.run(workflow)
    assert again.ran == []
    assert sorted(again.files) == sorted(result.files)
    renamed = engine.run(workflow, values={"save.name": "renamed"})
    assert renamed.ran == ["save"]


def test_the_picture_of_docs_was_made_by_the_workflow_that_it_carries() -> None:
    for path in ALL:
        picture = ROOT / "docs" / "images" / f"{path.stem}.png"
        if picture.is_file() or path in PATHS:
            assert Workflow.load(picture).nodes == Workflow.load(path).nodes, path.stem


def test_the_more_noise_the_less_of_a_picture_comes_back(engine: Engine) -> None:
    """The shipped workflow: likeness to the picture falls with every strength, by both measures."""
    workflow = Workflow.load(ROOT / "workflows" / "theory" / "diffuse_recover.json")
    values = {f"schedule{number}.steps": 10 for number in (1, 2, 3, 4)}
    pictures = engine.run(workflow, values=values, targets=["decode"])["decode"]["image"].tensor
    found = [CompareImages(Image(pictures[:1]), Image(pictures[i : i + 1])) for i in range(1, 5)]
    for likeness in ([one.psnr for one in found], [one.ssim for one in found]):
        assert all(before > after for before, after in pairwise(likeness)), likeness
    assert found[0].psnr > found[3].psnr + 5


def test_inpainting_leaves_the_rest_untouched(engine: Engine) -> None:
    workflow = quick(ROOT / "workflows" / "inpaint.json")
    result = engine.run(workflow, targets=["picture", "composite", "mask"])
    before, after = result["picture"]["image"].tensor, result["composite"]["image"].tensor
    mask = result["mask"]["mask"].tensor
    kept = (mask == 0).expand_as(before)
    assert bool((before[kept] == after[kept]).all())
    assert not bool((before[~kept] == after[~kept]).all())
