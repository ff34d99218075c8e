"""Loading holds a model once: peak memory of the process against the size of the weights, measured in a new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

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


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_loading_takes_at_most_a_fifth_more_than_the_weights(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({f"{i}.weight": torch.ones(2048, 2048, dtype=dtype) for i in range(16)}, path)
    done = subprocess.run([sys.executable, "-c", CODE, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0.9 < float(done.stdout) < 1.2
