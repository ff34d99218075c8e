"""A picture says what made it, can be made again, and shows what changed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nodegraph.cache import DiskTier, ResultCache
from nodegraph.carried import RECEIPT_TEXT, WORKFLOW_TEXT, beside, carried, carried_text
from nodegraph.diff import diff
from nodegraph.diffusion.values import Sigmas
from nodegraph.engine import Engine
from nodegraph.errors import DocumentError
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.pictures import encode_png
from nodegraph.receipt import read, receipt_of
from nodegraph.registry import Registry
from nodegraph.verify import verify
from nodegraph.workflow import Workflow

if TYPE_CHECKING:
    from conftest import Shell

NODES: dict[str, Any] = {
    "model": {"type": "LoadModel", "values": {"checkpoint": "analytic://field?size=16"}},
    "prompt": {"type": "Encode", "links": {"text_encoder": {"node": "model", "output": "text_encoder"}}},
    "blank": {"type": "EmptyLatent", "links": {"vae": {"node": "model", "output": "vae"}}},
    "schedule": {"type": "Schedule", "values": {"steps": 5}, "links": {"model": {"node": "model", "output": "model"}}},
    "sampler": {"type": "Sampler", "values": {"seed": 3, "guidance_scale": 1.0},
                "links": {"model": {"node": "model", "output": "model"}, "positive": {"node": "prompt", "output": "conditioning"},
                          "latent": {"node": "blank", "output": "latent"}, "sigmas": {"node": "schedule", "output": "sigmas"}}},
    "decode": {"type": "VAEDecode", "links": {"vae": {"node": "model", "output": "vae"}, "latent": {"node": "sampler", "output": "latent"}}},
    "save": {"type": "SaveImage", "links": {"image": {"node": "decode", "output": "image"}}},
}  # fmt: skip
WORKFLOW = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": NODES})


def test_a_picture_carries_its_receipt(engine: Engine) -> None:
    (path,) = engine.run(WORKFLOW).files
    workflow, receipt, altered = read(path)
    assert workflow == WORKFLOW
    assert receipt.node == "save"
    assert receipt.keys == {name: step.key for name, step in engine.plan(WORKFLOW).steps.items()}
    assert receipt.device == "cpu"
    assert (receipt.device, receipt.dtype) == ("cpu", "float32")
    assert set(receipt.versions) == {"python", "nodegraph", "torch", "pillow"}
    assert set(receipt.results) == set(NODES) - {"save"}
    assert altered is False
    assert receipt_of(path) == receipt.model_dump()


def test_of_many_files_each_tells_what_it_was_made_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {**NODES, "other": {**NODES["sampler"], "values": {"seed": 4, "guidance_scale": 1.0}}}
    for name in ("save", "decode"):
        copy = json.loads(json.dumps(NODES[name]).replace('"decode"', '"decode2"').replace('"sampler"', '"other"'))
        nodes[f"{name}2"] = copy
    workflow = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    dumped: list[Workflow] = []
    dump = Workflow.dump
    monkeypatch.setattr(Workflow, "dump", lambda self: (dumped.append(self), dump(self))[1])
    files = engine.run(workflow).files
    assert dumped == [workflow]  # once, for all files
    found = {read(path).receipt.node: read(path) for path in files}
    assert [one.workflow for one in found.values()] == [workflow, workflow]
    assert set(found["save"].receipt.keys) == set(NODES)
    own = {"other", "decode2", "save2"}
    assert set(found["save2"].receipt.keys) == set(NODES) - {"sampler", "decode", "save"} | own
    for path in files:
        assert dump(workflow).strip() in beside(path).read_text("utf-8")
        verdict = verify(path, engine)
        assert (verdict.same, verdict.changed_nodes, verdict.altered) == (True, (), False)


def test_it_is_made_again_bit_for_bit(engine: Engine) -> None:
    (path,) = engine.run(WORKFLOW).files
    verdict = verify(path, engine)
    assert (verdict.same, verdict.changed_nodes, verdict.changed_versions) == (True, (), ())
    assert (verdict.altered, verdict.first_different, verdict.compared) == (False, None, len(NODES) - 1)


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_pictures_are_made_again_too(engine: Engine, format: str) -> None:
    workflow = WORKFLOW.with_values({"save.format": format, "save.quality": 70})
    (path,) = engine.run(workflow).files
    assert path.suffix == f".{format.lower()}"
    assert read(path).workflow == workflow
    assert verify(path, engine).same


def test_a_picture_that_lost_what_it_carried_is_known_by_the_file_beside_it(engine: Engine) -> None:
    (path,) = engine.run(WORKFLOW).files
    with Image.open(path) as picture:
        picture.save(path)  # drops every text
    workflow, receipt, altered = read(path)
    assert (workflow, receipt.node, altered) == (WORKFLOW, "save", True)
    verdict = verify(path, engine)
    assert (verdict.same, verdict.altered) == (True, True)  # the pixels are what they were


@pytest.mark.parametrize("keep_texts", [True, False])
def test_a_forged_picture_does_not_verify(engine: Engine, keep_texts: bool) -> None:
    (path,) = engine.run(WORKFLOW).files
    content = path.read_bytes()
    if keep_texts:  # even where the digest of the true pixels is kept
        info = PngInfo()
        for name, text in carried(content).items():
            info.add_itxt(name, text)
        with Image.open(path) as picture:
            picture.putpixel((3, 3), (1, 2, 3))
            picture.save(path, pnginfo=info)
    else:
        texts = {name: carried_text(content, name) for name in (WORKFLOW_TEXT, RECEIPT_TEXT)}
        path.write_bytes(encode_png(torch.zeros(3, 16, 16), texts))
    verdict = verify(path, engine)
    assert (verdict.same, verdict.altered, verdict.first_different) == (False, True, None)
    assert verdict.compared == len(NODES) - 1


def test_the_first_node_that_gives_something_else_is_named(engine: Engine) -> None:
    entry = engine.registry.nodes["Schedule"]
    (path,) = engine.run(WORKFLOW).files
    receipt = read(path).receipt

    def drifted(**inputs: Any) -> Sigmas:
        """The same node of the same code on a machine that computes otherwise."""
        sigmas = entry.function(**inputs).tensor.clone()
        sigmas[0] *= 1.001
        return Sigmas(sigmas)

    other = Registry()
    other.nodes = {**engine.registry.nodes, "Schedule": dataclasses.replace(entry, function=drifted)}
    elsewhere = Engine(home=engine.home, registry=other, cache=ResultCache(), files=engine.files, device="cpu")
    assert receipt.keys == {name: step.key for name, step in elsewhere.plan(WORKFLOW).steps.items()}
    verdict = verify(path, elsewhere)
    assert not verdict.same
    assert verdict.changed_nodes == ()
    assert verdict.first_different == "schedule"
    assert verdict.altered is False


def test_results_are_told_by_a_later_process_too(home: Home, files: Files, registry: Registry) -> None:
    def fresh() -> Engine:
        cache = ResultCache(disk=DiskTier(home.cache))
        return Engine(home=home, registry=registry, cache=cache, files=files, device="cpu")

    workflow = WORKFLOW.with_values({"model.checkpoint": "analytic://field?size=128", "schedule.steps": 40})
    (first,) = fresh().run(workflow).files
    stored = fresh().run(workflow.with_values({"save.name": "other"}))
    assert "sampler" not in stored.ran
    then, now = read(first).receipt, read(stored.files[0]).receipt
    assert now.results["decode"] == then.results["decode"]
    assert all(then.results[name] == digest for name, digest in now.results.items())


def test_what_changed_is_named(engine: Engine, tmp_path: Path) -> None:
    (path,) = engine.run(WORKFLOW).files
    content = path.read_bytes()
    receipt = json.loads(carried_text(content, RECEIPT_TEXT))
    receipt["keys"]["sampler"] = "0" * 40
    receipt["versions"]["torch"] = "1.0"
    old = tmp_path / "old.png"
    old.write_bytes(
        encode_png(torch.zeros(3, 16, 16), {WORKFLOW_TEXT: WORKFLOW.dump(), RECEIPT_TEXT: json.dumps(receipt)})
    )
    verdict = verify(old, engine)
    assert not verdict.same
    assert verdict.changed_nodes == ("sampler",)
    assert verdict.changed_versions[0].startswith("torch 1.0 -> ")


def test_a_picture_without_receipt_is_refused(engine: Engine, tmp_path: Path) -> None:
    bare = tmp_path / "bare.png"
    bare.write_bytes(encode_png(torch.zeros(3, 4, 4), {WORKFLOW_TEXT: WORKFLOW.dump()}))
    with pytest.raises(DocumentError, match="no receipt"):
        verify(bare, engine)


def test_differences_between_workflows() -> None:
    assert diff(WORKFLOW, WORKFLOW) == []
    other = json.loads(WORKFLOW.dump())
    other["title"] = "does not count"
    other["nodes"]["sampler"]["values"] = {"seed": 4, "guidance_scale": 1.0, "eta": 1.0}
    other["nodes"]["decode"]["links"]["latent"]["node"] = "blank"
    other["nodes"]["save"] = {"type": "PreviewImage", "links": NODES["save"]["links"]}
    other["nodes"]["extra"] = {"type": "Number"}
    del other["nodes"]["schedule"]
    assert diff(WORKFLOW, Workflow.from_data(other)) == [
        "- schedule (Schedule)",
        "+ extra (Number)",
        "sampler.seed: 3 -> 4",
        "sampler.eta: (left out) -> 1.0",
        "decode.latent: sampler.latent -> blank.latent",
        "save: SaveImage -> PreviewImage",
    ]


def test_one_and_one_point_zero_and_true_differ() -> None:
    def graph(value: object) -> Workflow:
        return Workflow.from_data(
            {"format": "nodegraph", "version": 1, "nodes": {"a": {"type": "X", "values": {"v": value}}}}
        )

    assert diff(graph(1), graph(1.0)) == ["a.v: 1 -> 1.0"]
    assert diff(graph(1), graph(True)) == ["a.v: 1 -> True"]


def test_the_commands(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(WORKFLOW.dump())
    for seed in (3, 4):
        assert shell("run", "w.json", "--set", f"sampler.seed={seed}").returncode == 0
    first, second = "out/image-0001.png", "out/image-0002.png"
    verified = shell("verify", first)
    assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "the pixels are identical")
    assert not list(tmp_path.glob("*.tmp"))
    differed = shell("diff", first, second)
    assert (differed.returncode, differed.stdout) == (1, "sampler.seed: 3 -> 4\n")
    assert shell("diff", first, first).returncode == 0
    assert shell("verify", "w.json").returncode == 2


def test_a_picture_of_comfyui_is_told_apart(shell: Shell, tmp_path: Path) -> None:
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "b"}},
    }
    (tmp_path / "a b.png").write_bytes(encode_png(torch.zeros(3, 4, 4), {"prompt": json.dumps(prompt)}))
    done = shell("verify", "a b.png")
    assert done.returncode == 2
    assert "workflow of ComfyUI" in done.stderr
    assert "`nodegraph run 'a b.png'` paints it here" in done.stderr
