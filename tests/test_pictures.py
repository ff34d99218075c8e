"""Pictures survive encoding; bytes that nobody vouches for are refused before they cost anything."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from nodegraph.errors import FileRefused
from nodegraph.pictures import decode, encode, encode_png, thumbnail


@pytest.mark.parametrize("channels", [3, 4])
def test_png_keeps_every_bit(channels: int) -> None:
    picture = torch.randint(0, 256, (channels, 11, 7)).float() / 255
    assert np.array_equal(decode(encode_png(picture)), picture.numpy())


def test_values_are_rounded_and_clipped() -> None:
    picture = torch.tensor([-1.0, 0.4999, 0.5001, 2.0, float("nan")]).expand(3, 1, 5)
    assert (decode(encode_png(picture))[0, 0] * 255).round().tolist() == [0, 127, 128, 255, 0]


def test_metadata_comes_before_the_pixels() -> None:
    content = encode_png(torch.rand(3, 64, 64), {"nodegraph": "x" * 10_000})
    assert 0 < content.index(b"iTXt") < content.index(b"IDAT")


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_stay_close(format: str) -> None:
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64)
    assert np.abs(decode(encode(ramp, format)) - ramp.numpy()).max() < 0.05


def test_transparency_falls_on_white_in_jpeg() -> None:
    assert decode(encode(torch.zeros(4, 16, 16), "JPEG")).min() > 0.98


def test_a_thumbnail_is_small_and_keeps_its_shape() -> None:
    with Pillow.open(io.BytesIO(thumbnail(torch.rand(1, 3, 30, 60), 128))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (128, 64))


@pytest.mark.parametrize(("count", "columns", "rows"), [(2, 2, 1), (3, 2, 2), (4, 2, 2), (7, 3, 3), (40, 4, 4)])
def test_a_thumbnail_shows_every_picture_of_a_batch_up_to_sixteen(count: int, columns: int, rows: int) -> None:
    greys = torch.linspace(0.2, 1, count)
    batch = greys.reshape(count, 1, 1, 1).expand(count, 3, 32, 32)
    with Pillow.open(io.BytesIO(thumbnail(batch, 240))) as sheet:
        assert max(sheet.size) == 240
        tile = 240 // columns
        assert sheet.size == (columns * tile, rows * tile)
        middles = [
            sheet.convert("L").getpixel((column * tile + tile // 2, row * tile + tile // 2))
            for row in range(rows)
            for column in range(columns)
        ]
    expected = [round(255 * float(grey)) for grey in greys[:16]]
    assert middles == pytest.approx(expected + [0] * (columns * rows - len(expected)), abs=3)


def test_exif_turns_the_picture() -> None:
    buffer = io.BytesIO()
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.new("RGB", (20, 10)).save(buffer, "JPEG", exif=exif)
    assert decode(buffer.getvalue()).shape == (3, 20, 10)


def encoded(picture: Pillow.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html></html>",
        encoded(Pillow.new("RGB", (4, 4)), "GIF"),
        encoded(Pillow.new("RGB", (4, 4)), "BMP"),
        encode_png(torch.rand(3, 32, 32))[:-30],
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
    ],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(FileRefused):
        decode(content)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Pillow.new("1", (30_000, 30_000)), "PNG")
    assert len(bomb) < 200_000
    with pytest.raises(FileRefused):
        decode(bomb)
    with pytest.raises(FileRefused, match="limit"):
        decode(encode_png(torch.rand(3, 10, 10)), max_pixels=99)
