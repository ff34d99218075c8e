"""The pool of live models: loaded when first used, kept within a budget, least recently used out first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.loading import load
from nodegraph.diffusion.values import Checkpoint

DEFAULT_BYTES = 8 * 2**30


class ModelPool:
    """Owns every live model of the process. Thread-safe.

    Args:
        budget: bytes of weights that are kept; the model in use always is.
    """

    def __init__(self, budget: int = DEFAULT_BYTES) -> None:
        self.budget = budget
        self._models: OrderedDict[tuple[str, str], Loaded] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, checkpoint: Checkpoint, path: Path | None, device: str) -> Loaded:
        """The live model of a checkpoint on a device, loaded where it is not there yet."""
        key = (checkpoint.digest, device)
        with self._lock:
            model = self._models.get(key)
            if model is None:
                model = self._models[key] = load(checkpoint, path, device)
            self._models.move_to_end(key)
            while len(self._models) > 1 and self.used > self.budget:
                self._models.popitem(last=False)
            return model

    @property
    def used(self) -> int:
        """Bytes of weights held now."""
        return sum(model.bytes for model in self._models.values())

    def free(self) -> None:
        """Let go of every model."""
        with self._lock:
            self._models.clear()
