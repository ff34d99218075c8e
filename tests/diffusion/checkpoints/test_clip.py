"""Prompts as CLIP sees them: tokens, weights, windows, and the same embedding as transformers gives."""

from __future__ import annotations

import pytest
import torch
from tiny import make

from nodegraph.diffusion.checkpoints.clip import END, START, Encoder, Token, tokens, weighted, windows

IDS = [320, 1125, 539, 320, 2368, 267, 279, 330]  # of "a photo of a cat, 8k", from the vocabulary of CLIP


def test_tokens_are_those_of_clip() -> None:
    assert [token.id for token in tokens("a photo of a cat, 8k")] == IDS
    assert [token.id for token in tokens("A  PHOTO of a cat,8k")] == IDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a (red:1.3) cat", [("a ", 1.0), ("red", 1.3), (" cat", 1.0)]),
        ("(red)", [("red", 1.1)]),
        ("((red))", [("red", 1.1 * 1.1)]),
        ("[red]", [("red", 1 / 1.1)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        (r"\(red\)", [("(red)", 1.0)]),
        ("a: b", [("a: b", 1.0)]),
        ("(open", [("open", 1.0)]),
        ("closed)", [("closed)", 1.0)]),
        ("x:1.2)", [("x:1.2)", 1.0)]),
        ("", []),
    ],
)
def test_brackets_weigh(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(words, pytest.approx(weight)) for words, weight in weighted(text)] == expected


def test_windows_hold_77() -> None:
    few = windows([Token(5)], END)
    assert len(few) == 1
    assert [token.id for token in few[0]] == [START, 5, *[END] * 75]
    many = windows([Token(i) for i in range(1, 152)], 0)
    assert [len(cut) for cut in many] == [77, 77, 77]
    assert [token.id for token in many[2]] == [START, 151, END, *[0] * 74]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(make("sd1").networks["text_encoder"], "last", END)


def test_the_embedding_is_that_of_transformers(encoder: Encoder) -> None:
    ids = torch.tensor([[START, *IDS, *[END] * 68]])
    with torch.inference_mode():
        expected = encoder.network(input_ids=ids).last_hidden_state
    assert torch.equal(encoder.encode("a photo of a cat, 8k")[0], expected)


def test_a_weight_moves_its_words_away_from_the_empty_text(encoder: Encoder) -> None:
    plain, _ = encoder.encode("a red cat")
    empty, _ = encoder.encode("")
    for weight in (0.0, 0.5, 1.0, 2.0):
        heavy, _ = encoder.encode(f"a (red:{weight}) cat")
        expected = plain.clone()
        expected[0, 2] = empty[0, 2] + weight * (plain[0, 2] - empty[0, 2])
        assert torch.allclose(heavy, expected, atol=1e-6)


def test_a_long_prompt_is_read_in_windows(encoder: Encoder) -> None:
    long, _ = encoder.encode("cat " * 100)
    assert long.shape == (1, 154, 64)
    first, _ = encoder.encode("cat " * 75)
    assert torch.equal(long[:, :77], first)


def test_a_learned_word_puts_its_vectors_in_place(encoder: Encoder) -> None:
    words = encoder.network.embeddings.token_embedding.weight
    cat = tokens("cat")[0].id
    taught = Encoder(encoder.network, "last", END, learned={"mine": words[[cat, cat]]})
    assert torch.equal(taught.encode("a mine")[0], encoder.encode("a cat cat")[0])
    assert torch.equal(taught.encode("a embedding:mine")[0], encoder.encode("a cat cat")[0])
    assert torch.equal(taught.encode("a miner")[0], encoder.encode("a miner")[0])
