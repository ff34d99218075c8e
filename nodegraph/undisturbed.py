"""What belongs to the whole process, put back after code of plugins has run; that of torch after each node.

A plugin that sets torch's default dtype would change every result after it, under keys that say nothing of it; one
that changes the working folder, every relative path.
"""

from __future__ import annotations

import locale
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple


class _Shared(NamedTuple):
    """One thing that all code of a process shares."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _of_torch(name: str, default: Any) -> Any:
    """What torch says, or what it begins with where nobody has imported it."""
    torch = sys.modules.get("torch")
    return default if torch is None else getattr(torch, name)()


def _to_torch(name: str, value: Any) -> None:
    getattr(sys.modules["torch"], name)(value)


def _set_dtype(value: str) -> None:
    _to_torch("set_default_dtype", getattr(sys.modules["torch"], value.removeprefix("torch.")))


def _set_device(value: str) -> None:
    _to_torch("set_default_device", None if value == "cpu" else value)  # None asks nothing at each call


_OF_TORCH = (
    _Shared("torch's dtype", lambda: str(_of_torch("get_default_dtype", "torch.float32")), _set_dtype),
    _Shared("torch's device", lambda: str(_of_torch("get_default_device", "cpu")), _set_device),
    _Shared(
        "whether torch records gradients",
        partial(_of_torch, "is_grad_enabled", True),
        partial(_to_torch, "set_grad_enabled"),
    ),
)
_AT_FIRST = ("torch.float32", "cpu", True)  # the ways of a torch that was just imported
_SHARED = (
    _Shared("the working folder", os.getcwd, os.chdir),
    _Shared(
        "the locale", partial(locale.setlocale, locale.LC_ALL, None), partial(locale.setlocale, locale.LC_ALL)
    ),
    _Shared("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    _Shared("standard output", lambda: sys.stdout, partial(setattr, sys, "stdout")),
    _Shared("standard error", lambda: sys.stderr, partial(setattr, sys, "stderr")),
    *_OF_TORCH,
)
_SIGNALS = tuple(
    _Shared(f"what {one.name} does", partial(signal.getsignal, one), partial(signal.signal, one))
    for one in (signal.SIGINT, signal.SIGTERM)
)


@contextmanager
def undisturbed(told: Callable[[str], None], *, signals: bool = False) -> Iterator[None]:
    """Have the process afterwards as it was before.

    That is the working folder, the locale, the limit of recursion, standard output and error, torch's default
    dtype and device, and whether torch records gradients.

    Args:
        told: called with the names of what had changed, if anything.
        signals: whether what SIGINT and SIGTERM do belongs to it.
    """
    shared = _SHARED + _SIGNALS if signals else _SHARED
    before = [_read(one) for one in shared]
    try:
        yield
    finally:
        changed = []
        for one, value in zip(shared, before, strict=True):
            if value is not None and _read(one) != value:
                changed.append(one.name)
                with suppress(Exception):  # such as the folder being gone; the rest is put back all the same
                    one.write(value)
        if changed:
            told(", ".join(changed))


def ways_of_torch() -> tuple[object, object, object]:
    """Torch's default dtype and device, and whether it records gradients, as `put_back` takes them.

    Compared around every node: it costs a microsecond, and less where nobody has imported torch.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return _AT_FIRST
    try:
        return torch.get_default_dtype(), _device(torch), torch.is_grad_enabled()
    except AttributeError:  # another thread is importing it
        return _AT_FIRST


def put_back(ways: tuple[object, object, object]) -> str:
    """Have torch compute as it did. Returns the names of what had changed."""
    changed = []
    for one, then, now in zip(_OF_TORCH, ways, ways_of_torch(), strict=True):
        if str(then) != str(now):
            changed.append(one.name)
            one.write(then if isinstance(then, bool) else str(then))
    return ", ".join(changed)


def _device(torch: Any) -> object:
    with suppress(Exception):  # one that this machine does not have
        return torch.empty(0).device  # a tenth of the time that get_default_device takes
    return torch.get_default_device()


def _read(one: _Shared) -> Any:
    with suppress(Exception):
        return one.read()
    return None
