"""Pictures: float32 tensors (N, C, H, W) in [0, 1], as arithmetic and as an answer.

Begin with `images`, the arithmetic. `tiling` takes a large picture through a network piece by piece. `grid` lays
pictures out with labels, `plot` draws curves, and `distribution` draws how numbers are spread.
"""
