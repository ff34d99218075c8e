"""Names that come from outside and become file names: one place decides which are safe, on every platform."""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodegraph.named import name_also
from nodegraph.serve.models.common import MAX_NAME_BYTES
from nodegraph.serve.refuse import Refused

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)( *\..*)?", re.IGNORECASE)
_SIGNS = " ().,+'-"
_NUMBERS = ("Nd", "Nl")  # not superscripts and fractions, which the pattern of names in the API takes for signs
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_NEVER_LAST = " ." + _JOINERS
# Letters and marks that Unicode lets a program draw nothing for (Default_Ignorable_Code_Point); what else is among
# those is no letter and no mark.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
MARKS_IN_A_ROW = 8  # a syllable of Burmese has 5; more are laid over the lines above and below


def safe_name(name: str) -> str:
    """A name as it is stored, in one Unicode form. Raises Refused for what is no plain file name everywhere."""
    name = unicodedata.normalize("NFC", name)
    if not name or plain_letters(name) != name or name[-1] in _NEVER_LAST or _RESERVED.fullmatch(name):
        raise Refused("invalid", f"{name[:100]!r} cannot be a name: use letters, digits, spaces and ().,+'-_")
    size = len(os.fsencode(name))
    if size > MAX_NAME_BYTES:
        message = f"{name[:20]!r}... is too long a name: it takes {size} bytes, and {MAX_NAME_BYTES} are the most"
        raise Refused("invalid", f"{message}; letters of some scripts take three. Give a shorter one")
    return name


def plain_letters(text: str) -> str:
    """A text with `_` for each sign that may not stand where it does in a name.

    Letters and digits of every script may, a few of the marks that Hindi, Thai or Arabic write over, under and
    beside them, and a few signs, though none of these first. Of what is invisible only the joiners of such scripts
    may.
    """
    kept, marks = "", 0
    for letter in text:
        if letter not in _JOINERS:
            marks = marks + 1 if unicodedata.category(letter).startswith("M") else 0
        kept += letter if marks <= MARKS_IN_A_ROW and _may_follow(kept[-1:], letter) else "_"
    return kept


def _may_follow(before: str, letter: str) -> bool:
    """Whether a sign may stand after another in a name; after "" that is at its beginning."""
    if letter in _SIGNS:
        return before != "" or letter == "("
    if letter in _JOINERS:
        return not before.isascii() and before not in _JOINERS
    if _INVISIBLE.match(letter):
        return False
    category = unicodedata.category(letter)
    if category.startswith("M"):
        return before not in ("", *_SIGNS)
    return letter == "_" or category.startswith("L") or category in _NUMBERS


def shortened(name: str, less: int = 0) -> str:
    """As many of a name's first letters as are not too long a name with `less` more bytes after them."""
    kept = os.fsencode(unicodedata.normalize("NFC", name))[: MAX_NAME_BYTES - less]
    return kept.decode("utf-8", "ignore").rstrip(_NEVER_LAST)


def inside(folder: Path, name: str) -> Path:
    """The path of a safe name in a folder. A link there that leads elsewhere is refused."""
    path = folder / name
    try:
        foreign = not path.resolve().is_relative_to(folder.resolve())
        foreign = foreign or not stat.S_ISREG(path.stat().st_mode)  # one look: it may go between two
    except FileNotFoundError:
        return path
    except (OSError, RuntimeError):  # links that lead to each other
        foreign = True
    if foreign:
        raise Refused("not_found", f"{name!r} is no file of this server")
    return path


def write_whole(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file to the disk, whole or not at all. FileExistsError for a taken name, unless it may `replace`."""
    with written(path.parent, content) as temporary:
        if replace:
            temporary.replace(path)
        else:
            name_also(temporary, path)


@contextmanager
def written(folder: Path, content: bytes) -> Iterator[Path]:
    """A nameless file in a folder that is whole on the disk, to be given a name; it goes afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        yield Path(temporary)
    finally:
        Path(temporary).unlink(missing_ok=True)


def new_id() -> str:
    """A fresh opaque id: 24 characters that nobody guesses."""
    return secrets.token_hex(12)
