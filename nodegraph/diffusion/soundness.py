"""Results that hold what is no number are refused: they would be kept, and shown as black pictures."""

from __future__ import annotations

from torch import Tensor


def sound(tensor: Tensor, what: str, name: str) -> Tensor:
    """The tensor as it is.

    Args:
        tensor: of any shape.
        what, name: for the message: what it is, and the checkpoint that made it.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    wrong = int((~tensor.isfinite()).sum())
    if wrong:
        raise ValueError(
            f"{wrong:,} of the {tensor.numel():,} values of {what} are no numbers (NaN or infinite): a value that "
            f"was set is far too large, or weights of {name} are damaged or too large for the dtype. Lower "
            "guidance_scale and strengths, use --dtype float32 or bfloat16, or get the checkpoint anew"
        )
    return tensor
