"""Running a workflow from the command line: bars or events, Ctrl-C, and what is printed at the end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nodegraph.console import listener, say, show
from nodegraph.errors import Cancelled, Interrupted
from nodegraph.options import CANCELLED

if TYPE_CHECKING:
    from nodegraph.engine import Engine
    from nodegraph.execute import Result
    from nodegraph.plan import Plan
    from nodegraph.workflow import Workflow

_STARTTIME = 19  # which field of /proc/PID/stat after the name in brackets, see proc(5)
PLAIN = {"bool", "int", "float", "str"}


def run_with(
    engine: Engine, workflow: Workflow, *, targets: Sequence[str] | None = None, as_events: bool = False
) -> None:
    """Run a workflow; print plain values that its last nodes gave, and the paths of the files that it wrote."""
    with listener(as_events) as listen, _stopping() as stop:
        try:
            planned = engine.prepare(workflow, targets=targets)
            result = engine.run_plan(planned, listen=listen, stop=stop, previews=as_events)
        except Cancelled:
            raise typer.Exit(CANCELLED) from None
        except Interrupted as error:  # Ctrl-C sets `stop`: the node itself raised it
            say(str(error))
            raise typer.Exit(CANCELLED) from None
    if as_events:
        return
    values = list(plain_values(planned, result))
    if (age := process_age()) is not None:
        say(f"{age:.2f} s in all, with the start of the program")
    for line in values:
        show(line)
    for path in result.files:
        show(path)


def plain_values(planned: Plan, result: Result) -> Iterator[str]:
    """A line such as `sum.value = 7` for each number, text and switch that a wanted node gave."""
    for id in planned.targets:
        for port in planned.steps[id].shape.type.outputs:
            if port.type in PLAIN:
                yield f"{id}.{port.name} = {json.dumps(result[id][port.name], ensure_ascii=False)}"


def process_age() -> float | None:
    """Seconds since this process began, imports included; None where the system does not tell, as Linux does."""
    try:
        ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[_STARTTIME])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        return None


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second ends the process at once."""
    stop = threading.Event()

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        say("cancelling; press Ctrl-C again to stop at once")
        stop.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
