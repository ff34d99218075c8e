"""How a run shows itself: bars on a terminal, plain lines in a pipe, JSON lines for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nodegraph import events


@contextmanager
def listener(as_json: bool) -> Iterator[events.Listener]:
    """A listener that prints: JSON lines on stdout, or words and bars on stderr."""
    if as_json:
        yield _json_line
    elif sys.stderr.isatty():
        with _bars() as listen:
            yield listen
    else:
        yield _plain_line


def printable(text: str) -> str:
    """Text of others without what a terminal would obey."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _json_line(event: events.Event) -> None:
    print(json.dumps(events.to_json(event), ensure_ascii=False), flush=True)


def _plain_line(event: events.Event) -> None:
    text = _words(event)
    if text:
        print(text, file=sys.stderr, flush=True)


def _words(event: events.Event) -> str:
    match event:
        case events.Started(None, total):
            return f"{total} node{'' if total == 1 else 's'}"
        case events.Started(node, _):
            return f"{node}: started"
        case events.Cached(node):
            return f"{node}: cached"
        case events.Progress(node, _, _, note) if note:
            return f"{node}: {note}"
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

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def listen(event: events.Event) -> None:
            match event:
                case events.Started(str(node), _):
                    tasks[node] = progress.add_task(node, total=1)
                case events.Cached(node):
                    progress.console.print(f"[dim]{node}: cached[/dim]", highlight=False)
                case events.Progress(node, step, total, note):
                    progress.update(tasks[node], completed=step, total=total)
                    if note:
                        progress.console.print(f"{node}: {note}", highlight=False, markup=False)
                case events.Finished(str(node), _, _):
                    task = progress.tasks[progress.task_ids.index(tasks[node])]
                    progress.update(tasks[node], total=task.total or 1, completed=task.total or 1)
                case events.Finished(None) | events.Cancelled(None):
                    progress.console.print(_words(event), highlight=False)

        yield listen
