"""Where a node's error came from, for the one who wrote the node: its type, its line, the way to it."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from traceback import FrameSummary, TracebackException

from nodegraph import call
from nodegraph.errors import NodegraphError, Raised
from nodegraph.sources import PACKAGE

MOST_CHARACTERS = 20_000  # of a traceback; the end says most
_BUILT_IN = (PACKAGE, PACKAGE.parent / "nodes")
_INSTALLED = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")]


def raised(error: BaseException) -> Raised:
    """What there is to know of an error that a node raised; files are named without their folders."""
    frames = _inside(error)
    name = _short(frames)
    at = innermost(error, name) or ""
    return Raised(type(error).__name__, at, way(error, name)[-MOST_CHARACTERS:])


def innermost(error: BaseException, name: Callable[[str], str] = str) -> str | None:
    """The deepest line of the node's own code that an error came from; None where its words say enough.

    The words of a built-in node do where it raised on purpose: there the line would send a user into code that is
    right. The author of a plugin is always told. `name` is how a file is called.
    """
    frames = _inside(error)
    if not frames or (
        isinstance(error, NodegraphError | ValueError | MemoryError) and _is_built_in(frames[0].filename)
    ):
        return None
    root = _root(frames[0].filename)
    last = [frame for frame in frames if Path(frame.filename).is_relative_to(root)][-1]
    return f"{name(last.filename)}, line {last.lineno}: {last.line}"


def way(error: BaseException, name: Callable[[str], str] = str) -> str:
    """The traceback of an error from the node's function on, with those of its causes."""
    told = TracebackException.from_exception(error)
    pending = [told]
    while pending:
        one = pending.pop()
        frames = _after_call(list(one.stack))
        one.stack = traceback.StackSummary.from_list(
            [FrameSummary(name(frame.filename), frame.lineno, frame.name, line=frame.line) for frame in frames]
        )
        pending += [further for further in (one.__cause__, one.__context__, *(one.exceptions or ())) if further]
    return "".join(told.format()).rstrip()


def _inside(error: BaseException) -> list[FrameSummary]:
    """The frames of an error from the node's function on; none where the node's function was not reached."""
    frames = list(traceback.extract_tb(error.__traceback__))
    return inside if (inside := _after_call(frames)) != frames else []


def _after_call(frames: list[FrameSummary]) -> list[FrameSummary]:
    calls = (
        at for at, frame in enumerate(frames, 1) if (frame.filename, frame.name) == (call.__file__, "_called")
    )
    return frames[next(calls, 0) :]


def _root(file: str) -> Path:
    """The plugin that a file is of: its package's folder, or the file alone."""
    path = Path(file)
    return path.parent if (path.parent / "__init__.py").is_file() and not _is_built_in(file) else path


def _is_built_in(file: str) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in _BUILT_IN)


def _short(frames: list[FrameSummary]) -> Callable[[str], str]:
    """How files are called without the folders of this machine."""
    roots = [_root(frames[0].filename).parent] if frames else []
    roots += [PACKAGE.parent, *_INSTALLED]

    def name(file: str) -> str:
        path = Path(file)
        return next((str(path.relative_to(root)) for root in roots if path.is_relative_to(root)), path.name)

    return name
