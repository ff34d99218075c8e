"""Who may import whom: the floors of the building, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import networkx
import pytest
from conftest import ROOT

import nodegraph
from nodegraph.registry import STOOD_ON

# Each module of the engine may import those before it, and those on its own line.
FLOORS = [
    {"errors", "bundle", "digests", "sizes", "heap", "linked", "named", "plain", "undisturbed"},
    {"strict_json", "events", "files", "schema", "fields", "scaffold", "carried", "wire", "comfyui", "within"},
    {"context", "pictures", "sources"},
    {"node", "workflow"},
    {"graph", "catalog", "bypass", "subgraphs"},
    {"registry", "check", "outsized", "sides", "home", "console", "export", "grid"},
    {"plan", "cache", "diff", "call", "cataloguer", "raised"},
    {"execute", "receipt", "explain", "lifetimes", "origin", "traced"},
    {"engine"},
    {"verify", "options"},
    {"serve", "connection", "client"},
    {"cli_run"},
    {"cli_export", "cli_grid", "cli_models", "cli_results", "cli_serve"},
    {"cli"},
]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}
ENGINE = [
    path for folder in ("", "cache", "comfyui") for path in sorted((ROOT / "nodegraph" / folder).glob("*.py"))
]
DIFFUSION = sorted((ROOT / "nodegraph" / "diffusion").rglob("*.py"))
SERVE = sorted((ROOT / "nodegraph" / "serve").rglob("*.py"))
# Each room of nodegraph.diffusion may import those before it, itself, and the modules that stand beside the rooms.
ROOMS = ["pictures", "networks", "sampling", "training", "checkpoints", "models", "proofs"]
NODES = sorted((ROOT / "nodes").glob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports when it is run, and inside its functions; not for type checkers."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(inner)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for inner in ast.walk(block)
    }
    for entry in ast.walk(tree):
        if id(entry) in typing_only:
            continue
        if isinstance(entry, ast.Import):
            found |= {alias.name for alias in entry.names}
        elif isinstance(entry, ast.ImportFrom) and entry.module and not entry.level:
            found.add(entry.module)
            if entry.module == "nodegraph.diffusion":
                found |= {f"{entry.module}.{alias.name}" for alias in entry.names}
            if entry.module == "nodegraph":
                names = {alias.name for alias in entry.names} - {*nodegraph.__all__, "__version__"}
                found |= {f"nodegraph.{name}" for name in names}
    return found


def module(path: Path) -> str:
    relative = path.relative_to(ROOT / "nodegraph")
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_imports_downwards(path: Path) -> None:
    name = module(path)
    if name in ("__init__", "__main__"):
        return
    for imported in imports(path):
        if not imported.startswith("nodegraph."):
            continue
        other = imported.split(".")[1]
        # The ways up: the pool of live models, made when first asked for, the self-test, the list of models,
        # the one size that some paint, and how much memory there is.
        if (name, imported) in {
            ("context", "nodegraph.diffusion.models.pool"),
            ("cli_results", "nodegraph.diffusion.proofs.oracles"),
            ("cli_models", "nodegraph.diffusion.checkpoints.listing"),
            ("sides", "nodegraph.diffusion.checkpoints.painted"),
            ("outsized", "nodegraph.diffusion.models.host"),
        }:
            continue
        assert other in FLOOR, f"{path.name} imports {imported}"
        assert FLOOR[other] <= FLOOR[name], f"{path.name} imports {imported}, which stands above it"


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_knows_neither_torch_nor_nodes(path: Path) -> None:
    allowed = {"torch"} if path.name == "engine.py" else set()  # asks which accelerator there is
    found = {name.split(".")[0] for name in imports(path)} & {"torch", "diffusers", "transformers"}
    assert found <= allowed
    assert "nodegraph.nodes" not in imports(path)


@pytest.mark.parametrize("path", DIFFUSION, ids=lambda path: str(path.relative_to(ROOT)))
def test_diffusion_knows_no_graphs(path: Path) -> None:
    own = {name for name in imports(path) if name.startswith("nodegraph")}
    assert all(name.startswith("nodegraph.diffusion") for name in own), own


def diffusion_room(dotted: str) -> int:
    """How high a module's room stands; -1 for the modules beside the rooms, which all rooms share."""
    parts = dotted.split(".")[2:]
    return ROOMS.index(parts[0]) if parts and parts[0] in ROOMS else -1


def test_each_folder_of_diffusion_is_a_room() -> None:
    folders = {path.parent.name for path in DIFFUSION if path.parent.parent.name == "diffusion"}
    assert folders == set(ROOMS)


@pytest.mark.parametrize("path", DIFFUSION, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_rooms_of_diffusion_import_in_one_direction(path: Path) -> None:
    room = diffusion_room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    higher = {name for name in imports(path) if diffusion_room(name) > room}
    assert not higher, f"{path.relative_to(ROOT)} imports {higher}, which stand above it"


def test_the_modules_of_the_server_import_in_one_direction() -> None:
    """No module of it comes back to itself, not even for a type checker's eyes or inside a function."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in SERVE}
    arrows = networkx.DiGraph()
    for path in SERVE:
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for entry in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(entry, ast.ImportFrom) and entry.module:
                found = {entry.module, *(f"{entry.module}.{alias.name}" for alias in entry.names)} & names
                arrows.add_edges_from((own, name) for name in found - {"nodegraph.serve"})
    assert ("nodegraph.serve.app", "nodegraph.serve.server") in arrows.edges
    circles = [sorted(some) for some in networkx.strongly_connected_components(arrows) if len(some) > 1]
    assert circles == []


@pytest.mark.parametrize("path", NODES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nodes_stand_on_the_public_api(path: Path) -> None:
    """What of it can change a result is in the digest of their code; of a field the values count that it lets by."""
    stood_on = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in STOOD_ON)
    allowed = ("nodegraph.fields", *stood_on)
    own = {name for name in imports(path) if name.startswith("nodegraph.")}
    assert all(name.startswith(allowed) for name in own), own


def test_no_file_is_far_larger_than_the_others() -> None:
    sizes = {path: len(path.read_text("utf-8").splitlines()) for path in (*ENGINE, *DIFFUSION, *NODES)}
    large = {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > 450}
    assert not large


@pytest.mark.parametrize("path", sorted((ROOT / "nodegraph").glob("cli*.py")), ids=lambda path: path.name)
def test_commands_print_through_the_console_alone(path: Path) -> None:
    """What comes from files, plugins and servers may hold what a terminal obeys; `console` leaves it out."""
    called = [
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call) and node.args
    ]
    doors = {"print", "typer.echo", "rich.print", "sys.stdout.write", "sys.stderr.write"}
    assert {ast.unparse(node.func) for node in called}.isdisjoint(doors)
