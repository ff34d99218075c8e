"""The three handles that a checkpoint gives."""

from __future__ import annotations

from typing import NamedTuple

from nodegraph.diffusion.values import VAE, Model, TextEncoder


class Handles(NamedTuple):
    """What `LoadModel` gives: a denoising network, its text encoder and its VAE."""

    model: Model
    text_encoder: TextEncoder
    vae: VAE
