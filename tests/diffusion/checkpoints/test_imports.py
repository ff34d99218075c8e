"""What is slow to import is imported only where a checkpoint needs it."""

from __future__ import annotations

import subprocess
import sys

SLOW = "{'diffusers', 'transformers', 'onnxruntime', 'spandrel', 'huggingface_hub', 'instant_clip_tokenizer'}"


def imported(code: str, modules: str) -> str:
    """Which of some modules are there after some code ran in a new process."""
    asked = f"{code}\nimport sys\nprint(sorted({modules} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_embedded_model_needs_neither_diffusers_nor_transformers() -> None:
    code = """
from pathlib import Path
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.home import PACKAGE
path = PACKAGE / "diffusion" / "embedded" / "emoji"
load(describe("emoji", path, "digest").model.checkpoint, path, "cpu").text_encoder.encode("cat", {})
import nodegraph.nodes.models, nodegraph.nodes.sampling
"""
    assert imported(code, SLOW) == "[]"


def test_looking_at_headers_needs_no_torch() -> None:
    code = "import nodegraph.diffusion.checkpoints.listing, nodegraph.cli"
    assert imported(code, SLOW.replace("{", "{'torch', ")) == "[]"
