"""The one door to files: names in, bytes or fresh names out, nothing outside the known folders.

Documents name files by kind and relative name. A name is found inside the folders of its kind or refused; a
file is known by the digest of its content, so a checkpoint replaced under its old name is another checkpoint.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nodegraph.carried import BESIDE
from nodegraph.digests import KeptDigests
from nodegraph.errors import FileRefused, did_you_mean
from nodegraph.linked import is_folder_link, on_the_way, refused, walked
from nodegraph.named import TEMPORARY, name_also, write_whole, written

DIGEST_SIZE = 20  # blake2b-160
MODEL_INDEX = "model_index.json"  # what makes a folder one diffusers model
UNFINISHED_SECONDS = 30 * 86400
SINGLE = frozenset({"images", "loras", "embeddings", "upscalers", "onnx"})  # never a folder, nor an address
STRAY_SECONDS = 86400  # after which a temporary file belongs to nobody: a write takes seconds
LONGEST = (
    230  # bytes of a name and its suffix; file systems take 255, and a number and `.receipt.json` are to come
)
# What is offered of a kind whose folders hold other things too; whatever else is named is found all the same.
_OFFERED = {"images": frozenset({".png", ".jpg", ".jpeg", ".webp"})}
_OF_ITS_OWN = "datasets"  # a folder of pictures that are not offered one by one
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://")
_DRIVE = re.compile(r"^[A-Za-z]:")
_Stat = tuple[int, int, int, int, int]


class Files:
    """Finds input files by kind and name, digests them, and writes output files that never collide.

    Args:
        roots: for each kind (`images`, `checkpoints`, ...) the folders it is looked up in, first match wins.
        builtin: for each kind, names that stand for a file or folder shipped with the package.
        output: the folder that output files go to; made when first needed.
        previews: the folder where pictures that are only shown are kept; None keeps none.
        allowed: files outside the roots that the operator named on the command line.
        unfinished: the folder where long nodes keep what they need to go on after a crash; None keeps nothing.
        digests: the file where digests of large files are kept for other processes; None keeps none.
        hints: for each kind, what a user whose file is not found may do.
        linked: kinds whose folders may hold links to files and folders elsewhere, see `linked`. Nothing that this
            program writes is a link, so the owner of the machine made them.
    """

    def __init__(
        self,
        roots: Mapping[str, Sequence[Path]] | None = None,
        *,
        builtin: Mapping[str, Mapping[str, Path]] | None = None,
        output: Path = Path("out"),
        previews: Path | None = None,
        allowed: Sequence[Path] = (),
        unfinished: Path | None = None,
        digests: Path | None = None,
        hints: Mapping[str, str] | None = None,
        linked: Sequence[str] = (),
    ) -> None:
        self.roots = {kind: tuple(folders) for kind, folders in (roots or {}).items()}
        self.builtin = {kind: dict(names) for kind, names in (builtin or {}).items()}
        self.output = output
        self.previews = previews
        self._unfinished = unfinished
        self._hints = dict(hints or {})
        self._linked = frozenset(linked)
        self._allowed = frozenset(path.resolve() for path in allowed)
        self._kept = None if digests is None else KeptDigests(digests)
        self._digests: dict[Path, tuple[_Stat, str]] = {}
        self._places: dict[str, Path] = {}
        self._swept: set[Path] = set()

    def find(self, kind: str, name: str, known: Callable[[str], Sequence[str]] | None = None) -> Path | None:
        """The file or folder that a name stands for; None for a `scheme://` name, which is no file.

        `known` gives the names of a kind, for who asks for many files; by default the folders are looked through
        for each that is not there.

        Raises:
            FileRefused: no such file, a folder or an address where a file is meant, or the name leads outside the
                folders of its kind.
        """
        if _SCHEME.match(name):
            if kind in SINGLE:
                raise FileRefused(
                    f"{name!r} is an address; nothing is downloaded, so name a file among the {kind}"
                )
            return None
        shipped = self.builtin.get(kind, {}).get(name)
        if shipped is not None:
            return shipped
        if Path(name).is_absolute():
            operators = _resolved(Path(name))
            if operators in self._allowed:
                if not _holds(operators):
                    raise FileRefused(f"there is no {'folder' if kind == _OF_ITS_OWN else 'file'} {name}")
                return _fit(kind, name, operators)
        folders = ", ".join(str(root) for root in self.roots.get(kind, ())) or "none is set up"
        try:
            refuse_unsafe(name)
        except FileRefused as error:
            raise FileRefused(
                f"{error}. The {kind} are in: {folders}; put it into one of these folders and name it from there. "
                "A path anywhere is taken from the command line alone: --set NODE.INPUT=PATH"
            ) from None
        for root in self.roots.get(kind, ()):
            path = self._inside(kind, root, name)
            if path is not None:
                return _fit(kind, name, path, root.resolve())
        names = (known or self.names)(kind)
        raise FileRefused(
            f"there is no {name!r} among the {kind} (folders searched: {folders})."
            f"{did_you_mean(name, names) or _known(names)}{self._hints.get(kind, '')}"
        )

    def names(self, kind: str, limit: int = 10_000) -> list[str]:
        """The names of a kind that `find` would find, built-in names first; of pictures those that can be read."""
        names = list(self.builtin.get(kind, {}))
        for root in self.roots.get(kind, ()):
            found = (
                name
                for name in _lying_in(kind, root, kind in self._linked)
                if not self._passed_over(kind, root, name)
            )
            names += [name for name, _ in zip(found, range(limit), strict=False)]
        return list(dict.fromkeys(names))

    def passed_over(self, kind: str) -> dict[str, str]:
        """The names that lie in the folders of a kind and that `find` would refuse all the same, and why."""
        given = (
            (root, name)
            for root in self.roots.get(kind, ())
            for name in _lying_in(kind, root, kind in self._linked)
        )
        return {name: why for root, name in given if (why := self._passed_over(kind, root, name))}

    def _passed_over(self, kind: str, root: Path, name: str) -> str:
        """Why a name that lies in a folder is not offered; "" where it is."""
        try:
            refuse_unsafe(name)
        except FileRefused:
            return "no other system could have a file of that name; give it another"
        given = root / name
        if kind in self._linked and is_folder_link(given) and not _is_one(given, root):
            return refused(given, root)
        if self._inside(kind, root, name) is not None:
            return ""
        if not given.is_symlink():
            return "a link on its way leads out of the folder; link the file itself"
        return "it is a link out of the folder" if given.exists() else "it is a link to what is not there"

    def _inside(self, kind: str, root: Path, name: str) -> Path | None:
        """The path of what a name stands for in a folder, None where there is nothing or it leads out of it."""
        given, top = root / name, root.resolve()
        path = _resolved(given)
        if path is None or not _holds(path):
            return None
        if path.is_relative_to(top):
            return path
        if kind not in self._linked:
            return None
        link = on_the_way(given, root)
        if link is not None and not refused(link, root):
            top = link.resolve()
            if path.is_relative_to(top):
                return path
        above = given.parent.resolve()
        linked = given.is_symlink() and above.is_relative_to(top) and _is_one(given, root)
        return above / given.name if linked else None  # its own name, which has the suffix

    def digest(self, path: Path) -> str:
        """blake2b-160 of a file's content, or of a folder's names and contents; memoised by its stat.

        A large file is read once for all processes that share `digests`.
        """
        if path.is_dir():
            whole = hashlib.blake2b(digest_size=DIGEST_SIZE)
            for entry in sorted(path.rglob("*")):
                if entry.is_file() and not entry.name.startswith("."):
                    whole.update(f"{entry.relative_to(path).as_posix()}\0{self.digest(entry)}\n".encode())
            self._places[whole.hexdigest()] = path
            return whole.hexdigest()
        stat = path.stat()
        identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        known = self._digests.get(path)
        if known is None or known[0] != identity:
            value = None if self._kept is None else self._kept.get(path, stat)
            if value is None:
                with path.open("rb") as file:
                    value = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_SIZE)).hexdigest()
                if self._kept is not None:
                    self._kept.learn(path, stat, value)
            known = self._digests[path] = (identity, value)
        self._places[known[1]] = path
        return known[1]

    def located(self, digest: str) -> Path | None:
        """Where content of that digest was last seen by `digest`; None where it never was, or no longer is."""
        path = self._places.get(digest)
        with suppress(OSError):
            if path is not None and self.digest(path) == digest:
                return path
        return None

    def unfinished(self, key: str) -> Path | None:
        """Where the node with a key keeps its unfinished work; what nobody came back for is removed first."""
        folder = self._unfinished
        if folder is None:
            return None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
                    path.unlink()
        except OSError:
            return None
        return folder / key

    def write(self, name: str, suffix: str, content: bytes, kind: str | None = None) -> Path:
        """Write a new file `name-0001.suffix`, whole or not at all, and never over another.

        It goes to the output folder, or to the first folder of a kind, where `find` finds it.

        Returns the path. Raises FileRefused where the name is no plain file name or the disk refuses.
        """
        refuse_unsafe(name)
        if "/" in name:
            raise FileRefused(f"{name!r} is not a plain file name; leave out the folder")
        if kind is not None and not self.roots.get(kind):
            raise FileRefused(f"there is no folder of {kind} to write {name}{suffix} to")
        folder = self.output if kind is None else self.roots[kind][0]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._sweep(folder)
            return _write_new(folder, name, suffix, content)
        except OSError as error:
            raise FileRefused(f"cannot write {name}{suffix} to {folder}: {error.strerror or error}") from error

    def write_preview(self, name: str, content: bytes) -> Path:
        """Write a picture that is only shown, whole or not at all, over what stands under its name.

        Raises FileRefused where the disk refuses, or no previews are kept.
        """
        if self.previews is None:
            raise FileRefused(f"no previews are kept, so {name} has no folder to be written to")
        try:
            self.previews.mkdir(parents=True, exist_ok=True)
            self._sweep(self.previews)
        except OSError as error:
            raise FileRefused(f"cannot make the folder {self.previews}: {error.strerror or error}") from error
        self.write_beside(self.previews / name, content)
        return self.previews / name

    def _sweep(self, folder: Path) -> None:
        """Before the first write to a folder, remove what writes of killed processes left there."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        begin, end = TEMPORARY
        with suppress(OSError):
            for path in folder.iterdir():
                if path.name.startswith(begin) and path.name.endswith(end):
                    with suppress(OSError):  # another process sweeps too
                        if time.time() - path.lstat().st_mtime > STRAY_SECONDS:
                            path.unlink()

    def write_beside(self, path: Path, content: bytes) -> None:
        """Write what belongs to an output file, whole or not at all. Raises FileRefused where the disk refuses."""
        try:
            write_whole(path, content)
        except OSError as error:
            raise FileRefused(f"cannot write {path}: {error.strerror or error}") from error


def _fit(kind: str, name: str, path: Path, root: Path | None = None) -> Path:
    """A path that was found for a name, where it may be a folder or is none; the folder of all never is meant."""
    if path == root or (kind in SINGLE and path.is_dir()):
        raise FileRefused(f"{name!r} is a folder; name a file among the {kind}")
    return path


def _resolved(path: Path) -> Path | None:
    """Where links lead to; None where they lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return None


def _holds(path: Path) -> bool:
    """Whether a file or a folder is there; a pipe or a device would be waited for without end."""
    try:
        return path.is_file() or path.is_dir()
    except OSError:  # the name is longer than the system takes
        return False


def _known(names: Sequence[str]) -> str:
    """Which names there are, where they are few enough to be read."""
    return f" There is {', '.join(map(repr, names))}." if 0 < len(names) <= 5 else ""


def _is_one(path: Path, root: Path) -> bool:
    """Whether a path is a name to choose: a file, or a diffusers folder as a whole and not the files in it."""
    if path.is_dir():
        return (path / MODEL_INDEX).is_file()
    inside = path.relative_to(root).parents
    return path.is_file() and not any((root / folder / MODEL_INDEX).is_file() for folder in inside[:-1])


def _lying_in(kind: str, root: Path, linked: bool) -> Iterator[str]:
    """The names in a folder that may be meant, in order; also of links that lead nowhere or are not followed."""
    for path in walked(root) if linked else sorted(root.rglob("*")) if root.is_dir() else ():
        meant = _is_one(path, root) or (path.is_symlink() and not path.exists())
        meant = meant or (linked and is_folder_link(path) and refused(path, root) != "")
        name = path.relative_to(root)
        if meant and _offered(kind, path, root) and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix()


def _offered(kind: str, path: Path, root: Path) -> bool:
    wanted = _OFFERED.get(kind)
    return wanted is None or (
        path.suffix.lower() in wanted and _OF_ITS_OWN not in path.relative_to(root).parts[:-1]
    )


def refuse_unsafe(name: str) -> None:
    """Raise FileRefused for a name that could leave its folder on any platform."""
    parts = name.split("/")
    if not name or "\0" in name or "\\" in name or name.startswith("/") or _DRIVE.match(name) or ".." in parts:
        raise FileRefused(f"{name!r} is not a relative name inside the folder of its kind")


def _write_new(folder: Path, name: str, suffix: str, content: bytes) -> Path:
    name = name.encode()[: LONGEST - len(suffix.encode())].decode(errors="ignore").rstrip()
    # Beside what was removed by hand there still lies its receipt, which would be taken for that of the new file.
    taken = re.compile(re.escape(name) + r"-(\d+)" + re.escape(suffix) + f"({re.escape(BESIDE)})?")
    numbers = [int(match[1]) for entry in folder.iterdir() if (match := taken.fullmatch(entry.name))]
    number = max(numbers, default=0)
    with written(folder, content) as fresh:
        while True:
            number += 1
            target = folder / f"{name}-{number:04d}{suffix}"
            with suppress(FileExistsError):  # so two runs at once never share one
                name_also(fresh, target)
                return target
