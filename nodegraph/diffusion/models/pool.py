"""The pool of live models: loaded when first used, moved to where they are used, within a budget of memory.

Weights are loaded on the host and their parts (text encoder, denoiser, VAE) move to the device one by one, when a
node first asks for them. Where room is short the least recently used parts that no running node uses go back to
the host, and the least recently used checkpoints out of the host.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from nodegraph.diffusion.checkpoints.assembly import Missing
from nodegraph.diffusion.live import LiveDenoiser, LiveImageEncoder, LiveTextEncoder, LiveVAE, Loaded, Rescalable
from nodegraph.diffusion.models.compiling import speed_up
from nodegraph.diffusion.models.host import gigabytes
from nodegraph.diffusion.models.loading import identity, load
from nodegraph.diffusion.models.memory import HOST, OutOfMemory, asked, available, loading_bytes, total
from nodegraph.diffusion.values import Checkpoint

# The rest is for what is computed. The host's share may be larger: its weights are often mapped files.
DEVICE_SHARE, HOST_SHARE = 0.85, 0.9
_Key = tuple[str, str, str, bool]  # what is loaded, for which device, in which dtype, and whether it is compiled


@dataclass(eq=False)
class _Part:
    """One network, and where it is."""

    name: str
    network: nn.Module
    home: str  # the device that it is used on
    resident: bool
    bytes: int


@dataclass(eq=False)
class _Entry:
    loaded: Loaded
    parts: dict[str, _Part]


@dataclass(eq=False)
class Lease:
    """What one node uses. Its parts stay where they are until it is closed or forgotten."""

    holder: str
    parts: set[_Part] = field(default_factory=set)

    def close(self) -> None:
        """Let the parts go."""
        self.parts.clear()


@dataclass(frozen=True, eq=False)
class Live:
    """A checkpoint in use. Each part is brought to the device when it is first asked for."""

    _part: Callable[[str], Loaded]
    _family: str

    @property
    def denoiser(self) -> LiveDenoiser:
        """Its denoising network."""
        return self._part("denoiser").denoiser

    @property
    def text_encoder(self) -> LiveTextEncoder:
        """Its text encoder."""
        return self._part("text_encoder").text_encoder

    @property
    def eyes(self) -> LiveImageEncoder:
        """Its image encoder. Raises ValueError where it has none."""
        found = self._part("image_encoder").eyes
        if found is None:
            raise ValueError(f"{self._family} has no image encoder")
        return found

    @property
    def has_vae(self) -> bool:
        """Whether its file holds one: those with a transformer alone do not."""
        return not isinstance(self._part("").vae, Missing)

    @property
    def vae(self) -> LiveVAE:
        """Its VAE, for the latents of the family that asks."""
        vae = self._part("vae").vae
        return vae.of_family(self._family) if isinstance(vae, Rescalable) else vae


class ModelPool:
    """Owns every live model of the process. Thread-safe.

    Args:
        budgets: bytes of weights that each device (`cpu`, `cuda:0`) may hold; where a device is not named, most of
            the memory that it has.
    """

    def __init__(self, budgets: Mapping[str, int] | None = None) -> None:
        self._budgets = dict(budgets or {})
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._recent: OrderedDict[_Part, None] = OrderedDict()
        self._leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self._lock = threading.RLock()

    def lease(self, holder: str) -> Lease:
        """A lease for a node of that name."""
        with self._lock:
            lease = Lease(holder)
            self._leases.add(lease)
            return lease

    def open(
        self,
        checkpoint: Checkpoint,
        path: Path | None,
        device: str,
        dtype: str = "float32",
        lease: Lease | None = None,
        *,
        compiled: bool = False,
    ) -> Live:
        """A checkpoint's networks, weights in `dtype`, for use on a device; its denoiser `compiled` or as it is.

        Asking for a part raises OutOfMemory where it does not fit beside what is in use.
        """
        lease = lease or self.lease("the caller")

        def part(name: str) -> Loaded:
            with self._lock:
                entry = self._entry(checkpoint, path, device, dtype, compiled)
                if name in entry.parts:
                    self._use(entry.parts[name], lease)
                return entry.loaded

        return Live(part, checkpoint.family)

    def used(self, device: str = HOST) -> int:
        """Bytes of weights on a device now."""
        return sum(part.bytes for part in self._recent if _place(part) == device)

    def budget(self, device: str) -> int | None:
        """Bytes of weights that a device may hold; None where nobody knows how much it has."""
        if device not in self._budgets:
            whole = total(device)
            if whole is None:
                return None
            self._budgets[device] = int(whole * (HOST_SHARE if device == HOST else DEVICE_SHARE))
        return self._budgets[device]

    def held(self, device: str) -> str:
        """Who holds what on a device, in words."""
        words = []
        for part in self._recent:
            if _place(part) == device and part.bytes:
                users = ", ".join(lease.holder for lease in self._leases if part in lease.parts)
                words.append(f"{part.name} {gigabytes(part.bytes)}" + (f" (in use by {users})" if users else ""))
        return "; ".join(words) or "no model"

    def situation(self, device: str, error: BaseException) -> str:
        """After running out of memory: what was asked for, what is free on the device, and by whom it is held."""
        need = asked(error)
        words = [f"{gigabytes(need)} more were needed"] if need is not None else []
        words.append(f"{gigabytes(available(device))} are free on {device}")
        return "; ".join([*words, f"held there: {self.held(device)}"])

    def free(self, device: str = HOST) -> None:
        """Take everything that no node uses off a device: to the host, or from the host for good."""
        with self._lock:
            if device == HOST:
                for key in list(self._entries):
                    self._forget(key)
            else:
                while self._evict_one(device):
                    pass

    def _entry(self, checkpoint: Checkpoint, path: Path | None, device: str, dtype: str, compiled: bool) -> _Entry:
        key = (identity(checkpoint), device, dtype, compiled)
        entry = self._entries.get(key)
        if entry is None:
            self._make_room(HOST, loading_bytes(path, dtype, checkpoint.part), checkpoint.name)
            loaded = load(checkpoint, path, device, dtype)
            if compiled and "denoiser" in loaded.networks:
                speed_up(loaded.networks["denoiser"], checkpoint.name)
            entry = _Entry(
                loaded,
                {
                    name: _Part(f"{checkpoint.name} {name}", network, device, device == HOST, _bytes(network))
                    for name, network in loaded.networks.items()
                },
            )
            self._entries[key] = entry
            self._recent.update(dict.fromkeys(entry.parts.values()))
        self._entries.move_to_end(key)
        return entry

    def _use(self, part: _Part, lease: Lease) -> None:
        lease.parts.add(part)
        self._recent.move_to_end(part)
        if not part.resident:
            try:
                self._make_room(part.home, part.bytes, part.name)
                part.network.to(part.home)
            except BaseException:
                lease.parts.discard(part)
                raise
            part.resident = True

    def _make_room(self, device: str, need: int, name: str) -> None:
        """Move or drop what is least recently used until `need` bytes fit. Raises OutOfMemory."""
        while (room := self._room(device)) is not None and room < need:
            if not self._evict_one(device):
                raise OutOfMemory(
                    f"{name} needs {gigabytes(need)} on {device}, where {gigabytes(max(room, 0))} are free for "
                    f"weights; held there: {self.held(device)}. Use a smaller dtype or checkpoint, or close other "
                    "programs"
                )

    def _room(self, device: str) -> int | None:
        budget, left = self.budget(device), available(device)
        within = None if budget is None else budget - self.used(device)
        known = [size for size in (within, left) if size is not None]
        return min(known, default=None)

    def _evict_one(self, device: str) -> bool:
        if device == HOST:
            return any(self._forget(key) for key in list(self._entries))
        for part in self._recent:
            if part.resident and part.home == device and not self._in_use(part):
                self._offload(part)
                return True
        return False

    def _offload(self, part: _Part) -> None:
        while (room := self._room(HOST)) is not None and room < part.bytes and self._evict_one(HOST):
            pass
        if part in self._recent:  # else its checkpoint was dropped whole
            part.network.to(HOST)
            part.resident = False
        if part.home.startswith("cuda"):
            torch.cuda.empty_cache()

    def _forget(self, key: _Key) -> bool:
        """Drop a checkpoint that no node uses. Says whether there was one."""
        entry = self._entries[key]
        if any(self._in_use(part) for part in entry.parts.values()):
            return False
        del self._entries[key]
        for part in entry.parts.values():
            del self._recent[part]
        return True

    def _in_use(self, part: _Part) -> bool:
        return any(part in lease.parts for lease in self._leases)


def _place(part: _Part) -> str:
    return part.home if part.resident else HOST


def _bytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
