"""Every benchmark in one Markdown table: `python bench/all.py`, or `make bench`.

Whole processes are timed from outside, each in turn over several rounds; the median is shown with its extremes.
With `--comfy http://127.0.0.1:8188` graphs are also posted to the ComfyUI server at that address, see `comfy.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import comfy
import editor
from engine import BUDGET_CACHED, BUDGET_COLD, BUDGET_GROWTH, measure

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / "workflows" / "text_to_image.json"
ROUNDS = 5


class Row(NamedTuple):
    """One figure, its unit, and what it may be at most (or, where it is a speed, at least)."""

    what: str
    values: list[float]
    unit: str
    budget: float | None = None
    is_speed: bool = False

    def markdown(self) -> str:
        """A row of the table."""
        middle = statistics.median(self.values)
        spread = f" ({min(self.values):.3g} to {max(self.values):.3g})" if len(self.values) > 1 else ""
        budget, holds = "", ""
        if self.budget is not None:
            budget = f"{'at least ' if self.is_speed else ''}{self.budget:g} {self.unit}"
            holds = "yes" if (middle >= self.budget if self.is_speed else middle <= self.budget) else "**no**"
        return f"| {self.what} | {middle:.3g} {self.unit}{spread} | {budget} | {holds} |"


def process(home: Path, *arguments: str) -> tuple[float, float]:
    """Seconds and peak memory in MB of one `nodegraph` process."""
    environment = {**os.environ, "NODEGRAPH_HOME": str(home)}
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "nodegraph", *arguments],
        env=environment,
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"nodegraph {' '.join(arguments)} ended with status {child.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def engine() -> Iterator[Row]:
    """The engine itself: a chain of trivial nodes."""
    rows = [measure(1_000), measure(10_000)]
    for row in rows:
        yield Row(f"engine, {row.nodes:,} trivial nodes, cold", [row.cold], "us a node", BUDGET_COLD)
        yield Row(f"engine, {row.nodes:,} trivial nodes, all cached", [row.cached], "us a node", BUDGET_CACHED)
    yield Row(
        "engine, a node at 10,000 against one at 1,000", [rows[1].cold / rows[0].cold], "times", BUDGET_GROWTH
    )


def processes(rounds: int = ROUNDS) -> Iterator[Row]:
    """Whole processes, from a home without results."""

    def timed(what: str, budget: float | None, one: Callable[[int], tuple[float, float]]) -> Iterator[Row]:
        found = [one(number) for number in range(rounds)]
        yield Row(what, [seconds for seconds, _ in found], "s", budget)
        yield Row(f"{what}: peak memory", [max(memory for _, memory in found)], "MB")

    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        run = ("run", str(WORKFLOW), "--output", str(home / "out"))
        quick = ("--set", "schedule.steps=1", "--set", "blank.batch_size=1")
        process(home, "check", str(WORKFLOW))  # writes the catalog
        yield from timed("process: `check`", 0.5, lambda _: process(home, "check", str(WORKFLOW)))
        yield from timed(
            "process: `run`, one picture, one step: start, load, paint, save", None,
            lambda number: process(home, *run, *quick, "--set", f"sampler.seed={number}"),
        )  # fmt: skip
        yield from timed(
            "process: first pictures: four, 25 steps", None,
            lambda number: process(home, *run, "--set", f"sampler.seed={number}"),
        )  # fmt: skip
        same = ("--set", "sampler.seed=0")
        yield from timed("process: the same again, nothing runs", 1.5, lambda _: process(home, *run, *same))
        yield from timed(
            "process: a late value changed, only the save runs", None,
            lambda number: process(home, *run, *same, "--set", f"save.name=late{number}"),
        )  # fmt: skip


def disk() -> Iterator[Row]:
    """The disk cache: a latent of 17 MB written and read."""
    # Imported last: a child's peak memory would start from this process's own.
    import torch

    from nodegraph.cache import DiskTier
    from nodegraph.diffusion.values import Latent

    value = {"latent": Latent(torch.randn(1, 4, 1024, 1024))}
    size = value["latent"].tensor.nbytes / 1e6
    writes, reads = [], []
    with tempfile.TemporaryDirectory() as name:
        tier = DiskTier(Path(name))
        for number in range(ROUNDS):
            value["latent"].tensor[0, 0, 0, 0] = number
            started = time.perf_counter()
            tier.put(str(number), value, 10.0)
            writes.append(size / (time.perf_counter() - started))
            started = time.perf_counter()
            tier.get(str(number))
            reads.append(size / (time.perf_counter() - started))
        tier.close()
    yield Row("disk cache, a latent of 17 MB: write", writes, "MB/s", is_speed=True)
    yield Row("disk cache, a latent of 17 MB: read", reads, "MB/s", is_speed=True)


def loop() -> Iterator[Row]:
    """The sampling loop beside the faster of its peers, see `sampler.py`."""
    # Imported last, as torch is above.
    import sampler

    for row in sampler.measurements():
        network = f"network of width {row.width}" if row.width else "no network"
        what = f"sampling loop, {row.sampler}, {network}, against the faster peer"
        yield Row(what, row.ratios, "times as fast", sampler.LEAST, is_speed=True)


def browser() -> Iterator[Row | str]:
    """The editor in Chromium, see `editor.py`; a row that says why, where it cannot be measured."""
    try:
        for what, values, unit, budget in editor.figures():
            yield Row(what, values, unit, budget)
    except editor.Skipped as reason:
        yield f"| editor | skipped: {reason} | | |"


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfy", metavar="URL", help="a ComfyUI server to be compared with")
    options = parser.parse_args()
    print("| what | measured | budget | holds |\n|---|---|---|---|", flush=True)
    for part in (engine, processes, disk, browser, loop):
        for row in part():
            print(row if isinstance(row, str) else row.markdown(), flush=True)
    if options.comfy:
        print(f"\n{comfy.report(options.comfy)}", flush=True)


if __name__ == "__main__":
    main()
