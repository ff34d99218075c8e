"""Loading holds a model once: peak memory of the process against the size of the weights, measured in a new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import EMOJI, SIDES, make, save_single

CODE = """
import re, sys, threading, time
from pathlib import Path
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # imported before memory is measured
from nodegraph.diffusion.checkpoints.header import read
from nodegraph.diffusion.checkpoints.parts import Source
from nodegraph.diffusion.checkpoints.weights import fill

path = Path(sys.argv[1])
weights = {name: Source(path, name, entry, entry.shape) for name, entry in read(path).tensors.items()}
make = lambda: torch.nn.Sequential(*[torch.nn.Linear(2048, 2048, bias=False) for _ in range(len(weights))])
def resident(word):
    return int(re.search(word + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
network = fill(make, weights, torch.float32, path, "network")
total = sum(float(value.sum()) for value in network.parameters())  # every page is touched
size = sum(value.nbytes for value in network.parameters())
print((resident("VmHWM") - before) / size)
"""


ESTIMATE = """
import ctypes, gc, re, sys
from pathlib import Path
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.models.memory import loading_bytes

path, small, dtype = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def resident(word):
    return int(re.search(word + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
def loaded(path):
    return load(describe("model", path, str(path)).model.checkpoint, path, "cpu", dtype)
loaded(small)  # imports what there is to import
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # else what it took is used again, and the peak seems lower
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
model = loaded(path)
for network in model.networks.values():
    sum(float(value.sum()) for value in network.parameters())  # every page is touched
print(loading_bytes(path, dtype) / (resident("VmHWM") - before))
"""
LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")


@LINUX
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_loading_takes_at_most_a_fifth_more_than_the_weights(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({f"{i}.weight": torch.ones(2048, 2048, dtype=dtype) for i in range(16)}, path)
    done = subprocess.run([sys.executable, "-c", CODE, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0.9 < float(done.stdout) < 1.2


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


@LINUX
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["embedded", "float32", pytest.param("float16", marks=pytest.mark.slow)])
def test_the_estimate_is_within_a_fifth_of_the_peak(files: dict[str, Path], name: str, dtype: str) -> None:
    small = EMOJI if name == "embedded" else files["small"]
    command = [sys.executable, "-c", ESTIMATE, files[name], small, dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0.8 < float(done.stdout) < 1.2
