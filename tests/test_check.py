"""Every problem at once, each with node, input, what is wrong and what would be right."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from simple_nodes import simple_registry

from nodegraph.catalog import Catalog, ImportProblem
from nodegraph.check import _depth_first, check
from nodegraph.errors import HINTED, CheckError
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow

CATALOG = simple_registry().catalog


def problems(nodes: dict[str, Any], files: Files | None = None, catalog: Catalog = CATALOG) -> list[str]:
    document = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    return [str(problem) for problem in check(document, catalog, files).problems]


def link(node: str, output: str = "value") -> dict[str, str]:
    return {"node": node, "output": output}


NUMBER = {"type": "Number", "values": {"value": 3}}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ({"a": {"type": "Nomber"}}, "a: no node type is called 'Nomber'. Did you mean 'Number'?"),
        ({"a": {"type": "Xyz"}}, "a: no node type is called 'Xyz'. A plugin may be missing: install it or give --plugins FOLDER"),
        ({"a": {"type": "Number", "values": {"valve": 3}}}, "a.valve: Number has no such input; it has 'value'. Did"),
        ({"n": NUMBER, "a": {"type": "Unpack", "values": {"value": 3}}}, "a.value: Unpack has no such input; it has 'box'. Did you mean 'n.value'?"),
        ({"a": {"type": "Number", "values": {"value": 101}}}, "a.value: 101 is too large; give at most 100"),
        ({"a": {"type": "Number", "values": {"value": "3"}}}, "a.value: '3' does not fit; give a whole number"),
        ({"a": {"type": "Half", "values": {"value": 1, "mode": "exakt"}}}, "Did you mean 'exact'?"),
        ({"a": {"type": "Half"}}, "a.value: has no value; give a float or link one"),
        ({"a": {"type": "Unpack"}}, "a.box: is not connected; link a Box to it"),
        ({"a": {"type": "Unpack", "values": {"box": 3}}}, "a.box: takes a link to a Box, not a value"),
        ({"n": NUMBER, "a": {"type": "Unpack", "links": {"box": link("n")}}}, "a.box: needs a Box, but n.value gives an int"),
        ({"number": NUMBER, "a": {"type": "Plus", "links": {"a": link("numbr")}}}, "there is no node 'numbr'. Did you mean 'number'?"),
        ({"num": NUMBER, "a": {"type": "Plus", "links": {"a": link("num", "valu")}}}, "has no output 'valu'; it has 'value'. Did"),
        ({"n": NUMBER, "a": {"type": "Plus", "links": {"a": [link("n"), link("n")]}}}, "a.a: takes one link, 2 are given"),
        ({"n": NUMBER, "a": {"type": "Plus", "values": {"a": 1}, "links": {"a": link("n")}}}, "both a value and a link"),
        ({"a": {"type": "Plus", "links": {"a": link("a")}}}, "wait for each other: a -> a"),
        ({}, "workflow: the workflow has no nodes"),
    ],
)  # fmt: skip
def test_each_kind_of_problem(nodes: dict[str, Any], expected: str) -> None:
    found = problems(nodes)
    assert any(expected in problem for problem in found), found


def test_all_problems_come_at_once_and_make_one_message() -> None:
    document = Workflow.from_data(
        {
            "format": "nodegraph",
            "version": 1,
            "nodes": {
                "a": {"type": "Number", "values": {"value": -1, "x": 0}},
                "b": {"type": "Plus"},
                "c": {"type": "Nope"},
                "d": {"type": "Unpack", "links": {"box": link("a")}},
            },
        }
    )
    with pytest.raises(CheckError) as refusal:
        check(document, CATALOG).raise_problems()
    assert {problem.where for problem in refusal.value.problems} == {"a.value", "a.x", "b.a", "c", "d.box"}
    assert str(refusal.value).startswith("The workflow has 5 problems:")


def test_what_fits_is_accepted() -> None:
    assert not problems(
        {
            "n": NUMBER,
            "half": {"type": "Half", "links": {"value": link("n")}},  # an int is a float
            "box": {"type": "Pack", "links": {"value": link("n")}},
            "out": {"type": "Unpack", "links": {"box": link("box", "small_box")}},  # a subclass is its base
            "sum": {"type": "Sum", "links": {"numbers": [link("n"), link("out")]}},
            "literal": {"type": "Sum", "values": {"numbers": [1, 2]}},
        }
    )


def test_a_float_is_no_int() -> None:
    found = problems(
        {
            "h": {"type": "Half", "values": {"value": 1}},
            "a": {"type": "Plus", "links": {"a": link("h")}},
        }
    )
    assert found == ["a.a: needs an int, but h.value gives a float"]


def test_variables_carry_their_type_through() -> None:
    def graph(then: dict[str, str], target: str, entry: str) -> list[str]:
        return problems(
            {
                "n": NUMBER,
                "p": {"type": "Pack", "links": {"value": link("n")}},
                "if": {
                    "type": "Choose",
                    "values": {"condition": True},
                    "links": {"then": then, "otherwise": link("n")},
                },
                "end": {"type": target, "links": {entry: link("if")}},
            }
        )

    assert not graph(link("n"), "Plus", "a")
    assert "needs a Box, but if.value gives an int" in graph(link("n"), "Unpack", "box")[0]
    assert "both must be the same" in graph(link("p", "small_box"), "Plus", "a")[0]


def test_a_folder_is_looked_through_once_however_many_files_are_missed(tmp_path: Path, registry: Registry) -> None:
    looked: list[str] = []

    class Counted(Files):
        def names(self, kind: str, limit: int = 10_000) -> list[str]:
            looked.append(kind)
            return super().names(kind, limit)

    (tmp_path / "photo-1.png").touch()
    files = Counted({"images": [tmp_path], "checkpoints": [tmp_path]})
    found = problems({f"n{i}": {"type": "Read", "values": {"image": "photo-2.png"}} for i in range(99)}, files)
    assert looked == ["images"]
    assert ["Did you mean 'photo-1.png'?" in line for line in found] == [True] * HINTED + [False] * (99 - HINTED)
    looked.clear()
    painting = Workflow.load(ROOT / "workflows" / "text_to_image.json")
    painting = painting.with_values({"model.checkpoint": "gone", "blank.width": 512})  # as wide as it is painted?
    (problem,) = check(painting, registry.catalog, files).problems
    assert "there is no 'gone' among the checkpoints" in str(problem)
    assert looked == ["checkpoints"]


def test_a_missing_type_hints_at_broken_plugins() -> None:
    broken = Catalog(nodes=CATALOG.nodes, problems=(ImportProblem(origin="shiny.py", message="boom"),))
    assert "shiny.py" in problems({"a": {"type": "Zzz"}}, catalog=broken)[0]


def test_files_are_looked_up(files: Files) -> None:
    nodes = {"a": {"type": "Read", "values": {"image": "aple.png"}}}
    root = files.roots["images"][0]
    root.mkdir(parents=True, exist_ok=True)
    (root / "apple.png").write_bytes(b"x")
    found = problems(nodes, files)
    assert "no 'aple.png'" in found[0]
    assert "Did you mean 'apple.png'?" in found[0]
    assert not problems({"a": {"type": "Read", "values": {"image": "apple.png"}}}, files)
    for name in ("../secret", "/etc/passwd", "a\\b", "C:x", "a/../../b"):
        assert "not a relative name" in problems({"a": {"type": "Read", "values": {"image": name}}}, files)[0]


def test_a_chain_is_checked_in_topological_order_whatever_the_order_of_the_document() -> None:
    nodes: dict[str, Any] = {f"n{i}": {"type": "Plus", "links": {"a": link(f"n{i + 1}")}} for i in range(50)}
    nodes["n50"] = NUMBER
    document = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    assert list(check(document, CATALOG).nodes) == [f"n{i}" for i in range(50, -1, -1)]


def test_nodes_keep_the_order_of_the_document_where_no_link_asks_for_another() -> None:
    plus = {"type": "Plus", "links": {"a": link("late"), "b": link("later")}}
    nodes: dict[str, Any] = {"first": NUMBER, "sum": plus, "late": NUMBER, "later": NUMBER, "last": NUMBER}
    document = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    assert list(check(document, CATALOG).nodes) == ["first", "late", "later", "sum", "last"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20), st.permutations(range(10)))
def test_the_order_is_topological_for_every_graph_and_none_for_every_circle(
    links: list[tuple[int, int]], listed: list[int]
) -> None:
    sources: dict[str, list[str]] = {str(node): [] for node in listed}
    for reader, source in links:
        sources[str(reader)].append(str(source))
    try:
        TopologicalSorter(sources).prepare()
        circle = False
    except CycleError:
        circle = True
    order = _depth_first(sources)
    assert (order is None) == circle
    if order is not None:
        place = {name: index for index, name in enumerate(order)}
        assert len(place) == 10
        assert all(place[source] < place[name] for name, found in sources.items() for source in found)


def test_many_links_between_layers_are_ordered_in_linear_time() -> None:
    class Counted(list[str]):
        looks = 0

        def __iter__(self) -> Iterator[str]:
            Counted.looks += len(self)
            return super().__iter__()

    layers = [[f"{layer}.{node}" for node in range(40)] for layer in range(8)]
    below: dict[str, list[str]] = {name: Counted() for name in layers[0]}
    for lower, upper in pairwise(layers):
        below |= {name: Counted(lower) for name in upper}
    order = _depth_first(dict(reversed(below.items())))
    assert order is not None
    assert len(list(order)) == 320
    assert Counted.looks <= 2 * 7 * 40 * 40


class TestSides:
    """A model that paints pictures of one size is given no other."""

    @staticmethod
    def nodes(checkpoint: str = "emoji", **sides: int) -> dict[str, Any]:
        return {
            "model": {"type": "LoadModel", "values": {"checkpoint": checkpoint}},
            "blank": {"type": "EmptyLatent", "values": sides, "links": {"vae": link("model", "vae")}},
            "text": {"type": "Encode", "links": {"text_encoder": link("model", "text_encoder")}},
            "sigmas": {"type": "Schedule", "links": {"model": link("model", "model")}},
            "tiled": {"type": "Tileable", "links": {"model": link("model", "model"), "vae": link("model", "vae")}},
            "sampler": {
                "type": "Sampler",
                "values": {"guidance_scale": 1.0},
                "links": {
                    "model": link("model", "model"), "positive": link("text", "conditioning"),
                    "latent": link("blank", "latent"), "sigmas": link("sigmas", "sigmas"),
                },
            },
        }  # fmt: skip

    def test_each_wrong_side_is_named_with_its_node_and_the_size(self, registry: Registry, home: Home) -> None:
        files = home.files(output=home.folder)
        said = "emoji paints 64 x 64 pixels alone; make it 64"
        for sides, expected in (
            ({"width": 512, "height": 128}, ["blank.width: is 512, but ", "blank.height: is 128, but "]),
            ({"width": 64, "height": 72}, ["blank.height: is 72, but "]),
            ({"width": 64, "height": 64}, []),
            ({}, []),
        ):
            found = problems(self.nodes(**sides), files, registry.catalog)
            assert [one.startswith(begin + said) for one, begin in zip(found, expected, strict=True)] == [
                True for _ in expected
            ], found

    def test_it_is_the_model_that_paints_which_counts(self, registry: Registry, home: Home) -> None:
        """One latent may come of the VAE of a model that does not paint on it."""
        nodes = self.nodes(width=128, height=128)
        nodes["other"] = {"type": "LoadModel", "values": {"checkpoint": "analytic://field?size=128"}}
        nodes["sampler"]["links"]["model"] = link("other", "model")
        assert problems(nodes, home.files(output=home.folder), registry.catalog) == []
        through = {**self.nodes(width=128), "sampler": nodes["sampler"]}
        through["sampler"]["links"]["model"] = link("tiled", "model")
        found = problems(through, home.files(output=home.folder), registry.catalog)
        assert [one.partition(":")[0] for one in found] == ["blank.width"]

    def test_two_that_paint_on_one_latent_are_one_problem(self, registry: Registry, home: Home) -> None:
        nodes = self.nodes(width=128)
        nodes["again"] = nodes["sampler"]
        assert len(problems(nodes, home.files(output=home.folder), registry.catalog)) == 1

    def larger(self, *factors: float, **sides: int) -> dict[str, Any]:
        """What was painted is made larger, and painted again: once for each row of factors."""
        nodes, latent = self.nodes(**sides), link("sampler", "latent")
        for number, factor in enumerate(factors):
            scale = {"type": "LatentScale", "values": {"factor": factor}, "links": {"latent": latent}}
            nodes[f"larger_{number}"], latent = scale, link(f"larger_{number}", "latent")
        first = nodes["sampler"]
        return {**nodes, "second": {**first, "links": {**first["links"], "latent": latent}}}

    @pytest.mark.parametrize(
        ("factors", "expected"),
        [
            ((2.0,), ["larger_0.factor: is 2 and makes it 128 pixels, but emoji paints 64 x 64 pixels alone; make it 1,"]),
            ((3.0, 0.5), ["larger_1.factor: is 0.5 and makes it 96 pixels, but emoji paints 64 x 64 pixels alone; make it 0.333,"]),
            ((2.0, 0.5), []),
            ((1.02,), []),  # rounded to the latent's places, nothing changes
            ((1e308,), ["larger_0.factor: 1e+308 is too large; give at most 8"]),
            ((8.0,) * 400, []),  # 8 ** 400 is no number of pixels
        ],
    )  # fmt: skip
    def test_what_was_painted_and_is_made_larger_is_not_painted_again(
        self, registry: Registry, home: Home, factors: tuple[float, ...], expected: list[str]
    ) -> None:
        found = problems(self.larger(*factors), home.files(output=home.folder), registry.catalog)
        assert [one[: len(begin)] for one, begin in zip(found, expected, strict=True)] == expected, found

    def test_a_blank_latent_that_is_scaled_to_the_size_is_sound(self, registry: Registry, home: Home) -> None:
        def found(factor: float, *, is_linked: bool = False, model: str = "emoji", **sides: int) -> list[str]:
            nodes = self.larger(factor, **sides)
            nodes["larger_0"]["links"]["latent"] = link("blank", "latent")
            nodes["sampler"] = nodes.pop("second")
            nodes["other"] = {"type": "LoadModel", "values": {"checkpoint": model}}
            nodes["sampler"]["links"]["model"] = link("other", "model")
            if is_linked:
                nodes["number"] = {"type": "Number", "values": {"value": factor}}
                nodes["larger_0"] = {
                    "type": "LatentScale",
                    "links": {"latent": link("blank", "latent"), "factor": link("number", "value")},
                }
            return problems(nodes, home.files(output=home.folder), registry.catalog)

        assert found(2.0, width=32, height=32) == []
        assert [one.partition(",")[0] for one in found(2.0, width=64, height=32)] == [
            "larger_0.factor: is 2 and makes it 128 pixels"
        ]
        assert found(2.0, width=64, is_linked=True) == []
        assert found(2.0, width=64, model="analytic://field?size=128") == []

    def test_circles_and_what_is_missing_have_problems_of_their_own(self, registry: Registry, home: Home) -> None:
        nodes = self.nodes(width=128)
        nodes["tiled"]["links"]["model"] = link("tiled", "model")
        nodes["sampler"]["links"]["model"] = link("tiled", "model")
        (found,) = problems(nodes, home.files(output=home.folder), registry.catalog)
        assert "wait for each other" in found
        gone = problems(self.nodes("gone", width=128), home.files(output=home.folder), registry.catalog)
        assert [one.partition(":")[0] for one in gone] == ["model.checkpoint"]


def test_a_package_that_is_missing_is_told_with_the_command_that_brings_it(
    registry: Registry, files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = Workflow.load(ROOT / "workflows" / "train_digits.json")
    exact = Workflow.from_data(
        {
            "format": "nodegraph",
            "version": 1,
            "nodes": {"model": {"type": "LoadModel", "values": {"checkpoint": "analytic://dataset"}}},
        }
    )
    assert check(shipped, registry.catalog, files).problems == ()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # where a fresh install has its packages, but for this one
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    command = shlex.join([sys.executable, "-m", "pip", "install", "scikit-learn"])
    for workflow, where in ((shipped, "data"), (exact, "model.checkpoint")):
        told = [str(problem) for problem in check(workflow, registry.catalog, files).problems]
        assert told == [f"{where}: needs scikit-learn, which is not installed here; install it: {command}"]
    assert check(shipped, registry.catalog).problems == ()
