"""Runs a plan: looks results up, computes what is missing in topological order, tells what happens.

Evaluation is driven by demand. From the wanted nodes the executor walks back only as far as results are
missing, so a cached node's ancestors are not run, loaded or even looked at. Values live in the run until the
last node that needs them has run; the cache may keep them longer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from nodegraph import events
from nodegraph.cache import ResultCache
from nodegraph.call import Outputs, call, message
from nodegraph.carried import RECEIPT_TEXT
from nodegraph.context import Context, Models, default_models
from nodegraph.errors import Cancelled, Interrupted, NodeError, RunError
from nodegraph.files import Files
from nodegraph.lifetimes import Values
from nodegraph.node import Lazy
from nodegraph.origin import origin_in_words
from nodegraph.plan import Plan, Step
from nodegraph.raised import raised
from nodegraph.registry import Registry
from nodegraph.schema import ValueRefused
from nodegraph.traced import Metadata, Traced
from nodegraph.workflow import Link

SHOWN = 5  # files that a result names when it is printed
log = logging.getLogger("nodegraph.execute")


@dataclass(repr=False)
class Result:
    """What a run gave. `result["decode"]["image"]` is an output of a wanted node.

    A cached output is read when it is first asked for: a run that finds everything done opens nothing.
    """

    outputs: Callable[[str], Outputs]
    files: list[Path] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __getitem__(self, node: str) -> Outputs:
        return self.outputs(node)

    def __repr__(self) -> str:
        files = "".join(f" {path}" for path in self.files[:SHOWN]) + (" ..." if len(self.files) > SHOWN else "")
        counts = f"{len(self.ran)} ran, {len(self.cached)} cached, {self.seconds:.2f} s"
        return f"<Result: {counts}; files:{files or ' none'}>"


def execute(
    plan: Plan,
    registry: Callable[[], Registry],
    cache: ResultCache,
    *,
    files: Files,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
    models: Models = default_models,
    listen: events.Listener | None = None,
    stop: threading.Event | None = None,
    metadata: Metadata | None = None,
    previews: bool | threading.Event = False,
) -> Result:
    """Run a plan in this thread.

    Args:
        plan: what to run.
        registry: gives the functions of its node types; asked only where a node must run.
        cache: where results are looked up and kept.
        files: finds input files and writes output files.
        device: where tensors are computed, such as `cpu` or `cuda:0`.
        dtype: what weights are held in there.
        compiled: whether networks are compiled, see `Engine`.
        models: gives the pool of live models.
        listen: receives every event, in order, from this thread.
        stop: set from another thread to cancel.
        metadata: gives the text that the files of a node carry.
        previews: whether the listener wants pictures while nodes run; an event where that may change.

    Raises:
        NodeError: a node failed; its results so far stay cached.
        Cancelled: `stop` was set.
        Interrupted: a KeyboardInterrupt came up in a node; nothing of that node is kept.
    """
    stop = stop or threading.Event()
    run = _Run(plan, registry, cache, files, device, dtype, compiled, models, listen, stop, metadata, previews)
    return run.to_the_end()


class _Stale(Exception):
    """A result that the cache had promised is gone."""


@dataclass
class _Run:
    plan: Plan
    registry: Callable[[], Registry]
    cache: ResultCache
    files: Files
    device: str
    dtype: str
    compiled: bool
    models: Models
    listen: events.Listener | None
    stop: threading.Event
    metadata: Metadata | None
    previews: bool | threading.Event

    def __post_init__(self) -> None:
        self.steps = self.plan.steps
        self.result = Result(self._wanted)
        self.position = {name: index for index, name in enumerate(self.steps)}
        self.values = Values(self.steps, self.plan.targets)
        self.traced = Traced(self.plan, self.cache, self.metadata)
        self.done: set[str] = set()
        self.stale: set[str] = set()  # results that the cache promised and could not give
        self.fresh: set[str] = set()  # keys that this run computed
        self.astray: set[str] = set()  # nodes that a file was changed under: their keys do not say what they gave
        self.untold: set[str] = set()  # nodes whose keys say less than what they gave depends on

    def to_the_end(self) -> Result:
        started = time.perf_counter()
        self._tell(events.Started(None, len(self.steps)))
        try:
            self.evaluate(self.plan.targets)
        except Cancelled:
            self._tell(events.Cancelled())
            raise
        except (NodeError, KeyboardInterrupt) as error:
            self._tell(events.Failed(None, str(error) or "interrupted"))
            raise
        finally:
            self.result.seconds = time.perf_counter() - started
            self.values.drop_but(self.plan.targets)
        files = tuple(str(path) for path in self.result.files)
        self._tell(events.Finished(None, self.result.seconds, files))
        return self.result

    def _wanted(self, name: str) -> Outputs:
        if name not in self.plan.targets:
            raise KeyError(f"{name!r} is not among the wanted nodes: {', '.join(self.plan.targets)}")
        try:
            return self._outputs(name) if self.steps[name].shape.outputs else {}
        except _Stale:
            raise RunError(f"the result of {name!r} is no longer cached; run the workflow again") from None

    def evaluate(self, targets: tuple[str, ...]) -> None:
        """Make the results of nodes available, computing whatever is missing for them."""
        while True:
            try:
                for name in self._missing(targets):
                    step = self.steps[name]
                    # An equal node may have run since, or a lazy input have asked for this one.
                    if name not in self.done and not (step.key in self.fresh and self._available(name)):
                        self._run(step)
                return
            except _Stale:
                continue

    def _missing(self, targets: tuple[str, ...]) -> list[str]:
        """The nodes that must run for the targets, in topological order."""
        missing: set[str] = set()
        pending = [name for name in targets if not self._available(name)]
        while pending:
            name = pending.pop()
            if name in missing:
                continue
            missing.add(name)
            step = self.steps[name]
            self.values.reclaim(step)
            for entry, links in step.links.items():
                if entry not in step.shape.lazy:
                    pending.extend(
                        link.node for link in links if link.node not in missing and not self._available(link.node)
                    )
        return sorted(missing, key=self.position.__getitem__)

    def _available(self, name: str) -> bool:
        if name in self.values:
            return True
        step = self.steps[name]
        effect = step.shape.type.effect
        if effect != "none":
            # An effect that ran in this run has happened; only its outputs, if any, may have to be kept.
            return name in self.done or (effect == "files" and self._files_stand(step))
        if name in self.stale or step.key not in self.cache:
            return False
        if name not in self.done:
            self.done.add(name)
            self.result.cached.append(name)
            self._tell(events.Cached(name))
            self.values.release(step)
        return True

    def _files_stand(self, step: Step) -> bool:
        files = self.cache.written(step.key, self.files.output)
        if files is None or step.shape.outputs:
            return False
        self.done.add(step.id)
        self.result.cached.append(step.id)
        self.result.files.extend(files)
        self._tell(events.Cached(step.id))
        return True

    def _outputs(self, name: str) -> Outputs:
        outputs = self.values.get(name)
        if outputs is None:
            outputs = self.cache.get(self.steps[name].key)
            if outputs is None:
                self.stale.add(name)
                self.done.discard(name)
                raise _Stale
        return outputs

    def _known(self, step: Step) -> Outputs | None:
        return self.values.get(step.id) or self.cache.get(step.key)

    def _read(self, link: Link) -> Any:
        return self._outputs(link.node)[link.output]

    def _run(self, step: Step) -> None:
        if self.stop.is_set():
            raise Cancelled
        node = self.registry().nodes.get(step.shape.type.name)
        if node is None:
            self._fail(step, "its plugin could not be imported in this process; `nodegraph nodes` says why")
        context = Context(
            step.id,
            device=self.device if node.type.on_device or node.type.effect != "none" else None,
            dtype=self.dtype,
            compiled=self.compiled,
            files=self.files,
            models=self.models,
            listen=self.listen,
            stop=self.stop,
            metadata=self._texts(step) if node.type.effect != "none" else None,
            previews=self.previews,
            key=step.key,
        )
        if node.type.effect == "files":
            context.left = self.cache.begun(step.key, self.files.output)
            context.saved = partial(self.cache.wrote, step.key, self.files.output, all=False)
        arguments = self._arguments(step)
        if node.context is not None:
            arguments[node.context] = context
        self._tell(events.Started(step.id))
        started = time.perf_counter()
        try:
            outputs = call(node, arguments, partial(self._free, context), context.memory_situation)
        except Cancelled:
            self._tell(events.Cancelled(step.id))
            raise
        except (_Stale, NodeError, Interrupted):  # a lazy input's; its node has told so
            raise
        except KeyboardInterrupt as error:
            interrupted = Interrupted(step.id, step.shape.type.name)
            self._tell(events.Failed(step.id, interrupted.message))
            raise interrupted from error
        except (Exception, SystemExit) as error:
            # A node that calls sys.exit() has failed, whatever status it gives.
            told = (message(error), origin_in_words(step, self.steps, self._known))
            self._fail(step, "; ".join(filter(None, told)), cause=error)
        finally:
            context.close()
        self._finish(step, outputs, time.perf_counter() - started, context)
        context.forget_state()

    def _fail(
        self, step: Step, words: str, entry: str | None = None, cause: BaseException | None = None
    ) -> NoReturn:
        where = None if cause is None else raised(cause)
        self._tell(events.Failed(step.id, words, entry, None if where is None else asdict(where)))
        raise NodeError(step.id, step.shape.type.name, words, where) from cause

    def _free(self, context: Context) -> None:
        """Give back what memory can be given back."""
        self.cache.free()
        context.save_memory()

    def _finish(self, step: Step, outputs: Outputs, seconds: float, context: Context) -> None:
        written = context.written
        effect = step.shape.type.effect
        self.done.add(step.id)
        self.fresh.add(step.key)
        self.result.ran.append(step.id)
        self.result.files.extend(written)
        if self._is_told(step):
            if effect == "none":
                # What was made sparingly differs in its last bits: other processes shall not be given it.
                kept = 0.0 if context.short_of_memory else seconds
                self.cache.put(step.key, outputs, kept, self.traced.digest(step, outputs))
            elif effect == "files":
                self.cache.wrote(step.key, self.files.output, tuple(written))
        self.values.put(step.id, outputs)
        if self.listen is not None:
            self.listen(events.Finished(step.id, seconds, tuple(map(str, written))))
        self.values.release(step)

    def _is_told(self, step: Step) -> bool:
        """Whether a key says all that the node's result depends on, so that others may be given it.

        It does not where a file's name comes over a link: the key was made before anybody could look at the file.
        """
        if (
            self._is_astray(step)
            or not step.shape.files.keys().isdisjoint(step.links)
            or _reads(step, self.untold)
        ):
            self.untold.add(step.id)
        return step.id not in self.untold

    def _is_astray(self, step: Step) -> bool:
        """Whether a node is given what its key does not say, as its files or those before it were changed."""
        if _reads(step, self.astray):
            self.astray.add(step.id)
        elif step.id not in self.astray and not self.plan.stands(step, self.files):
            self.astray.add(step.id)
            log.warning(
                "a file that %s names was changed during the run: what is made of it is not kept for later runs, "
                "and pictures of it carry no receipt",
                step.id,
            )
        return step.id in self.astray

    def _texts(self, step: Step) -> Mapping[str, str] | None:
        """The texts that the files of an effect carry; a receipt only of what its keys tell."""
        texts = self.traced.texts(step)
        if texts is None or not self._is_astray(step):
            return texts
        return {name: text for name, text in texts.items() if name != RECEIPT_TEXT}

    def _arguments(self, step: Step) -> dict[str, Any]:
        arguments = dict(step.values)
        for entry, links in step.links.items():
            declared = step.shape.inputs[entry]
            if declared.lazy:
                arguments[entry] = Lazy(partial(self._evaluate_now, links, declared.many))
            else:
                found = [self._read(link) for link in links]
                arguments[entry] = found if declared.many else found[0]
                self._validate(step, entry, arguments[entry])
        for entry in step.shape.lazy - step.links.keys():
            if entry in arguments:
                arguments[entry] = Lazy(partial(_identity, arguments[entry]))
        return arguments

    def _evaluate_now(self, links: tuple[Link, ...], many: bool) -> Any:
        while True:
            self.evaluate(tuple(link.node for link in links))
            with suppress(_Stale):
                found = [self._read(link) for link in links]
                return found if many else found[0]

    def _validate(self, step: Step, entry: str, value: Any) -> None:
        """A literal that came over a link must fit as one that was typed in."""
        if isinstance(value, str | int | float):
            validate = step.shape.validators.get(entry)
            if validate is not None:
                try:
                    validate(value)
                except ValueRefused as error:
                    self._fail(step, f"the value linked to {entry}: {error}", entry)

    def _tell(self, event: events.Event) -> None:
        if self.listen is not None:
            self.listen(event)


def _reads(step: Step, nodes: set[str]) -> bool:
    """Whether a node has a link from any of these."""
    return bool(nodes) and any(link.node in nodes for links in step.links.values() for link in links)


def _identity(value: Any) -> Any:
    return value
