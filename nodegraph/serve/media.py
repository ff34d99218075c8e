"""What may be shown in a browser: an allow list of formats, decided by the first bytes and never by a name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

OCTETS = "application/octet-stream"
FOREVER = "private, max-age=31536000, immutable"


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
