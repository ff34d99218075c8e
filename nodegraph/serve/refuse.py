"""Refusals: whatever a request cannot have, as one exception, and every error in the one JSON shape."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, get_args

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from nodegraph import strict_json
from nodegraph.errors import CheckError, FileRefused, NodegraphError, Problem, WorkflowError
from nodegraph.plain import plain
from nodegraph.serve.errors import DiskFull, NoSuchArtifact, NoSuchRun, NotQueued, QueueFull
from nodegraph.serve.models import ApiError, ApiProblem, ErrorCode

STATUS: dict[ErrorCode, int] = {
    "bad_request": 400,
    "not_authenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "conflict": 409,
    "gone": 410,
    "too_large": 413,
    "unsupported_type": 415,
    "invalid": 422,
    "workflow_refused": 422,
    "busy": 429,
    "server_error": 500,
    "unavailable": 503,
    "disk_full": 507,
}
_CODES: dict[int, ErrorCode] = {status: code for code, status in reversed(STATUS.items())}
SHOWN_PROBLEMS = 1000
assert set(STATUS) == set(get_args(ErrorCode))


class Refused(Exception):
    """The request cannot be answered: why, in a code for programs and in words for people."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        problems: Iterable[ApiProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.problems = list(problems)
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """The answer that says so."""
        body = ApiError(code=self.code, message=self.message, problems=self.problems)
        return web.Response(
            body=encoded(body),
            status=STATUS[self.code],
            content_type="application/json",
            headers=self.headers,
        )


def encoded(model: BaseModel) -> bytes:
    """A model as JSON."""
    try:
        return model.model_dump_json().encode()
    except PydanticSerializationError:  # a path of this system may hold bytes that are no text; JSON has escapes
        return json.dumps(model.model_dump(mode="json")).encode()


def api_problems(problems: Iterable[Problem]) -> list[ApiProblem]:
    """The problems of a workflow as they go over the wire; after the first thousand only their number."""
    found = [ApiProblem(message=one.message, node=one.node, input=one.input) for one in problems]
    more = len(found) - SHOWN_PROBLEMS
    if more > 0:
        found[SHOWN_PROBLEMS:] = [ApiProblem(message=f"and {more:,} more problems")]
    return found


def of_exception(error: Exception) -> Refused | None:
    """The refusal that an exception of the engine or of aiohttp amounts to; None for one that nobody meant."""
    match error:
        case Refused():
            return error
        case NoSuchRun() | NoSuchArtifact():
            return Refused("not_found", str(error))
        case NotQueued():
            return Refused("conflict", str(error))
        case QueueFull():
            seconds = max(1, math.ceil(error.retry_after))
            return Refused("busy", str(error), headers={"Retry-After": str(seconds)})
        case DiskFull():
            return Refused("disk_full", str(error))
        case CheckError():
            count = len(error.problems)
            message = f"the workflow has {count} problem{'' if count == 1 else 's'}"
            return Refused("workflow_refused", message, problems=api_problems(error.problems))
        case WorkflowError():
            return Refused("workflow_refused", str(error), problems=[ApiProblem(message=str(error))])
        case FileRefused() | NodegraphError():
            return Refused("invalid", str(error))
        case web.HTTPException():
            return _of_http(error)
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Refused("disk_full", "the disk is full; make room and try again")
    return None


def of_validation(error: ValidationError, where: str) -> Refused:
    """The refusal of a body or a parameter that does not fit its model."""
    problems = []
    for entry in error.errors(include_url=False)[:20]:
        place = ".".join(str(part) for part in (where, *entry["loc"]))
        problems.append(ApiProblem(message=f"{place}: {plain(entry)}"))
    return Refused("invalid", problems[0].message, problems=problems)


def parse_json(content: bytes) -> Any:
    """JSON data from the bytes of a body. Raises Refused."""
    try:
        return strict_json.loads(content)
    except ValueError as error:
        raise Refused("bad_request", f"the body is not JSON: {error}") from None


def _of_http(error: web.HTTPException) -> Refused:
    code = _CODES.get(error.status, "bad_request" if error.status < 500 else "server_error")
    words = {404: "there is nothing at this address", 405: "this address does not know that method"}
    message = words.get(error.status) or error.text or HTTPStatus(error.status).phrase
    headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    return Refused(code, message, headers=headers)
