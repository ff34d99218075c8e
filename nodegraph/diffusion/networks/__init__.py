"""Networks: architectures alone, which know no schedule, no file and no budget of memory.

Begin with `dit`, the diffusion transformer; `text` reads its words and `autoencoder` makes its latents.
`classifier` guides and `style` judges. `onnx` runs the networks of other makers and writes ours for them.
"""
