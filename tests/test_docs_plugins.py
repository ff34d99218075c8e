"""The pages for authors of nodes and workflows: what they show is loaded, tested, checked and run."""

from __future__ import annotations

import json
import os
import re
import shlex
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
PAGES = sorted((ROOT / "docs").glob("*.md"))
HOWTO = (ROOT / "docs" / "howto.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)
MODULE, TEST = (code for language, code in BLOCKS if language == "python")
WORKFLOW = next(code for language, code in BLOCKS if language == "json")
# Of each piece: its JSON, and the links that the lines under it ask for.
RECIPES = re.findall(r"```json\n(.*?)```\n\nLink (.*?)\.\n\n", HOWTO, flags=re.DOTALL)
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", HOWTO, flags=re.DOTALL) for line in block.splitlines()
]


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


def test_every_piece_of_the_pages_is_a_workflow_that_can_be_read() -> None:
    """What can be read can be pasted."""
    pieces = {
        page.name: re.findall(r"```json\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL) for page in PAGES
    }
    assert len(pieces["howto.md"]) == len(RECIPES)
    for texts in pieces.values():
        for text in texts:
            read = Workflow.parse(text)
            made = {
                link.node
                for spec in read.nodes.values()
                for links in spec.links.values()
                for link in (links if isinstance(links, list) else [links])
            }
            assert made <= set(read.nodes), "a link from elsewhere is lost when it is pasted"


@pytest.mark.parametrize(("piece", "asked"), RECIPES)
def test_a_piece_with_the_links_that_are_asked_for_fits_a_text_to_image_workflow(
    piece: str, asked: str, registry: Registry
) -> None:
    pasted = json.loads(piece)["nodes"]
    nodes = {**json.loads(json.dumps(BASE)), **pasted}
    links = re.findall(r"`(\w+)\.(\w+)` → `(\w+)\.(\w+)`", asked)
    assert len(links) == asked.count("→")
    for source, output, node, entry in links:
        assert source in pasted or node in pasted
        assert entry not in pasted.get(node, {}).get("links", {})
        nodes[node].setdefault("links", {})[entry] = {"node": source, "output": output}
    checked = check(Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes}), registry.catalog)
    assert [str(problem) for problem in checked.problems] == []


@pytest.mark.parametrize("command", COMMANDS, ids=[command.split()[1] for command in COMMANDS])
def test_commands_of_the_recipes_run(command: str, home: Home, tmp_path: Path) -> None:
    (tmp_path / "workflows").symlink_to(ROOT / "workflows")
    assert command.startswith("nodegraph ")
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command), "--set", "schedule.steps=2"], cwd=tmp_path,
        env={**os.environ, "NODEGRAPH_HOME": str(home.folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = {
        "grid": ["sheet-0001.png", "text_to_image a green apple-0001.png", "text_to_image a red heart-0001.png"]
    }
    made = sorted(path.name for path in (tmp_path / "out").glob("*.*") if path.suffix in (".png", ".webp"))
    assert made == wanted.get(command.split()[1], ["latent_walk-0001.png", "latent_walk-0001.webp"])


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
    assert len(RECIPES) == 5


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == pages
