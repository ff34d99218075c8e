"""Tensors of a file into a network: mapped from the file where they are used as they are, else converted singly.

The network is made without memory for its weights, and each weight is handed to it as it is read, so the host
holds the weights once.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.parts import Source

Network = TypeVar("Network", bound=nn.Module)
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_making = threading.Lock()
IMPORTING = threading.Lock()  # what is imported lazily by two threads at once may be seen half made


class Reader:
    """Reads weights. A file is mapped once for all that stay as they are, and briefly for each of the others."""

    def __init__(self) -> None:
        self._maps: dict[Path, Tensor] = {}

    def tensor(self, source: Source, dtype: torch.dtype | None = None) -> Tensor:
        """One weight on the host, in a dtype; mapped from the file where it need not be converted.

        Raises:
            ModelRefused: the dtype is none of weights, or the file has become shorter.
        """
        kind = DTYPES.get(source.entry.dtype)
        if kind is None:
            raise ModelRefused(
                f"{source.path}: {source.key} has the dtype {source.entry.dtype}, which no network here uses"
            )
        keep = source.scale is None and (dtype is None or kind == dtype or not kind.is_floating_point)
        raw = self._mapped(source, kind) if keep else _window(source, kind)
        whole = raw.view(source.entry.shape)
        if source.rows is not None:
            whole = whole[slice(*source.rows)]
        if source.swapped:
            whole = torch.cat(whole.tensor_split(2)[::-1])
        if source.transposed:
            whole = whole.T
        if source.scale is not None:
            scale = replace(source, entry=source.scale, scale=None)
            number = self._mapped(scale, DTYPES[source.scale.dtype]).float()
            whole = (whole.float() * number).to(dtype or torch.float32)
        elif not keep:
            whole = torch.empty(whole.shape, dtype=dtype).copy_(whole)
        return whole.contiguous().reshape(source.shape)

    def _mapped(self, source: Source, kind: torch.dtype) -> Tensor:
        if not _can_be_mapped(source, kind):
            return _read(source, kind)
        start, end = source.entry.start, source.entry.end
        size = source.path.stat().st_size
        if size < end:
            raise _shorter(source)
        whole = self._maps.get(source.path)
        if whole is None:
            # Private: what writes to a weight writes to a copy, never to the file.
            whole = torch.from_file(str(source.path), shared=False, size=size, dtype=torch.uint8)
            self._maps[source.path] = whole
        return whole[start:end].view(kind)


def _window(source: Source, kind: torch.dtype) -> Tensor:
    """A tensor mapped by itself: its pages are gone from memory as soon as it has been converted.

    To convert it reads the file in as many threads as torch has, and spares a copy through a buffer.
    """
    if not _can_be_mapped(source, kind):
        return _read(source, kind)
    start = source.entry.start // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    with source.path.open("rb") as file:
        try:
            pages = mmap.mmap(file.fileno(), source.entry.end - start, access=mmap.ACCESS_COPY, offset=start)
        except ValueError:  # it would end behind the end of the file
            raise _shorter(source) from None
    if hasattr(pages, "madvise"):
        pages.madvise(mmap.MADV_WILLNEED)  # from a disk, all of it at once
    return torch.frombuffer(pages, dtype=kind, offset=source.entry.start - start)


def _can_be_mapped(source: Source, kind: torch.dtype) -> bool:
    return source.entry.bytes > 0 and source.entry.start % kind.itemsize == 0


def _read(source: Source, kind: torch.dtype) -> Tensor:
    into = torch.empty(source.entry.bytes, dtype=torch.uint8)
    view = into.numpy().data
    with source.path.open("rb", buffering=0) as file:
        file.seek(source.entry.start)
        while view:
            count = file.readinto(view)
            if not count:
                raise _shorter(source)
            view = view[count:]
    return into.view(kind)


def _shorter(source: Source) -> ModelRefused:
    return ModelRefused(f"{source.path} has become shorter since it was first read")


@contextmanager
def without_memory() -> Iterator[None]:
    """Networks made inside have parameters without storage; buffers, which no file holds, are made as always."""
    register, normal = nn.Module.register_parameter, nn.init.normal_

    def only_where_there_is_storage(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # Of a tensor without storage torch asks its compiler, whose import takes a second.
        return tensor if tensor.is_meta else normal(tensor, *args, **kwargs)

    def on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and parameter.device.type != "meta":
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=False)
        register(module, name, parameter)

    with _making:
        nn.Module.register_parameter = on_meta  # type: ignore[method-assign, assignment]
        nn.init.normal_ = only_where_there_is_storage
        try:
            yield
        finally:
            nn.Module.register_parameter = register  # type: ignore[method-assign]
            nn.init.normal_ = normal


def fill(
    make: Callable[[], Network], weights: Mapping[str, Source], dtype: torch.dtype, path: Path, what: str
) -> Network:
    """A network with the weights of a file.

    Args:
        make: makes the network, of any weights.
        weights: by the names of the network.
        dtype: that they are held in.
        path, what: for messages: the file, and the part of it.

    Raises:
        ModelRefused: a weight is missing, of another shape, or one too many; the text names the first. Or no
            such network can be made.
    """
    with without_memory():
        try:
            network = make()
        except Exception as error:  # of a library that is told whatever sizes the file has, and may say anything
            raise ModelRefused(
                f"{path}: its weights are of sizes that no {what} has "
                f"({str(error)[:200] or type(error).__name__}); the file is damaged, or of a model that is not "
                "supported"
            ) from error
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    compare(weights, wanted, path, what)
    reader = Reader()
    # As they lie in the file: a disk is fastest so.
    sources = sorted({weights[name] for name in wanted}, key=lambda one: (one.path, one.entry.start))
    read = {source: reader.tensor(source, dtype) for source in sources}
    network.load_state_dict({name: read[weights[name]] for name in wanted}, assign=True)
    return network.eval().requires_grad_(False)


def compare(weights: Mapping[str, Source], wanted: Mapping[str, tuple[int, ...]], path: Path, what: str) -> None:
    """Raise ModelRefused where weights do not fit a network, naming the first that does not."""
    for name, shape in wanted.items():
        source = weights.get(name)
        if source is None:
            raise ModelRefused(
                f"{path}: the {what} lacks {name} {list(shape)} (and {len(wanted.keys() - weights.keys()) - 1} "
                f"more); "
                "the file is not complete. Download it again"
            )
        if source.shape != shape:
            raise ModelRefused(
                f"{path}: {source.key} has the shape {list(source.shape)}, and the {what} needs {list(shape)}"
            )
        if DTYPES.get(source.entry.dtype) is None or not DTYPES[source.entry.dtype].is_floating_point:
            raise ModelRefused(
                f"{path}: {source.key} is {source.entry.dtype}, and the {what} needs floating-point numbers; "
                f"quantised "
                "files are not supported. Get the model in float16, bfloat16 or float32"
            )
    extra = [weights[name].key for name in weights if name not in wanted]
    if extra:
        raise ModelRefused(
            f"{path}: the {what} has no place for {extra[0]} (and {len(extra) - 1} more); the file is of "
            f"another model"
        )
