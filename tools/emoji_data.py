"""The training pictures of the embedded model: which emoji, in which styles, recoloured, with which captions."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

STYLES = ("noto", "twemoji", "3d", "flat")
LEFT_OUT_GROUPS = ("flags", "components", "")
LEFT_OUT_SUBGROUPS = (
    "alphanumeric symbols", "keypad characters", "other symbols", "audio & video symbols", "transport signs",
    "religious symbols", "punctuation", "math symbols", "gender signs", "currencies", "time", "family",
    "roles & careers", "people symbols", "arrows", "athletics", "gestures", "resting", "zodiac signs",
    "warning symbols", "hair styles", "hotel",
)  # fmt: skip
# Degrees of hue, with the English and the Chinese word.
HUES = {
    "red": (0, "红色"), "orange": (28, "橙色"), "yellow": (50, "黄色"), "green": (120, "绿色"),
    "blue": (212, "蓝色"), "purple": (275, "紫色"), "pink": (330, "粉色"),
}  # fmt: skip
# How often a group is drawn, against 1: what people ask for most, and what is learnt from fewest details.
EMPHASIS = {
    "smileys & emotion": 2.0, "animals & nature": 2.0, "food & drink": 2.0, "symbols": 0.7, "people & body": 0.3,
}  # fmt: skip
# What a newcomer types first is drawn many times as often: a small model knows few things well.
FAVOURITES = frozenset(
    """red apple|green apple|banana|tangerine|lemon|grapes|strawberry|cherries|watermelon|pineapple|tomato|
    carrot|pizza|hamburger|french fries|bread|cheese wedge|cooked rice|soft ice cream|ice cream|
    doughnut|cookie|birthday cake|shortcake|hot beverage|cat face|dog face|mouse face|rabbit face|bear|
    panda|fox|lion|tiger face|cow face|pig face|frog|monkey face|chicken|penguin|bird|owl|turtle|fish|
    tropical fish|whale|octopus|butterfly|lady beetle|honeybee|snail|unicorn|horse face|elephant|
    evergreen tree|deciduous tree|palm tree|cactus|tulip|rose|sunflower|blossom|four leaf clover|
    mushroom|sun|sun with face|full moon|crescent moon|star|rainbow|cloud|fire|droplet|snowflake|
    snowman|umbrella|house|castle|automobile|oncoming automobile|taxi|bus|police car|fire engine|
    bicycle|locomotive|airplane|rocket|sailboat|ship|soccer ball|basketball|tennis|balloon|wrapped gift|
    Christmas tree|crown|top hat|t-shirt|dress|jeans|running shoe|glasses|gem stone|bell|guitar|camera|
    television|laptop|mobile phone|light bulb|key|locked|hammer|books|open book|pencil|scissors|
    alarm clock|ghost|alien|robot|skull|jack-o-lantern|red heart|orange heart|yellow heart|green heart|
    blue heart|purple heart|black heart|broken heart|sparkling heart|grinning face|
    grinning face with big eyes|slightly smiling face|winking face|smiling face with heart-eyes|
    smiling face with sunglasses|face with tears of joy|crying face|angry face|sleeping face|
    kissing face|thinking face|thumbs up|victory hand|clapping hands|eyes""".replace("\n    ", "").split("|")
)
RECOLOURED = 2  # further colours of each picture whose colour is clear
TURNED = 0.3  # how often one of them is drawn, against the picture itself

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A training picture (size, size, 3), its style's index in STYLES, its concept, and its colour word.

    `turned` pictures have another colour than their concept comes in.
    """

    pixels: Pixels
    style: int
    concept: int
    colour: str | None
    turned: bool = False


@dataclass(frozen=True)
class Pack:
    """Pictures and the concepts that they show."""

    pictures: list[Picture]
    concepts: list[dict[str, Any]]


def load_pack(pack: Path, size: int, seed: int = 0) -> Pack:
    """Read a pack, keep what is worth learning, and add recoloured versions."""
    index = json.loads(pack.with_suffix(".json").read_text("utf-8"))
    blob = pack.with_suffix(".webps").read_bytes()
    styles = {index["styles"].index(name): number for number, name in enumerate(STYLES)}
    concepts = index["emojis"]
    rng = random.Random(seed)
    pictures = []
    for number, (style, concept) in enumerate(zip(index["style"], index["emoji"], strict=True)):
        if style not in styles or not _is_kept(concepts[concept]):
            continue
        with Pillow.open(io.BytesIO(blob[index["offsets"][number] : index["offsets"][number + 1]])) as file:
            pixels = np.asarray(file.convert("RGB").resize((size, size), Pillow.Resampling.BOX))
        hue, colour = dominant_hue(pixels)
        pictures.append(Picture(pixels, styles[style], concept, colour))
        if colour is not None and _takes_any_colour(concepts[concept]):
            others = [name for name in HUES if name != colour]
            for name in rng.sample(others, RECOLOURED):
                turned = rotate_hue(pixels, HUES[name][0] - hue)
                pictures.append(Picture(turned, styles[style], concept, name, turned=True))
    return Pack(pictures, concepts)


def emphasis(picture: Picture, concept: dict[str, Any], favoured: float) -> float:
    """How often a picture of a concept is drawn, against 1; a favourite so many times as often."""
    share = EMPHASIS.get(concept["group"], 1.0) * (favoured if concept["name"] in FAVOURITES else 1.0)
    return TURNED * share if picture.turned else share


def caption(picture: Picture, concept: dict[str, Any], rng: random.Random) -> str:
    """One of the many ways to say what a picture shows; empty one time in ten, for guidance.

    A turned picture always has its colour said: a banana of which nothing is said is yellow.
    """
    kind = rng.random()
    if kind < 0.10:
        return ""
    if kind < 0.72:
        words = [concept["name"]]
        if kind > 0.55 and concept["kw"]:
            words += rng.sample(concept["kw"], min(len(concept["kw"]), rng.randint(1, 3)))
        elif kind > 0.52 and concept["kw"]:
            words = rng.sample(concept["kw"], min(len(concept["kw"]), rng.randint(2, 4)))
        paint = picture.colour
    else:
        words = [concept["zh"]]
        if kind > 0.93 and concept["zhkw"]:
            words += rng.sample(concept["zhkw"], min(len(concept["zhkw"]), rng.randint(1, 2)))
        paint = HUES[picture.colour][1] if picture.colour else None
    if paint and (picture.turned or rng.random() < 0.4):
        words.insert(0, paint)
    return " ".join(words)


def dominant_hue(pixels: Pixels) -> tuple[float, str | None]:
    """The hue in degrees that a picture's saturated pixels share, and its word; None where there is none."""
    hue, saturation, value = _hsv(pixels)
    vivid = (saturation > 0.45) & (value > 0.35)
    subject = (pixels.min(axis=2) < 245).sum()
    if vivid.sum() < max(60, 0.35 * subject):
        return 0.0, None
    angles = np.deg2rad(hue[vivid])
    mean = np.arctan2(np.sin(angles).mean(), np.cos(angles).mean())
    concentration = np.hypot(np.sin(angles).mean(), np.cos(angles).mean())
    if concentration < 0.85:
        return 0.0, None
    degrees = float(np.rad2deg(mean) % 360)
    name = min(HUES, key=lambda word: abs((degrees - HUES[word][0] + 180) % 360 - 180))
    return degrees, name


def rotate_hue(pixels: Pixels, degrees: float) -> Pixels:
    """Turn every hue by an angle; greys stay."""
    picture = Pillow.fromarray(pixels).convert("HSV")
    channels = np.array(picture)
    channels[..., 0] = (channels[..., 0].astype(int) + round(degrees / 360 * 255)) % 255
    return np.asarray(Pillow.fromarray(channels, "HSV").convert("RGB"))


def _hsv(pixels: Pixels) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    channels = np.asarray(Pillow.fromarray(pixels).convert("HSV"), dtype=np.float32)
    return channels[..., 0] * (360 / 255), channels[..., 1] / 255, channels[..., 2] / 255


def _is_kept(concept: dict[str, Any]) -> bool:
    return (
        not concept["skin"]
        and concept["group"] not in LEFT_OUT_GROUPS
        and concept["sub"] not in LEFT_OUT_SUBGROUPS
    )


def _takes_any_colour(concept: dict[str, Any]) -> bool:
    """A recoloured face or hand would teach nothing, a recoloured "green book" would lie."""
    named = set(HUES) & set(concept["name"].split())
    return not named and concept["group"] not in ("smileys & emotion", "people & body", "symbols")
