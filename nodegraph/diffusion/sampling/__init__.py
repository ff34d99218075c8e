"""Sampling: how noise becomes a sample, one page of mathematics a module.

Begin with `stepping`, what a step is. `schedules` spaces the sigmas and `noise` draws from seeds; `samplers` lists
the algorithms, of which `multistep` and `stochastic` hold two kinds. `denoisers` makes D(x; sigma) of what a
network predicts, `analytic` of a formula. Wrappers steer it: `guidance` by conditions, which `conditioning`
combines, `guiders` by anything else, `inpainting` by what is known, `variance` by what a network learned of its
steps. `loop` puts all of it together; `likelihood` runs it backwards to say how likely a sample is.
"""
