"""What the store raises, in the words of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodegraph.errors import NodegraphError
from nodegraph.serve.errors import DiskFull, NoSuchArtifact, NoSuchRun
from nodegraph.serve.storefile import StoreFull


@contextmanager
def refusals(home: Path, missing: type[NodegraphError] = NoSuchRun) -> Iterator[None]:
    """Raise `missing`, NoSuchRun or NoSuchArtifact, for a KeyError, and DiskFull for a store that is full."""
    try:
        yield
    except KeyError as error:
        what = "artifact" if missing is NoSuchArtifact else "run"
        raise missing(f"there is no {what} {error.args[0]!r}") from None
    except StoreFull as error:
        raise DiskFull(f"not accepted: the disk of {home} is full ({error}); make room and try again") from None
