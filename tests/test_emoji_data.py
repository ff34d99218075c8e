"""The words of the embedded model's training pictures."""

from __future__ import annotations

import random
import sys

import numpy as np
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import emoji_data as e  # type: ignore[import-not-found]

BANANA = {"name": "banana", "kw": ["fruit"], "zh": "香蕉", "zhkw": ["水果"], "group": "food & drink"}
BLANK = np.zeros((8, 8, 3), np.uint8)


def captions(turned: bool) -> list[str]:
    rng, colour = random.Random(0), "blue" if turned else "yellow"
    picture = e.Picture(BLANK, 0, 0, colour, turned)
    return [text for text in (e.caption(picture, BANANA, rng) for _ in range(300)) if text]


def test_a_colour_that_a_thing_does_not_come_in_is_always_said() -> None:
    assert all(text.split()[0] in ("blue", "蓝色") for text in captions(turned=True))
    said = [text.split()[0] in ("yellow", "黄色") for text in captions(turned=False)]
    assert 0.3 < sum(said) / len(said) < 0.5
    assert len(captions(turned=False)) < 290  # the empty ones teach guidance


def test_a_turned_picture_has_the_colour_of_its_word() -> None:
    yellow = np.full((16, 16, 3), (230, 200, 20), np.uint8)
    hue, word = e.dominant_hue(yellow)
    assert word == "yellow"
    assert e.dominant_hue(e.rotate_hue(yellow, e.HUES["blue"][0] - hue))[1] == "blue"


def test_favourites_are_drawn_more_often_and_turned_pictures_less() -> None:
    plain, turned = e.Picture(BLANK, 0, 0, None), e.Picture(BLANK, 0, 0, "blue", turned=True)
    assert e.emphasis(plain, BANANA, 4) == 4 * e.emphasis(plain, {**BANANA, "name": "thing"}, 4)
    assert e.emphasis(turned, BANANA, 4) < e.emphasis(plain, BANANA, 4)
