"""Modules that tell that they were imported, under names that Python and torch ask for."""

from __future__ import annotations

from pathlib import Path

NAMES = ("graphlib", "json", "numpy", "torch", "nodegraph")


def lay_traps(folder: Path) -> None:
    """Put them into a folder; whichever is imported writes its name into the file SPRUNG beside it."""
    for name in NAMES:
        code = f"from pathlib import Path\nPath(__file__).with_name('SPRUNG').write_text({name!r})\n"
        (folder / f"{name}.py").write_text(code)
