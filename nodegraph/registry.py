"""Finds nodes and imports them: built in, from entry points, from plugin folders.

A module that cannot be imported is a problem to show, never a reason to stop. Plugin folders are loaded by
path and `sys.path` stays as it is. A plugin whose sources changed is imported again by `refresh`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

from nodegraph.catalog import Catalog, ImportProblem
from nodegraph.errors import NodegraphError
from nodegraph.node import NodeType, declaration_of, one_by_one
from nodegraph.sources import ENTRY_POINTS, PACKAGE, plugin_paths, source_digest
from nodegraph.undisturbed import undisturbed
from nodegraph.wire import Codec, WireTypes, wire_types_of

log = logging.getLogger("nodegraph.registry")
# What modules of plugins from folders are called first. No dot: a package above them would have to be there.
PLUGIN_MODULES = "nodegraph_plugin_"
STOOD_ON = (PACKAGE / "diffusion", PACKAGE / "pictures.py")  # what nodes compute with, besides their own code


@dataclass(frozen=True)
class Registered:
    """A node that can be called."""

    type: NodeType
    function: Callable[..., Any]
    context: str | None
    named_outputs: bool


class Registry:
    """The nodes of this process, by type name. Registers what it is given and nothing by itself."""

    def __init__(self) -> None:
        self.nodes: dict[str, Registered] = {}
        self._problems: dict[str, list[ImportProblem]] = {}
        self._begins: Callable[[str], object] = lambda _: None
        self._plugins: dict[Path, str] = {}
        self._folders: tuple[Path, ...] = ()
        self._codecs: dict[type[Any], tuple[str, Codec]] = {}
        self._wire_types: WireTypes | None = None

    @classmethod
    def load(
        cls,
        plugins: Sequence[Path] = (),
        *,
        entry_points: bool = True,
        begins: Callable[[str], object] = lambda _: None,
    ) -> Registry:
        """Every node there is: built-in ones, installed plugins, and plugin folders.

        `begins` is told of each before it is imported.
        """
        registry = cls()
        registry._begins = begins
        package = importlib.import_module("nodegraph.nodes")
        for info in pkgutil.walk_packages(package.__path__, "nodegraph.nodes."):
            registry._import(info.name, partial(importlib.import_module, info.name))
        if entry_points:
            for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda p: p.name):
                registry._import(f"entry point {point.name}", point.load)
        registry._folders = tuple(plugins)
        registry.refresh()
        return registry

    @property
    def problems(self) -> tuple[ImportProblem, ...]:
        """What could not be imported or registered, and why."""
        return tuple(problem for found in self._problems.values() for problem in found)

    @property
    def catalog(self) -> Catalog:
        """The same nodes as pure data."""
        return Catalog(
            nodes={name: entry.type for name, entry in sorted(self.nodes.items())}, problems=self.problems
        )

    @property
    def wire_types(self) -> WireTypes:
        """The types that the nodes' inputs and outputs are of, and how those are stored that need a codec."""
        if self._wire_types is None:
            types = {kind for entry in self.nodes.values() for kind in wire_types_of(entry.function)}
            self._wire_types = WireTypes(types, (codec for _, codec in self._codecs.values()))
        return self._wire_types

    def refresh(self) -> None:
        """Import plugins from the folders that are new or whose sources changed; forget those that went."""
        present = {path: source_digest(path) for path in plugin_paths(self._folders)}
        for path in set(self._plugins) - set(present):
            self._forget(str(path))
            del self._plugins[path]
        for path, digest in present.items():
            if self._plugins.get(path) != digest:
                self._plugins[path] = digest
                self._forget(str(path))
                self._import(str(path), partial(_load_by_path, path))

    def add(self, module: ModuleType, origin: str | None = None) -> None:
        """Register the nodes that a module defines at its top level, and those of its submodules."""
        origin = origin or module.__name__
        code: dict[Path | str, str] = {}
        self._wire_types = None
        for value in list(vars(module).values()):
            if isinstance(value, Codec):
                self._codecs[value.type] = (origin, value)
            declaration = declaration_of(value)
            if declaration is None or not _inside(value.__module__, module.__name__):
                continue
            sources = _sources(value.__module__)
            if sources not in code:
                code[sources] = source_digest(sources, *STOOD_ON) if isinstance(sources, Path) else sources
            node_type = declaration.type.model_copy(update={"code": code[sources]})
            try:
                node_type.model_dump_json()
            except ValueError as error:
                self._problem(origin, f"{node_type.name} holds text that is no valid Unicode: {error}")
                continue
            known = self.nodes.get(node_type.name)
            if known is not None and known.function is not value:
                place = _place(known.type.module)
                self._problem(origin, f"{node_type.name} exists already, in {place}; rename one of the two nodes")
                continue
            self.nodes[node_type.name] = Registered(
                node_type, value, declaration.context, declaration.named_outputs
            )

    def _import(self, origin: str, load: Callable[[], Any]) -> None:
        self._begins(origin)
        try:
            with undisturbed(partial(_changed, origin), signals=True), one_by_one() as refused:
                loaded = load()
            for refusal in refused:
                self._problem(origin, f"{type(refusal).__name__}: {refusal}")
            if not isinstance(loaded, ModuleType):
                raise NodegraphError(f"{origin} names {loaded!r}, which is no module")
            self.add(loaded, origin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise SystemExit or worse at import
            self._problem(
                origin, f"{type(error).__name__}: {words}" if (words := _words(error)) else type(error).__name__
            )

    def _problem(self, origin: str, message: str) -> None:
        self._problems.setdefault(origin, []).append(ImportProblem(origin=origin, message=message))

    def _forget(self, origin: str) -> None:
        module = _plugin_module(Path(origin))
        self._problems.pop(origin, None)
        self.nodes = {name: entry for name, entry in self.nodes.items() if not _inside(entry.type.module, module)}
        self._codecs = {kind: entry for kind, entry in self._codecs.items() if entry[0] != origin}
        self._wire_types = None
        for name in [name for name in sys.modules if _inside(name, module)]:
            del sys.modules[name]


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # it is the plugin's own code that says what the error is
        return f"it cannot be said, for that raises {type(another).__name__}"


def _changed(origin: str, names: str) -> None:
    log.warning("importing %s changed %s; that was put back", origin, names)


def _sources(name: str) -> Path | str:
    """The code behind a node: its module, or the whole plugin package; the version where there are no sources."""
    package, *inner = name.split(".")
    outermost_first = accumulate(inner, "{}.{}".format, initial=package)
    for module in [name] if package == __package__ else outermost_first:
        source = getattr(sys.modules.get(module), "__file__", None)
        if source is not None and Path(source).is_file():
            path = Path(source)
            return path.parent if path.name == "__init__.py" else path
    try:
        return f"{package}=={importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def _plugin_module(path: Path) -> str:
    stem = path.stem.encode("utf-8", "replace").decode().replace(".", "_")  # it stands in the catalog
    return f"{PLUGIN_MODULES}{hashlib.blake2b(os.fsencode(path), digest_size=4).hexdigest()}_{stem}"


def _load_by_path(path: Path) -> ModuleType:
    name = _plugin_module(path)
    package = path.is_dir()
    spec = importlib.util.spec_from_file_location(
        name,
        path / "__init__.py" if package else path,
        submodule_search_locations=[str(path)] if package else None,
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _place(module: str) -> str:
    """Where a module is, for one who may change it: the file of a plugin from a folder, else the module's name."""
    source = getattr(sys.modules.get(module), "__file__", None)
    return source if source and module.startswith(PLUGIN_MODULES) else module


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")
