"""The worker process: imports torch and the nodes, and runs what the server hands it, one run at a time.

Commands come on standard input and reports go to what was standard output, both as JSON lines; a preview's line
is followed by its bytes. What nodes print goes to the log of their run. A worker has nothing to lose: it may be
killed at any moment, and it ends by itself when its server is gone.

Commands: `begin` (first; the settings), `run`, `cancel`, `watch` (whether previews are wanted). Reports: `ready`,
`beat`, `end`, and the events of `nodegraph.events` for the run that was begun last.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from nodegraph.cache import DiskTier, ResultCache
from nodegraph.engine import Engine
from nodegraph.errors import Cancelled, CheckError, Interrupted, NodeError
from nodegraph.heap import give_pages_back, keep_pages
from nodegraph.home import Home
from nodegraph.registry import Registry
from nodegraph.serve.forecast import Forecast, Timings
from nodegraph.serve.parent import die_first, die_with_parent
from nodegraph.serve.printing import bound_log, flush, printing_to
from nodegraph.serve.reports import Reports, RunListener, clean
from nodegraph.workflow import Workflow

BEAT_SECONDS = 1.0
TOGETHER_SECONDS = 0.05
MAX_PROBLEMS = 100


class _Terminated(BaseException):
    """The server asked this process to end, and the node did not listen."""


@dataclass
class _Run:
    """A run as the server hands it over."""

    id: str
    attempt: int
    workflow: str
    targets: list[str] | None
    timings: Timings
    stop: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Carries runs through in the main thread, listens in a second one and beats in a third.

    Args:
        commands: where commands come from.
        reports: the way to the server.
        settings: what the server begins with; see `process.WorkerProcess.start`.
    """

    def __init__(self, commands: BinaryIO, reports: Reports, settings: dict[str, Any]) -> None:
        self._commands = commands
        self._reports = reports
        self._logs = Path(settings["logs"])
        self._settings = settings
        self._waiting: queue.SimpleQueue[_Run] = queue.SimpleQueue()
        self._newest: _Run | None = None
        self._watched = threading.Event()
        self._pid = os.getpid()

    def work(self) -> None:
        """Run what comes, for ever."""
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        engine = self._engine()
        self._reports.send({"report": "ready", "device": engine.device})
        while True:
            run = self._waiting.get()
            with printing_to(self._logs / f"{run.id}.log"):
                if run.attempt > 1:
                    print(f"--- attempt {run.attempt} ---")
                end = self._run(engine, run)
                if os.getpid() != self._pid:
                    # A node has forked and let the child return: one process alone may speak and go on.
                    flush()
                    os._exit(0)
            self._reports.send(end)
            give_pages_back()

    def _engine(self) -> Engine:
        settings = self._settings
        further = tuple(Path(folder) for folder in settings["models"])
        home = Home(Path(settings["home"]), Path(settings["cache"]), further)
        return Engine(
            home=home,
            registry=Registry.load([Path(folder) for folder in settings["plugins"]]),
            cache=ResultCache(disk=DiskTier(home.cache, settings["cache_bytes"])),
            files=home.files(
                output=Path(settings["output"]), inputs=[Path(folder) for folder in settings["inputs"]]
            ),
            device=settings["device"],
            compiled=settings["compiled"],
        )

    def _run(self, engine: Engine, run: _Run) -> dict[str, Any]:
        end: dict[str, Any] = {"report": "end", "run": run.id, "status": "succeeded"}
        listener = None
        try:
            planned = engine.prepare(Workflow.parse(run.workflow), targets=run.targets)
            if run.stop.is_set():
                raise Cancelled
            listener = RunListener(self._reports, Forecast(planned, run.timings))
            result = engine.run_plan(planned, listen=listener, stop=run.stop, previews=self._watched)
            end["seconds"] = result.seconds
            end["artifacts"] = listener.untold(result.files)
            return end
        except Cancelled:
            return {**end, "status": "cancelled"}
        except _Terminated:
            raise
        except CheckError as error:
            first = error.problems[:MAX_PROBLEMS]
            problems = [{"message": clean(p.message), "node": p.node, "input": p.input} for p in first]
            return {**end, "status": "failed", "error": _failure("refused", str(error), problems=problems)}
        except (NodeError, Interrupted) as error:
            if error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            return {**end, "status": "failed", "error": _node_failure(error)}
        except BaseException as error:  # planning may raise what nobody foresaw
            traceback.print_exc()
            words = f"{type(error).__name__}: {error}"
            return {**end, "status": "failed", "error": _failure("refused", words)}
        finally:
            if listener is not None:
                listener.over = True

    def _listen(self) -> None:
        for line in self._commands:
            command = json.loads(line)
            match command["do"]:
                case "run":
                    self._newest = _Run(
                        command["run"],
                        command["attempt"],
                        command["workflow"],
                        command["targets"],
                        command["timings"],
                    )
                    self._waiting.put(self._newest)
                case "watch":
                    (self._watched.set if command["on"] else self._watched.clear)()
                case "cancel" if self._newest is not None and self._newest.id == command["run"]:
                    self._newest.stop.set()
        # The server is gone. Nobody would hear of what this process does from now on.
        os._exit(0)

    def _beat(self) -> None:
        told = 0.0
        while True:
            if self._reports.stirred.wait(BEAT_SECONDS):
                time.sleep(TOGETHER_SECONDS)  # whatever else happens within a moment goes along
                self._reports.stirred.clear()
            try:
                self._reports.flush()
                if time.monotonic() - told >= BEAT_SECONDS:
                    told = time.monotonic()
                    self._reports.send({"report": "beat", "memory": _resident()})
                    bound_log()
            except OSError:
                os._exit(0)


def _resident() -> int | None:
    """Bytes of memory that this process holds, where the system says so."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _failure(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "message": clean(message), **more}


def _node_failure(error: NodeError | Interrupted) -> dict[str, Any]:
    raised = error.raised if isinstance(error, NodeError) else None
    where = None if raised is None else {name: clean(text) for name, text in asdict(raised).items()}
    return _failure("node", error.message, node=error.node, raised=where)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated


def main() -> None:
    """Run as a worker whose server holds the other ends of standard input and output."""
    die_with_parent()
    die_first()
    keep_pages()
    commands, stream = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    faulthandler.enable()
    settings = json.loads(commands.readline())
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        Worker(commands, Reports(stream), settings).work()
    except _Terminated:
        # Threads that a node left behind would hold an ordinary end up.
        flush()
        os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
