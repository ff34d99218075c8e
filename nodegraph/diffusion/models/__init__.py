"""Models: from a checkpoint's name to live networks, and who owns them.

Begin with `loading`: a name is described from its header and loaded by its family. The families here are `emoji`
(embedded), `trained` (made in a graph) and `exact` (formulas); the first two share `conditional`; the families of
others are in `checkpoints`. `pool` keeps live models within a budget that `memory` measures. `upscaling` loads
networks that enlarge, `exporting` writes ours as ONNX.
"""
