"""Diffusion: values, schedules, samplers, denoisers, guidance and networks. Knows nothing of graphs."""
