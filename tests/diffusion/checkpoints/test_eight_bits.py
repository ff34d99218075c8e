"""Files of 8-bit floating-point weights, with a scale for each and without: loaded as the numbers that they mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_flow
import torch
from nodegraph.nodes.models import Encode, LoadTextEncoder
from torch import Tensor

from nodegraph import Context
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.home import Home

Tensors = dict[str, Tensor]
EIGHT = torch.float8_e4m3fn


def eight_bits(weights: Tensors, form: str, prefix: str = "") -> tuple[Tensors, Tensors]:
    """A file of 8-bit matrices in one of the forms that are about, and the weights that it stands for."""
    file, meant = {}, {}
    for name, value in weights.items():
        if value.ndim != 2:
            file[prefix + name] = meant[name] = value
            continue
        scale = torch.ones(()) if form == "plain" else value.abs().max() / 448
        small = (value / scale).to(EIGHT)
        file[prefix + name] = small
        meant[name] = small.float() * scale
        module = prefix + name.removesuffix(".weight")
        if form == "scale_weight":
            file[f"{module}.scale_weight"] = scale
            file[f"{module}.scale_input"] = torch.ones(())
        elif form == "weight_scale":
            file[f"{module}.weight_scale"] = scale.reshape(1)
            file[f"{module}.comfy_quant"] = torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8)
    if form == "scale_weight":
        file[f"{prefix}scaled_fp8"] = torch.zeros(2).to(EIGHT)
    return file, meant


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("form", ["plain", "scale_weight", "weight_scale"])
def test_a_transformer_of_8_bits_is_what_its_numbers_mean(tmp_path: Path, form: str, prefix: str) -> None:
    """Joint projections are taken apart, and halves swapped, in 8 bits too."""
    original = tiny_flow.original_flux(tiny_flow.flux(True).networks["transformer"])
    file, meant = eight_bits(original, form, prefix)
    networks = []
    for name, tensors in (("eight", file), ("full", meant)):
        path = tiny_flow.save(tensors, tmp_path / f"{name}.safetensors")
        live = load(describe(name, path, "digest").model.checkpoint, path, "cpu")
        networks.append(live.networks["denoiser"].state_dict())
    eight, full = networks
    assert eight.keys() == full.keys()
    assert all(torch.equal(eight[name], full[name]) for name in full)
    assert {value.dtype for value in eight.values()} == {torch.float32}


def test_text_encoders_of_8_bits_say_nearly_the_same(tmp_path: Path) -> None:
    made = tiny_flow.flux(True)
    models = tmp_path / "models"
    tiny_flow.save_tokenizer(models / "tokenizers" / "t5.json")
    tiny_flow.save(tiny_flow.text(made.networks["text_encoder"]), models / "text_encoders" / "l.safetensors")
    words = tiny_flow.text(made.networks["text_encoder_2"])
    tiny_flow.save(words, models / "text_encoders" / "full.safetensors")
    tiny_flow.save(eight_bits(words, "scale_weight")[0], models / "text_encoders" / "eight.safetensors")
    context = Context(files=Home(tmp_path, tmp_path / "cache").files(output=models))
    said = []
    for file in ("full.safetensors", "eight.safetensors"):
        encoder = LoadTextEncoder(context, "flux", "l.safetensors", file, tokenizer="t5.json")
        embedding = Encode(context, encoder, "a photo of a cat").conditions[0].embedding
        assert embedding is not None
        said.append(embedding[0])
    near = torch.nn.functional.cosine_similarity(*said)
    assert not torch.equal(*said)
    assert float(near.min()) > 0.99


def test_weights_that_are_quantised_in_blocks_are_refused(tmp_path: Path) -> None:
    original = tiny_flow.original_flux(tiny_flow.flux(True).networks["transformer"])
    file, _ = eight_bits(original, "weight_scale")
    file["txt_in.weight_scale"] = torch.ones(4, 2)
    path = tiny_flow.save(file, tmp_path / "blocks.safetensors")
    with pytest.raises(ModelRefused, match=r"txt_in\.weight_scale is F32 \[4, 2\].*quantised in blocks"):
        describe("blocks", path, "digest")
