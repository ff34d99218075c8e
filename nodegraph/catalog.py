"""The catalog: every node as pure data, kept on disk so that most processes never import a node.

A child process imports the nodes and writes the catalog under a digest of their sources. A plugin that hangs,
crashes or imports the world at import costs a message and that child's time, not this process.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from nodegraph.named import write_whole
from nodegraph.node import NodeType
from nodegraph.sources import all_sources, plugin_paths

IMPORT_SECONDS = 120
AGAIN_SECONDS = 3600  # after which plugins that were left out are tried again: the machine may be to blame
BUILT_IN = "nodegraph.nodes."  # how the origin of a module of ours begins
KEPT = 4  # catalogs: of the built-in nodes alone, and with one folder of plugins or another
log = logging.getLogger("nodegraph.catalog")


# What a plugin says, or how its file is called, may be no valid Unicode, and then no JSON holds it.
_Text = Annotated[str, BeforeValidator(lambda text: text.encode("utf-8", "backslashreplace").decode())]


class ImportProblem(BaseModel):
    """A plugin or module whose nodes are missing, and why."""

    model_config = ConfigDict(frozen=True)

    origin: _Text
    message: _Text


class Catalog(BaseModel):
    """What nodes there are: their types by name, and what could not be imported.

    `plugins_left_out` says which plugin takes a process that imports it down, so that none was imported; it is
    empty where they were.
    """

    model_config = ConfigDict(frozen=True)

    nodes: dict[str, NodeType] = {}
    problems: tuple[ImportProblem, ...] = ()
    plugins_left_out: _Text = ""


def load_catalog(folder: Path, plugins: Sequence[Path] = ()) -> Catalog:
    """The catalog of the built-in nodes, the installed plugins and the plugin folders, without importing any.

    Args:
        folder: where catalogs are kept between processes.
        plugins: plugin folders.
    """
    path = folder / f"catalog-{all_sources(plugins)}.json"
    with suppress(OSError, ValidationError):
        kept = Catalog.model_validate_json(path.read_bytes())
        if not kept.plugins_left_out or abs(time.time() - path.stat().st_mtime) < AGAIN_SECONDS:
            return kept
    return _build(path, plugins)


def begun_at(path: Path) -> Path:
    """Where the child that writes a catalog says what it imports, for the one who looks when it is gone."""
    return path.with_suffix(".importing")


def _build(path: Path, plugins: Sequence[Path]) -> Catalog:
    with tempfile.TemporaryDirectory(prefix="nodegraph-") as folder:
        made = Path(folder) / "catalog.json"
        error = _import_in_child(made, [str(folder) for folder in plugins])
        if error is None:
            catalog = Catalog.model_validate_json(made.read_bytes())
            for one in _broken(catalog):
                log.warning("the nodes of %s are missing: %s; is the installation whole?", one.origin, one.message)
            return _kept(path, catalog)
        begun = begun_at(made)
        guilty = begun.read_text("utf-8", "surrogateescape") if begun.is_file() else ""
    if not plugins:
        raise RuntimeError(f"the nodes cannot be imported: {error}")
    # Some plugin takes the whole process down. The built-in nodes must be there all the same.
    catalog = load_catalog(path.parent)
    problems = tuple(
        ImportProblem(origin=str(one), message=error if str(one) == guilty else f"left out for {guilty}: {error}")
        for one in plugin_paths(plugins)
    )
    problems = (*catalog.problems, *problems)
    left_out = f"{guilty or 'one of them'}: {error}"
    return _kept(path, Catalog(nodes=catalog.nodes, problems=problems, plugins_left_out=left_out))


def _broken(catalog: Catalog) -> list[ImportProblem]:
    """What is missing of the built-in nodes."""
    return [one for one in catalog.problems if one.origin.startswith(BUILT_IN)]


def _kept(path: Path, catalog: Catalog) -> Catalog:
    """Write a catalog, whole or not at all, and drop the oldest; where the folder refuses, say so and go on."""
    if _broken(catalog):  # it would go on being read after what was in the way is gone
        return catalog
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, catalog.model_dump_json().encode())
        with suppress(FileNotFoundError):  # another process tidies up as well
            for old in sorted(path.parent.glob("catalog-*.json"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
                old.unlink()
    except OSError as error:
        log.warning("cannot keep the catalog of nodes, so every command imports them again: %s", error)
    return catalog


def _import_in_child(path: Path, plugins: Sequence[str]) -> str | None:
    """Have a child write the catalog. Returns None, or why it could not."""
    # -P, as for every process of ours: else a torch.py in the folder that somebody works in is what is imported.
    command = [sys.executable, "-P", "-m", "nodegraph.cataloguer", str(path), *plugins]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"importing did not end within {IMPORT_SECONDS} s"
    if child.returncode == 0:
        return None
    last = child.stderr.strip().splitlines()[-1:] or ["no message"]
    how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit status {child.returncode}"
    return f"importing ended with {how}: {last[0]}"
