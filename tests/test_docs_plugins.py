"""The pages for authors of nodes and workflows: what they show is loaded, tested, checked and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT

from nodegraph.cache import ResultCache
from nodegraph.check import check
from nodegraph.engine import Engine
from nodegraph.errors import NodeError
from nodegraph.home import Home
from nodegraph.raised import innermost
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow

if TYPE_CHECKING:
    from conftest import Shell

PAGE = (ROOT / "docs" / "plugins.md").read_text("utf-8")
HOWTO = (ROOT / "docs" / "howto.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)
MODULE, TEST = (code for language, code in BLOCKS if language == "python")
WORKFLOW = next(code for language, code in BLOCKS if language == "json")
RECIPES = re.findall(r"## (.*?)\n.*?```json\n(.*?)```", HOWTO, flags=re.DOTALL)


def linked(**links: str) -> dict[str, Any]:
    return {entry: {"node": node, "output": output} for entry, node, output in (
        (entry, *there.split(".")) for entry, there in links.items()
    )}  # fmt: skip


BASE: dict[str, Any] = {
    "model": {"type": "LoadModel", "values": {"checkpoint": "emoji"}},
    "positive": {"type": "Encode", "values": {"text": "a cat"}, "links": linked(text_encoder="model.text_encoder")},
    "negative": {"type": "Encode", "values": {"text": ""}, "links": linked(text_encoder="model.text_encoder")},
    "blank": {"type": "EmptyLatent", "links": linked(vae="model.vae")},
    "sigmas": {"type": "Schedule", "links": linked(model="model.model")},
    "sampler": {"type": "Sampler", "links": linked(
        model="model.model", positive="positive.conditioning", negative="negative.conditioning",
        latent="blank.latent", sigmas="sigmas.sigmas",
    )},
    "picture": {"type": "VAEDecode", "links": linked(vae="model.vae", latent="sampler.latent")},
}  # fmt: skip


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "glow.py").write_text(MODULE)
    return tmp_path / "plugins"


@pytest.fixture
def engine(home: Home, plugins: Path, tmp_path: Path) -> Engine:
    registry = Registry.load([plugins], entry_points=False)
    files = home.files(output=tmp_path / "out", inputs=[tmp_path])
    return Engine(home=home, registry=registry, cache=ResultCache(), files=files, device="cpu")


def test_the_plugin_of_the_page_runs_in_its_workflow(engine: Engine) -> None:
    assert engine.registry.problems == ()
    told: list[Any] = []
    result = engine.run(Workflow.parse(WORKFLOW), listen=told.append, previews=True)
    assert [path.name for path in result.files] == ["glow-0001.png"]
    of_glow = [type(event).__name__ for event in told if event.node == "glow"]
    assert of_glow.count("Progress") == 4
    assert "Preview" in of_glow
    size = {
        "format": "nodegraph",
        "version": 1,
        "nodes": {"size": {"type": "FileBytes", "values": {"picture": "out/glow-0001.png"}}},
    }
    found = engine.run(Workflow.from_data(size))["size"]["value"]
    assert found == result.files[0].stat().st_size


def test_the_refusal_of_the_page_is_the_one_that_comes(engine: Engine) -> None:
    dark = json.loads(WORKFLOW)
    dark["nodes"]["glow"]["links"]["image"] = {"node": "picture", "output": "image"}
    with pytest.raises(NodeError) as caught:
        engine.run(Workflow.from_data(dark), values={"shape.center_x": -1.0})
    assert caught.value.__cause__ is not None
    words, line = next(code for language, code in BLOCKS if language == "console").splitlines()[1:]
    assert str(caught.value) == words
    told = innermost(caught.value.__cause__, lambda file: f"/home/me/plugins/{Path(file).name}")
    assert f"  {type(caught.value.__cause__).__name__} at {told}" == line


def test_the_tests_of_the_page_pass(plugins: Path) -> None:
    (plugins / "test_glow.py").write_text(TEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_glow.py"],
        cwd=plugins,
        env={**os.environ, "PYTHONPATH": str(plugins)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_package_of_the_page_is_the_one_that_is_made(shell: Shell, tmp_path: Path) -> None:
    assert shell("plugin", "new", "my_nodes").returncode == 0
    made = {
        f"my_nodes/{path.relative_to(tmp_path / 'my_nodes')}"
        for path in (tmp_path / "my_nodes").rglob("*")
        if path.is_file()
    }
    assert set(re.findall(r"^my_nodes/\S+", PAGE, flags=re.MULTILINE)) == made


@pytest.mark.parametrize(("title", "fragment"), RECIPES, ids=[title for title, _ in RECIPES])
def test_a_recipe_fits_a_text_to_image_workflow(title: str, fragment: str, registry: Registry) -> None:
    nodes = json.loads(json.dumps(BASE))
    for name, spec in json.loads(fragment).items():
        known = nodes.setdefault(name, {"type": spec["type"]})
        assert known["type"] == spec["type"]
        for part in ("values", "links"):
            known[part] = known.get(part, {}) | spec.get(part, {})
    checked = check(Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes}), registry.catalog)
    assert [str(problem) for problem in checked.problems] == []


def test_progress_is_shown_as_the_page_says(home: Home, tmp_path: Path) -> None:
    (tmp_path / "workflows").symlink_to(ROOT / "workflows")
    (code,) = re.findall(r"```python\n(.*?)```", HOWTO, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "NODEGRAPH_HOME": str(home.folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "9 nodes"
    assert {"sampler: started", "save: started"} < set(lines)
    assert re.fullmatch(r"finished in \d+\.\d\d s", lines[-1])
    sampled = [line for line in done.stdout.splitlines() if line.startswith("sampler")]
    assert sampled == [f"sampler: {step} of 5" for step in range(6)]


@pytest.mark.parametrize(("own", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_run_lets_threads_wait_without_spinning_before_torch_reads_how(
    home: Home, tmp_path: Path, own: dict[str, str], policy: str
) -> None:
    code = """if True:
        import os, sys
        from nodegraph import run
        assert "torch" not in sys.modules
        seen = []
        class Watch:
            def find_spec(self, name, *_):
                if name == "torch":
                    seen.append(os.environ.get("OMP_WAIT_POLICY"))
        sys.meta_path.insert(0, Watch())
        run("workflows/theory/schedules.json")
        print(seen[0])
    """
    (tmp_path / "workflows").symlink_to(ROOT / "workflows")
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**environment, "NODEGRAPH_HOME": str(home.folder), **own},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == [policy], done.stderr


def test_there_is_a_recipe_for_each_common_wish() -> None:
    assert len(RECIPES) == 4


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == pages
