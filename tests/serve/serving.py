"""What the tests of the server share: nodes that do what servers fear, and a service with real workers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from catalogs import known_catalogs

from nodegraph.home import Home
from nodegraph.serve import models
from nodegraph.serve.service import Service
from nodegraph.workflow import Workflow

PLUGIN = '''
"""Nodes that do what servers fear."""
import os, signal, time
from pathlib import Path
from nodegraph import Context, node

def note(path: str, line: str) -> None:
    with open(path, "a") as file:
        file.write(line + "\\n")

@node(category="test", effect="always")
def Note(path: str, line: str, after: int = 0) -> None:
    """Append a line to a file."""
    note(path, line)

@node(category="test")
def Once(path: str, number: int = 0) -> int:
    """Long enough to be kept on disk; every computation leaves a line."""
    note(path, f"once {number}")
    time.sleep(0.05)
    return number

@node(category="test")
def Steps(context: Context, path: str, steps: int = 100, seconds: float = 0.05, after: int = 0) -> int:
    """A sampler in all but mathematics: leaves its process id, then a line for each step."""
    note(path, f"pid {os.getpid()}")
    for step in context.track(range(steps)):
        time.sleep(seconds)
        note(path, f"step {step}")
    return steps

@node(category="test")
def Deaf(path: str, number: int = 0) -> int:
    """Hears nothing: neither the flag nor SIGTERM. Has a child."""
    import subprocess
    child = subprocess.Popen(["sleep", "1000"])
    note(path, f"child {child.pid}")
    note(path, f"pid {os.getpid()}")
    while True:
        try:
            while True:
                time.sleep(60)
        except BaseException:
            note(path, "ignored")

@node(category="test")
def Die(how: str, after: int = 0) -> int:
    """Take the process down."""
    if how == "segfault":
        import ctypes
        ctypes.string_at(0)
    elif how.startswith("signal "):
        os.kill(os.getpid(), getattr(signal, how.split()[1]))
        time.sleep(60)
    elif how.startswith("exit "):
        os._exit(int(how.split()[1]))
    elif how == "system exit":
        raise SystemExit(3)
    elif how == "interrupt":
        raise KeyboardInterrupt
    raise ValueError(how)

@node(category="test", effect="always")
def Twin(path: str) -> None:
    """Fork, and let both processes return."""
    if os.fork() == 0:
        note(path, str(os.getpid()))

@node(category="test", effect="always")
def Forge(end: str) -> None:
    """Tell the end of a run by hand, wherever that may be read; RUN stands for its own."""
    import stat
    own = Path(os.readlink("/proc/self/fd/1")).stem
    from contextlib import suppress
    for descriptor in range(3, 64):
        with suppress(OSError):
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                os.write(descriptor, end.replace("RUN", own).encode() + b"\\n")
    time.sleep(60)

@node(category="test", effect="files")
def WriteText(context: Context, text: str, name: str = "text") -> None:
    """Write a file."""
    context.save(name, ".txt", text.encode())

@node(category="test", effect="files")
def Batch(context: Context, path: str, count: int = 6) -> None:
    """Save pictures, as a sampler gives them; leaves its process id before the fourth."""
    import torch
    from nodegraph.pictures import encode_png
    for number in range(count):
        if number == 3 and not os.path.exists(path):
            note(path, f"pid {os.getpid()}")
            time.sleep(600)
        context.save("batch", ".png", encode_png(torch.full((3, 8, 8), number / count), context.metadata))

@node(category="test")
def Show(context: Context, path: str, steps: int = 400) -> int:
    """Preview something all the time, where somebody looks."""
    import torch
    from nodegraph.diffusion.values import Image
    shown = 0
    for step in context.track(range(steps)):
        if context.wants_preview:
            context.preview(Image(torch.full((1, 3, 8, 8), 0.5)))
            shown += 1
        time.sleep(0.01)
    note(path, f"shown {shown}")
    return shown

@node(category="test", effect="always")
def Haunt(context: Context, path: str) -> None:
    """Leave a thread behind that goes on telling progress."""
    import threading
    def talk() -> None:
        for step in range(100):
            context.progress(step)
            note(path, "talked")
            time.sleep(0.01)
    threading.Thread(target=talk, daemon=True).start()

@node(category="test", effect="always")
def Flood(megabytes: int, pause: float = 0.1) -> None:
    """Print far too much, for a while or, without a pause, faster than anybody looks."""
    for _ in range(megabytes):
        os.write(1, b"x" * 1_000_000)
        time.sleep(pause)

@node(category="test", effect="always")
def FloodAndDie(megabytes: int) -> None:
    """Print far too much within a moment, and take the process down."""
    os.write(1, b"begin")
    for _ in range(megabytes):
        os.write(1, b"x" * 1_000_000)
    os.write(1, b"end\\n")
    os.kill(os.getpid(), signal.SIGKILL)

@node(category="test", effect="always")
def Say(text: str) -> None:
    """Print, from Python and from C."""
    print("python says", text)
    os.write(1, f"descriptor 1 says {text}\\n".encode())
    os.system(f"echo a child says {text}")
'''


def give_plugin(home: Home) -> None:
    """Put the test nodes into a home."""
    home.plugins.mkdir(parents=True, exist_ok=True)
    (home.plugins / "fearsome.py").write_text(PLUGIN)


def workflow(title: str = "", **nodes: tuple[str, dict[str, Any]]) -> Workflow:
    """A workflow from `name=(type, inputs)`; an input that is a tuple is a link."""
    specs = {}
    for name, (node_type, inputs) in nodes.items():
        links = {
            key: {"node": value[0], "output": value[1]}
            for key, value in inputs.items()
            if isinstance(value, tuple)
        }
        values = {key: value for key, value in inputs.items() if not isinstance(value, tuple)}
        specs[name] = {"type": node_type, "values": values, "links": links}
    return Workflow.from_data({"format": "nodegraph", "version": 1, "title": title, "nodes": specs})


@asynccontextmanager
async def serving(home: Home, **options: Any) -> AsyncIterator[Service]:
    """A service on the CPU, with one worker, that is closed at the end."""
    service = Service(home, device="cpu", **options)
    await service.start()
    try:
        yield service
    finally:
        await service.close(grace=0)


async def ended(service: Service, run: str, seconds: float = 60) -> models.RunDetails:
    """Wait until a run has ended."""
    return await until(service, run, lambda found: found.status not in ("queued", "running"), seconds)


async def until(
    service: Service, run: str, holds: Callable[[models.RunDetails], bool], seconds: float = 60
) -> models.RunDetails:
    """Wait until something holds of a run, woken by events."""
    subscription = service.events.subscribe()
    try:
        async with asyncio.timeout(seconds):
            while True:
                details = await service.run(run)
                if holds(details):
                    return details
                assert details.status in ("queued", "running"), details
                await anext(subscription)
    finally:
        subscription.close()


def run(scenario: Any) -> None:
    """Run a test's coroutine."""
    asyncio.run(scenario)


@pytest.fixture(scope="module")
def live_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service with one worker for all tests of a module; each leaves it idle and unpaused."""
    folder = tmp_path_factory.mktemp("home")
    with known_catalogs(folder):
        found = Live(Home(folder, folder / "cache"))
        yield found
        found.close()


class Live:
    """A service that several tests share: a worker takes seconds to come up. Its event loop has a thread."""

    def __init__(self, home: Home) -> None:
        give_plugin(home)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live service")
        self._thread.start()
        self.service = Service(home, device="cpu")
        self.run(self.service.start())

    def run(self, scenario: Coroutine[Any, Any, Any]) -> Any:
        """Run a test's coroutine beside the service."""
        return asyncio.run_coroutine_threadsafe(scenario, self._loop).result()

    def close(self) -> None:
        """End the service and its thread."""
        self.run(self.service.close(grace=0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
