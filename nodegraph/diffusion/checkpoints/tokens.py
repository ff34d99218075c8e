"""How words become tokens where no package knows: `tokenizer.json`, a file of the user's."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.weights import IMPORTING

TOKENIZER = "tokenizer.json"
SIZE_LIMIT = 100_000_000  # bytes of a tokenizer file; the largest known has 20 MB
GROWTH = 64  # how many times as long a tokenizer may make a text before it cuts it; those known: 3 times


def tokenizer_of(path: Path | None, weights: Path, vocabulary: int) -> Any:
    """The tokenizer in a file, checked against the vocabulary of the network that it is for.

    Args:
        path: of the file; None where there is none.
        weights: of the text encoder, for messages.
        vocabulary: how many tokens the network knows.

    Raises:
        ModelRefused: no file was given, it is none of a tokenizer, or it is another model's.
    """
    if path is None:
        raise ModelRefused(
            f"{weights} holds a text encoder without its tokenizer, which no file of weights carries. Get "
            f"{TOKENIZER} of the model that the text encoder was made from, put it into the folder `tokenizers` "
            "of your models, and choose it in the input `tokenizer` of the node that loads the text encoder"
        )
    if not path.is_file():
        raise ModelRefused(
            f"{path} is missing; without it no prompt can be read. Copy the whole folder {path.parent.name} of "
            f"the model to {path.parent}"
        )
    found = _opened(path, path.stat().st_mtime_ns)
    size = found.get_vocab_size(with_added_tokens=True)
    if size > vocabulary:
        raise ModelRefused(
            f"{path} has {size:,} tokens and the text encoder {weights.name} knows {vocabulary:,}; it is the "
            "tokenizer of another model"
        )
    return found


@lru_cache(maxsize=8)
def _opened(path: Path, _modified: int) -> Any:
    with IMPORTING:
        from tokenizers import Tokenizer
    if path.stat().st_size > SIZE_LIMIT:
        raise ModelRefused(f"{path} is {path.stat().st_size:,} bytes long; no tokenizer is")
    if path.suffix == ".model":
        raise ModelRefused(
            f"{path} is a sentencepiece model; {TOKENIZER} is wanted, which says the same. Most models have it "
            "in the same folder; for others a Python with transformers and sentencepiece makes it: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    try:
        document = json.loads(path.read_bytes())
        if "model" not in document:
            raise ValueError("no model")
        if _growth(document.get("normalizer")) * _growth(document.get("pre_tokenizer")) > GROWTH:
            raise ValueError(f"it makes texts more than {GROWTH} times as long")
        found = Tokenizer.from_file(str(path))
        found.no_padding()  # what fills a prompt up, and how long it may be, each family says itself
        found.no_truncation()
        return found
    except BaseException as error:  # the library has one exception, called Exception, and its Rust another
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelRefused(
            f"{path} is no {TOKENIZER} of the tokenizers library ({str(error)[:200]}). Get that of the text "
            "encoder"
        ) from None


def _growth(step: Any) -> int:
    """How many times as long a text may become, at most, by the replacements in a part of a tokenizer file."""
    if isinstance(step, list):
        return math.prod(map(_growth, step))
    if not isinstance(step, dict):
        return 1
    own = 1
    if step.get("type") in ("Replace", "Prepend"):
        own += len(str(step.get("content", step.get("prepend", ""))))
    elif step.get("type") == "Precompiled":
        own = 4
    return own * math.prod(map(_growth, step.values()))


def numbers_of(tokenizer: Any, text: str, vocabulary: int) -> list[int]:
    """The tokens of a text, each below `vocabulary`. Raises ModelRefused where the tokenizer gives up on it."""
    try:
        found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the library's Rust, and no Exception
            raise
        raise ModelRefused(
            f"the tokenizer fails on this text ({str(error)[:200]}). Get {TOKENIZER} of the text encoder anew"
        ) from None
    if max(found, default=0) >= vocabulary:
        raise ModelRefused(
            f"the tokenizer makes token {max(found):,} of this text and the text encoder knows {vocabulary:,}; it "
            f"is the tokenizer of another model. Get {TOKENIZER} of the text encoder"
        )
    return found


def folder_tokenizer(part: Part) -> Path | None:
    """Where a diffusers folder keeps the tokenizer of one of its text encoders; None for a single file."""
    if part.folder is None:
        return None
    return part.folder.with_name(part.folder.name.replace("text_encoder", "tokenizer")) / TOKENIZER
