"""Diffusion: values, mathematics, networks, training and checkpoints. Knows nothing of graphs.

`values` is what travels on wires, `live` the interfaces that loaded networks have, `handles` what a checkpoint
gives, `choices` how anything is chosen by name. The rooms import each other in one direction only, each those
before it:

- `pictures`: arithmetic on images, and images of numbers: grids, plots, tiles.
- `networks`: architectures as plain torch modules.
- `sampling`: from noise to a sample: schedules, samplers, denoisers, guidance, inpainting.
- `training`: objectives, data sets and the loop that minimises.
- `checkpoints`: the files that users have, recognised and read without a network connection.
- `models`: the live networks behind a name, family by family, and the pool that owns them.
- `proofs`: samplers, guidance and processes measured against closed forms.
"""
