"""The engine as one object: nodes, cache, files and device, ready to run workflows again and again."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from pydantic import JsonValue

from nodegraph import events
from nodegraph.cache import DiskTier, ResultCache
from nodegraph.catalog import Catalog
from nodegraph.check import Checked, check
from nodegraph.console import listener
from nodegraph.context import default_models
from nodegraph.execute import Result, execute
from nodegraph.files import Files
from nodegraph.home import PREVIEWS, Home
from nodegraph.plan import Plan, default_dtype, placement, plan
from nodegraph.receipt import metadata as receipt_metadata
from nodegraph.registry import Registry
from nodegraph.undisturbed import undisturbed
from nodegraph.workflow import Workflow

log = logging.getLogger("nodegraph.engine")


class Engine:
    """Runs workflows in this process and remembers their results.

    Args:
        home: the user's folders; by default those of the platform or `$NODEGRAPH_HOME`.
        registry: the nodes; by default all that can be found.
        catalog: the same nodes as data. Where it is given and no registry is, the nodes themselves are imported
            only when one must run: a workflow whose results are all cached costs no such import.
        plugins: plugin folders besides the home's own; none is imported where the catalog had to leave them out.
        cache: where results are kept between runs; by default memory, and the home's cache folder.
        files: finds input files and writes output files; by default pictures beside `inputs`.
        device: such as `cpu` or `cuda:0`; by default an accelerator where there is one.
        dtype: what weights are held in, `float32`, `bfloat16` or `float16`; by default what suits the device.
        compiled: compile denoising networks with torch.compile when they are first used: a minute or more once,
            faster steps from then on. Results differ in their last bits, so they are kept apart. By default what
            `$NODEGRAPH_COMPILE` says, which is read now.

    Raises:
        ValueError: `$NODEGRAPH_COMPILE` is neither yes nor no.
    """

    def __init__(
        self,
        *,
        home: Home | None = None,
        registry: Registry | None = None,
        catalog: Catalog | None = None,
        plugins: Sequence[Path] = (),
        cache: ResultCache | None = None,
        files: Files | None = None,
        device: str | None = None,
        dtype: str | None = None,
        compiled: bool | None = None,
    ) -> None:
        self.home = home or Home.of_user()
        self.cache = ResultCache(disk=DiskTier(self.home.cache)) if cache is None else cache
        self.files = files or self.home.files(output=Path("out"), inputs=[Path()])
        self.device = device or default_device()
        self.dtype = dtype or default_dtype(self.device)
        self.compiled = _told_to_compile() if compiled is None else compiled
        self._registry = registry
        self._catalog = catalog
        left_out = catalog is not None and catalog.plugins_left_out
        self._plugins = () if left_out else (self.home.plugins, *plugins)
        self.cache.know(lambda _: self.registry.wire_types)

    @property
    def registry(self) -> Registry:
        """The nodes, imported when first asked for."""
        if self._registry is None:
            self._registry = Registry.load(self._plugins)
        return self._registry

    @property
    def catalog(self) -> Catalog:
        """The nodes as data."""
        return self.registry.catalog if self._catalog is None else self._catalog

    def check(self, workflow: Workflow) -> Checked:
        """Every problem of a workflow against this engine's nodes and files."""
        return check(workflow, self.catalog, self.files)

    def plan(self, workflow: Workflow, targets: Sequence[str] | None = None) -> Plan:
        """The plan of a workflow. Raises CheckError where it has problems."""
        return plan(
            self.check(workflow),
            self.files,
            targets=targets,
            device=placement(self.device, self.dtype, self.compiled),
        )

    def run(
        self,
        workflow: Workflow,
        *,
        values: Mapping[str, JsonValue] | None = None,
        targets: Sequence[str] | None = None,
        listen: events.Listener | None = None,
        stop: threading.Event | None = None,
        previews: bool = False,
    ) -> Result:
        """Run a workflow and return what its wanted nodes gave.

        Args:
            workflow: the document.
            values: replaces values, by `node.input`.
            targets: ids of the wanted nodes; by default every effect and every unused output.
            listen: receives every event, in this thread.
            stop: set from another thread to cancel.
            previews: whether the listener wants pictures while nodes run.

        Raises:
            CheckError: the workflow has problems; nothing ran.
            NodeError: a node failed.
            Cancelled: `stop` was set.
        """
        planned = self.prepare(workflow, values=values, targets=targets)
        return self.run_plan(planned, listen=listen, stop=stop, previews=previews)

    def prepare(
        self,
        workflow: Workflow,
        *,
        values: Mapping[str, JsonValue] | None = None,
        targets: Sequence[str] | None = None,
    ) -> Plan:
        """The plan of a run, after a look at what has changed on disk: plugins, and results of other processes.

        Raises CheckError where the workflow has problems.
        """
        if self._registry is not None:
            self._registry.refresh()
        self.cache.refresh()
        if values:
            workflow = workflow.with_values(values)
        planned = self.plan(workflow, targets)
        self.cache.remember((step.id, step.shape.type.name, step.cause) for step in planned.steps.values())
        return planned

    def run_plan(
        self,
        planned: Plan,
        *,
        listen: events.Listener | None = None,
        stop: threading.Event | None = None,
        previews: bool | threading.Event = False,
    ) -> Result:
        """Run what `prepare` gave; `previews` may be an event, set while somebody looks. Raises as `run` does."""
        with undisturbed(_changed):
            return execute(
                planned,
                lambda: self.registry,
                self.cache,
                files=self.files,
                device=self.device,
                dtype=self.dtype,
                compiled=self.compiled,
                models=default_models,
                listen=listen,
                stop=stop,
                metadata=self._metadata,
                previews=previews,
            )

    def _metadata(self, planned: Plan, node: str, results: Mapping[str, str]) -> dict[str, str]:
        return receipt_metadata(planned, node, self.device, self.dtype, results, compiled=self.compiled)


def _changed(names: str) -> None:
    log.warning("nodes of this run changed %s; that was put back", names)


def run(
    workflow: Workflow | str | os.PathLike[str],
    *,
    values: Mapping[str, JsonValue] | None = None,
    targets: Sequence[str] | None = None,
    output: str | os.PathLike[str] = "out",
    listen: events.Listener | None = None,
    progress: bool = False,
    engine: Engine | None = None,
) -> Result:
    """Run a workflow, or the one in a JSON or PNG file, with the engine of this process.

    `values` replaces values by `node.input`, and may name files anywhere by their absolute paths; a document may
    not. `output` is where files are written, what is only shown to its folder `previews`. `progress` shows how far
    it is on stderr, as the command line does; `listen` gets every event, for another display. See `Engine.run`.
    """
    folder = Path()
    if not isinstance(workflow, Workflow):
        folder = Path(workflow).parent
        workflow = Workflow.load(workflow)
    if engine is None:
        engine = _shared_engine()
        given = [Path(value) for value in (values or {}).values() if isinstance(value, str) and "\0" not in value]
        allowed = [path for path in given if path.is_absolute()]
        engine.files = engine.home.files(output=Path(output), inputs=[folder, Path()], allowed=allowed)
        engine.files.previews = Path(output) / PREVIEWS
    with listener(False) if progress else nullcontext() as show:
        listening = [one for one in (show, listen) if one is not None]
        return engine.run(workflow, values=values, targets=targets, listen=_all_of(listening))


def _all_of(listeners: Sequence[events.Listener]) -> events.Listener | None:
    def listen(event: events.Event) -> None:
        for one in listeners:
            one(event)

    return listen if listeners else None


def _told_to_compile() -> bool:
    """Whether `$NODEGRAPH_COMPILE` asks for compiled networks, in the words that the command line takes."""
    word = os.environ.get("NODEGRAPH_COMPILE", "").strip()
    if word.lower() in ("1", "true", "t", "yes", "y", "on"):
        return True
    if word.lower() in ("", "0", "false", "f", "no", "n", "off"):
        return False
    raise ValueError(f"NODEGRAPH_COMPILE is {word!r}; set it to 1 or 0")


def default_device() -> str:
    """The first accelerator that torch sees, else the CPU.

    On Linux torch is asked, and imported, only where a driver has left its mark.
    """
    marks = (*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("kfd"), *Path("/dev").glob("dxg"))
    if sys.platform == "linux" and not marks:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


_engine: Engine | None = None


def _shared_engine() -> Engine:
    global _engine
    if _engine is None:
        # As the command line does, see `cli.main`; it has no effect where torch has been imported before.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        _engine = Engine()
    return _engine
