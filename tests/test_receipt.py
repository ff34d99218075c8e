"""A picture says what made it, can be made again, and shows what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nodegraph.diff import diff
from nodegraph.engine import Engine
from nodegraph.errors import DocumentError
from nodegraph.pictures import encode_png
from nodegraph.receipt import RECEIPT_CHUNK, read
from nodegraph.verify import verify
from nodegraph.workflow import PNG_CHUNK, Workflow, png_text

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
    workflow, receipt, pixels = read(path)
    assert workflow == WORKFLOW
    assert receipt.node == "save"
    assert receipt.keys == {name: step.key for name, step in engine.plan(WORKFLOW).steps.items()}
    assert receipt.device == "cpu"
    assert set(receipt.versions) == {"python", "nodegraph", "torch"}
    assert len(pixels) == 40


def test_it_is_made_again_bit_for_bit(engine: Engine) -> None:
    (path,) = engine.run(WORKFLOW).files
    verdict = verify(path, engine)
    assert (verdict.same, verdict.changed_nodes, verdict.changed_versions) == (True, (), ())


def test_a_forged_picture_does_not_verify(engine: Engine, tmp_path: Path) -> None:
    (path,) = engine.run(WORKFLOW).files
    content = path.read_bytes()
    forged = tmp_path / "forged.png"
    texts = {name: png_text(content, name) for name in (PNG_CHUNK, RECEIPT_CHUNK)}
    forged.write_bytes(encode_png(torch.zeros(3, 16, 16), texts))
    assert not verify(forged, engine).same


def test_what_changed_is_named(engine: Engine, tmp_path: Path) -> None:
    (path,) = engine.run(WORKFLOW).files
    content = path.read_bytes()
    receipt = json.loads(png_text(content, RECEIPT_CHUNK))
    receipt["keys"]["sampler"] = "0" * 40
    receipt["versions"]["torch"] = "1.0"
    old = tmp_path / "old.png"
    old.write_bytes(
        encode_png(torch.zeros(3, 16, 16), {PNG_CHUNK: WORKFLOW.dump(), RECEIPT_CHUNK: json.dumps(receipt)})
    )
    verdict = verify(old, engine)
    assert not verdict.same
    assert verdict.changed_nodes == ("sampler",)
    assert verdict.changed_versions[0].startswith("torch 1.0 -> ")


def test_a_picture_without_receipt_is_refused(engine: Engine, tmp_path: Path) -> None:
    bare = tmp_path / "bare.png"
    bare.write_bytes(encode_png(torch.zeros(3, 4, 4), {PNG_CHUNK: WORKFLOW.dump()}))
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
