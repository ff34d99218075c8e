"""Input pictures: uploads come in re-encoded under a fresh name, and what is there goes out as pictures alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from nodegraph.errors import FileRefused
from nodegraph.files import Files, refuse_unsafe
from nodegraph.named import name_also
from nodegraph.serve.names import inside, plain_letters, safe_name, shortened, written
from nodegraph.serve.reencode import reencode
from nodegraph.serve.refuse import Refused

MAX_UPLOAD_BYTES = 64 * 2**20
MAX_SERVED_BYTES = 256 * 2**20
AT_ONCE = 2
_NAME_LENGTH = 80


class Stored(NamedTuple):
    """An upload as it was stored."""

    name: str
    width: int
    height: int
    bytes: int


class Uploads:
    """The folder of input pictures.

    Args:
        folder: where uploads go.
        files: finds input pictures by the names that values say.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self.files = files
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def add(self, name: str, data: bytes) -> Stored:
        """Re-encode a picture and store it under the given name, or the nearest free one.

        The suffix is that of what it is, whatever the name says. The same picture again keeps its name.

        Raises:
            Refused: the name is no plain file name, or the bytes are no picture that is read here.
        """
        stem = _stem(name)
        async with self._turns:
            picture = await reencode(data)
        stored = await asyncio.to_thread(self._store, stem, picture.suffix, picture.data)
        return Stored(stored, picture.width, picture.height, len(picture.data))

    def find(self, name: str) -> Path:
        """The file that a value of an image input names. Raises Refused where there is none."""
        try:
            path = self.files.find("images", name)
        except (FileRefused, OSError, ValueError):
            path = None
        if path is None or not path.is_file() or path.stat().st_size > MAX_SERVED_BYTES:
            raise Refused("not_found", f"there is no input picture {name[:100]!r}")
        return path

    def _store(self, stem: str, suffix: str, data: bytes) -> str:
        with written(self.folder, data) as fresh:
            for number in range(1, 100_000):
                name = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
                try:
                    path = inside(self.folder, name)
                    name_also(fresh, path)
                except FileExistsError:
                    if path.stat().st_size != len(data) or path.read_bytes() != data:
                        continue
                except Refused:  # a link under that name leads elsewhere; leave it alone
                    continue
                return name
        raise Refused("conflict", f"every name like {stem!r} is taken")


def _stem(name: str) -> str:
    """A safe stem from the name that a browser gives; a name that is a path is refused, not repaired."""
    try:
        refuse_unsafe(name)
    except FileRefused as error:
        raise Refused("invalid", str(error)) from None
    if "/" in name:
        raise Refused("invalid", f"{name[:100]!r} is a path; give a plain file name")
    stem = Path(name).stem[:_NAME_LENGTH]
    return safe_name(shortened(plain_letters(stem.strip(" .,+'-"))) or "picture")
