"""What a node shows while it works: only where somebody looks, and never at the cost of the work."""

from __future__ import annotations

import time

import torch

from nodegraph import Context, events
from nodegraph.diffusion.values import Image

PICTURE = Image(torch.zeros(1, 3, 8, 8))


def test_what_is_slow_to_show_is_shown_seldom() -> None:
    seen: list[events.Event] = []
    context = Context("a", listen=seen.append, previews=True)
    made = 0

    def slow() -> Image:
        nonlocal made
        made += 1
        time.sleep(0.2)
        return PICTURE

    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        context.preview_of(slow)
        time.sleep(0.01)
    assert made == len(seen) == 1


def test_what_memory_does_not_suffice_to_show_is_not_shown_and_no_error() -> None:
    context = Context("a", listen=lambda _: None, previews=True)

    def large() -> Image:
        raise torch.OutOfMemoryError("the accelerator is full")

    context.preview_of(large)
    assert not context.wants_preview
    assert not context.short_of_memory  # the node's own work goes on as it was


def test_nothing_is_made_where_nobody_looks_or_memory_ran_out() -> None:
    def never() -> Image:
        raise AssertionError

    Context("a", listen=lambda _: None).preview_of(never)
    saving = Context("a", listen=lambda _: None, previews=True)
    saving.short_of_memory = True
    saving.preview_of(never)
