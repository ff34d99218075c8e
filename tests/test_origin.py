"""A node that fails of values that are no numbers tells which one made them, however far above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from nodegraph.cache import DiskTier, ResultCache
from nodegraph.engine import Engine
from nodegraph.errors import NodeError
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.workflow import Workflow

PLUGIN = '''
from dataclasses import replace
from nodegraph import node
from nodegraph.diffusion.values import Image, Latent

@node(category="mine")
def Divide(image: Image) -> Image:
    """Give 0 / 0 where the picture is black."""
    return Image(image.tensor / image.tensor)

@node(category="mine")
def Overflow(latent: Latent) -> Latent:
    """Give infinity."""
    return replace(latent, tensor=latent.tensor + 1e38 * 10)

@node(category="mine")
def Refuse(image: Image) -> Image:
    """Fail of something else."""
    raise ValueError("I do not like it")
'''


@pytest.fixture
def engine(home: Home, files: Files, tmp_path: Path) -> Engine:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN)
    cache = ResultCache(disk=DiskTier(home.cache))
    return Engine(home=home, plugins=[tmp_path / "plugins"], cache=cache, files=files, device="cpu")


def said(engine: Engine, nodes: dict[str, Any]) -> str:
    with pytest.raises(NodeError) as failure:
        engine.run(Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes}))
    return str(failure.value)


def picture(last: str, between: str) -> dict[str, Any]:
    """A picture of a shape, changed by a node, blurred, and taken by a last one."""
    return {
        "shape": {"type": "MaskFromShape", "values": {"width": 32, "height": 32}},
        "drawn": {"type": "MaskToImage", "links": {"mask": {"node": "shape", "output": "mask"}}},
        "between": {"type": between, "links": {"image": {"node": "drawn", "output": "image"}}},
        "blur": {"type": "BlurImage", "links": {"image": {"node": "between", "output": "image"}}},
        "last": {"type": last, "links": {"image": {"node": "blur", "output": "image"}}},
    }


def test_the_first_node_that_made_them_is_named(engine: Engine) -> None:
    words = "came in from 'between' (Divide), whose output 'image' is the first known to hold them"
    told = said(engine, picture("SaveImage", "Divide"))
    assert told.startswith("last (SaveImage): 3,072 of the 3,072 values")
    assert "of the picture are no numbers (NaN)" in told
    assert words in told
    assert said(engine, picture("SaveImage", "Divide")) == told, "also where they come from the cache"


def test_another_error_of_a_node_that_was_given_numbers_says_nothing_of_it(engine: Engine) -> None:
    assert said(engine, picture("Refuse", "InvertImage")) == "last (Refuse): I do not like it"


def test_a_sampler_is_not_to_blame_for_the_latent_that_it_was_given(engine: Engine) -> None:
    workflow = Workflow.load(ROOT / "workflows" / "text_to_image.json").with_values({"schedule.steps": 2})
    data = workflow.model_dump()["nodes"]
    data["huge"] = {"type": "Overflow", "links": {"latent": data["sampler"]["links"]["latent"]}}
    data["sampler"]["links"]["latent"] = {"node": "huge", "output": "latent"}
    told = said(engine, data)
    assert told.startswith("sampler (Sampler): ")
    assert "came in from 'huge' (Overflow), whose output 'latent'" in told
