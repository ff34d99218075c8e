"""Every benchmark in one Markdown document: `python bench/all.py`, or `make bench`.

Whole processes are timed from outside, each in turn over several rounds; the median is shown with its extremes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from engine import BUDGET_CACHED, BUDGET_COLD, BUDGET_GROWTH, measure, table

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / "workflows" / "text_to_image.json"
ROUNDS = 5


class Timing(NamedTuple):
    """Seconds of several rounds, and the largest resident memory of any of them in MB."""

    seconds: list[float]
    memory: float

    def row(self, what: str, budget: str = "") -> str:
        """A row of the table."""
        low, middle, high = min(self.seconds), statistics.median(self.seconds), max(self.seconds)
        return f"| {what} | {middle:.2f} ({low:.2f} to {high:.2f}) | {self.memory:.0f} | {budget} |"


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


def rounds(one: Callable[[int], tuple[float, float]], count: int = ROUNDS) -> Timing:
    """Time several rounds."""
    found = [one(number) for number in range(count)]
    return Timing([seconds for seconds, _ in found], max(memory for _, memory in found))


def processes() -> list[str]:
    """Rows of whole processes."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        run = ("run", str(WORKFLOW), "--output", str(home / "out"))
        process(home, "check", str(WORKFLOW))  # writes the catalog
        return [
            "| process | seconds | peak MB | budget |",
            "|---|---|---|---|",
            rounds(lambda _: process(home, "check", str(WORKFLOW))).row("`check` of a workflow", "0.5 s"),
            rounds(lambda n: process(home, *run, "--set", f"sampler.seed={n}"), 3).row(
                "first picture: load the model, four pictures, 25 steps"
            ),
            rounds(lambda _: process(home, *run, "--set", "sampler.seed=0")).row(
                "the same again: nothing runs", "1.5 s"
            ),
            rounds(lambda n: process(home, *run, "--set", "sampler.seed=0", "--set", f"save.name=late{n}")).row(
                "one late value changed: only the save runs"
            ),
        ]


def disk() -> list[str]:
    """Rows of the disk cache: a latent of 17 MB written and read."""
    # Imported last: a child's peak memory would start from this process's own.
    import torch

    from nodegraph.cache import DiskTier
    from nodegraph.diffusion.values import Latent

    value = {"latent": Latent(torch.randn(1, 4, 1024, 1024))}
    writes, reads = [], []
    with tempfile.TemporaryDirectory() as name:
        for number in range(ROUNDS):
            value["latent"].tensor[0, 0, 0, 0] = number
            tier = DiskTier(Path(name))
            started = time.perf_counter()
            tier.put(str(number), value, 10.0)
            writes.append(time.perf_counter() - started)
            started = time.perf_counter()
            tier.get(str(number))
            reads.append(time.perf_counter() - started)
            tier.close()
    size = value["latent"].tensor.nbytes / 1e6
    rows = ["| disk cache, a latent of 17 MB | MB a second |", "|---|---|"]
    rows += [f"| {what} | {size / statistics.median(s):.0f} |" for what, s in (("write", writes), ("read", reads))]
    return rows


def main() -> None:
    """Print everything."""
    engine = [measure(1_000), measure(10_000)]
    print("## Engine overhead, a chain of trivial nodes\n")
    print(table(engine))
    print(f"\nBudgets: {BUDGET_COLD:g} us cold, {BUDGET_CACHED:g} us cached, growth at most {BUDGET_GROWTH:g};")
    print(f"growth measured {engine[1].cold / engine[0].cold:.2f}.\n\n## Whole processes\n")
    print("\n".join(processes()))
    print("\n## Disk cache\n")
    print("\n".join(disk()))
    # Imported last, as torch is above.
    import sampler

    print("\n## Sampling loop\n")
    print(sampler.table(sampler.measurements()))


if __name__ == "__main__":
    main()
