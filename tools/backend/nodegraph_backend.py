"""Build backend: setuptools, with the browser editor built first.

`pip install .` and `pip install -e .` build the editor from `web/`, with the Node.js on PATH or, where that is
missing or too old, one from PyPI that is required for the build alone. Where the npm registry is out of reach, a
wheel is not built (it would lack its editor), and an editable install goes on: the server says what is missing.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parents[2]
Settings = dict[str, Any] | None


def _load_bundle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nodegraph_bundle", ROOT / "nodegraph" / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bundle = _load_bundle()


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """setuptools' own, and a Node.js where there is none to build the editor with."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *bundle.requirements(ROOT, config_settings)]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """The same for an editable install."""
    own = build_meta.get_requires_for_build_editable(config_settings)
    return [*own, *bundle.requirements(ROOT, config_settings)]


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the editor, then the wheel that carries it."""
    try:
        _build_editor(config_settings)
    except bundle.BuildFailed as error:
        sys.exit(f"\n{error}\n")
    # setuptools packs what an earlier build left there; an older editor's files are among it.
    shutil.rmtree(ROOT / "build" / "lib" / "nodegraph" / "editor", ignore_errors=True)
    return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the editor if that is possible, and install in any case."""
    try:
        _build_editor(config_settings)
    except bundle.BuildFailed as error:
        print(error)
        bundle.leave_problem(ROOT, f"{error}\nThen run: nodegraph build-web\n")
    return str(build_meta.build_editable(wheel_directory, config_settings, metadata_directory))


def _build_editor(settings: Settings) -> None:
    if bundle.is_skipped(settings):
        if not bundle.is_current(ROOT):
            problem = "The browser editor was left out of this installation (editor=skip)."
            bundle.leave_problem(ROOT, f"{problem}\nIn a source tree, build it with: nodegraph build-web\n")
    else:
        bundle.build(ROOT)
