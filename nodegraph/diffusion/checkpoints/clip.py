"""Words for Stable Diffusion: CLIP's tokens, weights of words, prompts longer than a window, learned words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from nodegraph.diffusion.checkpoints.header import ModelRefused, read
from nodegraph.diffusion.checkpoints.lora import Patches
from nodegraph.diffusion.checkpoints.parts import Source
from nodegraph.diffusion.checkpoints.weights import DTYPES, Reader
from nodegraph.diffusion.values import Condition, Conditioning

WINDOW = 75  # tokens between the two marks that begin and end a text
VECTORS = 300  # that one learned word may have: four windows full
Summary = Literal["projected", "plain"] | None
START, END = 49406, 49407
STEP = 1.1  # what a bare bracket multiplies by
_BRACKETS = re.compile(r"\\[()\[\]\\]|\(|\)|\[|\]|:\s*([+-]?\d*\.?\d+)\s*\)|[^\\()\[\]:]+|.", re.DOTALL)


class Token(NamedTuple):
    """A token with its weight; `vector` counts a learned word's vectors, and `id` then stands for nothing."""

    id: int
    weight: float = 1.0
    word: str = ""
    vector: int = 0


def weighted(text: str) -> list[tuple[str, float]]:
    """A prompt's stretches of words with their weights.

    `(words:1.3)` has the weight 1.3, `(words)` 1.1, `[words]` 1 / 1.1; brackets nest and multiply; a backslash
    makes a bracket an ordinary letter.
    """
    stretches: list[tuple[str, float]] = []
    open_at: list[tuple[str, int]] = []

    def multiply(start: int, factor: float) -> None:
        stretches[start:] = [(words, weight * factor) for words, weight in stretches[start:]]

    for match in _BRACKETS.finditer(text):
        piece = match[0]
        if piece in ("(", "["):
            open_at.append((piece, len(stretches)))
        elif match[1] is not None and open_at and open_at[-1][0] == "(":
            multiply(open_at.pop()[1], float(match[1]))
        elif piece == ")" and open_at and open_at[-1][0] == "(":
            multiply(open_at.pop()[1], STEP)
        elif piece == "]" and open_at and open_at[-1][0] == "[":
            multiply(open_at.pop()[1], 1 / STEP)
        else:
            stretches.append((piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece, 1.0))
    joined: list[tuple[str, float]] = []
    for words, weight in stretches:
        if joined and joined[-1][1] == weight:
            joined[-1] = (joined[-1][0] + words, weight)
        else:
            joined.append((words, weight))
    return joined


@cache
def tokenizer() -> Any:
    """CLIP's tokenizer with its vocabulary of 49,408 tokens."""
    from instant_clip_tokenizer import Tokenizer

    return Tokenizer()


def tokens(text: str, learned: Mapping[str, int] | None = None) -> list[Token]:
    """The tokens of a prompt.

    Args:
        text: with weights in brackets.
        learned: learned words, and how many vectors stand for each.
    """
    found: list[Token] = []
    names = sorted(learned or {}, key=len, reverse=True)
    split = (
        re.compile("|".join(rf"(?<!\w)(?:embedding:)?{re.escape(name)}(?!\w)" for name in names))
        if names
        else None
    )
    for words, weight in weighted(text):
        position = 0
        for match in split.finditer(words) if split else ():
            found += [Token(number, weight) for number in tokenizer().encode(words[position : match.start()])]
            name = match[0].removeprefix("embedding:")
            found += [Token(END, weight, name, vector) for vector in range((learned or {})[name])]
            position = match.end()
        found += [Token(number, weight) for number in tokenizer().encode(words[position:])]
    return found


def windows(found: Sequence[Token], padding: int) -> list[list[Token]]:
    """Tokens cut into windows of 77: a start, up to 75, an end, and padding. At least one window."""
    cuts = [found[i : i + WINDOW] for i in range(0, len(found), WINDOW)] or [[]]
    filled = []
    for cut in cuts:
        marked = [Token(START), *cut, Token(END)]
        filled.append(marked + [Token(padding)] * (WINDOW + 2 - len(marked)))
    return filled


@dataclass(frozen=True, eq=False)
class Encoder:
    """One CLIP network, as a family uses it.

    Args:
        network: of transformers, with or without a projection.
        layer: `last` is its normalised output, `penultimate` the output of the last layer but one.
        padding: token number after the end.
        pooled: the summary that is used too: `projected`, `plain` (before any projection), or none.
        learned: vectors (count, width) of learned words.
        patches: takes LoRAs in and out.
        files: the LoRAs that are wanted, with their strengths.
    """

    network: Any
    layer: Literal["last", "penultimate"]
    padding: int
    pooled: Summary = None
    learned: Mapping[str, Tensor] | None = None
    patches: Patches | None = None
    files: tuple[tuple[Path, float], ...] = ()

    def adapted(self, files: Sequence[tuple[Path, float]]) -> Encoder:
        """The same encoder with LoRAs, each with its strength."""
        return replace(self, files=tuple(files))

    @property
    def width(self) -> int:
        """Of its embeddings."""
        return int(self.network.config.hidden_size)

    @torch.no_grad()  # not inference mode: what guides may take part in a gradient
    def encode(self, text: str) -> tuple[Tensor, Tensor | None]:
        """Embedding (1, 77 k, width) of a prompt in k windows, and the summary (1, P) where there is one."""
        if self.patches is not None:
            self.patches.set(self.files)
        counts = {name: len(vectors) for name, vectors in (self.learned or {}).items()}
        cuts = windows(tokens(text, counts), self.padding)
        hidden, pooled = self._run(cuts)
        weights = torch.tensor([[token.weight for token in cut] for cut in cuts]).to(hidden)[..., None]
        if bool((weights != 1).any()):
            empty, _ = self._run(windows([], self.padding))
            hidden = torch.where(weights == 1, hidden, empty + (hidden - empty) * weights)
        return hidden.flatten(0, 1)[None], None if pooled is None else pooled[:1]

    def _run(self, cuts: list[list[Token]]) -> tuple[Tensor, Tensor | None]:
        place = next(self.network.parameters()).device
        ids = torch.tensor([[token.id for token in cut] for cut in cuts], device=place)

        def learn(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            for row, cut in enumerate(cuts):
                for column, token in enumerate(cut):
                    if token.word and self.learned:
                        output[row, column] = self.learned[token.word][token.vector].to(output)
            return output

        words = next(module for name, module in self.network.named_modules() if name.endswith("token_embedding"))
        hook = words.register_forward_hook(learn)
        try:
            # A learned word's tokens are end marks in disguise; the summary is taken at the first real one.
            marks = ids.masked_fill(torch.tensor([[bool(t.word) for t in cut] for cut in cuts], device=place), 0)
            given = self.network(input_ids=marks, output_hidden_states=True)
        finally:
            hook.remove()
        hidden = given.last_hidden_state if self.layer == "last" else given.hidden_states[-2]
        if self.pooled == "projected":
            return hidden, given.text_embeds
        if self.pooled is None:
            return hidden, None
        first = (marks == END).int().argmax(-1)
        return hidden, given.last_hidden_state[torch.arange(len(marks), device=place), first]


@dataclass(frozen=True, eq=False)
class TextEncoders:
    """One or more CLIP encoders side by side: their embeddings are joined along the width."""

    encoders: tuple[Encoder, ...]

    def encode(self, text: str, styles: dict[str, float]) -> Conditioning:
        """What a text says."""
        if styles:
            raise ValueError(
                "this model knows no styles by name; say the style in the text and leave `style` empty"
            )
        given = [encoder.encode(text) for encoder in self.encoders]
        pooled = [summary for _, summary in given if summary is not None]
        embedding = torch.cat([hidden for hidden, _ in given], -1).float().cpu()
        return Conditioning((Condition(embedding, pooled=pooled[-1].float().cpu() if pooled else None),))

    def unknown_words(self, text: str) -> list[str]:  # noqa: ARG002
        """None: every word is spelled out in pieces that are known."""
        return []

    def adapted(self, files: Sequence[tuple[Path, float]]) -> TextEncoders:
        """The same encoders with LoRAs, each with its strength."""
        return TextEncoders(tuple(encoder.adapted(files) for encoder in self.encoders))

    def taught(self, words: Sequence[tuple[str, Path]]) -> TextEncoders:
        """The same encoders with learned words, each from its file."""
        return TextEncoders(
            tuple(
                replace(encoder, learned={word: learned(path, encoder.width) for word, path in words})
                for encoder in self.encoders
            )
        )


def learned(path: Path, width: int) -> Tensor:
    """The vectors (count, width) of a learned word (textual inversion, Gal et al. 2022), float32.

    Raises:
        ModelRefused: the file holds none of that width.
    """
    header = read(path)
    fits = {name: entry for name, entry in header.tensors.items() if entry.shape[-1:] == (width,)}
    if len(fits) != 1 or len(next(iter(fits.values())).shape) > 2:
        shapes = ", ".join(f"{name} {list(entry.shape)}" for name, entry in list(header.tensors.items())[:4])
        raise ModelRefused(
            f"{path} holds no learned word for this model, whose words have {width} numbers; it holds {shapes}. "
            "Use one that was made for the checkpoint's family"
        )
    name, entry = next(iter(fits.items()))
    count = entry.shape[0] if len(entry.shape) == 2 else 1
    if not 0 < count <= VECTORS:
        raise ModelRefused(
            f"{path} is damaged: its learned word has {count:,} vectors, and words have 1 to {VECTORS}"
        )
    if entry.dtype not in DTYPES or not DTYPES[entry.dtype].is_floating_point:
        raise ModelRefused(f"{path} is damaged: its learned word is {entry.dtype}, not of floating-point numbers")
    vectors = Reader().tensor(Source(path, name, entry, (count, width)), torch.float32)
    if not vectors.isfinite().all():
        raise ModelRefused(f"{path} is damaged: its learned word holds what are no numbers (NaN or infinite)")
    return vectors
