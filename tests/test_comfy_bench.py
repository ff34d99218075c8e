"""The comparison with ComfyUI, tried against a small HTTP server of this test that speaks its protocol.

It is no ComfyUI: it knows four node types, computes masks of one number, and takes a known time over each node. So the
figures here show that the benchmark asks and counts correctly, and say nothing about ComfyUI.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))

from comfy import ComfyServer, Compared, OurServer, compare, table  # type: ignore[import-not-found]
from real_server import running

NODE_SECONDS = 0.005


class Protocol(ThreadingHTTPServer):
    """Speaks /prompt and /history; remembers outputs by what made them, as ComfyUI does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.history: dict[str, Any] = {}
        self.known: dict[str, float] = {}
        self.ran: list[str] = []
        self.files: list[tuple[str, float]] = []

    def execute(self, run: str, prompt: dict[str, Any]) -> None:
        try:
            for name, node in prompt.items():
                if node["class_type"] == "SaveImage":
                    self.files.append(
                        (node["inputs"]["filename_prefix"], self.value(prompt, node["inputs"]["images"][0]))
                    )
                    assert name in prompt
            status = {"status_str": "success", "completed": True, "messages": []}
        except Exception as error:
            status = {"status_str": "error", "completed": False, "messages": [["execution_error", str(error)]]}
        self.history[run] = {"outputs": {}, "status": status}

    def value(self, prompt: dict[str, Any], name: str) -> float:
        node = prompt[name]
        inputs = node["inputs"]
        key = json.dumps([node["class_type"], self.spelled(prompt, name)])
        if key not in self.known:
            time.sleep(NODE_SECONDS)
            self.ran.append(node["class_type"])
            match node["class_type"]:
                case "SolidMask":
                    self.known[key] = inputs["value"]
                case "InvertMask":
                    self.known[key] = 1 - self.value(prompt, inputs["mask"][0])
                case "MaskToImage":
                    self.known[key] = self.value(prompt, inputs["mask"][0])
                case other:
                    raise ValueError(f"no node {other}")
        return self.known[key]

    def spelled(self, prompt: dict[str, Any], name: str) -> Any:
        node = prompt[name]
        links = [entry[0] for entry in node["inputs"].values() if isinstance(entry, list)]
        return [
            node["class_type"],
            node["inputs"] if not links else [self.spelled(prompt, link) for link in links],
        ]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Protocol

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["prompt"]
        if self.path != "/prompt" or not any(node["class_type"] == "SaveImage" for node in prompt.values()):
            self.answer(400, {"error": {"type": "prompt_no_outputs"}, "node_errors": {}})
            return
        run = f"run-{len(self.server.history) + 1}-{time.monotonic_ns()}"
        threading.Thread(target=self.server.execute, args=(run, prompt)).start()
        self.answer(200, {"prompt_id": run, "number": 1, "node_errors": {}})

    def do_GET(self) -> None:
        run = self.path.removeprefix("/history/")
        entry = self.server.history.get(run)
        self.answer(200, {} if entry is None else {run: entry})

    def answer(self, status: int, data: Any) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def protocol() -> Iterator[tuple[Protocol, str]]:
    with Protocol() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_graphs_are_posted_to_both_and_timed(protocol: tuple[Protocol, str], tmp_path: Path) -> None:
    theirs, url = protocol
    with running(tmp_path / "home") as ours:
        rows = compare(OurServer(ours.url), ComfyServer(url), lengths=(12,), rounds=2)
        done = ours.get("/api/runs?limit=50").json["runs"]
    assert [row.what for row in rows] == [
        "12 nodes, new", "12 nodes, the same again", "12 nodes, another file name"
    ]  # fmt: skip
    assert len(done) == 1 + 2 * 3
    assert {run["status"] for run in done} == {"succeeded"}
    # What they were asked is what was meant: new values each round, and nothing computed twice.
    assert theirs.ran.count("SolidMask") == 1 + 2
    assert theirs.ran.count("InvertMask") == 3 + 2 * 12
    assert len(theirs.files) == 1 + 2 * 3
    new, again, late = rows
    assert min(new.theirs) >= 14 * NODE_SECONDS
    assert max(again.theirs + late.theirs) < min(new.theirs)
    assert all(seconds > 0 for row in rows for seconds in row.ours)


def test_the_ratio_is_theirs_over_ours() -> None:
    shown = table([Compared("x", [0.1, 0.2, 0.1], [0.2, 0.4, 0.3])])
    assert shown.splitlines()[-1] == "| x | 100 | 300 | 2.0 (2.0 to 3.0) |"


def test_failures_are_told(protocol: tuple[Protocol, str]) -> None:
    _, url = protocol
    server = ComfyServer(url)
    with pytest.raises(RuntimeError, match="400"):
        server.start({})
    graph = server.chain(1, 0.5, "x")
    graph["1"]["class_type"] = "Missing"
    run = server.start(graph)
    with pytest.raises(RuntimeError, match="no node Missing"):
        any(iter(lambda: server.is_done(run), True))
    with pytest.raises(RuntimeError, match="cannot be reached"):
        ComfyServer("http://127.0.0.1:1").start(graph)
