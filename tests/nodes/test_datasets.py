"""Data sets from files that nobody vouches for: what is read, what it is called, what is refused."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from nodegraph.nodes import datasets as d
from PIL import Image as Pillow

from nodegraph import Context
from nodegraph.diffusion.training.datasets import read_idx
from nodegraph.diffusion.values import Image
from nodegraph.errors import FileRefused
from nodegraph.files import Files


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context("node", files=Files({"datasets": [tmp_path]}, output=tmp_path / "out"))


def picture(path: Path, colour: str, size: tuple[int, int] = (20, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.new("RGB", size, colour).save(path)
    return path


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(side).to_bytes(4, "big") for side in array.shape)
    return header + array.astype(np.uint8).tobytes()


def test_a_folder_gives_pictures_words_and_classes(context: Context, tmp_path: Path) -> None:
    picture(tmp_path / "set" / "fruit" / "red_apple.png", "#ff0000")
    picture(tmp_path / "set" / "sea" / "b.jpg", "#0000ff").with_suffix(".txt").write_text("blue sea\nthe ocean\n")
    picture(tmp_path / "set" / "loose-end.webp", "#ffffff")
    picture(tmp_path / "set" / ".hidden" / "x.png", "#000000")
    found = d.DatasetFolder(context, "set", size=8)
    assert found.pictures.shape == (3, 3, 8, 8)
    assert dict(zip(found.captions, found.labels.tolist(), strict=True)) == {
        "red apple": 0,
        "blue sea\nthe ocean": 1,
        "loose end": -1,
    }
    assert found.classes == ("fruit", "sea")
    apple = found.pictures[found.captions.index("red apple")]
    assert apple[0].min() > 250
    assert apple[1:].max() < 5
    styled = d.DatasetFolder(context, "set", size=8, subfolders="styles")
    assert (styled.styles, styled.classes) == (("fruit", "sea"), ())
    assert d.DatasetFolder(context, "set", size=8, subfolders="nothing", limit=2).captions.__len__() == 2


def test_a_folder_is_not_left(context: Context, tmp_path: Path) -> None:
    secret = picture(tmp_path / "elsewhere" / "secret.png", "#00ff00")
    picture(tmp_path / "set" / "a.png", "#ff0000")
    (tmp_path / "set" / "link.png").symlink_to(secret)
    (tmp_path / "set" / "a.txt").symlink_to(picture(tmp_path / "words.png", "#ffffff"))
    assert d.DatasetFolder(context, "set", size=4).captions == ("a",)
    for name in ("../etc", "/etc", "set/../../x", "https://example.org/set"):
        with pytest.raises((FileRefused, ValueError)):
            d.DatasetFolder(context, name)


def test_a_damaged_picture_is_named(context: Context, tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", "#ff0000")
    (tmp_path / "set" / "broken.png").write_bytes(b"\x89PNG nothing more")
    with pytest.raises(ValueError, match=r"broken\.png: .*remove it"):
        d.DatasetFolder(context, "set")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there is no picture"):
        d.DatasetFolder(context, "empty")


def test_the_digits_come_in_styles() -> None:
    found = d.DatasetDigits("chalk, ink")
    assert found.pictures.shape == (3594, 1, 8, 8)
    assert found.captions[0] == "zero"
    assert found.style.bincount().tolist() == [1797, 1797]
    turned = found.pictures[:1797].int() + found.pictures[1797:]
    assert int((turned - 255).abs().max()) <= 1
    with pytest.raises(ValueError, match="choose from chalk"):
        d.DatasetDigits("oil")


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_files(context: Context, tmp_path: Path, packed: bool) -> None:
    shown = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    wrap = gzip.compress if packed else bytes
    (tmp_path / "images").write_bytes(wrap(idx(shown)))
    (tmp_path / "labels").write_bytes(wrap(idx(np.array([3, 1, 9]))))
    found = d.DatasetMNIST(context, "images", "labels")
    assert found.pictures.shape == (3, 1, 32, 32)
    assert found.captions == ("three", "one", "nine")
    assert np.array_equal(found.pictures[:, 0, 2:-2, 2:-2].numpy(), shown)
    assert int(found.pictures[..., :2].max()) == 0
    with pytest.raises(ValueError, match="does not hold square pictures"):
        d.DatasetMNIST(context, "labels", "labels")


def test_hostile_idx_files_are_refused() -> None:
    good = idx(np.zeros((2, 3, 3)))
    for bad in (
        b"",
        b"\0\0",
        good[:-1],
        good + b"\0",
        b"\0\0\x0d" + good[3:],
        bytes([0, 0, 8, 4]) + b"\xff" * 16,
        b"\x1f\x8b" + good,
        gzip.compress(good)[:-9],
        idx(np.zeros((0, 3, 3))),
    ):
        with pytest.raises(ValueError, match=r"IDX|gzip|says"):
            read_idx(bad)


def test_a_pack(context: Context, tmp_path: Path) -> None:
    blobs = []
    for colour in ("#ff0000", "#00ff00", "#0000ff"):
        buffer = io.BytesIO()
        Pillow.new("RGB", (16, 16), colour).save(buffer, "WEBP", lossless=True)
        blobs.append(buffer.getvalue())
    index = {
        "styles": ["flat", "3d"],
        "style": [0, 1, 0],
        "emoji": [0, 0, 1],
        "offsets": [0, *np.cumsum([len(blob) for blob in blobs]).tolist()],
        "emojis": [
            {"name": "red heart", "kw": ["love"], "zh": "红心", "group": "symbols"},
            {"name": "sea", "kw": [], "zh": None, "group": "places"},
        ],
    }
    (tmp_path / "p.webps").write_bytes(b"".join(blobs))
    (tmp_path / "p.json").write_text(json.dumps(index), "utf-8")
    found = d.DatasetPack(context, "p.json", "p.webps", size=8)
    assert found.captions == ("red heart\nlove\n红心", "red heart\nlove\n红心", "sea")
    assert [found.styles[number] for number in found.style.tolist()] == ["flat", "3d", "flat"]
    assert found.pictures[2, :, 4, 4].tolist() == [0, 0, 255]
    assert len(d.DatasetPack(context, "p.json", "p.webps", styles="flat").captions) == 2
    assert d.DatasetPack(context, "p.json", "p.webps", groups="places").captions == ("sea",)
    with pytest.raises(ValueError, match="no style 'oil'"):
        d.DatasetPack(context, "p.json", "p.webps", styles="oil")
    for damage in ({"style": [0]}, {"emoji": [0, 0, 9]}, {"offsets": None}):
        (tmp_path / "q.json").write_text(json.dumps({**index, **damage}), "utf-8")
        with pytest.raises(ValueError, match=r"index of a pack|contradicts itself"):
            d.DatasetPack(context, "q.json", "p.webps")


def test_data_sets_of_images_are_joined_as_styles() -> None:
    red = d.DatasetFromImages(Image(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(2, 3, 8, 8)), "one\ntwo")
    digits = d.DatasetDigits()
    joined = d.JoinDatasets([red, digits], "paint, chalk")
    assert joined.styles == ("paint", "chalk")
    assert joined.style.bincount().tolist() == [2, 1797]
    assert joined.captions[:3] == ("one", "two", "zero")
    assert joined.labels[:3].tolist() == [-1, -1, 0]
    shown = d.DatasetImages(joined, 0, 3).tensor
    assert shown.shape == (3, 3, 8, 8)
    assert shown[0, :, 0, 0].tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="need as many styles"):
        d.JoinDatasets([red, digits], "paint")
    with pytest.raises(ValueError, match="differ in size"):
        d.JoinDatasets([digits, d.DatasetFromImages(Image(torch.zeros(1, 3, 4, 4)))])
    with pytest.raises(ValueError, match="need as many lines"):
        d.DatasetFromImages(Image(torch.zeros(3, 3, 4, 4)), "a\nb")
