"""`nodegraph plugin new`: a working, tested plugin package."""

from __future__ import annotations

import importlib.util
import keyword
import sys
from pathlib import Path

from nodegraph.errors import FileRefused

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = "Nodes for nodegraph"
requires-python = ">=3.11"
dependencies = ["nodegraph"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."nodegraph.nodes"]
{name} = "{name}"

[tool.setuptools]
py-modules = ["{name}"]
"""

_MODULE = '''\
"""Nodes of the plugin {name}."""

from typing import Annotated

import torch
from nodegraph import Context, node
from nodegraph.diffusion.values import Image
from pydantic import Field


@node(category="{name}")
def {type}(
    context: Context,
    image: Image,
    levels: Annotated[int, Field(ge=2, le=256, description="How many shades each channel keeps.")] = 4,
) -> Image:
    """Reduce pictures to a few shades of each colour."""
    steps = levels - 1
    made = []
    for picture in context.track(image.tensor):  # progress, and the place where Cancel takes effect
        made.append((picture * steps).round() / steps)
        if context.wants_preview:
            context.preview(Image(torch.stack(made)))
    return Image(torch.stack(made))
'''

_TEST = """\
import torch
from nodegraph import Context
from nodegraph.diffusion.values import Image

from {name} import {type}


def test_only_the_asked_shades_remain() -> None:
    ramp = Image(torch.linspace(0, 1, 64).expand(1, 3, 8, 64))
    shades = {type}(Context(), ramp, levels=3).tensor.unique()
    assert shades.tolist() == [0.0, 0.5, 1.0]
"""

_README = """\
# {name}

A plugin of nodegraph. `pip install -e .` makes its nodes available everywhere; copying `{name}.py` into the
plugin folder that `nodegraph nodes` names does, too.

`pip install -e ".[test]"` brings pytest, which runs its tests: `pytest`.
"""


def new_plugin(name: str, folder: Path) -> Path:
    """Write a plugin package called `name` into a new folder inside `folder`; returns its path.

    Raises:
        FileRefused: the name is no Python module name, or that of a module that is there, or the folder exists.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise FileRefused(f"{name!r} cannot name a Python module; use small letters, digits and _")
    target = folder / name
    if target.exists():
        raise FileRefused(f"{target} exists; choose another name or remove it")
    if name in sys.modules or name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise FileRefused(f"{name!r} is a module already, which could no longer be imported; choose another name")
    words = {"name": name, "type": "".join(part.capitalize() for part in name.split("_")) + "Posterize"}
    (target / "tests").mkdir(parents=True)
    for path, template in (
        ("pyproject.toml", _PYPROJECT),
        (f"{name}.py", _MODULE),
        (f"tests/test_{name}.py", _TEST),
        ("README.md", _README),
    ):
        (target / path).write_text(template.format(**words), "utf-8")
    return target
