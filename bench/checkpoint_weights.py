"""Checkpoints of full size and random weights, as diffusers folders in float16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}
UNETS: dict[str, dict[str, Any]] = {
    "sd1": {
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "sample_size": 64,
    },
    "sdxl": {
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "sample_size": 128,
    },
}


def write(folder: Path, family: str = "sd1", *, text: bool = True) -> float:
    """Write a checkpoint of a family (`sd1`, `sdxl`), with CLIP L where `text` is true; returns gigabytes."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    unet = UNETS[family]
    clip = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_attention_heads=12, bos_token_id=49406, eos_token_id=49407
    )
    with torch.device("meta"):
        networks = {
            "unet": (UNet2DConditionModel(**unet), unet, "diffusion_pytorch_model"),
            "vae": (AutoencoderKL(**VAE), VAE, "diffusion_pytorch_model"),
        }
        if text:
            networks["text_encoder"] = (CLIPTextModel(clip), clip.to_dict(), "model")
    total = 0
    for name, (network, config, stem) in networks.items():
        (folder / name).mkdir(parents=True)
        prefix = "text_model." if name == "text_encoder" else ""
        weights = {
            prefix + key: (torch.randn(value.shape) * 0.02).half() for key, value in network.state_dict().items()
        }
        total += sum(value.nbytes for value in weights.values())
        save_file(weights, folder / name / f"{stem}.safetensors", {"format": "pt"})
        (folder / name / "config.json").write_text(json.dumps(config, default=str))
    (folder / "model_index.json").write_text("{}")
    return total / 1e9
