"""Tiny checkpoints of the families with transformers and T5: networks of diffusers, and their original single files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tiny
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    AutoencoderKLWan,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    WanTransformer3DModel,
    ZImageTransformer2DModel,
)
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import save_file
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE, Unigram
from torch import Tensor
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    UMT5Config,
)
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.t5.modeling_t5 import T5EncoderModel
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

T5_WIDTH, CLIP_WIDTH = 32, 64
Weights = Mapping[str, Tensor]


def vae(scale: float, shift: float) -> AutoencoderKL:
    """A VAE of 16 channels without the convolutions of the first ones."""
    return AutoencoderKL(
        block_out_channels=(32, 32, 32, 64),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=1,
        latent_channels=16,
        scaling_factor=scale,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def t5(width: int = T5_WIDTH) -> T5EncoderModel:
    """A T5 encoder of two gated layers."""
    return T5EncoderModel(
        T5Config(
            vocab_size=64, d_model=width, d_kv=16, d_ff=48, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


def save_tokenizer(path: Path) -> Path:
    """A tokenizer of letters and some pairs, in the form of T5's."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz,0123456789", "▁a", "ph", "cat"]
    tokenizer = Tokenizer(Unigram([(piece, -float(len(pieces) > 3)) for piece in pieces], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path


def flux(guided: bool) -> tiny.Tiny:
    """Flux.1 dev (`guided`) or schnell, with two blocks of each kind."""
    torch.manual_seed(0)
    made = tiny.Tiny("flux" if guided else "flux-schnell")
    made.networks["transformer"] = FluxTransformer2DModel(
        in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2,
        joint_attention_dim=T5_WIDTH, pooled_projection_dim=CLIP_WIDTH, guidance_embeds=guided,
        axes_dims_rope=(4, 14, 14),
    )  # fmt: skip
    made.networks["vae"] = vae(0.3611, 0.1159)
    made.networks["text_encoder"] = CLIPTextModel(tiny.clip(CLIP_WIDTH, 2, "quick_gelu"))
    made.networks["text_encoder_2"] = t5()
    for network in made.networks.values():
        tiny.louder(network.eval())
    return made


def sd3(kind: str) -> tiny.Tiny:
    """Stable Diffusion `3`, `3.5 medium` (its first layer has a second attention) or `3.5 large`."""
    torch.manual_seed(0)
    made = tiny.Tiny("sd3" if kind == "3" else "sd35")
    made.networks["transformer"] = SD3Transformer2DModel(
        sample_size=16, num_layers=3, attention_head_dim=64, num_attention_heads=2, joint_attention_dim=256,
        caption_projection_dim=128, pooled_projection_dim=96, pos_embed_max_size=12,
        dual_attention_layers=(0, 1) if kind == "3.5 medium" else (), qk_norm=None if kind == "3" else "rms_norm",
    )  # fmt: skip
    made.networks["vae"] = vae(1.5305, 0.0609)
    small = tiny.clip(64, 2, "quick_gelu")
    small.projection_dim = 64
    made.networks["text_encoder"] = CLIPTextModelWithProjection(small)
    # The summary of CLIP L is read as it is: in diffusers' folders of this family its projection is the identity.
    made.networks["text_encoder"].text_projection.weight.data = torch.eye(64)
    made.networks["text_encoder_2"] = CLIPTextModelWithProjection(tiny.clip(128, 2, "gelu"))
    made.networks["text_encoder_3"] = t5(256)
    for network in made.networks.values():
        tiny.louder(network.eval())
    return made


def frames_vae(kind: type[Any] = AutoencoderKLWan) -> Any:
    """A VAE of frames, of one layer a level."""
    return kind(base_dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1)


def z_image() -> tiny.Tiny:
    """Z-Image with two layers and one of each refiner."""
    torch.manual_seed(0)
    made = tiny.Tiny("z-image")
    made.networks["transformer"] = ZImageTransformer2DModel(
        dim=64, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=48, axes_dims=[8, 12, 12],
        axes_lens=[1536, 512, 512],
    )  # fmt: skip
    made.networks["vae"] = vae(0.3611, 0.1159)
    made.networks["text_encoder"] = Qwen3Model(
        Qwen3Config(
            vocab_size=300, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
            num_key_value_heads=1, head_dim=32, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        )
    )  # fmt: skip
    return _finished(made)


def qwen_image() -> tiny.Tiny:
    """Qwen-Image with two blocks, and eyes in its text encoder."""
    torch.manual_seed(0)
    made = tiny.Tiny("qwen-image")
    made.networks["transformer"] = QwenImageTransformer2DModel(
        in_channels=64, out_channels=16, num_layers=2, attention_head_dim=32, num_attention_heads=2,
        joint_attention_dim=256, axes_dims_rope=(4, 14, 14),
    )  # fmt: skip
    for block in made.networks["transformer"].transformer_blocks:  # so that words count
        block.attn.add_v_proj.weight.data.mul_(16)
        block.img_mod[1].bias.data.add_(1)
    made.networks["vae"] = frames_vae(AutoencoderKLQwenImage)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    words = {
        "vocab_size": 300, "hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "rope_parameters": rope, "rms_norm_eps": 1e-6,
    }  # fmt: skip
    eyes = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 256}
    config = Qwen2_5_VLConfig(text_config=words, vision_config=eyes)
    made.networks["text_encoder"] = Qwen2_5_VLForConditionalGeneration(config)
    return _finished(made)


def wan(two: bool = False, **config: Any) -> tiny.Tiny:
    """Wan with two blocks of one head, and a multilingual T5; with a second transformer as Wan 2.2."""
    torch.manual_seed(0)
    made = tiny.Tiny("wan")
    sizes = {
        "num_attention_heads": 1,
        "attention_head_dim": 128,
        "text_dim": T5_WIDTH,
        "freq_dim": 64,
        "ffn_dim": 96,
    }
    for name in ("transformer", "transformer_2")[: 1 + two]:
        made.networks[name] = WanTransformer3DModel(num_layers=2, **{**sizes, **config})
        for block in made.networks[name].blocks:  # so that words count
            block.attn2.to_out[0].weight.data.mul_(16)
    made.networks["vae"] = frames_vae()
    made.networks["text_encoder"] = UMT5EncoderModel(
        UMT5Config(
            vocab_size=64, d_model=T5_WIDTH, d_kv=16, d_ff=48, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
        )
    )  # fmt: skip
    return _finished(made)


def residual_vae(mean: tuple[float, ...], deviation: tuple[float, ...]) -> AutoencoderKLWan:
    """Wan 2.2's VAE of 48 channels and squares of pixels, of one layer a level."""
    return AutoencoderKLWan(
        base_dim=8, decoder_base_dim=16, z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=1, is_residual=True,
        in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=16, latents_mean=list(mean),
        latents_std=list(deviation),
    )  # fmt: skip


def original_wan(network: Any) -> dict[str, Tensor]:
    """A Wan transformer's weights as its own files name them."""
    found = {}
    for name, value in network.state_dict().items():
        old = name.replace("condition_embedder.time_embedder.linear_1.", "time_embedding.0.")
        for new, was in (("norm1", "0"), ("ff.net.0.proj", "1"), ("ff.net.2", "3"), ("norm2", "4")):
            old = old.replace(f"condition_embedder.image_embedder.{new}.", f"img_emb.proj.{was}.")
        old = old.replace("condition_embedder.time_embedder.linear_2.", "time_embedding.2.")
        old = old.replace("condition_embedder.text_embedder.linear_1.", "text_embedding.0.")
        old = old.replace("condition_embedder.text_embedder.linear_2.", "text_embedding.2.")
        old = old.replace("condition_embedder.time_proj.", "time_projection.1.").replace("proj_out.", "head.head.")
        old = old.replace(".attn1.", ".self_attn.").replace(".attn2.", ".cross_attn.").replace(".to_out.0.", ".o.")
        for letter in "qkv":
            old = old.replace(f".to_{letter}.", f".{letter}.")
        old = (
            old.replace(".norm2.", ".norm3.")
            .replace(".ffn.net.0.proj.", ".ffn.0.")
            .replace(".ffn.net.2.", ".ffn.2.")
        )
        old = old.replace("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos")
        old = old.replace(".add_k_proj.", ".k_img.").replace(".add_v_proj.", ".v_img.")
        old = old.replace(".norm_added_k.", ".norm_k_img.")
        old = "head.modulation" if old == "scale_shift_table" else old.replace(".scale_shift_table", ".modulation")
        found[old] = value
    return found


def _finished(made: tiny.Tiny) -> tiny.Tiny:
    for network in made.networks.values():
        tiny.louder(network.eval())
        for name, value in network.named_parameters():
            if value.ndim == 2 and "pad_token" in name:
                value.data.normal_()
    return made


def save_bytes_tokenizer(path: Path) -> Path:
    """A tokenizer of bytes with the marks of a conversation, in the form of Qwen's."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path


def save_folder(made: tiny.Tiny, path: Path, tokenizer: str, **index: object) -> Path:
    """A checkpoint as a diffusers folder, with its tokenizer in the folder of that name; `index` is what else it says."""
    for name, network in made.networks.items():
        network.save_pretrained(path / name, safe_serialization=True)
    keep = save_bytes_tokenizer if tokenizer == "tokenizer" else save_tokenizer
    keep(path / tokenizer / "tokenizer.json")
    (path / "model_index.json").write_text(json.dumps({"_class_name": "Pipeline", **index}))
    return path


def save(weights: Weights, path: Path) -> Path:
    """Weights as one file, none sharing memory with another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().clone().contiguous() for name, value in weights.items()}, path)
    return path


def prefixed(prefix: str, weights: Weights) -> dict[str, Tensor]:
    """The same weights under longer names."""
    return {prefix + name: value for name, value in weights.items()}


def whole(made: tiny.Tiny, original: Weights, texts: Mapping[str, str]) -> dict[str, Tensor]:
    """Everything in one file, as ComfyUI packs it; `texts` gives each text encoder's name there."""
    found = prefixed("model.diffusion_model.", original)
    found |= prefixed("vae.", tiny.original_vae(made.networks["vae"]))
    for folder, name in texts.items():
        found |= prefixed(f"text_encoders.{name}.transformer.", text(made.networks[folder]))
    return found


def text(network: Any) -> dict[str, Tensor]:
    """A text encoder's weights as its own file has them."""
    weights = dict(network.state_dict())
    if "shared.weight" in weights:
        weights.pop("encoder.embed_tokens.weight")
        return weights
    return {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": value
        for name, value in weights.items()
    }


def original_flux(network: Any) -> dict[str, Tensor]:
    """A Flux transformer's weights as Black Forest Labs name them."""
    return dict(_flux(network.state_dict(), network.config))


class _Names:
    """Pairs of original names and weights, made of diffusers'."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def both(self, new: str, old: str) -> Iterator[tuple[str, Tensor]]:
        """Weight and bias of a module."""
        return self.joint(old, new)

    def joint(self, old: str, *new: str) -> Iterator[tuple[str, Tensor]]:
        """Weight and bias of modules, one below the other."""
        for leaf in ("weight", "bias"):
            yield f"{old}.{leaf}", torch.cat([self.weights[f"{name}.{leaf}"] for name in new])

    def swapped(self, new: str, old: str) -> Iterator[tuple[str, Tensor]]:
        """Weight and bias with their halves in each other's place."""
        for leaf in ("weight", "bias"):
            yield f"{old}.{leaf}", torch.cat(self.weights[f"{new}.{leaf}"].chunk(2)[::-1])


def _flux(w: Weights, config: Any) -> Iterator[tuple[str, Tensor]]:
    names = _Names(w)
    both, joint = names.both, names.joint
    ends = [("timestep", "time"), ("text", "vector"), *([("guidance", "guidance")] * config.guidance_embeds)]
    for new, old in ends:
        yield from both(f"time_text_embed.{new}_embedder.linear_1", f"{old}_in.in_layer")
        yield from both(f"time_text_embed.{new}_embedder.linear_2", f"{old}_in.out_layer")
    yield from both("context_embedder", "txt_in")
    yield from both("x_embedder", "img_in")
    for i in range(config.num_layers):
        new, old = f"transformer_blocks.{i}", f"double_blocks.{i}"
        for side, norm, add, ff in (("img", "norm1", "", "ff"), ("txt", "norm1_context", "added_", "ff_context")):
            yield from both(f"{new}.{norm}.linear", f"{old}.{side}_mod.lin")
            parts = [f"{new}.attn.add_{letter}_proj" if add else f"{new}.attn.to_{letter}" for letter in "qkv"]
            yield from joint(f"{old}.{side}_attn.qkv", *parts)
            yield f"{old}.{side}_attn.norm.query_norm.scale", w[f"{new}.attn.norm_{add}q.weight"]
            yield f"{old}.{side}_attn.norm.key_norm.scale", w[f"{new}.attn.norm_{add}k.weight"]
            yield from both(f"{new}.attn.{'to_add_out' if add else 'to_out.0'}", f"{old}.{side}_attn.proj")
            yield from both(f"{new}.{ff}.net.0.proj", f"{old}.{side}_mlp.0")
            yield from both(f"{new}.{ff}.net.2", f"{old}.{side}_mlp.2")
    for i in range(config.num_single_layers):
        new, old = f"single_transformer_blocks.{i}", f"single_blocks.{i}"
        yield from both(f"{new}.norm.linear", f"{old}.modulation.lin")
        yield from joint(f"{old}.linear1", *(f"{new}.attn.to_{letter}" for letter in "qkv"), f"{new}.proj_mlp")
        yield f"{old}.norm.query_norm.scale", w[f"{new}.attn.norm_q.weight"]
        yield f"{old}.norm.key_norm.scale", w[f"{new}.attn.norm_k.weight"]
        yield from both(f"{new}.proj_out", f"{old}.linear2")
    yield from both("proj_out", "final_layer.linear")
    yield from names.swapped("norm_out.linear", "final_layer.adaLN_modulation.1")


def original_sd3(network: Any) -> dict[str, Tensor]:
    """A Stable Diffusion 3 transformer's weights as Stability AI names them."""
    return dict(_sd3(network.state_dict(), network.config))


def _sd3(w: Weights, config: Any) -> Iterator[tuple[str, Tensor]]:
    names = _Names(w)
    both, joint = names.both, names.joint
    yield "pos_embed", w["pos_embed.pos_embed"]
    yield from both("pos_embed.proj", "x_embedder.proj")
    for new, old in (("timestep", "t"), ("text", "y")):
        yield from both(f"time_text_embed.{new}_embedder.linear_1", f"{old}_embedder.mlp.0")
        yield from both(f"time_text_embed.{new}_embedder.linear_2", f"{old}_embedder.mlp.2")
    yield from both("context_embedder", "context_embedder")
    for i in range(config.num_layers):
        new, old, last = f"transformer_blocks.{i}", f"joint_blocks.{i}", i == config.num_layers - 1
        yield from both(f"{new}.norm1.linear", f"{old}.x_block.adaLN_modulation.1")
        context = names.swapped if last else both
        yield from context(f"{new}.norm1_context.linear", f"{old}.context_block.adaLN_modulation.1")
        yield from joint(f"{old}.x_block.attn.qkv", *(f"{new}.attn.to_{letter}" for letter in "qkv"))
        yield from joint(f"{old}.context_block.attn.qkv", *(f"{new}.attn.add_{letter}_proj" for letter in "qkv"))
        yield from both(f"{new}.attn.to_out.0", f"{old}.x_block.attn.proj")
        yield from both(f"{new}.ff.net.0.proj", f"{old}.x_block.mlp.fc1")
        yield from both(f"{new}.ff.net.2", f"{old}.x_block.mlp.fc2")
        if i in config.dual_attention_layers:
            yield from joint(f"{old}.x_block.attn2.qkv", *(f"{new}.attn2.to_{letter}" for letter in "qkv"))
            yield from both(f"{new}.attn2.to_out.0", f"{old}.x_block.attn2.proj")
        for letter in "qk" if config.qk_norm else "":
            yield f"{old}.x_block.attn.ln_{letter}.weight", w[f"{new}.attn.norm_{letter}.weight"]
            yield f"{old}.context_block.attn.ln_{letter}.weight", w[f"{new}.attn.norm_added_{letter}.weight"]
            if i in config.dual_attention_layers:
                yield f"{old}.x_block.attn2.ln_{letter}.weight", w[f"{new}.attn2.norm_{letter}.weight"]
        if not last:
            yield from both(f"{new}.attn.to_add_out", f"{old}.context_block.attn.proj")
            yield from both(f"{new}.ff_context.net.0.proj", f"{old}.context_block.mlp.fc1")
            yield from both(f"{new}.ff_context.net.2", f"{old}.context_block.mlp.fc2")
    yield from both("proj_out", "final_layer.linear")
    yield from names.swapped("norm_out.linear", "final_layer.adaLN_modulation.1")


def original_z_image(network: Any) -> dict[str, Tensor]:
    """A Z-Image transformer's weights as its own files name them."""
    found, weights = {"norm_final.weight": torch.ones(8)}, network.state_dict()
    for name, value in weights.items():
        old = name.replace("all_x_embedder.2-1.", "x_embedder.").replace("all_final_layer.2-1.", "final_layer.")
        old = old.replace(".attention.to_out.0.", ".attention.out.").replace(".norm_q.", ".q_norm.")
        old = old.replace(".norm_k.", ".k_norm.")
        if ".attention.to_q." in name:
            rows = [weights[name.replace("to_q", f"to_{letter}")] for letter in "qkv"]
            found[old.replace("to_q", "qkv")] = torch.cat(rows)
        elif ".attention.to_" not in old:
            found[old] = value
    return found


def original_frames_vae(network: Any) -> dict[str, Tensor]:
    """A VAE of frames as Wan's own files name it."""
    layers = network.config.num_res_blocks
    pairs = [("quant_conv.", "conv1."), ("post_quant_conv.", "conv2.")]
    for side in ("encoder", "decoder"):
        pairs += [(f"{side}.conv_in.", f"{side}.conv1."), (f"{side}.norm_out.", f"{side}.head.0.")]
        pairs += [(f"{side}.conv_out.", f"{side}.head.2.")]
        for new, old in (("resnets.0", 0), ("attentions.0", 1), ("resnets.1", 2)):
            pairs.append((f"{side}.mid_block.{new}.", f"{side}.middle.{old}."))
    if network.config.get("is_residual"):  # the names have levels
        for side, way, count in (("encoder", "down", layers), ("decoder", "up", layers + 1)):
            for block in range(4):
                new, old = f"{side}.{way}_blocks.{block}.", f"{side}.{way}samples.{block}.{way}samples."
                pairs += [(f"{new}resnets.{layer}.", f"{old}{layer}.") for layer in range(count)]
                pairs.append((f"{new}{way}sampler.", f"{old}{count}."))
    pairs.append(("encoder.down_blocks.", "encoder.downsamples."))
    for block in range(4):
        start = block * (layers + 2)
        for layer in range(layers + 1):
            pairs.append((f"decoder.up_blocks.{block}.resnets.{layer}.", f"decoder.upsamples.{start + layer}."))
        pairs.append((f"decoder.up_blocks.{block}.upsamplers.0.", f"decoder.upsamples.{start + layers + 1}."))
    inner = (
        (".norm1.", ".residual.0."), (".conv1.", ".residual.2."), (".norm2.", ".residual.3."),
        (".conv2.", ".residual.6."), (".conv_shortcut.", ".shortcut."),
    )  # fmt: skip
    found = {}
    for name, value in network.state_dict().items():
        new, old = next(pair for pair in pairs if name.startswith(pair[0]))
        rest = "." + name.removeprefix(new)
        if "residual" not in old and not old.startswith(("encoder.conv1", "decoder.conv1")):
            for plain, original in inner:
                rest = rest.replace(plain, original)
        found[old + rest[1:]] = value
    return found
