"""Families with transformers in 16 bits: no part is handed numbers of another dtype, and pictures are nearly the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_flow
import torch
from torch import Tensor

from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.values import Latent, Sigmas

FAMILIES: dict[str, tuple[Callable[[], Any], str, tuple[int, ...]]] = {
    "flux": (lambda: tiny_flow.flux(True), "tokenizer_2", (1, 16, 8, 8)),
    "sd3": (lambda: tiny_flow.sd3("3.5 medium"), "tokenizer_3", (1, 16, 8, 8)),
    "z-image": (tiny_flow.z_image, "tokenizer", (1, 16, 8, 8)),
    "qwen-image": (tiny_flow.qwen_image, "tokenizer", (1, 16, 8, 8)),
    "wan": (tiny_flow.wan, "tokenizer", (1, 16, 2, 4, 4)),
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[int, ...]]:
    make, tokenizer, shape = FAMILIES[request.param]
    path = tiny_flow.save_folder(make(), tmp_path_factory.mktemp("half") / "folder", tokenizer)
    if request.param == "wan":
        tiny_flow.save_tokenizer(path / tokenizer / "tokenizer.json")
    return path, shape


def painted(path: Path, shape: tuple[int, ...], dtype: str) -> tuple[Tensor, set[torch.dtype]]:
    handles = describe("half", path, "digest")
    live = load(handles.model.checkpoint, path, "cpu", dtype)
    words, negative = (live.text_encoder.encode(text, {}) for text in ("a photo of a cat", "a dog"))
    sigmas = Sigmas(torch.tensor([9.0, 1.0, 0.0], dtype=torch.float64))
    for step in sample(live.denoiser, Latent(torch.zeros(shape)), sigmas, words, negative, guidance_scale=3.0):
        pass
    kinds = {value.dtype for value in live.networks["denoiser"].parameters()}
    return live.vae.decode(step.x), kinds


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_a_picture_in_16_bits_is_nearly_that_in_32(folder: tuple[Path, tuple[int, ...]], dtype: str) -> None:
    full, _ = painted(*folder, "float32")
    half, kinds = painted(*folder, dtype)
    assert kinds == {getattr(torch, dtype)}
    assert half.dtype == torch.float32
    assert bool(half.isfinite().all())
    assert not torch.equal(half, full)
    assert float((half - full).abs().mean()) < 0.05
