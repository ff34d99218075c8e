"""T5's text encoder (Raffel et al. 2020): sizes from its weights, tokens from the user's tokenizer file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nodegraph.diffusion.checkpoints import configs
from nodegraph.diffusion.checkpoints.clip import weighted
from nodegraph.diffusion.checkpoints.lora import Patches, Target
from nodegraph.diffusion.checkpoints.parts import Part
from nodegraph.diffusion.checkpoints.tokens import folder_tokenizer, numbers_of, tokenizer_of
from nodegraph.diffusion.checkpoints.weights import IMPORTING, fill

PADDING, END = 0, 1
_FIRST = "encoder.block.0.layer.0.SelfAttention."


@dataclass(frozen=True, eq=False)
class T5:
    """A live T5 encoder.

    Args:
        network: of transformers.
        tokenizer: the file that says how words become tokens; None where nobody gave one.
        path: of the weights, for messages.
        patches, files: LoRAs, see `lora`.
        targets: which of a family's text encoders it is, by all that LoRAs call it.
    """

    network: Any
    tokenizer: Path | None
    path: Path
    patches: Patches | None = None
    files: tuple[tuple[Path, float], ...] = ()
    targets: tuple[Target, ...] = ()

    def encode(self, text: str, length: int, most: int | None = None) -> tuple[Tensor, Tensor]:
        """Embedding (1, length, width) of a prompt filled up with padding, and a mask (1, length) of its tokens.

        Where `most` is given, a longer prompt gives as many as it has, up to that.

        Padding takes part in the attention, as the families that use this were trained. Words in weighted brackets
        are moved away from what the empty prompt says at their place.

        Raises:
            ValueError: the text has more tokens than fit, or there is no tokenizer.
        """
        if self.patches is not None:
            self.patches.set(self.files, self.targets)
        numbers, weights = self._tokens(text)
        if len(numbers) > (most or length):
            raise ValueError(
                f"the text is {len(numbers)} tokens long and this model reads {most or length}; make it shorter"
            )
        length = max(length, len(numbers))
        fill = length - len(numbers)
        hidden = self._run([*numbers, *[PADDING] * fill])
        if any(weight != 1 for weight in weights):
            factors = torch.tensor([*weights, *[1.0] * fill])[None, :, None].to(hidden)
            empty = self._run([END, *[PADDING] * (length - 1)])
            hidden = torch.where(factors == 1, hidden, empty + (hidden - empty) * factors)
        return hidden, (torch.arange(length) < len(numbers))[None]

    def with_tokenizer(self, path: Path) -> T5:
        """The same with another tokenizer file."""
        return replace(self, tokenizer=path)

    def adapted(self, files: Sequence[tuple[Path, float]], *targets: Target) -> T5:
        """The same with LoRAs, each with its strength, of which it takes what is for any of `targets`."""
        return replace(self, files=tuple(files), targets=targets)

    @torch.no_grad()
    def _run(self, numbers: Sequence[int]) -> Tensor:
        ids = torch.tensor([numbers], device=next(self.network.parameters()).device)
        hidden: Tensor = self.network(input_ids=ids, return_dict=False)[0]
        return hidden

    def _tokens(self, text: str) -> tuple[list[int], list[float]]:
        tokenizer = tokenizer_of(self.tokenizer, self.path, self.network.config.vocab_size)
        numbers: list[int] = []
        weights: list[float] = []
        for words, weight in weighted(text):
            found = numbers_of(tokenizer, words.strip(), self.network.config.vocab_size)
            numbers += found
            weights += [weight] * len(found)
        return [*numbers, END], [*weights, 1.0]


def config(part: Part) -> dict[str, Any]:
    """The configuration of a T5 encoder, from the shapes of its weights."""
    rows = configs.side(part, _FIRST + "q.weight", 0)
    heads = configs.side(part, _FIRST + "relative_attention_bias.weight", 1)
    gated = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight" in part.weights
    first = f"encoder.block.0.layer.1.DenseReluDense.wi{'_0' if gated else ''}.weight"
    return {
        "vocab_size": configs.side(part, "shared.weight", 0),
        "d_model": configs.side(part, "shared.weight", 1),
        "d_kv": max(1, rows // max(1, heads)),
        "num_heads": heads,
        "d_ff": configs.side(part, first, 0),
        "num_layers": configs.bounded(part, r"encoder\.block\.(\d+)\."),
        "relative_attention_num_buckets": configs.side(part, _FIRST + "relative_attention_bias.weight", 0),
        "feed_forward_proj": "gated-gelu" if gated else "relu",
    }


def load(part: Part, dtype: torch.dtype, path: Path) -> T5:
    """The live encoder of a file or folder, whose tokenizer is beside it in the folder.

    Its numbers outgrow float16, so that it is held in bfloat16 where that is asked for.
    """
    sizes = config(part)
    with IMPORTING:
        from transformers import T5Config, UMT5Config
        from transformers.models.t5.modeling_t5 import T5EncoderModel
        from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel
    weights = {**part.weights, "encoder.embed_tokens.weight": part.weights["shared.weight"]}
    kind = torch.bfloat16 if dtype == torch.float16 else dtype

    def make() -> Any:
        # Multilingual T5 has a table of distances in each layer, the first one in its first alone.
        if "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight" in weights:
            return UMT5EncoderModel(UMT5Config(**sizes))
        return T5EncoderModel(T5Config(**sizes))

    network: Any = fill(make, weights, kind, path, "text encoder")
    network.encoder.embed_tokens.weight = network.shared.weight  # one in memory, also when it moves
    return T5(network, folder_tokenizer(part), path, Patches(network, "text_encoder_2"))
