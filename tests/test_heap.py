"""What a process keeps of the memory that it has let go."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TENSORS_COME_AND_GO = """
import json, resource, sys, threading
import torch
from nodegraph.heap import give_pages_back, keep_pages

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def step():
    for _ in range(4):
        held = [torch.ones(1 << 21) for _ in range(20)]
        del held

def measure():
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    held = resident()
    give_pages_back()
    print(json.dumps({"faults": faults, "given": held - resident()}))

torch.set_num_threads(1)
if sys.argv[1] == "keep":
    keep_pages()
thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of glibc")
def test_kept_pages_are_not_asked_for_again_and_can_be_given_back() -> None:
    found = {}
    for how in ("keep", "leave"):
        command = [sys.executable, "-c", TENSORS_COME_AND_GO, how]
        found[how] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
    assert found["keep"]["faults"] < 1000 < 10_000 < found["leave"]["faults"]
    assert found["keep"]["given"] > 4 << 20
