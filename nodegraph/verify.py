"""Whether a picture can be made again, bit for bit, and where it went another way if not."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from nodegraph.cache import ResultCache
from nodegraph.engine import Engine
from nodegraph.errors import DocumentError
from nodegraph.pictures import pixels_of
from nodegraph.receipt import Receipt, read, versions


@dataclass(frozen=True)
class Verdict:
    """Whether a picture came out the same, and what is no longer what it was.

    Args:
        same: the pixels are identical.
        altered: the file is not as it was written; None where nobody knows.
        changed_nodes: those whose type, code, values, files or inputs are no longer what they were, in order.
        changed_versions: versions and the device, with what they were and are.
        first_different: the first node that gave something else than then; None where none is known to.
        compared: how many nodes' results were compared.
    """

    same: bool
    altered: bool | None
    changed_nodes: tuple[str, ...]
    changed_versions: tuple[str, ...]
    first_different: str | None
    compared: int


def verify(path: Path, engine: Engine) -> Verdict:
    """Make a picture again, from nothing, and compare its pixels; of a JPEG or WebP those that it decodes to.

    Raises:
        DocumentError: the file is no picture or carries no receipt.
        CheckError: its workflow has problems here, such as a missing file or node.
        NodeError: a node failed.
    """
    workflow, then, altered = read(path)
    pixels = pixels_of(path.read_bytes())
    planned = engine.plan(workflow, [then.node])
    changed = tuple(name for name, step in planned.steps.items() if then.keys.get(name) != step.key)
    with tempfile.TemporaryDirectory() as folder:
        engine.files.output = engine.files.previews = Path(folder)
        engine.cache = ResultCache()
        made = [file for file in engine.run(workflow, targets=[then.node]).files if file.suffix == path.suffix]
        if not made:
            raise DocumentError(f"{then.node} wrote no {path.suffix} file; is {path} what it wrote?")
        same = any(pixels_of(file.read_bytes()) == pixels for file in made)
        now = read(made[0]).receipt
    both = [name for name in planned.steps if name in then.results and name in now.results]
    different = next((name for name in both if then.results[name] != now.results[name]), None)
    return Verdict(same, altered, changed, _differences(then, now), different, len(both))


def _differences(then: Receipt, now: Receipt) -> tuple[str, ...]:
    before, here = {**then.versions, **then.place}, {**versions(), **now.place}
    return tuple(f"{name} {before.get(name)} -> {here[name]}" for name in here if before.get(name) != here[name])
