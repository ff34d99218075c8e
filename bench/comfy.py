"""The same graphs through a ComfyUI server and through `nodegraph serve`, turn about, as ratios.

`python bench/comfy.py http://127.0.0.1:8188`. Both are asked as any client would: a graph is posted over HTTP,
then its state is asked for every few milliseconds until it is done; the time is that from the post to the answer
that says so. The graphs are chains of nodes that do next to nothing (a mask that is inverted again and again,
shown as a picture and saved), because there the engines differ and the mathematics does not. Nothing of ComfyUI
is needed here: a server that speaks its `/prompt` and `/history` is.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

ASK_SECONDS = 0.002
GIVE_UP_SECONDS = 600.0
LENGTHS = (30, 100, 300)
ROUNDS = 5


class Server(Protocol):
    """Runs graphs. What `chain` gives is what `start` takes."""

    def chain(self, length: int, value: float, name: str) -> dict[str, Any]:
        """A mask of a value, inverted `length` times, saved as a picture under a name."""
        ...

    def start(self, graph: dict[str, Any]) -> str:
        """Submit a graph; what it is known by."""
        ...

    def is_done(self, run: str) -> bool:
        """Whether it has succeeded. Raises RuntimeError where it failed."""
        ...


class ComfyServer:
    """A ComfyUI server by its HTTP interface."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def chain(self, length: int, value: float, name: str) -> dict[str, Any]:
        """In ComfyUI's API format."""
        nodes: dict[str, Any] = {
            "0": {"class_type": "SolidMask", "inputs": {"value": value, "width": 64, "height": 64}}
        }
        for number in range(1, length + 1):
            nodes[str(number)] = {"class_type": "InvertMask", "inputs": {"mask": [str(number - 1), 0]}}
        nodes["image"] = {"class_type": "MaskToImage", "inputs": {"mask": [str(length), 0]}}
        nodes["save"] = {"class_type": "SaveImage", "inputs": {"images": ["image", 0], "filename_prefix": name}}
        return nodes

    def start(self, graph: dict[str, Any]) -> str:
        """POST /prompt."""
        answer = _ask(f"{self._url}/prompt", {"prompt": graph, "client_id": "nodegraph-bench"})
        if answer.get("node_errors"):
            raise RuntimeError(f"ComfyUI refused the graph: {json.dumps(answer['node_errors'])[:500]}")
        return str(answer["prompt_id"])

    def is_done(self, run: str) -> bool:
        """GET /history/ID: empty until the run has ended."""
        entry = _ask(f"{self._url}/history/{run}").get(run)
        if entry is None:
            return False
        status = entry.get("status") or {}
        if status.get("status_str") == "error":
            raise RuntimeError(f"ComfyUI failed: {json.dumps(status.get('messages', []))[-500:]}")
        return bool(status.get("completed", True))


class OurServer:
    """`nodegraph serve` by its HTTP interface."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def chain(self, length: int, value: float, name: str) -> dict[str, Any]:
        """As a workflow."""
        nodes: dict[str, Any] = {
            "n0": {"type": "MaskFromShape", "values": {"width": 64, "height": 64, "size_x": 0.1 + 3 * value}}
        }
        for number in range(1, length + 1):
            link = {"node": f"n{number - 1}", "output": "mask"}
            nodes[f"n{number}"] = {"type": "InvertMask", "links": {"mask": link}}
        nodes["image"] = {"type": "MaskToImage", "links": {"mask": {"node": f"n{length}", "output": "mask"}}}
        nodes["save"] = {
            "type": "SaveImage",
            "values": {"name": name},
            "links": {"image": {"node": "image", "output": "image"}},
        }
        return {"format": "nodegraph", "version": 1, "nodes": nodes}

    def start(self, graph: dict[str, Any]) -> str:
        """POST /api/runs."""
        return str(_ask(f"{self._url}/api/runs", {"workflow": graph})["id"])

    def is_done(self, run: str) -> bool:
        """GET /api/runs/ID."""
        answer = _ask(f"{self._url}/api/runs/{run}")
        if answer["status"] in ("failed", "cancelled"):
            raise RuntimeError(f"nodegraph {answer['status']}: {answer.get('message', '')}")
        return bool(answer["status"] == "succeeded")


class Compared(NamedTuple):
    """Seconds of each server by round."""

    what: str
    ours: list[float]
    theirs: list[float]

    def row(self) -> str:
        """A row of the table; above 1 ours is the faster."""
        ratios = sorted(their / our for our, their in zip(self.ours, self.theirs, strict=True))
        ours, theirs = (statistics.median(seconds) * 1000 for seconds in (self.ours, self.theirs))
        ratio = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        return f"| {self.what} | {ours:.0f} | {theirs:.0f} | {ratio} |"


def compare(
    ours: Server, theirs: Server, lengths: tuple[int, ...] = LENGTHS, rounds: int = ROUNDS
) -> list[Compared]:
    """Time chains on both: new ones, the same again, and the same with only the file's name changed."""
    found = []
    for server in (ours, theirs):
        _seconds(server, server.chain(3, 0.99, "warm"))
    for length in lengths:
        times: dict[str, dict[Server, list[float]]] = {}
        for number in range(rounds):
            value = (number + 1) / (rounds + 2) + length / 1e5
            for server in (ours, theirs) if number % 2 else (theirs, ours):
                graph, renamed = (server.chain(length, value, name) for name in (f"c{length}", f"late{number}"))
                for what, posted in (("new", graph), ("the same again", graph), ("another file name", renamed)):
                    times.setdefault(what, {}).setdefault(server, []).append(_seconds(server, posted))
        found += [Compared(f"{length} nodes, {what}", by[ours], by[theirs]) for what, by in times.items()]
    return found


def table(rows: list[Compared]) -> str:
    """The rows as a Markdown table."""
    heading = ["| chain, over HTTP | nodegraph, ms | ComfyUI, ms | times as fast |", "|---|---|---|---|"]
    return "\n".join([*heading, *(row.row() for row in rows)])


@contextmanager
def own_server() -> Iterator[OurServer]:
    """`nodegraph serve` on a free port, its home a folder of its own."""
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "nodegraph", "serve", "--port", "0", "--home", home],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ},
        )
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split("?")[0].strip()
            if not address.startswith("http"):
                raise RuntimeError("nodegraph serve did not come up")
            yield OurServer(address)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            process.stdout.close()


def report(url: str) -> str:
    """The comparison with the ComfyUI server at an address, as Markdown."""
    with own_server() as ours:
        return table(compare(ours, ComfyServer(url)))


def _seconds(server: Server, graph: dict[str, Any]) -> float:
    started = time.perf_counter()
    run = server.start(graph)
    while not server.is_done(run):
        if time.perf_counter() - started > GIVE_UP_SECONDS:
            raise RuntimeError(f"a graph was not done after {GIVE_UP_SECONDS:.0f} s")
        time.sleep(ASK_SECONDS)
    return time.perf_counter() - started


def _ask(url: str, body: Any = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url} answered {error.code}: {error.read(500).decode('utf-8', 'replace')}") from None
    except OSError as error:
        raise RuntimeError(f"{url} cannot be reached: {error}") from None
    if not isinstance(found, dict):
        raise RuntimeError(f"{url} answered with something else than an object")
    return found


if __name__ == "__main__":
    print(report(sys.argv[1]))
