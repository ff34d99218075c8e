"""A real server process for tests, and a plain way to ask it things."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs import known_catalogs
from conftest import ROOT

PICTURE = (ROOT / "workflows" / "images" / "sketch.png").read_bytes()
JSON = {"Content-Type": "application/json"}
# A workflow that reads the picture `cat.png` and saves it as it is.
COPY_CAT = {
    "format": "nodegraph",
    "version": 1,
    "nodes": {
        "load": {"type": "LoadImage", "values": {"image": "cat.png"}},
        "save": {
            "type": "SaveImage",
            "values": {"name": "cat"},
            "links": {"image": {"node": "load", "output": "image"}},
        },
    },
}


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server that runs."""

    process: subprocess.Popen[str]
    port: int
    home: Path
    url: str

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout: float = 60,
    ) -> Answer:
        """Send a request exactly as it is written here; `body` goes as JSON."""
        given = {"Host": f"127.0.0.1:{self.port}"}
        if body is not None:
            content = json.dumps(body).encode()
            given |= JSON
        given |= headers or {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                connection.putheader(name, value)
            if content is not None:
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders()
            if content is not None:
                with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
                    connection.send(content)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """Send these very bytes; the first line of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            return connection.recv(4096).split(b"\r\n", 1)[0]

    def head(self, request: bytes) -> bytes:
        """Send these very bytes; the head of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer and (part := connection.recv(4096)):
                answer += part
            return answer

    def faults(self) -> list[str]:
        """What the log says of errors and tracebacks."""
        lines = (self.home / "logs" / "server.log").read_text("utf-8").splitlines()
        return [
            line for line in lines if "Traceback" in line or json.loads(line)["level"] in ("error", "critical")
        ]

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def stop(self) -> int:
        """Ask it to end, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@contextmanager
def running(home: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """`nodegraph serve` on a free port, with a home of its own, until the block ends."""
    with known_catalogs(home):
        process = subprocess.Popen(
            [sys.executable, "-m", "nodegraph", "serve", "--port", "0", "--home", str(home), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), f"the server printed {url!r}"
            port = int(url.split("//", 1)[1].split("/")[0].rsplit(":", 1)[1])
            yield Running(process, port, home, url)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def workflow(name: str = "text_to_image") -> dict[str, Any]:
    """A shipped workflow as JSON data."""
    data: dict[str, Any] = json.loads((ROOT / "workflows" / f"{name}.json").read_text("utf-8"))
    return data
