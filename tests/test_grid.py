"""A grid of values: each picture is the one that its pair gives alone, and what pairs share is computed once."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest
from conftest import ROOT, Shell
from nodegraph.nodes.images import ContactSheet

from nodegraph import events
from nodegraph.diffusion.values import Image
from nodegraph.engine import Engine
from nodegraph.errors import CheckError
from nodegraph.grid import Axis, axis_of, grid_of, values_of
from nodegraph.pictures import decode
from nodegraph.registry import Registry
from nodegraph.subgraphs import PREFIX
from nodegraph.workflow import Link, Workflow

BASE = Workflow.load(ROOT / "workflows" / "text_to_image.json").with_values(
    {"schedule.steps": 2, "blank.batch_size": 1, "sampler.sampler": "euler"}
)
GUIDANCE = Axis("sampler.guidance_scale", (1, 3, 5))
TEXTS = Axis("prompt.text", ("a red heart", "a blue car"))


def kinds(workflow: Workflow) -> Counter[str]:
    return Counter(spec.type for spec in workflow.nodes.values())


def said(workflow: Workflow, registry: Registry, x: Axis, y: Axis | None = None, **more: Any) -> str:
    """Why this is refused."""
    with pytest.raises(CheckError) as error:
        grid_of(workflow, registry.catalog.nodes, x, y, **more)
    return str(error.value)


def refused(registry: Registry, x: Axis, y: Axis | None = None, **more: Any) -> str:
    return said(BASE, registry, x, y, **more)


@pytest.mark.parametrize(
    ("text", "is_text", "values"),
    [
        ("1,3,5", False, (1, 3, 5)),
        (" 1.5 , 2", False, (1.5, 2)),
        ("1..4", False, (1, 2, 3, 4)),
        ("0..1:0.25", False, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("-2..2:2", False, (-2, 0, 2)),
        ("true,false", False, (True, False)),
        ("a cat, a dog", True, ("a cat", "a dog")),
        ('["red, green", ""]', True, ("red, green", "")),
        ("1..4", True, ("1..4",)),
    ],
)
def test_values_are_lists_or_ranges(text: str, is_text: bool, values: tuple[Any, ...]) -> None:
    assert values_of(text, is_text=is_text) == values


@pytest.mark.parametrize("text", ["1,,3", "[1", "1..1000000", "1..5:0", "{}}", "a b", "5..1..2"])
def test_what_is_no_list_of_values_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|JSON|too many"):
        values_of(text, is_text=False)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("007..009", "7..9"), ("1,02,-03.5", "1,2,-3.5"), ("0..1:00.25", "0..1:0.25"), ("00", "0")],
)
def test_numbers_that_begin_with_zeros_are_told_as_they_should_be_written(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"begins with a zero; write {re.escape(meant)}$"):
        values_of(text, is_text=False)
    assert values_of(text, is_text=True) == tuple(text.split(","))
    assert values_of(meant, is_text=False)


@pytest.mark.parametrize("text", [".05", "0.5,.025", "-.05,1"])
def test_no_number_is_proposed_that_is_another(text: str) -> None:
    with pytest.raises(ValueError) as told:
        values_of(text, is_text=False)
    assert "begins with a zero" not in str(told.value)


def test_zeros_in_a_number_are_no_zeros_before_it() -> None:
    assert values_of("0,0.05,10.01,1e05,-0.5,1e-03", is_text=False) == (0, 0.05, 10.01, 1e5, -0.5, 1e-3)


def test_each_picture_is_that_of_its_pair_and_shared_nodes_run_once(engine: Engine, registry: Registry) -> None:
    grid = grid_of(BASE, registry.catalog.nodes, GUIDANCE, TEXTS)
    heard: list[events.Event] = []
    result = engine.run(grid, listen=heard.append)
    started = Counter(
        grid.nodes[event.node].type for event in heard if isinstance(event, events.Started) and event.node
    )
    # One model, one empty latent, one schedule, the negative and two prompts; only sampling is done for every pair.
    assert started["LoadModel"] == started["EmptyLatent"] == started["Schedule"] == 1
    assert started["Encode"] == 3
    assert started["Sampler"] == started["VAEDecode"] == 6
    assert not [event for event in heard if isinstance(event, events.Cached)]
    files = {file.name.rpartition("-")[0]: file for file in result.files}
    assert len(files) == 7
    for guidance, text in [(1, "a red heart"), (5, "a red heart"), (3, "a blue car")]:
        alone = engine.run(
            BASE, values={"sampler.guidance_scale": guidance, "prompt.text": text, "save.name": "alone"}
        )
        assert alone.ran == ["save"]  # all that it needs was computed for the grid
        made = files[f"text_to_image guidance scale {guidance} {text}"]
        assert (decode(made.read_bytes()) == decode(alone.files[0].read_bytes())).all()
    # One more value computes its own pictures and the sheet, and nothing again.
    heard.clear()
    more = Axis(GUIDANCE.address, (*GUIDANCE.values, 7))
    wider = grid_of(BASE, registry.catalog.nodes, more, TEXTS)
    engine.run(wider, listen=heard.append)
    again = Counter(
        wider.nodes[event.node].type for event in heard if isinstance(event, events.Started) and event.node
    )
    assert again["Sampler"] == 2
    assert again["LoadModel"] == again["Encode"] == again["Schedule"] == 0


def test_one_axis_is_a_row(registry: Registry) -> None:
    grid = grid_of(BASE, registry.catalog.nodes, Axis("schedule.steps", (2, 4)))
    assert kinds(grid)["Schedule"] == kinds(grid)["Sampler"] == 2
    sheet = next(spec for spec in grid.nodes.values() if spec.type == "ContactSheet")
    assert sheet.values == {"across": "steps 2\nsteps 4", "down": ""}
    assert set(grid.layout) == set(grid.nodes)
    assert Workflow.parse(grid.dump()) == grid


def test_an_axis_reaches_into_subgraphs(engine: Engine, registry: Registry) -> None:
    shipped = Workflow.load(ROOT / "workflows" / "subgraph_styles.json")
    nodes = {name: shipped.nodes[name] for name in ("model", "cat_3d", "save")}
    nodes["save"] = nodes["save"].model_copy(update={"links": {"image": Link(node="cat_3d", output="image")}})
    one = shipped.model_copy(update={"nodes": nodes, "layout": {}})
    inner, port = Axis("cat_3d/schedule.steps", (1, 2)), Axis("cat_3d.seed", (1, 2))
    grid = grid_of(one, registry.catalog.nodes, inner, port)
    assert not any(spec.type.startswith(PREFIX) for spec in grid.nodes.values())
    assert (kinds(grid)["Schedule"], kinds(grid)["Sampler"], kinds(grid)["Encode"]) == (2, 4, 2)
    engine.check(grid).raise_problems()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("prompt.txt", "prompt.txt: Encode has no such input; it has "),
        ("prompt.txt", ". Did you mean 'text'?"),
        ("promt.text", "'promt.text' names no node. Did you mean 'prompt'?"),
        ("cat_3d.sed", "cat_3d.sed: the subgraph has no such input; it has "),
        ("cat_3d/promt.text", "has no node 'promt'. Did you mean 'prompt'?"),
    ],
)
def test_a_wrong_name_is_told_before_values_that_nobody_can_read(
    address: str, words: str, registry: Registry
) -> None:
    shipped = Workflow.load(ROOT / "workflows" / "subgraph_styles.json")
    workflow = shipped.model_copy(update={"nodes": {**shipped.nodes, **BASE.nodes}, "layout": {}})
    with pytest.raises(CheckError) as caught:
        axis_of(address, "a dog, a cat", workflow, registry.catalog.nodes)
    assert words in str(caught.value)
    assert "no list of values" not in str(caught.value)


def test_what_makes_no_grid_is_refused_in_words(registry: Registry) -> None:
    assert "'nobody.steps' names no node" in refused(registry, Axis("nobody.steps", (1,)))
    unknown = refused(registry, Axis("schedule.stepps", (1,)))
    assert "Schedule has no such input; it has 'model', 'kind', " in unknown
    assert unknown.endswith(". Did you mean 'steps'?")
    assert "schedule.steps: give it at least one value" in refused(registry, Axis("schedule.steps", ()))
    assert "is there twice" in refused(registry, Axis("schedule.steps", (1, 2, 1)))
    assert "both axes name this input" in refused(registry, GUIDANCE, GUIDANCE)
    many = tuple(range(1, 41))
    assert "more than 400 pictures" in refused(registry, Axis("sampler.seed", many), Axis("schedule.steps", many))
    assert "no picture depends on spare.steps" in said(
        BASE.model_copy(update={"nodes": {**BASE.nodes, "spare": BASE.nodes["schedule"]}}),
        registry,
        Axis("spare.steps", (1, 2)),
    )
    assert "it is no node that ends with a picture" in refused(registry, GUIDANCE, picture="decode")


def test_an_axis_that_is_given_twice_is_refused(shell: Shell) -> None:
    axes = ["--x", "sampler.seed=1,2", "--x", "schedule.steps=1,2"]
    done = shell("grid", ROOT / "workflows" / "text_to_image.json", *axes, "--save", "grid.json")
    assert done.returncode == 2
    assert "--x is given 2 times; give one input with all its values" in done.stderr
    assert "a second input with --y" in done.stderr


def test_several_pictures_must_be_told_apart(registry: Registry) -> None:
    nodes = {**BASE.nodes, "other": BASE.nodes["save"]}
    two = BASE.model_copy(update={"nodes": nodes})
    with pytest.raises(CheckError, match="save, other; choose one"):
        grid_of(two, registry.catalog.nodes, GUIDANCE)
    chosen = grid_of(two, registry.catalog.nodes, GUIDANCE, picture="other")
    assert kinds(chosen)["SaveImage"] == 4


def test_a_grid_of_a_long_workflow_is_bounded(registry: Registry) -> None:
    """Each pair brings a copy of what its values reach, and of texts that stand beside them."""
    beside = BASE.with_values({"prompt.text": "a" * 2**20})
    seeds = Axis("prompt.text", tuple("b" * 2**20 + str(number) for number in range(40)))
    assert "comes to more than 33,554,432 bytes" in said(BASE, registry, seeds)
    seeds = Axis("sampler.seed", tuple(range(400)))
    many = beside.model_copy(update={"nodes": {**beside.nodes, "other": beside.nodes["prompt"]}})
    assert "too many values for so long a workflow" in said(many, registry, seeds)


def test_many_nodes_of_long_names_that_begin_alike_are_named_at_once(registry: Registry) -> None:
    alike = {f"{'x' * 90}{number}": BASE.nodes["blank"] for number in range(10_000)}
    wide = BASE.model_copy(update={"nodes": {**BASE.nodes, **alike}})
    begun = time.process_time()
    grid_of(wide, registry.catalog.nodes, Axis("sampler.seed", (1,)))
    assert time.process_time() - begun < 20


@pytest.mark.parametrize("text", ["0..1" + "0" * 400, "9" * 5000 + "..1", "9" * 400 + ".0.." + "9" * 400 + ".0"])
def test_a_range_of_absurd_numbers_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no list of values; write 1,3,5"):
        values_of(text, is_text=False)


def test_a_sheet_has_a_place_for_each_picture_and_headings() -> None:
    import torch

    red, green = torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 64, 64)
    red[:, 0], green[:, 1] = 1, 1
    sheet = ContactSheet([Image(red), Image(green), Image(green), Image(red)], "one\ntwo", "above\nbelow").tensor[
        0
    ]
    is_red = (sheet[0] > 0.99) & (sheet[1] < 0.01)
    is_green = (sheet[1] > 0.99) & (sheet[0] < 0.01)
    assert int(is_red.sum()) == 2 * 64 * 64
    assert int(is_green.sum()) == 2 * 2 * 64 * 64
    rows, columns = torch.nonzero(is_red, as_tuple=True)
    left = columns < sheet.shape[2] / 2
    assert float(rows[left].float().mean()) < sheet.shape[1] / 2 < float(rows[~left].float().mean())
    dark = sheet.mean(0) < 0.2
    assert bool(dark[: int(rows.min())].any())
    assert bool(dark[:, : int(columns.min()) - 40].any())
    large = ContactSheet([Image(torch.rand(1, 3, 64, 64000))], "", "").tensor
    assert large.shape[3] < 8300
    with pytest.raises(ValueError, match="no picture"):
        ContactSheet([], "", "")
