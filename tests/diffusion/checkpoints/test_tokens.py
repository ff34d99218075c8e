"""A tokenizer file of the user's neither pads nor cuts a prompt, and one that gives up on a text is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.tokens import TOKENIZER, numbers_of, tokenizer_of

PADDING = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}


def opened(folder: Path, **parts: Any) -> Any:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}
    path = folder / TOKENIZER
    path.write_text(json.dumps({"version": "1.0", "model": model, **parts}))
    return tokenizer_of(path, folder / "weights.safetensors", 2)


def test_the_file_neither_pads_nor_cuts(tmp_path: Path) -> None:
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    tokenizer = opened(tmp_path, padding={**PADDING, "strategy": {"Fixed": 64}}, truncation=cut)
    assert numbers_of(tokenizer, "aab", 100) == [0, 0, 1]


def test_a_pattern_that_never_ends_is_refused(tmp_path: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": "(a|aa)+$"}, "behavior": "Isolated", "invert": False}
    tokenizer = opened(tmp_path, pre_tokenizer=split)
    with pytest.raises(ModelRefused, match="fails on this text"):
        numbers_of(tokenizer, "a" * 60 + "b", 100)


def test_a_sentencepiece_model_is_answered_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(b"\n\x0e\n\x05<pad>\x15\0\0\0\0\x18\x03")
    with pytest.raises(
        ModelRefused, match=r"is a sentencepiece model; tokenizer\.json is wanted.*save_pretrained"
    ):
        tokenizer_of(path, tmp_path / "weights.safetensors", 2)
