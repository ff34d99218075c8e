"""Input pictures: uploads and their thumbnails, and which files a value may name."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from nodegraph.files import Files
from nodegraph.serve.media import OCTETS, file_response, media_type_of
from nodegraph.serve.models import FileEntry, FileKinds, Upload
from nodegraph.serve.refuse import Refused
from nodegraph.serve.routing import PICTURES, Content, Routes
from nodegraph.serve.server import Server
from nodegraph.serve.uploads import MAX_UPLOAD_BYTES

Size = Annotated[int, Field(ge=64, le=1024, description="Pixels of the longer side; rounded up.")]
UploadName = Annotated[str, Field(min_length=1, max_length=200, description="A plain file name, such as cat.png.")]
InputName = Annotated[str, Field(max_length=1000, description="What a value of an image input says.")]
routes = Routes()


@routes.add("POST", "/api/uploads", media=PICTURES, limit=MAX_UPLOAD_BYTES, statuses=(201,))
async def upload(server: Server, content: Content, name: UploadName) -> Upload:
    """Store a picture that workflows can name. It is decoded and encoded anew: its pixels stay, nothing else."""
    stored = await server.uploads.add(name, content.data)
    return Upload(
        name=stored.name,
        width=stored.width,
        height=stored.height,
        bytes=stored.bytes,
        content=f"/api/uploads/{quote(stored.name)}",
    )


@routes.get("/api/uploads/{name...}", refuses=(404, 415), produces=PICTURES)
async def read_upload(server: Server, name: InputName, size: Size | None = None) -> web.StreamResponse:
    """An input picture by the name that a value says; with `size` a thumbnail, as WebP."""
    path = await asyncio.to_thread(server.uploads.find, name)
    headers = {"Cache-Control": "private, no-cache"}
    if size is not None:
        response = await server.thumbnails.response(path, size)
        response.headers.update(headers)
        return response
    if await asyncio.to_thread(media_type_of, path) == OCTETS:
        raise Refused("unsupported_type", f"{name[:100]!r} is no picture that may be shown")
    return file_response(path, path.name, headers)


@routes.get("/api/models")
async def list_files(server: Server) -> FileKinds:
    """For each kind of file what a value may name."""
    return await asyncio.to_thread(file_kinds, server.files)


def file_kinds(files: Files) -> FileKinds:
    """Every file of every kind, built-in ones first."""
    kinds = {}
    for kind in files.roots:
        builtin = files.builtin.get(kind, {})
        kinds[kind] = [_entry(files, kind, name, name in builtin) for name in files.names(kind)]
    return FileKinds(kinds=kinds)


def _entry(files: Files, kind: str, name: str, builtin: bool) -> FileEntry:
    for root in () if builtin else files.roots[kind]:
        try:
            stat = (root / name).stat()
        except OSError:
            continue
        return FileEntry(name=name, bytes=stat.st_size, modified=stat.st_mtime)
    return FileEntry(name=name, builtin=builtin)
