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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from nodegraph import events
from nodegraph.cache import DiskTier, ResultCache
from nodegraph.engine import Engine
from nodegraph.errors import Cancelled, CheckError, NodeError
from nodegraph.home import Home
from nodegraph.plan import Plan
from nodegraph.receipt import receipt_of
from nodegraph.registry import Registry
from nodegraph.serve.artifacts import describe
from nodegraph.serve.forecast import Forecast, Timings
from nodegraph.serve.parent import die_with_parent
from nodegraph.workflow import Workflow

BEAT_SECONDS = 1.0
TOGETHER_SECONDS = 0.05
MAX_LOG_BYTES = 8 * 2**20
MAX_MESSAGE = 20_000
MAX_PROBLEMS = 100


class _Terminated(BaseException):
    """The server asked this process to end, and the node did not listen."""


@dataclass
class _Job:
    """A run to be run."""

    run: str
    attempt: int
    workflow: str
    targets: list[str] | None
    timings: Timings
    stop: threading.Event = field(default_factory=threading.Event)


class Reports:
    """The way to the server. Events are gathered for a moment; that a node begins is told at once, so that the
    server knows which node it was that took the process down.

    Args:
        stream: where reports go.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._waiting: list[tuple[events.Event, dict[str, Any]]] = []
        self.stirred = threading.Event()

    def send(self, report: dict[str, Any]) -> None:
        """Report now, after all events so far."""
        with self._lock:
            self._write([*self._serialised(), _line(report)])

    def tell(self, event: events.Event, more: dict[str, Any] | None = None) -> None:
        """Report an event of the run, and what else is known then, soon."""
        with self._lock:
            last = self._waiting[-1][0] if self._waiting else None
            match event, last:
                case events.Progress(node), events.Progress(other) if node == other:
                    self._waiting.pop()  # the newer says all
            self._waiting.append((event, more or {}))
            if isinstance(event, events.Started):
                self._write(self._serialised())
        self.stirred.set()

    def flush(self) -> None:
        """Report what has been gathered."""
        with self._lock:
            self._write(self._serialised())

    def _serialised(self) -> list[bytes]:
        lines = []
        for event, more in self._waiting:
            if isinstance(event, events.Preview):
                header = {"event": "preview", "node": event.node, "bytes": len(event.image)}
                lines += [_line(header), event.image]
            else:
                lines.append(_line(events.to_json(event) | more))
        self._waiting.clear()
        return lines

    def _write(self, lines: list[bytes]) -> None:
        if lines:
            self._stream.write(b"".join(lines))
            self._stream.flush()


class Worker:
    """Runs jobs in the main thread, listens in a second one and beats in a third.

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
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._newest: _Job | None = None
        self._watched = threading.Event()
        self._pid = os.getpid()

    def work(self) -> None:
        """Run what comes, for ever."""
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        engine = self._engine()
        self._reports.send({"report": "ready", "device": engine.device})
        while True:
            job = self._jobs.get()
            with _printing_to(self._logs / f"{job.run}.log"):
                if job.attempt > 1:
                    print(f"--- attempt {job.attempt} ---")
                end = self._run(engine, job)
                if os.getpid() != self._pid:
                    # A node has forked and let the child return: one process alone may speak and go on.
                    _flush()
                    os._exit(0)
            self._reports.send(end)

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

    def _run(self, engine: Engine, job: _Job) -> dict[str, Any]:
        end: dict[str, Any] = {"report": "end", "run": job.run, "status": "succeeded"}
        listener = None
        try:
            planned = engine.prepare(Workflow.parse(job.workflow), targets=job.targets)
            if job.stop.is_set():
                raise Cancelled
            listener = _Listener(self._reports, engine, planned, Forecast(planned, job.timings))
            result = engine.run_plan(planned, listen=listener, stop=job.stop, previews=self._watched)
            end["seconds"] = result.seconds
            end["artifacts"] = [listener.described(path, None) for path in result.files if path.is_file()]
            return end
        except Cancelled:
            return {**end, "status": "cancelled"}
        except _Terminated:
            raise
        except CheckError as error:
            first = error.problems[:MAX_PROBLEMS]
            problems = [{"message": _clean(p.message), "node": p.node, "input": p.input} for p in first]
            return {**end, "status": "failed", "error": _failure("refused", str(error), problems=problems)}
        except NodeError as error:
            if error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            return {**end, "status": "failed", "error": _failure("node", error.message, node=error.node)}
        except BaseException as error:  # a node may raise SystemExit, and planning what nobody foresaw
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
                    self._newest = _Job(
                        command["run"],
                        command["attempt"],
                        command["workflow"],
                        command["targets"],
                        command["timings"],
                    )
                    self._jobs.put(self._newest)
                case "watch":
                    (self._watched.set if command["on"] else self._watched.clear)()
                case "cancel" if self._newest is not None and self._newest.run == command["run"]:
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
                    _bound_log()
            except OSError:
                os._exit(0)


class _Listener:
    """Tells the events of one run, and describes the files that it wrote."""

    def __init__(self, reports: Reports, engine: Engine, planned: Plan, forecast: Forecast) -> None:
        self._reports = reports
        self._engine = engine
        self._planned = planned
        self._forecast = forecast
        self._described: dict[Path, dict[str, Any]] = {}
        self.over = False

    def __call__(self, event: events.Event) -> None:
        if self.over:  # a thread that a node left behind still talks, and the next run is not its own
            return
        self._forecast.take(event)
        match event:
            case events.Finished(None) | events.Failed(None) | events.Cancelled(None):
                return  # the server tells so itself, once it is on disk
            case events.Finished(str(node), _, files) if files:
                found = [self.described(Path(path), node) for path in files]
                self._reports.tell(event._replace(files=()), {"artifacts": found})
            case events.Failed(_, message):
                self._reports.tell(event._replace(message=_clean(message)))
            case events.Progress(_, step, total, note):
                count = None if total is None else int(total)
                self._reports.tell(event._replace(step=int(step), total=count, note=_clean(note)), self._outlook)
            case events.Started(str()):
                self._reports.tell(event, self._outlook)
            case _:
                self._reports.tell(event)

    @property
    def _outlook(self) -> dict[str, Any]:
        """How far the run is, and the seconds that are left where that is known."""
        share, left = self._forecast.share, self._forecast.left
        return {"share": round(share, 4)} | ({} if left is None else {"left": round(left, 3)})

    def described(self, path: Path, node: str | None) -> dict[str, Any]:
        """What the server is told about a file; only the node that wrote it knows its receipt."""
        if path not in self._described:
            receipt = json.dumps(receipt_of(path)) if node is not None else None
            self._described[path] = {"path": str(path), "receipt": receipt, **describe(path)}
        return self._described[path]


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Send everything that is printed, by Python or by C, to the end of a file; afterwards to where it went."""
    before = os.dup(1)
    _redirect(path)
    try:
        yield
    finally:
        _flush()
        os.dup2(before, 1)
        os.dup2(before, 2)
        os.close(before)


def _redirect(path: Path) -> None:
    _flush()
    # A disk that is too full for a log is no reason to stop.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _bound_log() -> None:
    """Cut a log that has grown too large, and let the rest go."""
    with suppress(OSError):
        if os.fstat(1).st_size > MAX_LOG_BYTES:
            os.ftruncate(1, MAX_LOG_BYTES)
            os.write(1, f"\n--- the log ends here: {MAX_LOG_BYTES:,} bytes are the limit ---\n".encode())
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            os.close(nowhere)


def _resident() -> int | None:
    """Bytes of memory that this process holds, where the system says so."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _failure(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "message": _clean(message), **more}


def _clean(text: str) -> str:
    """A text that fits a message and is valid Unicode, whatever a node has put into it."""
    return str(text)[:MAX_MESSAGE].encode(errors="replace").decode()


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":"), default=str).encode() + b"\n"


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated


def main() -> None:
    """Run as a worker whose server holds the other ends of standard input and output."""
    die_with_parent()
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
        _flush()
        os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
