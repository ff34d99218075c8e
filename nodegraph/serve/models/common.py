"""What all messages share: names and their forms, bodies asked and told, and errors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from nodegraph.workflow import LONGEST_ADDRESS

MAX_NAME_BYTES = 200  # of a stored workflow or picture: what file systems take, less a suffix
RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
RunId = Annotated[str, Field(pattern=r"^[0-9a-z]{8,40}$", description="The id of a run.")]
ArtifactId = Annotated[str, Field(pattern=r"^[0-9a-z]{8,40}$", description="The id of an artifact.")]
StoredName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME_BYTES,
        pattern=r"^[\w(][\w ().,+'-]*$",
        description="The name of a stored workflow: letters, digits, spaces and ().,+'-_; no path.",
    ),
]
Revision = Annotated[str, Field(max_length=64, description="Digest of the stored text; changes with every save.")]
Priority = Annotated[int, Field(ge=-1000, le=1000, description="Runs of higher priority go first.")]
Address = Annotated[str, Field(max_length=LONGEST_ADDRESS)]
Values = Annotated[
    dict[Address, JsonValue],
    Field(max_length=10_000, description='Replaces values before the run, by "node.input".'),
]
Targets = Annotated[
    list[Address],
    Field(max_length=10_000, description="Ids of the wanted nodes; absent: every effect and every unused output."),
]
Document = Annotated[
    dict[str, JsonValue],
    Field(description="A workflow document; its schema is at /api/workflow-schema."),
]


class Asked(BaseModel):
    """A body that a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Told(BaseModel):
    """A body that the server sends."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class ApiProblem(Told):
    """One thing that is wrong, and where."""

    message: str
    node: str | None = None
    input: str | None = None


ErrorCode = Literal[
    "bad_request",
    "not_authenticated",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "conflict",
    "gone",
    "too_large",
    "unsupported_type",
    "workflow_refused",
    "invalid",
    "busy",
    "timeout",
    "server_error",
    "unavailable",
    "disk_full",
]


class ApiError(Told):
    """The one shape of every error."""

    code: ErrorCode
    message: str
    problems: list[ApiProblem] = []


def error(code: ErrorCode, message: str, problems: list[ApiProblem] | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    return ApiError(code=code, message=message, problems=problems or []).model_dump(mode="json")
