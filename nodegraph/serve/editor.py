"""The browser editor: the built files that are in the package, each known by name when the server starts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from nodegraph import bundle
from nodegraph.serve.refuse import Refused

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; font-src 'self'; connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FOREVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}


class _Build(NamedTuple):
    inode: int
    modified: int


class Editor:
    """The files of a built editor.

    Args:
        folder: `index.html` and what it loads; None where it is not built.
        problem: what is wrong with it, and what to do.
    """

    def __init__(self, folder: Path | None, problem: str | None = None) -> None:
        self.problem = problem
        self._seen: _Build | None = None
        self.files: dict[str, Path] = {}
        if folder is not None:
            for path in folder.rglob("*"):
                if path.suffix in _TYPES and path.is_file() and not path.is_symlink():
                    self.files[path.relative_to(folder).as_posix()] = path

    @classmethod
    def installed(cls) -> Editor:
        """The editor of this installation."""
        found = bundle.editor()
        editor = cls(found.folder, found.problem)
        editor._seen = _build()
        return editor

    def current(self) -> Editor:
        """This one; where another has been installed since (its files have other names), that one."""
        return self if self._seen in (None, _build()) else Editor.installed()

    def response(self, name: str) -> web.StreamResponse:
        """A file of the editor. Raises Refused where it has no such file."""
        path = self.files.get(name)
        if path is None:
            raise Refused("not_found", "there is nothing at this address")
        return web.FileResponse(
            path,
            headers={
                "Content-Type": _TYPES[path.suffix],
                "Content-Security-Policy": POLICY,
                "Cache-Control": FOREVER if name.startswith("assets/") else "no-cache",
            },
        )


def _build() -> _Build:
    """What tells one build of this installation's editor from the next."""
    try:
        index = (bundle.PACKAGE / "editor" / "index.html").stat()
    except OSError:
        return _Build(0, 0)
    return _Build(index.st_ino, index.st_mtime_ns)
