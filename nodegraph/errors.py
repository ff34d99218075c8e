"""Everything that nodegraph raises on purpose.

::

    NodegraphError
    ├── DeclarationError      a function cannot be a node: its signature says too little
    ├── WorkflowError         the workflow is refused before anything runs (exit status 2)
    │   ├── DocumentError     the text or picture is not a workflow document
    │   └── CheckError        the document has problems; `.problems` lists all of them
    ├── FileRefused           a name leaves its folder, is missing, or is not what it should be
    └── RunError              a run failed (exit status 1)
        └── NodeError         a node raised; carries the node, its type and the cause

    Cancelled (BaseException)          raised at the next progress step of a cancelled run
    Interrupted (KeyboardInterrupt)    Ctrl-C, or the node itself raised it; carries the node

Neither is an `Exception`, so a node's `except Exception` cannot swallow it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HINTED = 20  # problems that come with a guess at what was meant; each guess compares many names
MOST_COMPARED = 5000  # names; more take as long to compare as the rest of a check
ALIKE = 0.75  # of difflib's ratio: `sede` is meant for `seed`, and `Posterize` for no `DenoiserSize`


class NodegraphError(Exception):
    """Base of every error that a user can act on; its text is complete, no traceback needed."""


class DeclarationError(NodegraphError):
    """A function's signature cannot be made into a node."""


class WorkflowError(NodegraphError):
    """The workflow is refused before anything runs."""


class DocumentError(WorkflowError):
    """The text, file or picture does not hold a workflow document."""


class FileRefused(NodegraphError):
    """A file is missing, lies outside its folder, or is not what it claims to be."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a workflow, where it is, and what to do about it."""

    message: str
    node: str | None = None
    input: str | None = None

    @property
    def where(self) -> str:
        """`node.input`, `node`, or `workflow` where the problem belongs to no node."""
        if self.node is None:
            return "workflow"
        return self.node if self.input is None else f"{self.node}.{self.input}"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class CheckError(WorkflowError):
    """A well-formed document that cannot run; `.problems` holds every reason at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"The workflow has {count} problem{'s' if count != 1 else ''}:"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class RunError(NodegraphError):
    """A run started and could not finish."""


@dataclass(frozen=True)
class Raised:
    """What a node raised, for the one who wrote the node. It names files without the folders of this machine.

    Args:
        exception: its type, such as `ValueError`.
        at: the innermost line of the node's own code; empty where the words are meant to say enough.
        traceback: the whole way from the node's function on, in lines.
    """

    exception: str
    at: str
    traceback: str


class NodeError(RunError):
    """A node raised. `node` and `type` say which, `__cause__` is the original exception, `raised` where it was."""

    def __init__(self, node: str, type: str, message: str, raised: Raised | None = None) -> None:
        self.node = node
        self.type = type
        self.message = message
        self.raised = raised
        super().__init__(f"{node} ({type}): {message}")


class Cancelled(BaseException):
    """The run was cancelled; raised where a node next reports progress."""


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt came up in a node: Ctrl-C in a program of one's own, or its own code raised it."""

    def __init__(self, node: str, type: str) -> None:
        self.node = node
        self.type = type
        self.message = "interrupted (KeyboardInterrupt)"
        super().__init__(f"{node} ({type}): {self.message}")


# What torch, the system and oneDNN say; the last has no words of its own for it.
_SHORT = re.compile("can(not|'t) allocate memory|could not create a primitive", re.IGNORECASE)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory, of the host or of an accelerator, did not suffice."""
    # torch's errors by name and words: the engine does not import torch.
    if isinstance(error, RuntimeError | OSError) and _SHORT.search(str(error)):
        return True
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest choice; nothing where none is near or many thousands are known.

    A choice is near that begins or ends with the word, or the word with it: `Int` is meant for `Integer`. Where
    there is none, one is near that shares most of its letters.
    """
    known = list(choices)
    if len(known) > MOST_COMPARED:
        return ""
    folded = {choice.casefold(): choice for choice in known}
    sought = word.casefold()
    longer = [choice for choice in folded if _is_end(sought, choice) or _is_end(choice, sought)]
    near = difflib.get_close_matches(sought, longer or list(folded), n=1, cutoff=0.0 if longer else ALIKE)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""


def _is_end(part: str, whole: str) -> bool:
    """Whether a word begins or ends with a part that says enough: three letters, and a quarter of it."""
    return 3 <= len(part) >= len(whole) / 4 and (whole.startswith(part) or whole.endswith(part))
