"""Documentation that cannot lie: every node and input has words, the README's snippets and commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from nodegraph.home import Home
from nodegraph.registry import Registry

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "sh"]


def test_every_node_input_and_output_has_words(registry: Registry) -> None:
    silent = []
    for name, entry in registry.nodes.items():
        if len(entry.type.doc) < 15 or not entry.type.doc.splitlines()[0].endswith("."):
            silent.append(name)
        silent += [f"{name}.{one.name}" for one in entry.type.inputs if len(one.doc) < 10]
    assert silent == []


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_of_the_readme_runs(number: int, home: Home, tmp_path: Path) -> None:
    environment = {**os.environ, "NODEGRAPH_HOME": str(home.folder)}
    (tmp_path / "workflows").symlink_to(ROOT / "workflows")
    done = subprocess.run(
        [sys.executable, "-c", PYTHON[number]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_commands_of_the_readme_run(home: Home, tmp_path: Path) -> None:
    (tmp_path / "workflows").symlink_to(ROOT / "workflows")
    environment = {
        **os.environ,
        "NODEGRAPH_HOME": str(home.folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    commands = [line for block in SHELL for line in block.splitlines() if line.startswith("nodegraph ")]
    assert len(commands) >= 4
    for command in commands:
        if " workflows/text_to_image.json" in command and command.split()[1] in ("run", "grid"):
            command += " --set schedule.steps=2"  # `make run` takes all of them
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_the_two_commands_are_there_and_are_what_the_makefile_has() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("run", "test"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_every_picture_and_page_that_is_linked_exists() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text("utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
