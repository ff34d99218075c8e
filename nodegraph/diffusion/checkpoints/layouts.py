"""Original names of transformers' weights, as tables: which weights of diffusers each one becomes.

Original files keep a block's projections in one matrix, diffusers apart: such a weight becomes several, each some
of its rows. Where original files put shift before scale, diffusers has scale before shift: the halves swap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

Shape = tuple[int, ...]
_LEAVES = {"weight": "weight", "bias": "bias", "scale": "weight"}


@dataclass(frozen=True)
class Rule:
    """What modules become.

    Args:
        pattern: of the module's original name, for `re.fullmatch`.
        names: of the module or modules in diffusers, with the pattern's groups. Of several, each but the last
            takes as many rows as the network is wide, the last what is left; of none, the weight is of no use.
        swapped: whether the halves of the rows change places, where there are just two blocks of rows.
    """

    pattern: str
    names: tuple[str, ...]
    swapped: bool = False


@dataclass(frozen=True)
class Piece:
    """One weight of diffusers: its name and shape, the rows of the original that it is, whether halves swap."""

    name: str
    shape: Shape
    rows: tuple[int, int] | None = None
    swapped: bool = False


@dataclass(frozen=True)
class Layout:
    """The original naming of one architecture.

    Args:
        mark: the start of a weight's name that no other layout has.
        width: a weight with as many rows as the network is wide.
        rules: the first that fits holds.
    """

    mark: str
    width: str
    rules: tuple[Rule, ...]

    @cached_property
    def _compiled(self) -> list[tuple[re.Pattern[str], Rule]]:
        return [(re.compile(rule.pattern), rule) for rule in self.rules]

    @cached_property
    def _underscored(self) -> list[tuple[re.Pattern[str], Rule]]:
        return [(re.compile(rule.pattern.replace(r"\.", "_")), rule) for rule in self.rules]

    def modules(self, underscored: str) -> tuple[list[str], bool] | None:
        """The modules of diffusers, one below the other, that an original one is, and whether halves may swap.

        All names have underscores for dots, as kohya's trainer writes them; None where no rule knows the name.
        """
        for pattern, rule in self._underscored:
            if (match := pattern.fullmatch(underscored)) is not None:
                return [match.expand(name).replace(".", "_") for name in rule.names], rule.swapped
        return None

    def pieces(self, key: str, shape: Shape, width: int) -> Iterator[Piece]:
        """What a weight becomes. One that no rule knows keeps its name, for the network to say so."""
        module, _, leaf = key.rpartition(".")
        ending = f".{_LEAVES[leaf]}" if leaf in _LEAVES else ""
        module = module if ending else key
        for pattern, rule in self._compiled:
            if (match := pattern.fullmatch(module)) is not None:
                names = [match.expand(name) + ending for name in rule.names]
                break
        else:
            yield Piece(key, shape)
            return
        if not names:
            return
        if len(names) == 1:
            yield Piece(names[0], shape, swapped=rule.swapped and shape[:1] == (2 * width,))
            return
        edges = [min(width * i, shape[0]) for i in range(len(names))] + [shape[0]]
        for name, start, end in zip(names, edges, edges[1:], strict=False):
            yield Piece(name, (end - start, *shape[1:]), (start, end))


def layout_of(shapes: Mapping[str, Shape]) -> tuple[Layout, int] | None:
    """The original layout that weights are named in, and the network's width; None where no table has it."""
    for layout in LAYOUTS:
        if any(name.startswith(layout.mark) for name in shapes):
            return layout, next(iter(shapes.get(layout.width, ())), 0)
    return None


def _apart(start: str, *letters: str) -> tuple[str, ...]:
    return tuple(start.format(letter) for letter in letters or "qkv")


_DOUBLE, _SINGLE = r"double_blocks\.(\d+)\.", r"single_blocks\.(\d+)\."
_BLOCK, _ALONE = r"transformer_blocks.\1.", r"single_transformer_blocks.\1."
FLUX = Layout(
    "double_blocks.0.img_attn.",
    "img_in.weight",
    (
        Rule(r"time_in\.in_layer", ("time_text_embed.timestep_embedder.linear_1",)),
        Rule(r"time_in\.out_layer", ("time_text_embed.timestep_embedder.linear_2",)),
        Rule(r"vector_in\.in_layer", ("time_text_embed.text_embedder.linear_1",)),
        Rule(r"vector_in\.out_layer", ("time_text_embed.text_embedder.linear_2",)),
        Rule(r"guidance_in\.in_layer", ("time_text_embed.guidance_embedder.linear_1",)),
        Rule(r"guidance_in\.out_layer", ("time_text_embed.guidance_embedder.linear_2",)),
        Rule("txt_in", ("context_embedder",)),
        Rule("img_in", ("x_embedder",)),
        Rule(_DOUBLE + r"img_mod\.lin", (_BLOCK + "norm1.linear",)),
        Rule(_DOUBLE + r"txt_mod\.lin", (_BLOCK + "norm1_context.linear",)),
        Rule(_DOUBLE + r"img_attn\.qkv", _apart(_BLOCK + "attn.to_{}")),
        Rule(_DOUBLE + r"txt_attn\.qkv", _apart(_BLOCK + "attn.add_{}_proj")),
        Rule(_DOUBLE + r"img_attn\.norm\.query_norm", (_BLOCK + "attn.norm_q",)),
        Rule(_DOUBLE + r"img_attn\.norm\.key_norm", (_BLOCK + "attn.norm_k",)),
        Rule(_DOUBLE + r"txt_attn\.norm\.query_norm", (_BLOCK + "attn.norm_added_q",)),
        Rule(_DOUBLE + r"txt_attn\.norm\.key_norm", (_BLOCK + "attn.norm_added_k",)),
        Rule(_DOUBLE + r"img_attn\.proj", (_BLOCK + "attn.to_out.0",)),
        Rule(_DOUBLE + r"txt_attn\.proj", (_BLOCK + "attn.to_add_out",)),
        Rule(_DOUBLE + r"img_mlp\.0", (_BLOCK + "ff.net.0.proj",)),
        Rule(_DOUBLE + r"img_mlp\.2", (_BLOCK + "ff.net.2",)),
        Rule(_DOUBLE + r"txt_mlp\.0", (_BLOCK + "ff_context.net.0.proj",)),
        Rule(_DOUBLE + r"txt_mlp\.2", (_BLOCK + "ff_context.net.2",)),
        Rule(_SINGLE + r"modulation\.lin", (_ALONE + "norm.linear",)),
        Rule(_SINGLE + "linear1", (*_apart(_ALONE + "attn.to_{}"), _ALONE + "proj_mlp")),
        Rule(_SINGLE + r"norm\.query_norm", (_ALONE + "attn.norm_q",)),
        Rule(_SINGLE + r"norm\.key_norm", (_ALONE + "attn.norm_k",)),
        Rule(_SINGLE + "linear2", (_ALONE + "proj_out",)),
        Rule(r"final_layer\.linear", ("proj_out",)),
        Rule(r"final_layer\.adaLN_modulation\.1", ("norm_out.linear",), swapped=True),
    ),
)
_JOINT = r"joint_blocks\.(\d+)\."
_X, _CONTEXT = _JOINT + r"x_block\.", _JOINT + r"context_block\."
SD3 = Layout(
    "joint_blocks.0.x_block.",
    "x_embedder.proj.weight",
    (
        Rule("pos_embed", ("pos_embed.pos_embed",)),
        Rule(r"x_embedder\.proj", ("pos_embed.proj",)),
        Rule(r"t_embedder\.mlp\.0", ("time_text_embed.timestep_embedder.linear_1",)),
        Rule(r"t_embedder\.mlp\.2", ("time_text_embed.timestep_embedder.linear_2",)),
        Rule(r"y_embedder\.mlp\.0", ("time_text_embed.text_embedder.linear_1",)),
        Rule(r"y_embedder\.mlp\.2", ("time_text_embed.text_embedder.linear_2",)),
        Rule(_X + r"(attn2?)\.qkv", _apart(_BLOCK + r"\2.to_{}")),
        Rule(_CONTEXT + r"attn\.qkv", _apart(_BLOCK + "attn.add_{}_proj")),
        Rule(_X + r"(attn2?)\.ln_([qk])", (_BLOCK + r"\2.norm_\3",)),
        Rule(_CONTEXT + r"attn\.ln_([qk])", (_BLOCK + r"attn.norm_added_\2",)),
        Rule(_X + r"(attn2?)\.proj", (_BLOCK + r"\2.to_out.0",)),
        Rule(_CONTEXT + r"attn\.proj", (_BLOCK + "attn.to_add_out",)),
        Rule(_X + r"adaLN_modulation\.1", (_BLOCK + "norm1.linear",)),
        # The last block's context is but shifted and scaled: two blocks of rows, in the other order.
        Rule(_CONTEXT + r"adaLN_modulation\.1", (_BLOCK + "norm1_context.linear",), swapped=True),
        Rule(_X + r"mlp\.fc1", (_BLOCK + "ff.net.0.proj",)),
        Rule(_X + r"mlp\.fc2", (_BLOCK + "ff.net.2",)),
        Rule(_CONTEXT + r"mlp\.fc1", (_BLOCK + "ff_context.net.0.proj",)),
        Rule(_CONTEXT + r"mlp\.fc2", (_BLOCK + "ff_context.net.2",)),
        Rule(r"final_layer\.linear", ("proj_out",)),
        Rule(r"final_layer\.adaLN_modulation\.1", ("norm_out.linear",), swapped=True),
    ),
)
Z_IMAGE = Layout(
    "cap_pad_token",  # Lumina 2, whose other names are the same, has none
    "x_embedder.weight",
    (
        Rule("x_embedder", ("all_x_embedder.2-1",)),
        Rule(r"final_layer\.(.+)", (r"all_final_layer.2-1.\1",)),
        Rule(r"(.+\.attention)\.qkv", _apart(r"\1.to_{}")),
        Rule(r"(.+\.attention)\.out", (r"\1.to_out.0",)),
        Rule(r"(.+\.attention)\.([qk])_norm", (r"\1.norm_\2",)),
        Rule("norm_final", ()),  # never used
    ),
)
_WAN, _SAME = r"blocks\.(\d+)\.", r"blocks.\1."
_EYES = "condition_embedder.image_embedder."
WAN = Layout(
    "blocks.0.self_attn.",
    "patch_embedding.weight",
    (
        Rule(r"time_embedding\.0", ("condition_embedder.time_embedder.linear_1",)),
        Rule(r"time_embedding\.2", ("condition_embedder.time_embedder.linear_2",)),
        Rule(r"text_embedding\.0", ("condition_embedder.text_embedder.linear_1",)),
        Rule(r"text_embedding\.2", ("condition_embedder.text_embedder.linear_2",)),
        Rule(r"time_projection\.1", ("condition_embedder.time_proj",)),
        Rule(r"img_emb\.proj\.0", (_EYES + "norm1",)),
        Rule(r"img_emb\.proj\.1", (_EYES + "ff.net.0.proj",)),
        Rule(r"img_emb\.proj\.3", (_EYES + "ff.net.2",)),
        Rule(r"img_emb\.proj\.4", (_EYES + "norm2",)),
        Rule(r"img_emb\.emb_pos", (_EYES + "pos_embed",)),
        Rule(_WAN + r"self_attn\.([qkv])", (_SAME + r"attn1.to_\2",)),
        Rule(_WAN + r"cross_attn\.([qkv])", (_SAME + r"attn2.to_\2",)),
        Rule(_WAN + r"cross_attn\.([kv])_img", (_SAME + r"attn2.add_\2_proj",)),
        Rule(_WAN + r"cross_attn\.norm_k_img", (_SAME + "attn2.norm_added_k",)),
        Rule(_WAN + r"self_attn\.o", (_SAME + "attn1.to_out.0",)),
        Rule(_WAN + r"cross_attn\.o", (_SAME + "attn2.to_out.0",)),
        Rule(_WAN + r"self_attn\.norm_([qk])", (_SAME + r"attn1.norm_\2",)),
        Rule(_WAN + r"cross_attn\.norm_([qk])", (_SAME + r"attn2.norm_\2",)),
        Rule(_WAN + "norm3", (_SAME + "norm2",)),
        Rule(_WAN + r"ffn\.0", (_SAME + "ffn.net.0.proj",)),
        Rule(_WAN + r"ffn\.2", (_SAME + "ffn.net.2",)),
        Rule(_WAN + "modulation", (_SAME + "scale_shift_table",)),
        Rule(r"head\.modulation", ("scale_shift_table",)),
        Rule(r"head\.head", ("proj_out",)),
    ),
)
LAYOUTS = (FLUX, SD3, Z_IMAGE, WAN)
