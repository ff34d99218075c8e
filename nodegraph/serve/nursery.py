"""The nursery: a process that has imported torch, and forks a worker in a moment when one is asked for.

It never touches an accelerator, runs one thread, and imports neither nodes nor plugins: a worker imports those
itself, as they are on disk at that moment. Requests come over the socket that is its standard input, each with the
three descriptors of the child; what became of each child goes back as JSON lines.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

from nodegraph.serve.parent import die_with_parent

PRELOADED = ("torch", "numpy", "scipy.special", "scipy.optimize", "PIL.Image", "safetensors.torch")
MAX_REQUEST = 65536


def main() -> None:
    """Serve requests until the server is gone."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=os.dup(0)) as server:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for module in PRELOADED:
            with suppress(ImportError):  # a worker will say so where it matters
                importlib.import_module(module)
        gc.freeze()  # pages of what is loaded stay shared with every child
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _, _ = select.select([server.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, 4096)
                _reap(server)
            if server.fileno() in ready:
                request, descriptors, _, _ = socket.recv_fds(server, MAX_REQUEST, 3)
                if not request:
                    return
                _tell(server, {"pid": _fork(json.loads(request), descriptors, [server.fileno(), woken, wake])})


def _fork(environment: dict[str, str], descriptors: list[int], mine: list[int]) -> int:
    pid = os.fork()
    if pid:
        for descriptor in descriptors:
            os.close(descriptor)
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        for descriptor in (*descriptors, *mine):
            os.close(descriptor)
        os.environ.update(environment)
        gc.unfreeze()
        worker: Any = importlib.import_module("nodegraph.serve.worker")
        worker.main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


def _reap(server: socket.socket) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _tell(server, {"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(server: socket.socket, message: dict[str, int]) -> None:
    server.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
