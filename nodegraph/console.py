"""How a run shows itself: bars on a terminal, plain lines in a pipe, JSON lines for programs."""

from __future__ import annotations

import json
import logging
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TextIO

from nodegraph import events


@contextmanager
def listener(as_json: bool) -> Iterator[events.Listener]:
    """A listener that prints: JSON lines on stdout, or words and bars on stderr."""
    if as_json:
        with _stdout_alone() as stream:
            yield partial(_json_line, stream)
    elif sys.stderr.isatty():
        with _bars() as listen:
            yield listen
    else:
        yield _plain_line


def printable(text: str) -> str:
    """Text of others without what a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter == "\n" else _instead(letter) for letter in text)


def _instead(letter: str) -> str:
    match unicodedata.category(letter):
        case "Zs":  # the spaces of other scripts do no harm
            return letter
        case "Cs":  # a byte that is no text, in the name of a file
            return letter.encode("ascii", "backslashreplace").decode()
    return "\N{REPLACEMENT CHARACTER}"


def show(text: object) -> None:
    """Print to stdout, without what a terminal would obey; commands print by this, `show_json` and `say` alone."""
    print(printable(str(text)), flush=True)


def show_json(data: object, indent: int | None = None) -> None:
    """Print JSON to stdout, in ASCII: what a terminal would obey is escaped, so programs read what was there."""
    print(json.dumps(data, indent=indent), flush=True)


def say(text: str) -> None:
    """Print to stderr, without what a terminal would obey; a full disk under a log ends no run."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


@contextmanager
def _stdout_alone() -> Iterator[TextIO]:
    """Standard output for one's own lines; what nodes print, by Python, by C or by a child, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


class Words(logging.Formatter):
    """Lines of a log for a terminal, without what it would obey."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and after it the traceback where there is one."""
        return printable(super().format(record))


def _json_line(stream: TextIO, event: events.Event) -> None:
    # In ASCII, as `show_json`; a path may also hold bytes that are no text, and JSON has escapes for them.
    print(json.dumps(events.to_json(event)), file=stream, flush=True)


def _plain_line(event: events.Event) -> None:
    text = _words(event)
    if text:
        say(text)


def _words(event: events.Event) -> str:
    match event:
        case events.Started(None, total):
            return f"{total} node{'' if total == 1 else 's'}"
        case events.Started(node, _):
            return f"{node}: started"
        case events.Cached(node):
            return f"{node}: cached"
        case events.Progress(node, step, total, note) if note:
            return f"{node}: {f'step {step} of {total}: ' if step and total and total > 1 else ''}{note}"
        case events.Finished(None, seconds):
            return f"finished in {seconds:.2f} s"
        case events.Finished(node, seconds):
            return f"{node}: finished in {seconds:.2f} s"
        case events.Cancelled(None):
            return "cancelled; finished results are kept"
    return ""


@contextmanager
def _bars() -> Iterator[events.Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def listen(event: events.Event) -> None:
            match event:
                case events.Started(str(node), _):
                    tasks[node] = progress.add_task(printable(node), total=1)
                case events.Cached(node):
                    progress.console.print(
                        printable(f"{node}: cached"), style="dim", highlight=False, markup=False
                    )
                case events.Progress(node, step, total, note):
                    progress.update(tasks[node], completed=step, total=total)
                    if note:
                        progress.console.print(printable(f"{node}: {note}"), highlight=False, markup=False)
                case events.Finished(str(node), _, _):
                    task = progress.tasks[progress.task_ids.index(tasks[node])]
                    progress.update(tasks[node], total=task.total or 1, completed=task.total or 1)
                case events.Finished(None) | events.Cancelled(None):
                    progress.console.print(_words(event), highlight=False)

        yield listen
