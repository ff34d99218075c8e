"""A line for each model file: what it is, how large, of which dtype, under which licence; from headers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from nodegraph.diffusion.checkpoints.detect import detect, what_it_holds
from nodegraph.diffusion.checkpoints.header import TRAINED, ModelRefused
from nodegraph.diffusion.checkpoints.parts import contents

_LICENSES = ("modelspec.license", "license", "licence")


@dataclass(frozen=True)
class Listed:
    """One model file or folder.

    Args:
        kind, name: as workflows name it.
        family: what it is, in words; empty where it is refused.
        bytes, dtype: of its tensors; the dtype that most of them have.
        license, title: as the file says, if it does.
        problem: why it cannot be used; empty where it can.
    """

    kind: str
    name: str
    family: str = ""
    bytes: int = 0
    dtype: str = ""
    license: str = ""
    title: str = ""
    problem: str = ""

    def as_dict(self) -> dict[str, str | int]:
        """As plain data."""
        return asdict(self)


def listed(kind: str, paths: Mapping[str, Path | None]) -> Iterator[Listed]:
    """What the files of a kind are, in order of their names."""
    for name, path in sorted(paths.items()):
        if path is not None:
            yield _one(kind, name, path)


def _one(kind: str, name: str, path: Path) -> Listed:
    size = (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if path.is_dir()
        else path.stat().st_size
    )
    if kind == "checkpoints" and (path / "config.json").is_file():
        return Listed(kind, name, "the embedded model", size)
    if path.suffix == ".onnx":
        return Listed(kind, name, "ONNX", size)
    try:
        found = contents(path)
        if kind == "checkpoints" and TRAINED in found.metadata:
            return Listed(kind, name, "trained in a graph", found.bytes, found.dtype)
        family = detect(found).title if kind == "checkpoints" else what_it_holds(found)
    except ModelRefused as error:
        return Listed(kind, name, bytes=size, problem=str(error))
    license = next((found.metadata[key] for key in _LICENSES if key in found.metadata), "")
    title = found.metadata.get("modelspec.title", "")
    return Listed(kind, name, family, found.bytes, found.dtype, license[:80], title[:80])
