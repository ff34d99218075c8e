"""The memory tier stays within its budget, drops the least recently used, and counts tensors once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nodegraph.cache import MemoryTier
from nodegraph.diffusion.values import Image

MEGABYTE = 2**20


def picture(megabytes: int = 1) -> dict[str, Image]:
    return {"image": Image(torch.zeros(1, 4, 256 * megabytes, 256))}


def test_the_least_recently_used_makes_room() -> None:
    tier = MemoryTier(3 * MEGABYTE + 100_000)
    for key in "abc":
        tier.put(key, picture())
    tier.get("a")
    tier.put("d", picture())
    assert [key in tier for key in "abcd"] == [True, False, True, True]
    assert 3 * MEGABYTE <= tier.used <= tier.budget


def test_a_result_larger_than_the_budget_is_not_kept_and_evicts_nothing() -> None:
    tier = MemoryTier(MEGABYTE + 100_000)
    tier.put("a", picture())
    tier.put("b", picture(5))
    assert "a" in tier
    assert "b" not in tier


def test_a_tensor_in_many_results_counts_once() -> None:
    tier = MemoryTier(10 * MEGABYTE)
    shared = picture()
    for key in "abcdef":
        tier.put(key, dict(shared))
    assert MEGABYTE <= tier.used < 1.1 * MEGABYTE
    view = {"image": Image(shared["image"].tensor[:, :3])}
    tier.put("view", view)
    assert tier.used < 1.1 * MEGABYTE
    tier.free()
    assert (tier.used, len(tier)) == (0, 0)


def test_putting_again_replaces() -> None:
    tier = MemoryTier(10 * MEGABYTE)
    tier.put("a", picture())
    tier.put("a", picture(2))
    assert 2 * MEGABYTE <= tier.used < 2.1 * MEGABYTE
    assert tier.get("missing") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 40)), max_size=30))
def test_the_account_is_always_right(puts: list[tuple[str, int]]) -> None:
    tier = MemoryTier(100_000)
    for key, size in puts:
        tier.put(key, {"t": torch.zeros(size * 1000, dtype=torch.uint8)})
        assert tier.used <= tier.budget
    tensors = sum(entry.outputs["t"].nbytes for entry in tier._entries.values())
    assert tensors <= tier.used <= tensors + 1000 * len(tier)


@pytest.mark.parametrize("budget", [0])
def test_no_budget_keeps_nothing(budget: int) -> None:
    tier = MemoryTier(budget)
    tier.put("a", {"n": 1})
    assert len(tier) == 0
