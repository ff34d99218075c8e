"""Workflows of ComfyUI that are hostile, broken or huge: refused in words, or read in time and memory like their own."""

from __future__ import annotations

import json
import random
import re
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from comfyui_made import chain, rerouted, saved, within

from nodegraph.comfyui import saved_format, translated
from nodegraph.comfyui.graph import Source
from nodegraph.comfyui.readers import READERS
from nodegraph.comfyui.table import WIDGETS
from nodegraph.errors import DocumentError
from nodegraph.export import for_comfyui
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow


@pytest.mark.parametrize(
    "data",
    [
        {"1": {"class_type": "KSampler", "inputs": {"model": ["1", 0]}}},
        {"1": {"class_type": "A" * 5000, "inputs": {"x" * 500: 1, "y": ["1", 10**9], "z": ["1", -1]}}},
        {
            "1": {"class_type": "Reroute", "inputs": {"": ["1", 0]}},
            "2": {"class_type": "B", "inputs": {"a": ["1", 0]}},
        },
        {"__proto__": {"class_type": "/../", "inputs": {"a": None}}},
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "KSampler", "widgets_values": ["x"] * 50}], "links": []},
        {"last_node_id": 1, "nodes": [3], "links": []},
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "A", "pos": ["a", "b"]}], "links": [[1]]},
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "", "pos": [0, 0]}], "links": []},
    ],
)
def test_what_is_hostile_or_broken_is_read_or_refused_in_words(data: dict[str, Any]) -> None:
    with suppress(DocumentError):
        document = Workflow.from_data(data)
        assert Workflow.parse(document.dump()) == document


@pytest.mark.parametrize(
    "data",
    [
        {str(i): {"class_type": "A"} for i in range(30_000)},
        {str(i): {"class_type": "EmptyLatentImage"} for i in range(30_000)},
        chain(15_000),
    ],
    ids=["one type", "latents without a VAE", "a long line of reroutes"],
)
def test_many_nodes_are_read_in_time_that_grows_with_them(data: dict[str, Any]) -> None:
    begun = time.process_time()
    Workflow.from_data(data)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "data",
    [
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "A", "pos": [10**400, 0]}]},
        {"last_node_id": 1, "nodes": [], "groups": [{"bounding": [10**400, 0, 1, 1]}]},
        {"last_node_id": 1, "nodes": [{"id": 1, "type": "A", "pos": ["x" * 100_000, 0]}]},
    ],
    ids=["position", "group", "words"],
)
def test_numbers_that_are_none_are_refused_in_few_words(data: dict[str, Any]) -> None:
    with pytest.raises(DocumentError, match="cannot be read as one") as caught:
        Workflow.from_data(data)
    assert len(str(caught.value)) < 400


def test_subgraphs_that_come_to_too_much_are_refused() -> None:
    inside_itself = within("a", [{"id": 1, "type": "a"}], [])
    with pytest.raises(DocumentError, match="nested more than 16 deep"):
        Workflow.from_data(saved({"id": 1, "type": "a"}, definitions={"subgraphs": [inside_itself]}))
    wide = [within(str(n), [{"id": i, "type": str(n + 1)} for i in range(12)], []) for n in range(12)]
    begun = time.process_time()
    for uses in (1, 2):
        data = saved(*({"id": i, "type": "0"} for i in range(uses)), definitions={"subgraphs": wide})
        with pytest.raises(DocumentError, match="come to more than 30,000 nodes, links and inputs"):
            Workflow.from_data(data)
    deep = [within(str(n), [{"id": 1, "type": str(n + 1)}], []) for n in range(17)]
    for first, refused in (("1", False), ("0", True), ("1", False)):  # 16 and 17 deep
        data = saved({"id": 1, "type": first}, {"id": 2, "type": "9"}, definitions={"subgraphs": deep})
        if refused:
            with pytest.raises(DocumentError, match="nested more than 16 deep"):
                Workflow.from_data(data)
        else:
            assert len(Workflow.from_data(data).nodes) == 2
    late = within(
        "late", [{"id": 1, "type": "8"}, {"id": 2, "type": "0"}], []
    )  # what is known of "8" is no depth yet
    with pytest.raises(DocumentError, match="nested more than 16 deep"):
        Workflow.from_data(saved({"id": 1, "type": "late"}, definitions={"subgraphs": [late, *deep]}))
    assert time.process_time() - begun < 2  # nothing was built


def test_a_bomb_of_subgraphs_is_refused_by_what_one_level_of_it_says() -> None:
    """Ten uses in each of fifteen: 4.5 KB for a million billion nodes."""
    wide = [within(str(n), [{"id": i, "type": str(n + 1)} for i in range(10)], []) for n in range(15)]
    tracemalloc.start()
    try:
        with pytest.raises(DocumentError, match="come to more than 30,000"):
            translated(saved({"id": 1, "type": "0"}, definitions={"subgraphs": wide}))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("named", ["inputs", "outputs", "widgets_values"])
def test_what_the_nodes_of_subgraphs_hold_is_counted_before_any_is_built(named: str) -> None:
    """57 KB of zeros, a thousand times over, came to 1.4 GB of values that have names."""
    held: list[Any] = [0 if named == "widgets_values" else {}] * 201
    uses = [{"id": i, "type": "s"} for i in range(1000)]
    tracemalloc.start()
    try:
        outer, definition = within("o", uses, []), within("s", [{"id": 1, "type": "A", named: held}], [])
        with pytest.raises(DocumentError, match="come to more than 200,000 inputs, outputs and values"):
            translated(saved(*uses, definitions={"subgraphs": [definition]}))
        with pytest.raises(DocumentError, match="come to more than 200,000 inputs, outputs and values"):
            translated(saved({"id": 1, "type": "o"}, definitions={"subgraphs": [outer, definition]}))
        with pytest.raises(DocumentError, match="more than 1,000,000 inputs, outputs and values"):
            translated(saved(*({"id": i, "type": "A", named: held} for i in range(5000))))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    fits = within("s", [{"id": 1, "type": "A", named: held[:-1]}], [])
    assert len(translated(saved(*uses, definitions={"subgraphs": [fits]})).document["nodes"]) == 1000


LONG = "a" * 300_000


TEXTS = [{"id": i, "type": "CLIPTextEncode", "inputs": [{"name": "text", "link": i}]} for i in range(1, 200)]


@pytest.mark.parametrize(
    "data",
    [
        saved(
            {"id": 1, "type": "s"},
            definitions={"subgraphs": [{**within("s", [], []), "inputs": [{}] * 30_001}]},
        ),
        saved(
            *({"id": i, "type": "s"} for i in range(200)),
            definitions={
                "subgraphs": [within("s", [{"id": 1, "type": "CLIPTextEncode", "widgets_values": [LONG]}], [])]
            },
        ),
        saved(
            {"id": 0, "type": "PrimitiveNode", "widgets_values": [LONG]},
            *TEXTS,
            links=[[i, 0, 0, i, 0, "STRING"] for i in range(1, 200)],
        ),
        {
            "u": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": LONG}},
            **{
                str(i): {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["u", 0]}}
                for i in range(200)
            },
        },
    ],
    ids=["inputs of a subgraph", "a text in a subgraph", "a primitive", "a loader for all"],
)
def test_what_nodes_share_is_not_copied_without_end(data: dict[str, Any]) -> None:
    with pytest.raises(
        DocumentError, match=r"comes? to more than (16,777,216 characters|30,000 nodes, links and inputs)"
    ):
        translated(data)


def test_the_id_of_a_use_is_not_copied_without_end() -> None:
    data = saved({"id": "x" * 65, "type": "s"}, definitions={"subgraphs": [within("s", [], [])]})
    with pytest.raises(DocumentError, match="is longer than 64 characters"):
        translated(data)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"id": {"a": 1}, "type": "A"}, "the id of a node is {'a': 1}, not a text"),
        ({"id": 1, "type": None}, "the type of a node is None, not a text"),
        ({"id": 1, "type": "A", "inputs": "x"}, "`inputs` is 'x', not a list"),
        ({"id": 1, "type": "A", "widgets_values": 3}, "`widgets_values` is 3, not a list"),
        ({"id": 1, "type": "A", "pos": [True, 0]}, "a position holds True, not a number"),
        ({"id": 1, "type": "A", "mode": "on"}, "the mode of node 1 is 'on', not a whole number"),
        ({"id": 1, "type": "A", "title": ["x"] * 10_000}, "the title of node 1 is ["),
        ({"id": 1, "type": "A", "inputs": [{"name": "a", "link": [1]}]}, "a link is [1], not a text"),
    ],
)
def test_a_wrong_type_is_named_with_what_it_should_be(node: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(words)) as caught:
        Workflow.from_data(saved(node, {"id": 2, "type": "B"}))
    assert len(str(caught.value)) < 400


def test_two_nodes_of_one_id_are_refused() -> None:
    with pytest.raises(DocumentError, match="two nodes have the same id"):
        Workflow.from_data(saved({"id": 1, "type": "A"}, {"id": "1", "type": "B"}))


@pytest.mark.parametrize(
    "data",
    [
        {
            str(i): {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": [str(i + 1), 0],
                                                                     "conditioning_2": [str(i + 1), 0]}}
            for i in range(20_000)
        },
        {
            str(i): {"class_type": "LatentBatch", "inputs": {"samples1": [str(i + 1), 0], "samples2": ["x", 0]}}
            for i in range(20_000)
        },
        saved({"id": 1, "type": "KSampler", "widgets_values": list(range(500_000))}),
        {
            **{str(i): {"class_type": "SamplerCustom", "inputs": {"sampler": ["s", 0], "sigmas": ["t", 0]}}
               for i in range(20_000)},
            "s": {"class_type": "KSamplerSelect"},
            "t": {"class_type": "BasicScheduler", "inputs": {"steps": 4}},
        },
        {str(i): {"class_type": "LoraLoaderModelOnly"} for i in range(20_000)},
    ],
    ids=["two of each", "a long row", "values", "one sampler for all", "no text encoder"],
)  # fmt: skip
def test_more_of_everything_takes_time_that_grows_with_it(data: dict[str, Any]) -> None:
    begun = time.process_time()
    translated(data)
    assert time.process_time() - begun < 30


NAMES = """model clip vae steps denoise seed noise_seed sampler sigmas noise guider positive negative conditioning samples
pixels mask image images text ckpt_name type clip_name1 width height shift max_shift base_shift start_at_step end_at_step
add_noise channel grow_mask_by operation x y scheduler sampler_name cfg upscale_model filename_prefix crop batch_size
control_net strength start_percent latent_image solver_type conditioning_1 samples1 unet_name weight_dtype""".split()


TYPES = sorted({*WIDGETS, *READERS, "Reroute", "PrimitiveNode", "Note", "Unheard", "use"})


class Chance:
    """Workflows of ComfyUI in which anything may be anywhere, the same ones in every run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        pick = self.random.choice
        plain = [0, 1, -1, 5, 20, 2**60, 10**30, 10**400, True, False, None, 0.5, -2.5, 1e300, 1e-300, "", "euler"]
        words = [
            "flux",
            "normal",
            "a\\b",
            "x" * 300,
            "\0",
            "enable",
            "alpha",
            "or",
            "custom/%date%",
            "heun",
            "sd3",
        ]
        kinds = ["plain", "plain", "word", "word", "list", "record"] if depth < 3 else ["plain"]
        match pick(kinds):
            case "list":
                return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
            case "record":
                return {pick(NAMES): self.value(depth + 1)}
            case kind:
                return pick(plain if kind == "plain" else words)

    def number(self) -> int:
        return self.random.randrange(8)

    def exported(self) -> dict[str, Any]:
        inputs = [
            {
                self.random.choice(NAMES): self.value()
                if self.number() < 4
                else [str(self.number()), self.number() % 3]
                for _ in range(self.number())
            }
            for _ in range(8)
        ]
        return {str(at): {"class_type": self.random.choice(TYPES), "inputs": one} for at, one in enumerate(inputs)}

    def saved(self) -> dict[str, Any]:
        def node(at: int) -> dict[str, Any]:
            entries = [{"name": self.random.choice(NAMES), "link": self.number()} for _ in range(self.number())]
            values = [self.value() for _ in range(self.number())]
            return {"id": at, "type": self.random.choice(TYPES), "inputs": entries, "widgets_values": values,
                    "pos": [at, 0], "mode": self.random.choice([0, 0, 2, 4])}  # fmt: skip

        def line(at: int) -> list[Any]:
            return [at, self.number(), self.number() % 3, self.number(), 0, "X"]

        inner = within("use", [{**node(1), "type": "Unheard"}], [[0, -10, 0, 1, 0], [1, 1, 0, -20, 0]],
                       inputs=[{"name": self.random.choice(NAMES)}])  # fmt: skip
        lines = [line(at) for at in range(8)]
        return saved(*map(node, range(8)), links=lines, definitions={"subgraphs": [inner]})


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_anywhere_is_read_and_written_or_refused_in_words(seed: int, registry: Registry) -> None:
    chance = Chance(seed)
    read = 0
    for number in range(120):
        data = chance.saved() if number % 2 else chance.exported()
        with suppress(DocumentError):
            document = Workflow.from_data(data)
            read += 1
            assert Workflow.parse(document.dump()) == document
            written = for_comfyui(document, registry.catalog)
            json.dumps(written.prompt, allow_nan=False)
            assert all(str(problem) for problem in written.problems)
    assert read > 60


@pytest.mark.parametrize(
    "extra",
    [
        {"reroutes": 3}, {"reroutes": [{"id": 1, "pos": "here"}]}, {"reroutes": [{"pos": [1, 2]}]},
        {"linkExtensions": [{"id": 3, "parentId": [1]}]}, [1],
    ],
)  # fmt: skip
def test_reroutes_that_are_none_are_refused(extra: Any) -> None:
    with pytest.raises(DocumentError, match="cannot be read as one"):
        Workflow.from_data({**rerouted(), "extra": extra})


def many_points(kind: str) -> dict[str, Any]:
    """4,000 inputs whose links come through the same hundred points, or each through others of one long line."""
    inputs = [{"name": f"i{number}", "link": 1} for number in range(4000)]
    line = [{"id": n + 1, **({"parentId": n} if n else {}), "pos": [n, n]} for n in range(100)]
    begin = {"id": 1, "type": "A", "outputs": [{"name": "o"}]}
    if kind == "one link":
        extra = {"reroutes": line, "linkExtensions": [{"id": 1, "parentId": 100}]}
        return saved(begin, {"id": 2, "type": "B", "inputs": inputs}, links=[[1, 1, 0, 2, 0, "X"]], extra=extra)
    if kind == "nodes":
        nodes = [
            {"id": n + 10, "type": "Reroute", "pos": [n, n], "inputs": [{"name": "", "link": n + 10}]}
            for n in range(100)
        ]
        links = [[n + 10, n + 9 if n else 1, 0, n + 10, 0, "X"] for n in range(100)]
        last = {"id": 2, "type": "B", "inputs": inputs}
        return saved(begin, *nodes, last, links=[[1, 109, 0, 2, 0, "X"], *links])
    line = [{"id": n + 1, **({"parentId": n} if n else {}), "pos": [n, n]} for n in range(4000)]
    inputs = [{"name": f"i{number}", "link": number} for number in range(1, 4001)]
    links = [{"id": n, "origin_id": 1, "origin_slot": 0, "parentId": n} for n in range(1, 4001)]
    return saved(begin, {"id": 2, "type": "B", "inputs": inputs}, links=links, reroutes=line)


@pytest.mark.parametrize("kind", ["one link", "nodes", "many links"])
def test_points_that_links_share_are_not_copied_without_end(kind: str) -> None:
    data = many_points(kind)
    graph = saved_format.read(data)
    read = [one for node in graph.nodes.values() for one in node.inputs.values() if isinstance(one, Source)]
    assert len({id(one.via) for one in read}) < 1000
    assert sum(len(via) for via in {id(one.via): one.via for one in read}.values()) <= 10_100
    document = Workflow.from_data(data)
    assert len(document.nodes["B"].links) == 4000, "links without points are links"
    points = [len(bend.points) for bend in document.bends]
    assert 9_900 <= sum(points) <= 10_100
    assert max(points) == 100
    assert len(json.dumps(translated(data).document["bends"])) < 2 * len(json.dumps(data))


def test_reroutes_in_a_circle_end() -> None:
    data = rerouted()
    data["extra"]["reroutes"][0]["parentId"] = 2
    bends = {f"{one.node}.{one.input}": one for one in Workflow.from_data(data).bends}
    assert len(bends["sampler.model"].points) == 100
    data["links"] = [[*link[:1], 21, *link[2:]] if link[0] == 20 else link for link in data["links"]]
    assert "decode.vae" not in {f"{one.node}.{one.input}" for one in Workflow.from_data(data).bends}


def test_points_of_a_link_that_many_nodes_stand_for_are_not_copied_without_end() -> None:
    """What a node that lives on in others is linked to, each of these is linked to by the same points."""
    inputs = [{"name": "guider", "link": 2}, {"name": "sampler", "link": 3}, {"name": "sigmas", "link": 4}]
    data = saved(
        {"id": 1, "type": "CheckpointLoaderSimple", "widgets_values": ["emoji"]},
        {"id": 2, "type": "BasicGuider", "inputs": [{"name": "model", "link": 1}]},
        {"id": 3, "type": "KSamplerSelect", "widgets_values": ["euler"]},
        {"id": 4, "type": "BasicScheduler", "widgets_values": ["simple", 4, 1.0]},
        {"id": 5, "type": "RandomNoise", "widgets_values": [1, "fixed"]},
        *({"id": n, "type": "SamplerCustomAdvanced", "inputs": [*inputs, {"name": "noise", "link": 5}]}
          for n in range(10, 400)),
        links=[[1, 1, 0, 2, 0, "MODEL"], *([n, n, 0, 10, 0, "X"] for n in (2, 3, 4, 5))],
        reroutes=[{"id": n + 1, **({"parentId": n} if n else {}), "pos": [n, n]} for n in range(100)],
        extra={"linkExtensions": [{"id": 1, "parentId": 100}]},
    )  # fmt: skip
    document = Workflow.from_data(data)
    samplers = [node for node in document.nodes.values() if node.type == "Sampler"]
    assert len(samplers) == 390
    assert {str(node.links["model"]) for node in samplers} == {"model.model"}
    assert 9_900 <= sum(len(bend.points) for bend in document.bends) <= 10_100
