"""Receipts: what made a picture, in the picture and beside it."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from nodegraph.carried import (
    MAX_PICTURE_BYTES,
    RECEIPT_TEXT,
    WORKFLOW_TEXT,
    file_digest,
    is_picture,
    read_beside,
    texts_of,
)
from nodegraph.comfyui import Note
from nodegraph.errors import DocumentError
from nodegraph.plan import Plan
from nodegraph.workflow import Workflow


class Receipt(BaseModel):
    """What a run knew when it wrote a file.

    `node` is the effect that wrote it, `keys` are those of this node and all that it depends on, `results` the
    digests of what they gave, where that is known, `files` the digests of the files that the workflow names.
    """

    model_config = ConfigDict(frozen=True)

    node: str
    keys: dict[str, str]
    results: dict[str, str] = {}
    files: dict[str, str]
    device: str
    dtype: str = "float32"
    compiled: bool = False
    versions: dict[str, str]

    @property
    def place(self) -> dict[str, str]:
        """Where its nodes computed, and how."""
        return {"device": self.device, "dtype": self.dtype, "compiled": "yes" if self.compiled else "no"}


class Made(NamedTuple):
    """A file, and what is known about how it was made.

    `altered` is whether its content is another than when it was written; None where only the file beside it,
    which is gone, could tell.
    """

    workflow: Workflow
    receipt: Receipt
    altered: bool | None


def metadata(
    plan: Plan, node: str, device: str, dtype: str, results: Mapping[str, str], *, compiled: bool = False
) -> dict[str, str]:
    """The texts that a file written by `node` carries: its workflow and its receipt."""
    needed = plan.ancestors(node) | {node}
    receipt = Receipt(
        node=node,
        keys={name: step.key for name, step in plan.steps.items() if name in needed},
        results=dict(results),
        files=plan.digests,
        device=device,
        dtype=dtype,
        compiled=compiled,
        versions=dict(versions()),
    )
    return {WORKFLOW_TEXT: plan.document, RECEIPT_TEXT: receipt.model_dump_json()}


@cache
def versions() -> Mapping[str, str]:
    """The versions that a picture may depend on."""
    found = {"python": platform.python_version()}
    for package in ("nodegraph", "torch", "pillow"):
        found[package] = importlib.metadata.version(package)
    return found


def read(path: Path) -> Made:
    """What a picture carries, or the file beside it says. Raises DocumentError."""
    notes: list[Note] = []
    workflow = Workflow.load(path, notes)
    content = _bytes(path)
    text = texts_of(path, content).get(RECEIPT_TEXT) if is_picture(content) else None
    written = read_beside(path)
    altered = None if written is None else written.get("digest") != file_digest(content)
    try:
        return Made(workflow, Receipt.model_validate_json(text or ""), altered)
    except ValidationError:
        if notes:
            raise DocumentError(
                f"{path} holds a workflow of ComfyUI, which keeps no receipt to verify a picture by; "
                f"`nodegraph run {shlex.quote(str(path))}` paints it here, and what that writes can be verified"
            ) from None
        raise DocumentError(f"{path} carries a workflow but no receipt to verify it by") from None


def receipt_of(path: Path) -> dict[str, Any] | None:
    """The receipt beside a file that was written, as JSON data; None where there is none."""
    written = read_beside(path)
    receipt = written.get("receipt") if written is not None else None
    return receipt if isinstance(receipt, dict) else None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror or error}") from None
