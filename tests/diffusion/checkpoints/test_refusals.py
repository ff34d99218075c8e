"""Files that must not load: each is refused with words that name the file, the problem and what to do."""

from __future__ import annotations

import gc
import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nodegraph.diffusion.checkpoints.header import ModelRefused, read
from nodegraph.diffusion.models.loading import describe, load

Tensors = dict[str, Tensor]
UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_single(tiny.make("sd1"), tmp_path_factory.mktemp("sound") / "sound.safetensors")


def refusal(path: Path) -> str:
    """Why a file is refused, wherever on the way that happens."""
    with pytest.raises(ModelRefused) as caught:
        load(describe(path.name, path, "digest").model.checkpoint, path, "cpu")
    assert str(path) in str(caught.value)
    return str(caught.value)


class Payload:
    """Runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors", "model.SAFETENSORS"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_whatever_its_name_and_its_payload_does_not_run(
    tmp_path: Path, name: str, zipped: bool
) -> None:
    mark, path = tmp_path / "it ran", tmp_path / name
    if zipped:
        torch.save({"state_dict": Payload(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"state_dict": Payload(mark)}))
    assert "PyTorch pickle" in refusal(path)
    assert not mark.exists()
    content = path.read_bytes()
    torch.load(io.BytesIO(content), weights_only=False) if zipped else pickle.loads(content)
    assert mark.exists()  # it would have


def header(document: object, data: bytes = b"") -> bytes:
    return raw(json.dumps(document).encode(), data)


def raw(text: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text + data


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
BAD = {
    "empty": (b"", "0 bytes"),
    "short": (b"abc", "only 3 bytes"),
    "a web page": (b"<!DOCTYPE html><html></html>", "like a web page"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "kept elsewhere"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(50), "GGUF"),
    "a header of 10 TB": (struct.pack("<Q", 10 * 10**12) + b"{" + bytes(100), "10,000,000,000,000 bytes"),
    "a tensor of 10 TB": (
        header({"a": {"dtype": "F32", "shape": [5, 5 * 10**11], "data_offsets": [0, 10**13]}}), "cut short",
    ),
    "a shape that overflows": (
        header({"a": {"dtype": "F32", "shape": [2**39, 2**39], "data_offsets": [0, 4]}}, bytes(4)), "4 bytes",
    ),
    "a negative side": (header({"a": {**ENTRY, "shape": [-1]}}, bytes(4)), "shape"),
    "a side that is no number": (header({"a": {**ENTRY, "shape": ["1"]}}, bytes(4)), "shape"),
    "no entry": (header({"a": [1, 2]}, bytes(4)), "makes no sense"),
    "an unknown dtype": (header({"a": {**ENTRY, "dtype": "F3"}}, bytes(4)), "'F3'"),
    "tensors that overlap": (header({"a": ENTRY, "b": ENTRY}, bytes(4)), "does not follow"),
    "a gap": (header({"a": {**ENTRY, "data_offsets": [4, 8]}}, bytes(8)), "does not follow"),
    "a name twice": (
        raw(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
            b'"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', bytes(8)), "its header says 'a' twice",
    ),
    "a shape twice": (
        raw(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "shape": [1]}}', bytes(4)), "'shape' twice",
    ),
    "more than it says": (header({"a": ENTRY}, bytes(8)), "belong to no tensor"),
    "no tensors": (header({"__metadata__": {}}), "no tensors"),
    "a header that is no JSON": (struct.pack("<Q", 8) + b"{nonsens", "not JSON"),
    "a nest": (struct.pack("<Q", 2000) + b'{"a":' + b"[" * 1995, "not JSON"),
    "something else": (header({"x.y": ENTRY}, bytes(4)), "no network that is known"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_sound_file_is_refused(tmp_path: Path, what: str) -> None:
    content, words = BAD[what]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert words in refusal(path)


def without(tensors: Tensors, *starts: str) -> Tensors:
    return {name: value for name, value in tensors.items() if not name.startswith(starts)}


def with_(tensors: Tensors, name: str, value: Tensor) -> Tensors:
    return {**tensors, name: value}


DAMAGE: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "a weight is missing": (
        lambda t: without(t, UNET + "output_blocks.2.0.in_layers.2.weight"),
        "lacks up_blocks.0.resnets.2.conv1.weight",
    ),
    "a weight too many": (lambda t: with_(t, UNET + "extra", torch.ones(3)), "no place for"),
    "another shape": (
        lambda t: with_(t, UNET + "out.2.bias", torch.ones(5)),
        "out.2.bias has the shape [5], and the U-Net needs [4]",
    ),
    "whole numbers": (
        lambda t: with_(t, UNET + "out.2.bias", torch.ones(4, dtype=torch.int8)),
        "out.2.bias is I8",
    ),
    "another vocabulary": (
        lambda t: with_(
            t, "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", torch.ones(2, 64)
        ),
        "has 2 tokens",
    ),
    "no U-Net": (lambda t: without(t, UNET), "of the kind VAE"),
    "nearly a family": (
        lambda t: without(t, UNET + "middle_block."),
        "nearest is Stable Diffusion 1, but mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight is missing",
    ),
    "another width": (
        lambda t: with_(t, UNET + "input_blocks.0.0.weight", torch.ones(32, 7, 3, 3)),
        "input_blocks.0.0.weight has the shape [32, 7, 3, 3] and should be a convolution of 4 or 9 channels",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_refused_by_its_first_wrong_weight(sound: Path, tmp_path: Path, what: str) -> None:
    change, words = DAMAGE[what]
    path = tmp_path / "model.safetensors"
    save_file(change(load_file(sound)), path)
    assert words in refusal(path)


def test_nothing_of_a_refused_file_stays_in_memory(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = load_file(sound)
    save_file({**tensors, UNET + "out.2.bias": torch.ones(5)}, path)
    refusal(path)
    gc.collect()
    before = sum(issubclass(type(one), Tensor) for one in gc.get_objects())
    refusal(path)
    gc.collect()
    assert sum(issubclass(type(one), Tensor) for one in gc.get_objects()) <= before


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_download_that_stopped_is_refused(sound: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.safetensors"
    content = sound.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refusal(path)


def test_a_lora_among_the_checkpoints_is_told_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": torch.ones(4, 4)}, path)
    assert "`loras`" in refusal(path)


def test_a_header_may_begin_with_any_byte(tmp_path: Path) -> None:
    """A length of 0x4B50 reads `PK`, one of 0x80 like a pickle's first byte: neither makes a file one."""
    for length in (0x80, 0x4B50):
        text = json.dumps({"a": ENTRY}).encode().ljust(length)
        path = tmp_path / f"{length}.safetensors"
        path.write_bytes(struct.pack("<Q", length) + text + bytes(4))
        assert list(read(path).tensors) == ["a"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model" / "unet").mkdir(parents=True)
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    assert "holds no weights as .safetensors" in refusal(tmp_path / "model")
