"""What pictures carry comes back out of every format; what is damaged, foreign or hostile does no harm."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nodegraph.carried import (
    BESIDE_FORMAT,
    RECEIPT_TEXT,
    WORKFLOW_TEXT,
    beside,
    beside_content,
    carried,
    carried_text,
    exif,
    file_digest,
    is_picture,
    texts_of,
)
from nodegraph.errors import DocumentError
from nodegraph.pictures import PIXELS_TEXT, decode, encode, encode_png
from nodegraph.workflow import Workflow

DOCUMENT = Workflow.from_data({"format": "nodegraph", "version": 1, "title": "Ünïcödé 猫", "nodes": {}})
TEXTS = {WORKFLOW_TEXT: DOCUMENT.dump(), RECEIPT_TEXT: '{"node": "save"}'}
PIXELS = np.random.default_rng(0).random((3, 24, 16), dtype=np.float32)


def picture(format: str, texts: dict[str, str] | None = None) -> bytes:
    texts = TEXTS if texts is None else texts
    return encode_png(PIXELS, texts) if format == "PNG" else encode(PIXELS, format, metadata=texts)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("length", [0, 3_000, 90_000])
def test_texts_come_back_from_every_format(format: str, length: int, tmp_path: Path) -> None:
    texts = {**TEXTS, WORKFLOW_TEXT: DOCUMENT.model_copy(update={"description": "long " * (length // 5)}).dump()}
    content = picture(format, texts)
    assert is_picture(content)
    found = carried(content)
    assert {name: found[name] for name in texts} == texts
    assert len(found[PIXELS_TEXT]) == 40
    path = tmp_path / "picture"
    path.write_bytes(content)
    assert Workflow.load(path).title == DOCUMENT.title
    # What is carried changes no pixel.
    assert np.array_equal(decode(content), decode(picture(format, {})))


def test_a_jpeg_without_room_has_the_file_beside_it(tmp_path: Path) -> None:
    noise = "".join(map(chr, np.random.default_rng(1).integers(0x4E00, 0x9000, 80_000)))
    texts = {**TEXTS, WORKFLOW_TEXT: DOCUMENT.model_copy(update={"description": noise}).dump()}
    assert exif(texts, "JPEG") == b""
    content = picture("JPEG", texts)
    with pytest.raises(DocumentError, match="carries no workflow"):
        carried_text(content)
    path = tmp_path / "a.jpeg"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match="carries no workflow"):
        Workflow.load(path)
    beside(path).write_bytes(beside_content(texts, content))
    assert Workflow.load(path).description == noise
    assert Workflow.load(beside(path)).description == noise
    data = json.loads(beside(path).read_bytes())
    assert (data["format"], data["digest"]) == (BESIDE_FORMAT, file_digest(content))


def test_a_workflow_too_long_for_a_text_of_png_is_found_beside_it(tmp_path: Path) -> None:
    nodes = {f"n{number}": {"type": "Number", "values": {"value": number}} for number in range(15_000)}
    large = Workflow.from_data({"format": "nodegraph", "version": 1, "nodes": nodes})
    texts = {**TEXTS, WORKFLOW_TEXT: large.dump()}
    path = tmp_path / "a.png"
    path.write_bytes(picture("PNG", texts))
    with pytest.raises(DocumentError, match="too large"):
        Workflow.load(path)
    beside(path).write_bytes(beside_content(texts, path.read_bytes()))
    assert Workflow.load(path) == large
    assert texts_of(path, path.read_bytes())[RECEIPT_TEXT] == TEXTS[RECEIPT_TEXT]
    beside(path).write_text('{"format": "nodegraph-receipt", "workflow": ')  # cut short
    with pytest.raises(DocumentError, match="too large"):
        Workflow.load(path)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_pictures_of_others_carry_nothing(format: str) -> None:
    buffer = io.BytesIO()
    data = Image.Exif()
    data.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0taken at noon"
    Image.new("RGB", (4, 4)).save(buffer, format, exif=data.tobytes())
    assert WORKFLOW_TEXT not in carried(buffer.getvalue())


def commented(comment: bytes) -> bytes:
    """A WebP with a comment in its EXIF data."""
    data = Image.Exif()
    data.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + comment
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "WEBP", exif=data.tobytes())
    return buffer.getvalue()


def test_a_bomb_in_a_comment_is_refused() -> None:
    for unpacked in (b" " * 2**26, b" " * 2**21, b"[" + b"[]," * 2**22 + b"[]]"):  # the last was 63 KB for 46 MB
        with pytest.raises(DocumentError, match=r"larger than (1\d|\d),\d\d\d,\d\d\d bytes"):
            carried(commented(b"zlib:" + base64.b64encode(zlib.compress(unpacked, 9))))
    with pytest.raises(DocumentError, match=r"larger than 33,554,432 bytes"):
        carried(commented(b"zlib:" + base64.b64encode(zlib.compress(bytes(33 * 2**20), 0))))


def test_nothing_but_texts_is_built_of_a_comment() -> None:
    text = json.dumps({WORKFLOW_TEXT: 'a "\\ ü', "b": ""})
    assert carried(commented(text.encode())) == {WORKFLOW_TEXT: 'a "\\ ü', "b": ""}
    assert carried(commented(b"{}")) == carried(commented(b"[" * 100_000)) == {}
    assert carried(commented(json.dumps({str(number): "" for number in range(200)}).encode())) == {}
    content = commented(b'{"a": [' + b"[]," * 2**20 + b"[]]}")
    tracemalloc.start()
    try:
        assert carried(content) == {}
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20  # a million lists take 64 MB and more
    finally:
        tracemalloc.stop()


def test_what_would_be_refused_as_a_bomb_is_not_written_as_one() -> None:
    texts = {WORKFLOW_TEXT: "a" * 2**21}
    assert exif(texts, "WEBP") == b""
    assert carried(picture("WEBP", {WORKFLOW_TEXT: "a" * 2**19})).keys() >= {WORKFLOW_TEXT}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@given(data=st.data())
def test_damage_never_escapes_as_another_error(format: str, data: st.DataObject) -> None:
    content = bytearray(picture(format))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(12, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(20, len(content))) :]
    with suppress(DocumentError):
        carried(bytes(content))
