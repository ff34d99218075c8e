"""The words of the embedded model: a tokenizer for English words and Chinese characters, and its encoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

PAD = 0
MAX_TOKENS = 20
_TOKEN = re.compile(r"[a-z0-9]+|[㐀-鿿]")
# Words that say nothing about the picture.
_SILENT = frozenset(
    "a an the of emoji icon picture image photo drawing painting with and in on to style 的 个 一 只".split()
)


class Vocabulary:
    """Words and Chinese characters with their token numbers; 0 is padding."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._index = {word: index for index, word in enumerate(words, 1)}

    @classmethod
    def of(cls, texts: Iterable[str]) -> Vocabulary:
        """Every word of the texts, sorted."""
        return cls(sorted({word for text in texts for word in split(text)}))

    def __len__(self) -> int:
        return len(self.words) + 1

    def encode(self, text: str) -> tuple[list[int], list[str]]:
        """The token numbers of a text, at most MAX_TOKENS, and the words that are not known."""
        tokens, unknown = [], []
        for word in split(text):
            index = self._index.get(word) or self._index.get(word.removesuffix("s"))
            if index is None:
                unknown.append(word)
            else:
                tokens.append(index)
        return tokens[:MAX_TOKENS], unknown

    def batch(self, texts: Sequence[str]) -> Tensor:
        """Token numbers of several texts, padded: int64 (N, MAX_TOKENS)."""
        ids = torch.zeros(len(texts), MAX_TOKENS, dtype=torch.int64)
        for row, text in zip(ids, texts, strict=True):
            tokens, _ = self.encode(text)
            row[: len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        return ids


def split(text: str) -> list[str]:
    """The words and Chinese characters of a text, lower-cased, without those that say nothing."""
    return [word for word in _TOKEN.findall(text.lower()) if word not in _SILENT]


class Classes:
    """Names of classes as a vocabulary: a text is one of the names, or its number, and so a single token."""

    def __init__(self, names: Sequence[str]) -> None:
        self.words = tuple(names)
        self._index = {name.strip().lower(): index for index, name in enumerate(names, 1)}

    def __len__(self) -> int:
        return len(self.words) + 1

    def encode(self, text: str) -> tuple[list[int], list[str]]:
        """The token of a class; nothing for an empty text, and what is no class as unknown."""
        name = text.strip().lower()
        if not name:
            return [], []
        if name.isdecimal() and name not in self._index and int(name) < len(self.words):
            return [int(name) + 1], []
        index = self._index.get(name)
        return ([], [text]) if index is None else ([index], [])

    def batch(self, texts: Sequence[str]) -> Tensor:
        """Token numbers of several texts: int64 (N, 1)."""
        return torch.tensor([self.encode(text)[0] or [PAD] for text in texts])


class TextNetwork(nn.Module):
    """Embeds tokens and a style code, and lets them see each other.

    The first token of the result is the style's, so that a style can be mixed by mixing codes.

    Args:
        tokens: size of the vocabulary.
        styles: number of styles; code 0 is "no style asked for", style k has code k + 1.
        width: width of the embedding.
        depth: transformer layers.
    """

    def __init__(self, tokens: int, styles: int, width: int = 256, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(tokens, width)
        self.styles = nn.Embedding(styles + 1, width)
        self.positions = nn.Parameter(torch.randn(MAX_TOKENS + 1, width) * 0.02)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.words.weight, std=0.5)
        nn.init.normal_(self.styles.weight, std=0.5)

    def forward(self, ids: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embed texts.

        Args:
            ids: token numbers (N, T), T at most MAX_TOKENS, 0 where there is none.
            style: style codes (N, styles + 1), rows that sum to 1; one-hot for a pure style.

        Returns:
            embedding (N, T + 1, width), mask (N, T + 1) true where there is a token, and pooled (N, width).
        """
        code = style.to(self.styles.weight.dtype) @ self.styles.weight
        x = torch.cat([code[:, None], self.words(ids)], dim=1)
        x = x + self.positions[: x.shape[1]]
        mask = functional.pad(ids != PAD, (1, 0), value=True)
        for layer in self.layers:
            x = layer(x, mask)
        x = self.norm(x)
        weight = mask[..., None].to(x.dtype)
        return x, mask, (x * weight).sum(1) / weight.sum(1)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + self.out(seen.transpose(1, 2).reshape(n, length, width))
        return x + self.mlp(self.norm2(x))
