"""What a worker tells its server: reports, and the events of its runs, as JSON lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from nodegraph import events
from nodegraph.receipt import receipt_of
from nodegraph.serve.artifacts import describe
from nodegraph.serve.forecast import Forecast

MAX_MESSAGE = 20_000


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


class RunListener:
    """Tells the events of one run, and describes the files that it wrote.

    Args:
        reports: the way to the server.
        forecast: follows the run.
    """

    def __init__(self, reports: Reports, forecast: Forecast) -> None:
        self._reports = reports
        self._forecast = forecast
        self._told: set[str] = set()  # files
        self.over = False

    def __call__(self, event: events.Event) -> None:
        if self.over:  # a thread that a node left behind still talks, and the next run is not its own
            return
        self._forecast.take(event)
        match event:
            case events.Finished(None) | events.Failed(None) | events.Cancelled(None):
                return  # the server tells so itself, once it is on disk
            case events.Finished(str(), _, files) if files:
                self._told.update(files)
                found = [
                    _described(Path(path)) | {"receipt": json.dumps(receipt_of(Path(path)))} for path in files
                ]
                self._reports.tell(event._replace(files=()), {"artifacts": found})
            case events.Failed(_, message):
                self._reports.tell(event._replace(message=clean(message), raised=None))  # the run's error has it
            case events.Progress(_, step, total, note):
                count = None if total is None else int(total)
                self._reports.tell(event._replace(step=int(step), total=count, note=clean(note)), self._outlook)
            case events.Started(str()):
                self._reports.tell(event, self._outlook)
            case _:
                self._reports.tell(event)

    @property
    def _outlook(self) -> dict[str, Any]:
        """How far the run is, and the seconds that are left where that is known."""
        share, left = self._forecast.share, self._forecast.left
        return {"share": round(share, 4)} | ({} if left is None else {"left": round(left, 3)})

    def untold(self, files: Iterable[Path]) -> list[dict[str, Any]]:
        """What the server does not know yet of a run's files: those of cached nodes, written by an earlier run."""
        return [_described(path) for path in files if str(path) not in self._told and path.is_file()]


def _described(path: Path) -> dict[str, Any]:
    return {"path": str(path), **describe(path)}


def clean(text: str) -> str:
    """A text that fits a message and is valid Unicode, whatever a node has put into it."""
    return str(text)[:MAX_MESSAGE].encode(errors="replace").decode()


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":"), default=str).encode() + b"\n"
