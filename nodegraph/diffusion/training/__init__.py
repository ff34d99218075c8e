"""Training: networks learn from pictures, in loops that the caller owns.

Begin with `objectives`, what a network is trained for. `datasets` makes data sets, `learning` turns one into the
losses that `trainer`, which can be stopped and resumed bit for bit, minimises. `steps` are plain loops for tools
that train from start to end.
"""
