"""Loading holds a model once: peak memory against the size of the weights, each time in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import EMOJI, SIDES, make, save_single

from nodegraph.diffusion.checkpoints.header import ModelRefused, read
from nodegraph.diffusion.checkpoints.parts import Source
from nodegraph.diffusion.checkpoints.weights import Reader

# Everything is imported once; then each line that is read is measured in a fork, whose peak begins there.
CODE = """
import ctypes, gc, json, os, re, sys, traceback
from pathlib import Path
import torch
from nodegraph.diffusion.checkpoints.header import read
from nodegraph.diffusion.checkpoints.parts import Source
from nodegraph.diffusion.checkpoints.weights import fill
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.models.memory import loading_bytes

def resident(word):
    return int(re.search(word + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def grown(make):
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    networks = make()
    for network in networks:
        sum(float(value.sum()) for value in network.parameters())  # every page is touched
    return resident("VmHWM") - before, sum(value.nbytes for one in networks for value in one.parameters())

def give_back():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else what was freed is used again, and a peak seems lower

def filled(path):
    weights = {name: Source(path, name, entry, entry.shape) for name, entry in read(path).tensors.items()}
    make = lambda: torch.nn.Sequential(*[torch.nn.Linear(2048, 2048, bias=False) for _ in weights])
    peak, size = grown(lambda: [fill(make, weights, torch.float32, path, "network")])
    return peak / size

def loaded(path, dtype):
    return load(describe("model", path, str(path)).model.checkpoint, path, "cpu", dtype).networks.values()

def estimated(path, dtype):
    loaded(path, dtype)  # a fork meets the pages of libraries anew, some 20 MB of them, which are no weights
    give_back()
    return loading_bytes(path, dtype) / grown(lambda: list(loaded(path, dtype)))[0]

for small in sys.argv[1:]:
    loaded(Path(small), "float32")  # imports what there is to import
give_back()
for line in sys.stdin:
    if os.fork() == 0:
        try:
            name, path, *more = json.loads(line)
            answer = {"ratio": globals()[name](Path(path), *more)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)
        os._exit(0)
    if status := os.wait()[1]:
        print(json.dumps({"error": f"it ended with {status}"}), flush=True)
"""
LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
Measure = Callable[..., float]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["as it is", "converted"])
def test_a_file_that_was_cut_after_its_header_was_read_is_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(64, 64, dtype=dtype)}, path)
    (entry,) = read(path).tensors.values()
    source = Source(path, "weight", entry, entry.shape)
    assert torch.equal(Reader().tensor(source, torch.float32), torch.ones(64, 64))
    with path.open("r+b") as file:
        file.truncate(entry.start + 10)
    with pytest.raises(ModelRefused, match=r"weights\.safetensors has become shorter since it was first read"):
        Reader().tensor(source, torch.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints by name: the embedded one, and some of Stable Diffusion's layout, one of them small."""
    folder = tmp_path_factory.mktemp("checkpoints")
    small = save_single(make("sd1"), folder / "small.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIDES, "sd1", (128, 256))
        large = make("sd1")
    return {
        "embedded": EMOJI,
        "small": small,
        "float32": save_single(large, folder / "large.safetensors"),
        "float16": save_single(large, folder / "half.safetensors", dtype=torch.float16),
    }


@pytest.fixture(scope="module")
def measure(files: dict[str, Path]) -> Iterator[Measure]:
    """Calls a function of CODE in a fork of a process that has loaded small models of both kinds."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, EMOJI, files["small"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # a fork has none of the threads that torch waits for
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(name: str, path: Path, *more: str) -> float:
        print(json.dumps([name, str(path), *more]), file=process.stdin, flush=True)
        answer = json.loads(process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return float(answer["ratio"])

    yield ask
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


@LINUX
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_loading_takes_at_most_a_fifth_more_than_the_weights(
    measure: Measure, tmp_path: Path, dtype: torch.dtype
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({f"{i}.weight": torch.ones(2048, 2048, dtype=dtype) for i in range(16)}, path)
    assert 0.9 < measure("filled", path) < 1.2


@LINUX
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["embedded", "float32", "float16"])
def test_the_estimate_is_within_a_fifth_of_the_peak(
    measure: Measure, files: dict[str, Path], name: str, dtype: str
) -> None:
    assert 0.8 < measure("estimated", files[name], dtype) < 1.2
