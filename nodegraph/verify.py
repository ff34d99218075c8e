"""Whether a picture can be made again, bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nodegraph.cache import ResultCache
from nodegraph.engine import Engine
from nodegraph.pictures import PIXELS_CHUNK
from nodegraph.receipt import read, versions
from nodegraph.workflow import png_text


@dataclass(frozen=True)
class Verdict:
    """Whether a picture came out the same, and what is no longer what it was."""

    same: bool
    changed_nodes: tuple[str, ...]
    changed_versions: tuple[str, ...]


def verify(path: Path, engine: Engine) -> Verdict:
    """Make a picture again, from nothing, and compare its pixels.

    Raises:
        DocumentError: the picture carries no receipt.
        CheckError: its workflow has problems here, such as a missing file or node.
        NodeError: a node failed.
    """
    workflow, receipt, pixels = read(path)
    planned = engine.plan(workflow, [receipt.node])
    changed = tuple(name for name, step in planned.steps.items() if receipt.keys.get(name) != step.key)
    here: Mapping[str, str] = {**versions(), "device": engine.device}
    then: Mapping[str, str] = {**receipt.versions, "device": receipt.device}
    different = tuple(
        f"{name} {then.get(name)} -> {here.get(name)}" for name in here if then.get(name) != here[name]
    )
    with tempfile.TemporaryDirectory() as folder:
        engine.files.output = Path(folder)
        engine.cache = ResultCache()
        result = engine.run(workflow, targets=[receipt.node])
        same = any(
            png_text(made.read_bytes(), PIXELS_CHUNK) == pixels for made in result.files if made.suffix == ".png"
        )
    return Verdict(same, changed, different)
