"""Pictures that tile, from networks that know where in the picture a place is.

The latent is moved around its edges by another offset at every step and the estimate moved back, so that what
would be a seam is each time somewhere else and is painted over by the next steps: noise rolling (Vecchio et al.,
"ControlMat", 2023, section 4.3).
"""

from __future__ import annotations

import hashlib

from torch import Tensor

from nodegraph.diffusion.values import Wrap

Offset = tuple[int, int]


def offset(sigma: float, x: Tensor, wrap: Wrap | None) -> Offset:
    """How far to move a latent (..., h, w) down and to the right at a sigma: any place alike, the same every time.

    D(x; sigma) stays a function of x and sigma, whichever sampler asks and how often. A sigma counts with five
    digits, so that machines whose logarithms differ in the last one agree.
    """
    drawn = int.from_bytes(hashlib.blake2b(f"{sigma:.4e}".encode(), digest_size=8).digest(), "little")
    down, across = drawn % x.shape[-2], (drawn >> 32) % x.shape[-1]
    return down if wrap in ("both", "vertical") else 0, across if wrap in ("both", "horizontal") else 0


def rolled(x: Tensor, by: Offset) -> Tensor:
    """A latent (..., h, w) moved around its edges."""
    return x.roll(by, (-2, -1)) if any(by) else x


def back(estimates: list[Tensor], by: Offset) -> list[Tensor]:
    """Estimates of a latent that was moved, where they belong."""
    return [rolled(one, (-by[0], -by[1])) for one in estimates]
