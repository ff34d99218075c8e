"""What may be shown in a browser: an allow list of formats, decided by the first bytes and never by a name."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from nodegraph.serve.refuse import Refused

OCTETS = "application/octet-stream"
SIZES = (64, 128, 256, 512, 1024)
FOREVER = "private, max-age=31536000, immutable"
_BUDGET = 64 * 2**20
_MAX_PIXELS = 256 * 2**20


def media_type_of(path: Path) -> str:
    """The type that a file may be served as: one of four that no browser runs, else plain bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return "video/mp4" if head[4:8] == b"ftyp" else OCTETS


def file_response(path: Path, name: str, headers: Mapping[str, str] | None = None) -> web.FileResponse:
    """A file of a user: shown where it is a picture or a video by its content, else only to be stored."""
    media_type = media_type_of(path)
    disposition = "attachment" if media_type == OCTETS else "inline"
    return web.FileResponse(
        path,
        headers={
            "Content-Type": media_type,
            "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
            **(headers or {}),
        },
    )


class Thumbnails:
    """Small WebP pictures of picture files, the last used of them kept in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._turns = asyncio.Semaphore(2)

    async def get(self, path: Path, size: int) -> bytes:
        """A WebP of at most `size` pixels a side, rounded up to one of five. Raises Refused for no picture."""
        size = next(one for one in SIZES if one >= size)
        key = (path, path.stat().st_mtime_ns, size)
        async with self._turns:
            data = self._kept.get(key)
            if data is None:
                data = await asyncio.to_thread(_shrink, path, size)
                self._kept[key] = data
                self._bytes += len(data)
        self._kept.move_to_end(key)
        while self._bytes > _BUDGET:
            _, old = self._kept.popitem(last=False)
            self._bytes -= len(old)
        return data

    async def response(self, path: Path, size: int) -> web.Response:
        """The same as an answer."""
        return web.Response(
            body=await self.get(path, size), content_type="image/webp", headers={"Cache-Control": FOREVER}
        )


def _shrink(path: Path, size: int) -> bytes:
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
            picture.draft("RGB", (2 * size, 2 * size))
            upright = ImageOps.exif_transpose(picture)
            plain = upright.mode in ("RGB", "L", "CMYK", "YCbCr", "I;16", "I", "F", "1")
            pixels = upright.convert("RGB" if plain and "transparency" not in upright.info else "RGBA")
            pixels.thumbnail((size, size), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            pixels.save(buffer, "WEBP", quality=82, method=2)
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and bombs
        raise Refused("unsupported_type", f"there is no thumbnail of this file: {error}") from None
    return buffer.getvalue()
