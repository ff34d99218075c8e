"""Unit noise from seeds. Drawn on the CPU, so that a seed means the same noise on every device.

Item i of a batch has a generator of its own, seeded with seed + i: image i of a batch with seed s is the image
that seed s + i gives alone, for stochastic samplers too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from struct import pack
from typing import Literal, get_args
from zlib import crc32

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.choices import choose

NoiseKind = Literal["gaussian", "uniform", "pyramid", "brownian"]
_SEEDS = 2**63


def sent(tensor: Tensor, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """A tensor of the host on a device. The host does not wait for it, where the device can copy by itself."""
    kind = torch.device(device).type
    if kind == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.to(dtype).pin_memory()  # what is not pinned is waited for, whatever is asked
    return tensor.to(device, dtype, non_blocking=kind != "mps")


class NoiseSource:
    """Gives fresh, independent unit noise each time it is called."""

    def __init__(self, seed: int, batch: int) -> None:
        self._generators = [torch.Generator().manual_seed((seed + item) % _SEEDS) for item in range(batch)]

    def __call__(self, like: Tensor, kind: NoiseKind = "gaussian") -> Tensor:
        """Noise of mean 0 and variance 1, of the shape, dtype and device of `like` (N, ...)."""
        if len(like) != len(self._generators):
            raise ValueError(f"made for a batch of {len(self._generators)}, asked for {len(like)}")
        draw = choose("noise", kind, _KINDS)
        items = [draw(tuple(like.shape[1:]), generator) for generator in self._generators]
        return sent(torch.stack(items), like.device, like.dtype)


def unit_noise(like: Tensor, seed: int, kind: NoiseKind = "gaussian") -> Tensor:
    """The first noise that a seed gives, of the shape, dtype and device of `like` (N, ...)."""
    return NoiseSource(seed, len(like))(like, kind)


def going_on(seed: int, sigma: float) -> int:
    """A seed for who goes on at a sigma with what a sampler of this seed left there: its noise is in that already.

    It lies as far from the seed for every seed, so that items of a batch keep the noise that they have alone.
    """
    return seed + crc32(pack("<d", sigma))


def between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Unit noise on the way from one to another, 0 at the first and 1 at the second.

    a cos(t) + b sin(t) has variance 1 all the way, where a + share (b - a) would fall to 1/2 in the middle.
    """
    angle = share * math.pi / 2
    return a * math.cos(angle) + b * math.sin(angle)


def _gaussian(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * math.sqrt(3)


def _pyramid(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Gaussian noise with coarser noise added at every octave, brought back to unit variance."""
    noise = torch.randn(shape, generator=generator)
    spatial = shape[1:]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(spatial)]
    scale, weight = 2, 0.5
    while min(spatial) // scale >= 1:
        coarse = torch.randn((1, shape[0], *(max(1, side // scale) for side in spatial)), generator=generator)
        noise = noise + weight * functional.interpolate(coarse, size=spatial, mode=mode)[0]
        scale, weight = scale * 2, weight / 2
    return noise / noise.std()


def _brownian(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Gaussian noise whose power falls as 1 / frequency^2, as a Brownian path's does, at unit variance."""
    axes = tuple(range(1, len(shape)))
    grid = torch.meshgrid(*(torch.fft.fftfreq(side) for side in shape[1:]), indexing="ij")
    frequency = sum((axis**2 for axis in grid), torch.zeros(shape[1:])).sqrt()
    # The mean has no frequency; it is as strong as the slowest wave, so that no item is centred by force.
    slowest = frequency[frequency > 0].min() if frequency.numel() > 1 else torch.tensor(1.0)
    gain = 1 / frequency.clamp(min=float(slowest))
    white = torch.fft.fftn(torch.randn(shape, generator=generator), dim=axes)
    return torch.fft.ifftn(white * gain / gain.square().mean().sqrt(), dim=axes).real


_KINDS: dict[str, Callable[[tuple[int, ...], torch.Generator], Tensor]] = dict(
    zip(get_args(NoiseKind), (_gaussian, _uniform, _pyramid, _brownian), strict=True)
)
