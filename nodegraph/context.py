"""The context: a node's only door to progress, cancellation, previews, devices, models and files."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from nodegraph import events
from nodegraph.carried import RECEIPT_TEXT, beside, beside_content
from nodegraph.errors import Cancelled, DeclarationError, is_out_of_memory
from nodegraph.files import Files
from nodegraph.heap import give_pages_back

if TYPE_CHECKING:
    from nodegraph.diffusion.models.pool import Lease, Live, ModelPool
    from nodegraph.diffusion.values import Checkpoint, Image

Item = TypeVar("Item")
PREVIEW_SECONDS = 0.25
KEY_SHOWN = 8  # letters of a key in the name of a preview


class Models(Protocol):
    """Gives the pool of live models, making it (and importing torch) when first asked."""

    def __call__(self) -> ModelPool: ...


class Context:
    """Handed to a node that asks for it by annotation. Made bare, it works for a direct call in a test.

    Args:
        node: the id of the node that it serves.
        device: where tensors are computed, such as `cpu` or `cuda:0`; None for a node that did not declare
            that its result depends on it.
        dtype: what weights are held in there.
        compiled: whether networks that are called again and again are compiled.
        files: finds input files and writes output files.
        models: gives the pool of live models.
        listen: receives the node's events, or None where nobody listens.
        stop: set from another thread to cancel the run.
        metadata: text that output files carry, such as the workflow that made them.
        previews: whether the listener wants pictures; an event where that may change.
        key: the digest of all that determines the node's result.
    """

    def __init__(
        self,
        node: str = "",
        *,
        device: str | None = "cpu",
        dtype: str = "float32",
        compiled: bool = False,
        files: Files | None = None,
        models: Models | None = None,
        listen: events.Listener | None = None,
        stop: threading.Event | None = None,
        metadata: Mapping[str, str] | None = None,
        previews: bool | threading.Event = False,
        key: str = "",
    ) -> None:
        self.node = node
        self.dtype = dtype
        self._compiled = compiled
        self.short_of_memory = False
        self._device = device
        self._lease: Lease | None = None
        self.key = key
        self.files = files or Files()
        self.metadata = dict(metadata or {})
        self.written: list[Path] = []
        self.left: list[Path] = []  # files that the node wrote before, when it did not come to its end
        self.saved: Callable[[tuple[Path, ...]], None] = lambda _: None  # told what is written, file by file
        self._models = models or default_models
        self._listen = listen
        self._stop = stop
        self._previews = previews
        self._previewed = -PREVIEW_SECONDS
        self._state: Path | None = None

    @property
    def device(self) -> str:
        """Where tensors are computed. Raises DeclarationError where the node did not declare to depend on it."""
        if self._device is None:
            raise DeclarationError(
                "it computes on the device but does not say so; declare @node(..., on_device=True), so that "
                "results of different devices are kept apart"
            )
        return self._device

    @property
    def models(self) -> ModelPool:
        """The live models, loaded when first used and kept within a memory budget."""
        return self._models()

    def open(self, checkpoint: Checkpoint) -> Live:
        """The live networks behind a handle, on this run's device, until the node ends."""
        if self._lease is None:
            self._lease = self.models.lease(self.node or "the caller")
        path = self.files.located(checkpoint.digest)
        return self.models.open(checkpoint, path, self.device, self.dtype, self._lease, compiled=self._compiled)

    def close(self) -> None:
        """Let the networks that the node opened go; the pool may move or drop them from then on."""
        if self._lease is not None:
            self._lease.close()

    def save_memory(self) -> None:
        """Give back what the pool holds, and let the node know (`short_of_memory`) that it is to be sparing."""
        self.short_of_memory = True
        self.close()
        if self._device is not None:
            self.models.free(self._device)
        gc.collect()  # what failed may live on in cycles of frames and errors
        give_pages_back()

    def memory_situation(self, error: Exception) -> str:
        """What was asked for, what is free and what is held where the node computes."""
        return "" if self._device is None else self.models.situation(self._device, error)

    @property
    def state_file(self) -> Path | None:
        """Where a long node may keep what it needs to go on after it was killed; None where nothing is kept.

        The file is the node's own: its name is the node's key, so a node with another input does not find it. It
        is removed when the node finishes. Write it whole under another name and rename it.
        """
        self._state = self.files.unfinished(self.key) if self.key else None
        return self._state

    def forget_state(self) -> None:
        """Remove the state file where the node asked for one: it has finished."""
        if self._state is not None:
            with suppress(OSError):
                self._state.unlink(missing_ok=True)

    @property
    def wants_preview(self) -> bool:
        """Whether a preview is worth making now: somebody looks, and the last one is not too fresh."""
        return self._watched and time.monotonic() - self._previewed > PREVIEW_SECONDS

    @property
    def _watched(self) -> bool:
        return self._previews if isinstance(self._previews, bool) else self._previews.is_set()

    def check_cancelled(self) -> None:
        """Raise Cancelled where the run was cancelled. `track` does so at every step."""
        if self._stop is not None and self._stop.is_set():
            raise Cancelled

    def progress(self, step: int, total: int | None = None, note: str = "") -> None:
        """Tell that `step` of `total` steps are done; raises Cancelled where the run was cancelled."""
        self.check_cancelled()
        if self._listen is not None:
            self._listen(events.Progress(self.node, step, total, note))

    def track(self, iterable: Iterable[Item], total: int | None = None) -> Iterator[Item]:
        """Iterate and tell progress after each item; raises Cancelled where the run was cancelled."""
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        self.progress(0, total)
        for step, item in enumerate(iterable, 1):
            yield item
            self.progress(step, total)

    def preview(self, image: Image) -> None:
        """Show the pictures of a batch, in small; costs nothing where nobody looks."""
        if self._watched and self._listen is not None:
            self._previewed = time.monotonic()
            from nodegraph.pictures import thumbnail

            self._listen(events.Preview(self.node, thumbnail(image.tensor)))

    def preview_of(self, make: Callable[[], Image | None]) -> None:
        """Make a picture, if there is one, and show it where somebody looks; a tenth of the time at most.

        Once memory ran out, none is made any more: what is only looked at takes nothing from the work.
        """
        if not self.wants_preview or self.short_of_memory:
            return
        began = time.monotonic()
        try:
            if (image := make()) is not None:
                self.preview(image)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._previews = False
        self._previewed = time.monotonic() + 9 * (time.monotonic() - began)

    def show(self, image: Image) -> None:
        """Show the pictures of a batch as a result; where previews are kept, whole ones are written too.

        Their names say the node and what they were made of, so the same pictures are not piled up run by run.

        Raises ValueError where a picture that is to be written holds values that are no numbers.
        """
        self.preview(image)
        if self.files.previews is not None:
            from nodegraph.pictures import encode_png, refuse_no_numbers

            refuse_no_numbers(image.tensor)
            name = f"{self.node.replace('/', '-')}-{self.key[:KEY_SHOWN]}"
            for number, picture in enumerate(image.tensor, 1):
                content = encode_png(picture, self.metadata)
                self.written.append(self.files.write_preview(f"{name}-{number:04d}.png", content))

    def save(self, name: str, suffix: str, content: bytes, kind: str | None = None) -> Path:
        """Write a file under a fresh name; it is announced with the node's end.

        It goes to the output folder, with its receipt beside it, or among the files of a kind, such as
        `checkpoints`. What the node wrote before it was killed is not written once more.
        """
        path = self._left(name, suffix, content) if kind is None else None
        if path is None:
            path = self.files.write(name, suffix, content, kind)
        self.written.append(path)
        self.saved(tuple(self.written))
        if kind is None and RECEIPT_TEXT in self.metadata:
            self.files.write_beside(beside(path), beside_content(self.metadata, content))
        return path

    def _left(self, name: str, suffix: str, content: bytes) -> Path | None:
        for path in self.left:
            with suppress(OSError):
                alike = path.name.startswith(f"{name}-") and path.suffix == suffix
                if alike and path.stat().st_size == len(content) and path.read_bytes() == content:
                    self.left.remove(path)
                    return path
        return None


_pool: ModelPool | None = None
_pool_lock = threading.Lock()


def default_models() -> ModelPool:
    """The process's own pool of live models."""
    global _pool
    with _pool_lock:
        if _pool is None:
            from nodegraph.diffusion.models.pool import ModelPool

            _pool = ModelPool()
        return _pool
