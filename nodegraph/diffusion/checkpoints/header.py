"""What a safetensors file says of itself: names, dtypes, shapes and places of its tensors, none of which is read.

The format is eight bytes of header length, little-endian, that many bytes of JSON, and the data. Every claim of
the header is checked against the file before anything is made of it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

HEADER_LIMIT = 100_000_000
TRAINED = "nodegraph"  # the metadata by which a model that was trained in a graph is known
TENSOR_LIMIT = 1_000_000
# Bits of each dtype.
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip


class ModelRefused(ValueError):
    """A model file cannot be used; the text names the file, the problem and what to do."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its dtype as safetensors names it, its shape, and its place in the file in bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def bytes(self) -> int:
        """Size of its data."""
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    path: Path
    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """Size of all tensors."""
        return sum(entry.bytes for entry in self.tensors.values())

    @property
    def dtype(self) -> str:
        """The dtype that most bytes have, such as `F16`."""
        sizes: dict[str, int] = {}
        for entry in self.tensors.values():
            sizes[entry.dtype] = sizes.get(entry.dtype, 0) + entry.bytes
        return max(sizes, key=lambda name: sizes[name])


def read(path: Path) -> Header:
    """The header of a safetensors file.

    Raises:
        ModelRefused: the file is something else, damaged, or claims what cannot be.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
            length = int.from_bytes(start[:8], "little")
            if len(start) < 9 or length > min(size - 8, HEADER_LIMIT) or start[8:] not in (b"{", b" "):
                raise ModelRefused(_what_it_is(path, start, size))
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise ModelRefused(f"{path} cannot be read: {error.strerror or error}") from None
    return _parse(path, text, 8 + length, size)


def unscaled(header: Header) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The tensors without what belongs to 8-bit weights, and the number that scales each of these, by their names.

    Weights of 8 bits come with a number for each that they are multiplied by (`scale_weight` or `weight_scale`).
    What says how inputs are made 8 bits wide is of no use here, where all is computed in full.

    Raises:
        ModelRefused: a weight has many such numbers, one for each block of it.
    """
    weights: dict[str, Entry] = {}
    scales: dict[str, Entry] = {}
    for key, entry in header.tensors.items():
        module, _, leaf = key.rpartition(".")
        if leaf in ("scale_weight", "weight_scale"):
            if math.prod(entry.shape) != 1 or entry.dtype not in ("F32", "F16", "BF16"):
                raise ModelRefused(
                    f"{header.path}: {key} is {entry.dtype} {list(entry.shape)}: the weights are quantised in "
                    "blocks, which is not supported. Get the model in float8 with one scale, float16 or bfloat16"
                )
            scales[f"{module}.weight"] = entry
        elif leaf not in ("scale_input", "input_scale", "comfy_quant", "scaled_fp8"):
            weights[key] = entry
    return weights, scales


def _what_it_is(path: Path, start: bytes, size: int) -> str:
    """What to say of a file that cannot be safetensors, from its first bytes and not from its name."""
    if size == 0:
        return f"{path} is empty (0 bytes): the download failed. Download it again"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return (
            f"{path} is a PyTorch pickle, whatever its name says. Files of this kind can run programs when they "
            f"are "
            "opened, so they are never opened here. Get the model as .safetensors"
        )
    if start[:4] == b"GGUF":
        return f"{path} is a GGUF file, which is not supported. Get the model as .safetensors"
    if start[:1] == b"<" or start[:7] == b"version":
        return (
            f"{path} holds no tensors: it begins with {start[:8]!r}, like a web page or a pointer to a file "
            f"that is "
            "kept elsewhere. Download the file itself"
        )
    if size < 9:
        return f"{path} is only {size} bytes long, so it is no safetensors file. Download it again"
    length = int.from_bytes(start[:8], "little")
    return (
        f"{path} is no safetensors file, or damaged: it claims a header of {length:,} bytes and holds {size:,}. "
        "Download it again"
    )


class _Twice(Exception):
    """A name is given twice in one object: readers differ in which of the two they take."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice(next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1))
    return found


def _parse(path: Path, text: bytes, origin: int, size: int) -> Header:
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except _Twice as twice:
        raise ModelRefused(
            f"{path} is damaged: its header says {twice.args[0][:80]!a} twice, and programs differ in which of "
            "the two they take. Get the model from where it was made"
        ) from None
    except (ValueError, RecursionError):
        raise ModelRefused(f"{path} is no safetensors file: its header is not JSON. Download it again") from None
    if not isinstance(document, dict) or len(document) > TENSOR_LIMIT:
        raise ModelRefused(f"{path} is no safetensors file: its header is not a table of tensors")
    metadata = document.pop("__metadata__", {})
    hidden = next((name for name in document if not name.isprintable()), None)
    if hidden is not None:  # names are shown on terminals, which obey control characters
        raise ModelRefused(f"{path} is damaged: a tensor is called {hidden[:80]!a}, which cannot be shown")
    tensors = {name: _entry(path, name, value, origin) for name, value in document.items()}
    if not tensors:
        raise ModelRefused(f"{path} holds no tensors. Download it again")
    reach = origin
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != reach:
            raise ModelRefused(f"{path} is damaged: the data of {name} does not follow on that before it")
        reach = entry.end
    if reach != size:
        what = "is cut short: the download stopped" if reach > size else "has bytes that belong to no tensor"
        raise ModelRefused(f"{path} {what} ({size:,} bytes, its header says {reach:,}). Download it again")
    known = metadata if isinstance(metadata, dict) else {}
    return Header(path, MappingProxyType(tensors), MappingProxyType({k: str(v) for k, v in known.items()}))


def _entry(path: Path, name: str, value: Any, origin: int) -> Entry:
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]}:
            pass
        case _:
            raise ModelRefused(f"{path} is damaged: the header's entry for {name[:80]} makes no sense")
    if dtype not in BITS:
        raise ModelRefused(
            f"{path}: {name} has the dtype {dtype[:20]!r}, which is not known; known are {', '.join(BITS)}"
        )
    if not all(type(side) is int and 0 <= side < 2**40 for side in shape) or len(shape) > 16:
        raise ModelRefused(f"{path} is damaged: {name} has the shape {str(shape)[:80]}")
    if 0 in shape and any(shape):  # such a side costs nothing in the file, and much in a network of that size
        raise ModelRefused(f"{path} is damaged: {name} has the shape {str(shape)[:80]}, which holds no numbers")
    if not 0 <= start <= end or (end - start) * 8 != math.prod(shape) * BITS[dtype]:
        raise ModelRefused(f"{path} is damaged: {name} is {dtype} {shape}, but has {end - start:,} bytes")
    return Entry(dtype, tuple(shape), origin + start, origin + end)
