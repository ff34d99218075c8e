"""Receipts: what made a picture, in the picture."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nodegraph.errors import DocumentError
from nodegraph.pictures import PIXELS_CHUNK
from nodegraph.plan import Plan
from nodegraph.workflow import MAX_PICTURE_BYTES, PNG_CHUNK, Workflow, png_text

RECEIPT_CHUNK = "nodegraph-receipt"


class Receipt(BaseModel):
    """What a run knew when it wrote a file.

    `keys` are those of every planned node, `files` the digests of the files that the workflow names, `node` the
    effect that wrote the file.
    """

    model_config = ConfigDict(frozen=True)

    node: str
    keys: dict[str, str]
    files: dict[str, str]
    device: str
    versions: dict[str, str]


def metadata(plan: Plan, node: str, device: str) -> dict[str, str]:
    """The text that a file written by `node` carries: its workflow and its receipt."""
    receipt = Receipt(
        node=node,
        keys={name: step.key for name, step in plan.steps.items()},
        files=plan.digests,
        device=device,
        versions=versions(),
    )
    return {PNG_CHUNK: plan.workflow.dump(), RECEIPT_CHUNK: receipt.model_dump_json()}


def versions() -> dict[str, str]:
    """The versions that a picture may depend on."""
    found = {"python": platform.python_version()}
    for package in ("nodegraph", "torch"):
        found[package] = importlib.metadata.version(package)
    return found


def read(path: Path) -> tuple[Workflow, Receipt, str]:
    """The workflow, the receipt and the digest of the pixels that a picture carries. Raises DocumentError."""
    workflow = Workflow.load(path)
    with path.open("rb") as file:
        content = file.read(MAX_PICTURE_BYTES + 1)
    try:
        receipt = Receipt.model_validate_json(png_text(content, RECEIPT_CHUNK))
        return workflow, receipt, png_text(content, PIXELS_CHUNK)
    except (DocumentError, ValidationError):
        raise DocumentError(f"{path} carries a workflow but no receipt to verify it by") from None
