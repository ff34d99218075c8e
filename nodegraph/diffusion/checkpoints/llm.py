"""Language models as text encoders: Qwen 2.5 (also of its VL models, whose eyes are left out) and Qwen 3.

What is taken is the hidden state of the prompt inside a conversation. Tokens come from the user's tokenizer file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nodegraph.diffusion.checkpoints import configs
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.tokens import folder_tokenizer, numbers_of, tokenizer_of
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill
from nodegraph.diffusion.values import Condition, Conditioning

ROPE = {"rope_type": "default", "rope_theta": 1_000_000.0}
HEAD = 128  # numbers of a head of Qwen 2.5, whatever its size
_NORMED = "layers.0.self_attn.q_norm.weight"


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A live language model, without what turns its states into words.

    Args:
        network: of transformers.
        tokenizer: the file that says how words become tokens; None where nobody gave one.
        path: of the weights, for messages.
    """

    network: Any
    tokenizer: Path | None
    path: Path

    @torch.no_grad()
    def encode(self, text: str, layer: int, most: int) -> Tensor:
        """Hidden states (1, T, width) of a text, of a layer counted from the end: -1 is the normalised output.

        Raises:
            ValueError: the text has more tokens than `most`, or there is no tokenizer.
        """
        tokenizer = tokenizer_of(self.tokenizer, self.path, self.network.config.vocab_size)
        numbers = numbers_of(tokenizer, text, self.network.config.vocab_size)
        if len(numbers) > most:
            raise ValueError(
                f"the text is {len(numbers)} tokens long with the words around it and this model reads {most}; "
                "make it shorter"
            )
        ids = torch.tensor([numbers], device=next(self.network.parameters()).device)
        hidden: Tensor = self.network(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states[
            layer
        ]
        return hidden

    def with_tokenizer(self, path: Path) -> LanguageModel:
        """The same with another tokenizer file."""
        return replace(self, tokenizer=path)


def load(part: Part, dtype: torch.dtype, path: Path) -> LanguageModel:
    """The live model of a file or folder, whose tokenizer is beside it in the folder.

    Its numbers outgrow float16, so that it is held in bfloat16 where that is asked for.
    """
    normed = part.shape(_NORMED)
    head = normed[0] if normed else HEAD
    sizes: dict[str, Any] = {
        "vocab_size": configs.side(part, "embed_tokens.weight", 0),
        "hidden_size": configs.side(part, "embed_tokens.weight", 1),
        "intermediate_size": configs.side(part, "layers.0.mlp.gate_proj.weight", 0),
        "num_hidden_layers": configs.bounded(part, r"layers\.(\d+)\."),
        "num_attention_heads": max(1, configs.side(part, "layers.0.self_attn.q_proj.weight", 0) // head),
        "num_key_value_heads": max(1, configs.side(part, "layers.0.self_attn.k_proj.weight", 0) // head),
        "rms_norm_eps": 1e-6,
        "rope_parameters": dict(ROPE),
    }
    with IMPORTING:
        from transformers import Qwen2Config, Qwen3Config
        from transformers.models.qwen2.modeling_qwen2 import Qwen2Model
        from transformers.models.qwen3.modeling_qwen3 import Qwen3Model
    kind = torch.bfloat16 if dtype == torch.float16 else dtype

    def make() -> Any:
        return Qwen3Model(Qwen3Config(**sizes, head_dim=head)) if normed else Qwen2Model(Qwen2Config(**sizes))

    return LanguageModel(fill(make, part.weights, kind, path, "text encoder"), folder_tokenizer(part), path)


@dataclass(frozen=True, eq=False)
class Conversation:
    """A language model's states of a prompt inside a conversation.

    Args:
        model: the language model.
        template: the conversation, `{}` standing for the prompt.
        layer: see `LanguageModel.encode`.
        skipped: tokens before the prompt that are left out.
        most: tokens that the family reads.
    """

    model: LanguageModel
    template: str
    layer: int
    skipped: int
    most: int

    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        """What a text says."""
        if styles:
            raise ValueError("this model knows no styles by name; say the style in the text, leave `style` empty")
        hidden = self.model.encode(self.template.replace("{}", text), self.layer, self.most + self.skipped)
        return Conditioning((Condition(hidden[:, self.skipped :].float().cpu()),))

    def unknown_words(self, text: str) -> list[str]:  # noqa: ARG002
        """None: every word is spelled out in pieces that are known."""
        return []

    def adapted(self, files: Sequence[tuple[Path, float]]) -> Conversation:  # noqa: ARG002
        """The same: LoRAs of these families change their transformer alone."""
        return self

    def with_tokenizer(self, path: Path) -> Conversation:
        """The same with its tokenizer from a file."""
        return replace(self, model=self.model.with_tokenizer(path))
