"""Small documents that ask for much memory: refused before it is taken. Real processes with little to give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# So much may the process take beside what it has; each case asks for 1.2 to 3.2 GB, which would still be given.
ROOM = 4 << 30
ASK = """
import json, resource, sys
import torch
from pathlib import Path
from nodegraph import Context
from nodegraph.files import Files
from nodegraph.diffusion.values import Image, Latent
from nodegraph.nodes import animation, images, models, sampling, tiling
from nodegraph.diffusion.models import memory

context = Context("node", files=Files(output=Path(sys.argv[2])))
vae = models.LoadModel(context, "analytic://gaussian?size=8&channels=4").vae
small, three = (Image(torch.rand(count, 3, 512, 512)) for count in (1, 3))
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[3]), resource.RLIM_INFINITY))
said = []
for asked in json.loads(sys.argv[1]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        eval(asked)
        words = "made"
    except memory.OutOfMemory as error:
        words = str(error)
    said.append([words, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024])
print(json.dumps(said))
"""
CASES = {
    "a blank latent of 20 x 4 x 2048 x 2048": "sampling.EmptyLatent(vae, 2048, 2048, 20)",
    "a blank latent of 1 x 4 x 17 x 2048 x 2048": "sampling.EmptyVideo(vae, 2048, 2048, 65)",
    "a latent of 3 x 4 x 8192 x 8192": "sampling.LatentScale(Latent(torch.zeros(3, 4, 1024, 1024)), 8.0)",
    "a picture of 1 x 3 x 16384 x 16384": "images.ScaleImage(small, 32.0)",
    "a picture of 12 x 3 x 4096 x 4096": "images.ResizeImage(Image(torch.rand(12, 3, 8, 8)), 4096, 4096)",
    "a picture of 3 x 3 x 8704 x 8704": "images.PadImage(three, 4096, 4096, 4096, 4096)",
    "a picture of 1 x 3 x 15360 x 15360": "tiling.RepeatImage(small, 30, 30)",
    "a grid of 3 x 3 x 8192 x 8192": "images.GridImage([three], scale=16)",
    "an animation of 3 x 3 x 8192 x 8192": "animation.SaveAnimation(context, three, scale=16)",
}


@pytest.mark.skipif(sys.platform != "linux", reason="no other system says what is free")
def test_what_does_not_fit_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(list(CASES.values())), str(tmp_path), str(ROOM)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    for asked, (said, taken) in zip(CASES, answers, strict=True):
        assert said.startswith(f"{asked} numbers takes "), said
        assert "are free" in said
        assert taken < 600, f"{taken} MiB were taken before {asked} was refused"
