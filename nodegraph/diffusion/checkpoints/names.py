"""One name for each weight: those of original single files are turned into those of diffusers and transformers.

The original U-Net counts its blocks through (`input_blocks.4.1`), diffusers nests them
(`down_blocks.1.attentions.0`); the original VAE counts the levels of its decoder from the coarse end. The
functions map names alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Rename = Callable[[str], str | None]

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "emb_layers.1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}
_UNET = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
# A ControlNet's own layers; its hint network has a convolution at every second place.
_CONTROL = {
    "input_hint_block.0": "controlnet_cond_embedding.conv_in",
    "input_hint_block.14": "controlnet_cond_embedding.conv_out",
    "middle_block_out.0": "controlnet_mid_block",
    **{f"input_hint_block.{2 * i + 2}": f"controlnet_cond_embedding.blocks.{i}" for i in range(6)},
}
_CLIP = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_PLACE = re.compile(r"(input_blocks|output_blocks|middle_block)\.(\d+)(?:\.(\d+))?\.(.+)")


def unet_renamer(keys: Iterable[str]) -> Rename:
    """How the weights of an original U-Net or ControlNet are called in diffusers.

    Args:
        keys: all of them, without the prefix; they tell how many layers a block has.
    """
    keys = set(keys)
    downs = [int(match[1]) for key in keys if (match := re.match(r"input_blocks\.(\d+)\.0\.op\.", key))]
    count = 1 + max(
        (int(match[1]) for key in keys if (match := re.match(r"input_blocks\.(\d+)\.", key))), default=0
    )
    return _unet_renamer((min(downs) if downs else count) - 1)


def original_unet_renamer(layers: int) -> Callable[[str], str]:
    """How a LoRA's modules of the original U-Net, dots and all written as underscores, are called in diffusers.

    Args:
        layers: of one block.
    """
    rename = _unet_renamer(layers)

    def underscored(module: str) -> str:
        dotted = re.sub(r"^(input_blocks|output_blocks)_(\d+)_(\d+)_", r"\1.\2.\3.", module)
        dotted = re.sub(r"^(middle_block)_(\d+)_", r"\1.\2.", dotted)
        for old in (*_UNET, *_RESNET):
            dotted = (
                dotted.replace(old.replace(".", "_"), old) if dotted.endswith(old.replace(".", "_")) else dotted
            )
        return (rename(f"{dotted}.weight") or module).removesuffix(".weight").replace(".", "_")

    return underscored


def _unet_renamer(layers: int) -> Rename:
    def rename(key: str) -> str | None:
        module, _, leaf = key.rpartition(".")
        if (plain := _UNET.get(module) or _CONTROL.get(module)) is not None:
            return f"{plain}.{leaf}"
        if zero := re.fullmatch(r"zero_convs\.(\d+)\.0", module):
            return f"controlnet_down_blocks.{zero[1]}.{leaf}"
        place = _PLACE.fullmatch(key)
        if place is None:
            return None
        side, number, slot, rest = place[1], int(place[2]), place[3], place[4]
        if side == "middle_block":
            inner = f"{slot}.{rest}" if slot is not None else rest
            kind = "attentions" if number == 1 else "resnets"
            return f"mid_block.{kind}.{number // 2}.{_layer(kind, inner)}"
        if slot is None:
            return None
        if rest.startswith(("op.", "conv.")):
            block = (number - 1) // (layers + 1) if side == "input_blocks" else number // (layers + 1)
            kind = "down" if side == "input_blocks" else "up"
            return f"{kind}_blocks.{block}.{kind}samplers.0.conv.{leaf}"
        kind = "resnets" if slot == "0" else "attentions"
        if side == "input_blocks":
            block, layer = divmod(number - 1, layers + 1)
            return f"down_blocks.{block}.{kind}.{layer}.{_layer(kind, rest)}"
        block, layer = divmod(number, layers + 1)
        return f"up_blocks.{block}.{kind}.{layer}.{_layer(kind, rest)}"

    return rename


def vae_renamer(keys: Iterable[str]) -> Rename:
    """How the weights of an original VAE are called in diffusers.

    Args:
        keys: all of them, without the prefix; they tell how many levels there are.
    """
    levels = 1 + max(
        (int(match[1]) for key in keys if (match := re.match(r"decoder\.up\.(\d+)\.", key))), default=0
    )

    def rename(key: str) -> str | None:
        key = key.replace(".norm_out.", ".conv_norm_out.").replace(".nin_shortcut.", ".conv_shortcut.")
        key = re.sub(r"\.mid\.block_(\d)\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}.", key)
        key = re.sub(r"\.mid\.attn_1\.", ".mid_block.attentions.0.", key)
        if ".mid_block.attentions." in key:
            for old, new in (
                ("norm", "group_norm"),
                ("q", "to_q"),
                ("k", "to_k"),
                ("v", "to_v"),
                ("proj_out", "to_out.0"),
            ):
                key = re.sub(rf"attentions\.0\.{old}\.(weight|bias)$", rf"attentions.0.{new}.\1", key)
        key = re.sub(r"encoder\.down\.(\d+)\.block\.", r"encoder.down_blocks.\1.resnets.", key)
        key = re.sub(r"encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0.", key)
        key = re.sub(
            r"decoder\.up\.(\d+)\.block\.", lambda m: f"decoder.up_blocks.{levels - 1 - int(m[1])}.resnets.", key
        )
        return re.sub(
            r"decoder\.up\.(\d+)\.upsample\.",
            lambda m: f"decoder.up_blocks.{levels - 1 - int(m[1])}.upsamplers.0.",
            key,
        )

    return rename


def frames_vae_renamer(keys: Iterable[str]) -> Rename:
    """How the weights of Wan's original VAEs are called in diffusers.

    Args:
        keys: all of them, without the prefix; they tell how many layers a level has. That of 2.2 has levels in
            the names, that of 2.1 counts through.
    """
    keys = list(keys)
    scaling = {key.partition(".resample.")[0] for key in keys if ".resample." in key}
    ends = [int(match[1]) for key in keys if (match := re.match(r"decoder\.upsamples\.(\d+)\.resample\.", key))]
    level = min(ends, default=0) + 1
    layers = {"residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2", "residual.6": "conv2"}
    layers |= {"shortcut": "conv_shortcut", "head.0": "norm_out", "head.2": "conv_out"}
    middle = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}

    def up(match: re.Match[str]) -> str:
        block, place = divmod(int(match[1]), level)
        return f"decoder.up_blocks.{block}." + ("upsamplers.0." if place == level - 1 else f"resnets.{place}.")

    def level_of(match: re.Match[str]) -> str:
        side, way, block, place = match.groups()
        inside = f"{way}sampler." if match[0].removesuffix(".") in scaling else f"resnets.{place}."
        return f"{side}.{way}_blocks.{block}.{inside}"

    def rename(key: str) -> str | None:
        key = re.sub(r"^(encoder|decoder)\.(down|up)samples\.(\d+)\.\2samples\.(\d+)\.", level_of, key)
        for old, new in layers.items():
            key = re.sub(rf"\.{re.escape(old)}\.(?=[a-z]+$)", f".{new}.", key)
        key = re.sub(r"^conv1\.", "quant_conv.", re.sub(r"^conv2\.", "post_quant_conv.", key))
        key = re.sub(r"^(encoder|decoder)\.conv1\.", r"\1.conv_in.", key)
        key = re.sub(r"\.middle\.([012])\.", lambda match: f".mid_block.{middle[match[1]]}.", key)
        return re.sub(
            r"^decoder\.upsamples\.(\d+)\.", up, key.replace("encoder.downsamples.", "encoder.down_blocks.")
        )

    return rename


def open_clip_name(key: str) -> str | None:
    """How a weight of OpenCLIP's text network is called in transformers; None where it has no use there.

    The joint projection (`in_proj_weight`, `in_proj_bias`) keeps its place, for the caller to split.
    """
    plain = {
        "positional_embedding": "embeddings.position_embedding.weight",
        "token_embedding.weight": "embeddings.token_embedding.weight",
        "ln_final.weight": "final_layer_norm.weight",
        "ln_final.bias": "final_layer_norm.bias",
        "text_projection": "text_projection.weight",
        "text_projection.weight": "text_projection.weight",
    }
    if key in plain:
        return plain[key]
    match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", key)
    if match is None:
        return None
    layer, rest = match.groups()
    if rest.startswith("attn.in_proj_"):
        return f"encoder.layers.{layer}.self_attn.in_proj_{rest.removeprefix('attn.in_proj_')}"
    module, _, leaf = rest.rpartition(".")
    return f"encoder.layers.{layer}.{_CLIP[module]}.{leaf}" if module in _CLIP else None


def _layer(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    module, _, leaf = rest.rpartition(".")
    return f"{_RESNET.get(module, module)}.{leaf}"
