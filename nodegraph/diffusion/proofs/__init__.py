"""Proofs: what is claimed of samplers, guidance and processes, measured against closed forms.

Begin with `oracles`, which lists every measurement; `nodegraph selftest` prints it. `probing` measures. `control`
and `process` hold the closed forms for what steers a sampler and for the process itself, `references` the samplers
as their papers print them.
"""
