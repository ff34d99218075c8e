"""What a model's file says of the size that it paints."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nodegraph.diffusion.checkpoints.painted import only_side
from nodegraph.diffusion.models.trained import NetworkShape, TrainedConfig, pack, to_bytes
from nodegraph.home import Home

NETWORK = NetworkShape(patch=2, width=32, depth=1, heads=2, text_width=16, text_depth=1)


def trained(path: Path, size: int, network: NetworkShape | None) -> Path:
    config = TrainedConfig(size=size, channels=3, network=network)
    path.write_bytes(to_bytes(pack(config, {"model": torch.nn.Linear(2, 2)})))
    return path


def test_models_of_our_own_say_their_size(home: Home, tmp_path: Path) -> None:
    emoji = home.files(output=tmp_path).find("checkpoints", "emoji")
    assert emoji is not None
    assert only_side(emoji) == 64
    path = trained(tmp_path / "mine.safetensors", 48, NETWORK)
    assert only_side(path) == 48
    trained(path, 40, NETWORK)
    os.utime(path, ns=(0, 0))
    assert only_side(path) == 40  # another model under the old name


def test_a_vae_alone_paints_nothing(tmp_path: Path) -> None:
    assert only_side(trained(tmp_path / "vae.safetensors", 48, None)) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"family": "emoji", "size": "64"}', b'{"family": "emoji", "size": true}', b"[" * 100_000],
)
def test_what_says_no_size_or_cannot_be_read_has_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert only_side(tmp_path) is None
    (tmp_path / "x.safetensors").write_bytes(len(content).to_bytes(8, "little") + content)
    assert only_side(tmp_path / "x.safetensors") is None
    assert only_side(tmp_path / "gone.safetensors") is None
    (tmp_path / "y.safetensors").write_bytes(b"\xff" * 8 + content)
    assert only_side(tmp_path / "y.safetensors") is None


def test_names_and_metadata_that_are_not_ours_are_nothing(tmp_path: Path) -> None:
    header = {"nodegraph": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    for more in (
        {},
        {"__metadata__": 3},
        {"__metadata__": {"nodegraph": 3}},
        {"__metadata__": {"nodegraph": "[1]"}},
    ):
        text = json.dumps({**header, **more}).encode()
        (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
        assert only_side(tmp_path / "a.safetensors") is None
    listed = json.dumps(["nodegraph", {"nodegraph": 1}]).encode()
    (tmp_path / "b.safetensors").write_bytes(len(listed).to_bytes(8, "little") + listed)
    assert only_side(tmp_path / "b.safetensors") is None


def test_a_pipe_is_not_waited_for_and_a_huge_file_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert only_side(tmp_path) is None
    (tmp_path / "huge").mkdir()
    with (tmp_path / "huge" / "config.json").open("wb") as file:
        file.write(b'{"family": "emoji", "size": 64}')
        file.truncate(2**40)  # a hole: it takes no room
    assert only_side(tmp_path / "huge") is None


def test_other_models_have_none(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    assert only_side(tmp_path / "a.safetensors") is None
    for text in (
        "[]",
        "1",
        "x",
        json.dumps({"family": "trained", "size": 8}),
        json.dumps({"family": "other", "size": 8}),
    ):
        save_file({"a": torch.zeros(2)}, tmp_path / "b.safetensors", metadata={"nodegraph": text})
        assert only_side(tmp_path / "b.safetensors") is None
