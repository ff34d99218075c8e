"""The recipe of the training pack, on archives small enough to be made here."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from PIL import Image as Pillow

sys.path.insert(0, str(ROOT / "tools"))

import build_pack as b  # type: ignore[import-not-found]


def archive(**files: Any) -> bytes:
    """A package as npm packs it; data become JSON."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def dot(colour: str, size: tuple[int, int] = (8, 4)) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGBA", size, colour).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def annotations(folder: str, names: dict[str, str]) -> dict[str, Any]:
    return {folder: {"annotations": {k: {"tts": [v], "default": [f"{v} word"]} for k, v in names.items()}}}


def known() -> list[dict[str, Any]]:
    def words_of(language: str, names: dict[str, str], flags: dict[str, str]) -> Any:
        base = b.Archive(
            archive(**{f"annotations/{language}/annotations.json": annotations("annotations", names)})
        )
        derived = b.Archive(
            archive(
                **{f"annotationsDerived/{language}/annotations.json": annotations("annotationsDerived", flags)}
            )
        )
        return b.words(base, derived, language)

    english = words_of("en", {"🐸": "frog", "❤": "red heart"}, {"🇫🇷": "flag: France"})
    chinese = words_of("zh", {"🐸": "青蛙", "❤": "红心"}, {})
    files = {
        "en/messages.json": {
            "groups": [{"key": "animals", "message": "animals & nature"}, {"key": "x", "message": "symbols"}],
            "subgroups": [{"key": "frogs", "message": "amphibians"}, {"key": "h", "message": "hearts"}],
        },
        "meta/groups.json": {"groups": {"3": "animals", "8": "x"}, "subgroups": {"7": "frogs", "9": "h"}},
        "en/data.json": [
            {"hexcode": "2764-FE0F", "group": 8, "subgroup": 9},
            {"hexcode": "1F438", "group": 3, "subgroup": 7},
            {"hexcode": "1F1EB-1F1F7", "group": 8, "subgroup": 9},
        ],
    }
    found: list[dict[str, Any]] = b.concepts(b.Archive(archive(**files)), english, chinese)
    return found


def test_an_archive_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    content = archive(a=b"1")
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    good = b.Package("@scope/name", "1.2.3", digest)
    assert good.url == "https://registry.npmjs.org/@scope/name/-/name-1.2.3.tgz"
    path = tmp_path / "@scope_name-1.2.3.tgz"
    path.write_bytes(content)
    assert b.fetch(good, tmp_path).read("a") == b"1"
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="not the pinned"):
        b.fetch(good, tmp_path)


def test_every_source_is_pinned_and_named_in_the_model_card() -> None:
    card = (ROOT / "docs" / "model-card.md").read_text("utf-8")
    for package in (*b.STYLES.values(), b.EMOJIBASE, b.ANNOTATIONS, b.DERIVED):
        assert len(base64.b64decode(package.sha512)) == 64
        assert re.fullmatch(r"\d+\.\d+\.\d+", package.version)
    for style in ("noto", "twemoji", "3d", "flat"):
        assert f"{b.STYLES[style].name} {b.STYLES[style].version}" in card


def test_words_are_those_that_both_languages_have() -> None:
    assert known() == [
        {"cp": "1f438", "name": "frog", "kw": ["frog word"], "zh": "青蛙", "zhkw": ["青蛙 word"],
         "group": "animals & nature", "sub": "amphibians", "skin": False},
        {"cp": "2764", "name": "red heart", "kw": ["red heart word"], "zh": "红心", "zhkw": ["红心 word"],
         "group": "symbols", "sub": "hearts", "skin": False},
    ]  # fmt: skip


def icons(fill: str, *names: str, width: int = 36) -> dict[str, Any]:
    body = f'<rect width="{width}" height="36" fill="{fill}"/>'
    return {"icons": {name: {"body": body} for name in names}, "width": width, "height": 36}


def test_a_pack_of_folders_and_icon_sets() -> None:
    """Icons are found by code points where the set has them, else by name."""
    drawn: list[str] = []

    def render(svg: str, size: int) -> bytes:
        drawn.append(svg)
        fill = re.search(r'fill="(#\w+)"', svg)
        assert fill
        buffer = io.BytesIO()
        Pillow.new("RGBA", (size, size), fill[1]).save(buffer, "PNG")
        return buffer.getvalue()

    styles = {
        "3d": b.Archive(archive(**{"assets/2764-fe0f.webp": dot("#ff0000"), "assets/1f9ff.webp": dot("#00ff00")})),
        "flat": b.Archive(
            archive(
                **{"icons.json": icons("#0000ff", "heart-icon", "other"), "chars.json": {"2764": "heart-icon"}}
            )
        ),
        "firefox": b.Archive(archive(**{"icons.json": icons("#ffff00", "frogface", "redheart")})),
    }
    index, content = b.build(styles, known(), render, 16)
    assert index["styles"] == ["3d", "flat", "firefox"]
    assert (index["style"], index["emoji"]) == ([0, 1, 2, 2], [1, 1, 0, 1])
    assert len(index["offsets"]) == 5
    assert index["offsets"][-1] == len(content)
    pictures = [
        Pillow.open(io.BytesIO(content[start:end])).convert("RGB")
        for start, end in zip(index["offsets"], index["offsets"][1:], strict=False)
    ]
    assert {picture.size for picture in pictures} == {(16, 16)}
    red, white = pictures[0].getpixel((8, 8)), pictures[0].getpixel((8, 1))  # twice as wide as high, on white
    assert red[0] > 240 > 20 > max(red[1:])
    assert min(white) > 250
    blue = pictures[1].getpixel((8, 8))
    assert blue[2] > 240 > 20 > max(blue[:2])
    assert all('viewBox="0 0 36 36"' in svg for svg in drawn)


def test_resvg_draws_what_an_icon_says() -> None:
    pytest.importorskip("resvg_py")
    png = b.resvg(b.document(icons("#0000ff", "a"), "a"), 12)
    with Pillow.open(io.BytesIO(png)) as picture:
        assert picture.size == (12, 12)
        assert picture.convert("RGB").getpixel((6, 6)) == (0, 0, 255)
