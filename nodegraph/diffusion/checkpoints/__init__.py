"""Checkpoints that users have: recognised by keys and shapes, loaded without a network connection.

`header` reads what a file says of itself, `parts` sorts its tensors into networks under one set of names, `detect`
tells the family by its `signs`, `configs` the sizes of its networks, `weights` reads tensors, and `stable` makes
them live. Nothing here imports diffusers or transformers before a checkpoint of theirs is loaded.
"""
