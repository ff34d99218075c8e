"""The texts that a picture carries, in it and in a file beside it: its workflow, and the receipt of its run.

PNG carries them as text chunks; JPEG and WebP in the comment of their EXIF data, as JSON, compressed where it is
long (those of ComfyUI in fields of their own). A picture whose format has no room for them still has the file
beside it, `NAME.receipt.json`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nodegraph import strict_json
from nodegraph.errors import DocumentError

WORKFLOW_TEXT, RECEIPT_TEXT, PIXELS_TEXT = "nodegraph", "nodegraph-receipt", "nodegraph-pixels"
COMFYUI_TEXTS = ("workflow", "prompt")  # what pictures of ComfyUI carry
WHO_DOES = "those that nodegraph or ComfyUI saved do, unless a program or a site has removed it"
BESIDE = ".receipt.json"
BESIDE_FORMAT = "nodegraph-receipt"
MAX_PICTURE_BYTES = 256 * 2**20
_FORMATS = ("PNG", "JPEG", "WEBP")
_MAX_BESIDE_BYTES = 64 * 2**20
# A comment unpacks to as much as a document may have, and to no more than so many times its own length: documents
# come to a twentieth at best.
_MAX_TEXT_BYTES, _SMALL_TEXT_BYTES, _MOST_TIMES = 32 * 2**20, 2**20, 100
_MAX_TEXTS = 100
_BEFORE_NAME, _BEFORE_TEXT = re.compile(r'\s*[{,]\s*(?=")'), re.compile(r'\s*:\s*(?=")')
_EXIF, _COMMENT = 0x8769, 0x9286
_ASCII, _PACKED = b"ASCII\0\0\0", b"zlib:"
_JPEG_ROOM = 65_000  # a segment of a JPEG, less its headings


def is_picture(content: bytes) -> bool:
    """Whether bytes begin as a PNG, a JPEG or a WebP does."""
    return content.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or (
        content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    )


def carried(content: bytes) -> dict[str, str]:
    """The texts that a picture carries, by name; empty where it carries none.

    Raises:
        DocumentError: damaged, cut short, too large, or no PNG, JPEG or WebP.
    """
    from PIL import Image

    if len(content) > MAX_PICTURE_BYTES:
        raise DocumentError(f"the picture is larger than {MAX_PICTURE_BYTES:,} bytes")
    try:
        # verify() checks the sum of every chunk of a PNG without decoding a pixel, and spends the object.
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            picture.verify()
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            if picture.format == "PNG":
                return {str(name): text for name, text in picture.info.items() if isinstance(text, str)}
            fields = picture.getexif()
            comment = fields.get_ifd(_EXIF).get(_COMMENT, b"")
            others = [value for value in fields.values() if isinstance(value, str)]
    except Exception as error:  # Pillow raises SyntaxError, OSError, ValueError and struct.error here
        raise DocumentError(f"the picture is damaged or cut short: {error}") from None
    return _from_comment(comment) or _from_comfyui(others)


def texts_of(path: Path, content: bytes) -> dict[str, str]:
    """The texts that a picture file carries, or, where it carries no workflow, those of the file beside it.

    Raises DocumentError where neither can be read.
    """
    try:
        found, error = carried(content), None
    except DocumentError as refused:  # Pillow also refuses texts that are too long for it
        found, error = {}, refused
    if WORKFLOW_TEXT in found:
        return found
    written = read_beside(path)
    if written is not None:
        return {
            WORKFLOW_TEXT: json.dumps(written.get("workflow")),
            RECEIPT_TEXT: json.dumps(written.get("receipt")),
        }
    if error is not None:
        raise error
    return found


def carried_text(content: bytes, name: str = WORKFLOW_TEXT) -> str:
    """One of the texts that a picture carries. Raises DocumentError where it is damaged or has no such text."""
    return text_among(carried(content), name)


def text_among(texts: Mapping[str, str], name: str = WORKFLOW_TEXT) -> str:
    """One of the texts that a picture carries. Raises DocumentError where there is no such text."""
    text = texts.get(name)
    if text is None and name == WORKFLOW_TEXT:
        text = next((texts[other] for other in COMFYUI_TEXTS if other in texts), None)
    if text is None:
        if name == WORKFLOW_TEXT:
            raise DocumentError(f"this picture carries no workflow; {WHO_DOES}")
        what = "receipt" if name == RECEIPT_TEXT else name
        raise DocumentError(f"this picture carries no {what}; only pictures saved by nodegraph do")
    return text


def exif(texts: Mapping[str, str], format: str) -> bytes:
    """EXIF data with texts in its comment; nothing where there are none, or more than there is room for."""
    from PIL import Image

    if not texts:
        return b""
    comment = json.dumps(dict(texts)).encode("ascii")
    if len(comment) > _JPEG_ROOM:
        length = len(comment)
        comment = _PACKED + base64.b64encode(zlib.compress(comment, 9))
        if length > _most(comment):
            return b""
    if format == "JPEG" and len(comment) > _JPEG_ROOM:
        return b""
    data = Image.Exif()
    data.get_ifd(_EXIF)[_COMMENT] = _ASCII + comment
    return data.tobytes()


def beside(path: Path) -> Path:
    """Where the receipt beside a file is."""
    return path.with_name(path.name + BESIDE)


def beside_content(texts: Mapping[str, str], content: bytes) -> bytes:
    """What is written beside a file: the same texts, and the digest of the file."""
    # The texts are JSON as they are, and that of a grid is long: it lies beside each of its pictures.
    fields = {
        "format": json.dumps(BESIDE_FORMAT),
        "version": "1",
        "digest": json.dumps(file_digest(content)),
        "workflow": texts[WORKFLOW_TEXT].strip(),
        "receipt": texts[RECEIPT_TEXT].strip(),
    }
    return ("{\n" + ",\n".join(f'"{name}": {text}' for name, text in fields.items()) + "\n}\n").encode()


def read_beside(path: Path) -> dict[str, Any] | None:
    """What was written beside a file, as JSON data; None where there is nothing that can be read."""
    try:
        with beside(path).open("rb") as file:
            data = strict_json.loads(file.read(_MAX_BESIDE_BYTES))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("format") == BESIDE_FORMAT else None


def file_digest(content: bytes) -> str:
    """blake2b-160 of a whole file."""
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def _from_comfyui(values: Sequence[str]) -> dict[str, str]:
    """The texts that ComfyUI writes into EXIF data, one in a field: a name, a colon and JSON."""
    parts = (value.partition(":") for value in values)
    return {name: text for name, _, text in parts if name in COMFYUI_TEXTS}


def _from_comment(comment: object) -> dict[str, str]:
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII):
        return {}
    comment = comment.removeprefix(_ASCII)
    try:
        if comment.startswith(_PACKED):
            limit = _most(comment)
            unpacking = zlib.decompressobj()
            comment = unpacking.decompress(base64.b64decode(comment.removeprefix(_PACKED)), limit)
            if unpacking.unconsumed_tail:
                raise DocumentError(f"what the picture carries is larger than {limit:,} bytes")
        return _flat(comment.decode("ascii"))
    except (ValueError, zlib.error):
        return {}  # some other program's comment


def _most(packed: bytes) -> int:
    """How many bytes a packed comment may unpack to."""
    return min(_MAX_TEXT_BYTES, max(_SMALL_TEXT_BYTES, _MOST_TIMES * len(packed)))


def _flat(comment: str) -> dict[str, str]:
    """The texts of a JSON object; none where there is anything else in it, which is not built."""
    texts: dict[str, str] = {}
    decoder, at = json.JSONDecoder(), 0
    while len(texts) < _MAX_TEXTS and (mark := _BEFORE_NAME.match(comment, at)):
        name, at = decoder.raw_decode(comment, mark.end())
        mark = _BEFORE_TEXT.match(comment, at)
        if mark is None:
            return {}
        texts[name], at = decoder.raw_decode(comment, mark.end())
    return texts if comment[at:].strip() == "}" else {}
