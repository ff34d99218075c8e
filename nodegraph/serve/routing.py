"""Routes: a handler's signature says what a request may hold, and the OpenAPI document is made from the same.

A handler takes what it needs by name and annotation: the server, parts of the path, query parameters, a body.
What it returns is the answer. Nothing is registered by decorating: `Routes` is a list that an app is given.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, get_args, get_type_hints

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from nodegraph.serve.refuse import Refused, encoded, of_validation, parse_json

JSON = "application/json"
BODY_BYTES = 33 * 2**20  # a workflow document of the largest size, and what is around it
BODY_SECONDS = 120
INLINE_BYTES = 2**16  # larger bodies are parsed and checked beside the event loop
PICTURES = ("image/png", "image/jpeg", "image/webp")

Done = TypeVar("Done")
Handler = Callable[..., Awaitable[Any]]


class HasRoom(Protocol):
    """What a route asks of the server that its handler is given."""

    def room_for(self, announced: int) -> AbstractContextManager[Callable[[int], None]]:
        """Gives what takes part of the memory for a body. Raises Refused."""
        ...


@dataclass(frozen=True)
class Content:
    """A body that is a file."""

    data: bytes
    media_type: str


@dataclass(frozen=True)
class Reply:
    """A JSON answer with another status than the route's first."""

    model: BaseModel
    status: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameter:
    """A part of the path, or a query parameter."""

    name: str
    place: Literal["path", "query"]
    adapter: TypeAdapter[Any]
    default: Any

    @property
    def required(self) -> bool:
        """Whether a request must have it."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Route:
    """One method at one address.

    `statuses` are the good ones, the usual one first; `refuses` the refusals that are the route's own; `media` the
    content types of a body that is a file, and `produces` those of an answer that is no JSON. An open route
    asks for no token. `{name...}` in the path takes slashes too.
    """

    method: str
    path: str
    handler: Handler
    parameters: tuple[Parameter, ...]
    body: type[BaseModel] | None
    answer: type[BaseModel] | None
    media: tuple[str, ...]
    limit: int
    produces: tuple[str, ...]
    statuses: tuple[int, ...]
    refuses: tuple[int, ...]
    open: bool
    given: frozenset[str]

    @property
    def pattern(self) -> str:
        """The path as aiohttp writes it."""
        return self.path.replace("...}", ":.+}")

    @property
    def title(self) -> str:
        """The first line of the handler's documentation."""
        return (inspect.getdoc(self.handler) or "").splitlines()[0]

    async def call(self, server: HasRoom, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        arguments = self._arguments(request)
        arguments |= {
            name: value for name, value in (("server", server), ("request", request)) if name in self.given
        }
        if self.body is None and not self.media:
            if request.body_exists and request.content_length != 0:
                raise Refused("unsupported_type", "this address takes no body")
            answer = await self.handler(**arguments)
        else:
            with server.room_for(self._announced(request)) as take:
                content = await self._read(request, take)
                if self.body is None:
                    arguments["content"] = content
                else:
                    arguments["body"] = await beside_loop(len(content.data), _parse, self.body, content.data)
                answer = await self.handler(**arguments)
        if isinstance(answer, Reply):
            return json_response(answer.model, answer.status, answer.headers)
        if isinstance(answer, BaseModel):
            return json_response(answer, self.statuses[0])
        assert isinstance(answer, web.StreamResponse)
        return answer

    def _arguments(self, request: web.Request) -> dict[str, Any]:
        query = request.query
        known = {entry.name for entry in self.parameters if entry.place == "query"}
        if self.path != "/":
            for name in query:
                if name not in known:
                    listed = ", ".join(sorted(known)) or "none"
                    raise Refused("invalid", f"there is no query parameter {name!r}; known here: {listed}")
                if len(query.getall(name)) > 1:
                    raise Refused("invalid", f"the query parameter {name!r} is given twice")
        arguments: dict[str, Any] = {}
        for entry in self.parameters:
            text = request.match_info.get(entry.name) if entry.place == "path" else query.get(entry.name)
            if text is None:
                if entry.required:
                    raise Refused("invalid", f"the query parameter {entry.name!r} is missing")
                arguments[entry.name] = entry.default
                continue
            try:
                arguments[entry.name] = entry.adapter.validate_python(text)
            except ValidationError as error:
                raise of_validation(error, entry.name) from None
        return arguments

    def _announced(self, request: web.Request) -> int:
        """How many bytes the body may become. Raises Refused for one that is larger than this address takes."""
        length = request.content_length
        if length is not None and length > self.limit:
            raise self._too_large()
        return self.limit if length is None else length

    def _too_large(self) -> Refused:
        return Refused("too_large", f"the body is larger than {self.limit:,} bytes, which is the limit here")

    async def _read(self, request: web.Request, take: Callable[[int], None]) -> Content:
        accepted = self.media or (JSON,)
        media_type = request.content_type if "Content-Type" in request.headers else ""
        if media_type not in accepted:
            said = repr(media_type) if media_type else "missing"
            raise Refused("unsupported_type", f"Content-Type is {said}; send {' or '.join(accepted)}")
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise Refused("unsupported_type", "send the body as it is, without Content-Encoding")
        data = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.content.iter_any():
                    data += chunk
                    if len(data) > self.limit:
                        raise self._too_large()
                    take(len(chunk))
        except (ConnectionError, web.RequestPayloadError):
            raise Refused("bad_request", "the body broke off") from None
        except TimeoutError:
            raise Refused("timeout", f"the body did not arrive within {BODY_SECONDS} s") from None
        return Content(bytes(data), media_type)


class Routes(list[Route]):
    """A list of routes, filled by decorating handlers."""

    def get(self, path: str, **options: Any) -> Callable[[Handler], Handler]:
        """Add a route that only reads."""
        return self.add("GET", path, **options)

    def add(
        self,
        method: str,
        path: str,
        *,
        media: tuple[str, ...] = (),
        limit: int = BODY_BYTES,
        produces: tuple[str, ...] = (JSON,),
        statuses: tuple[int, ...] = (200,),
        refuses: tuple[int, ...] = (),
        open: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Add a route; see `Route`."""

        def declare(handler: Handler) -> Handler:
            hints = get_type_hints(handler, include_extras=True)
            parameters = []
            for name, entry in inspect.signature(handler).parameters.items():
                if name in ("server", "request", "body", "content"):
                    continue
                place: Literal["path", "query"] = (
                    "path" if f"{{{name}}}" in path or f"{{{name}...}}" in path else "query"
                )
                parameters.append(Parameter(name, place, TypeAdapter(hints[name]), entry.default))
            returned = hints["return"]
            models = [one for one in get_args(returned) or (returned,) if _is_model(one)]
            self.append(
                Route(
                    method=method,
                    path=path,
                    handler=handler,
                    parameters=tuple(parameters),
                    body=hints.get("body"),
                    answer=models[0] if models else None,
                    media=media,
                    limit=limit,
                    produces=produces,
                    statuses=statuses,
                    refuses=refuses,
                    open=open,
                    given=frozenset(hints) & {"server", "request"},
                )
            )
            return handler

        return declare


def json_response(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A model as an answer."""
    return web.Response(body=encoded(model), status=status, content_type=JSON, headers=headers)


async def beside_loop(size: int, work: Callable[..., Done], *arguments: Any) -> Done:
    """Do `work` at once, or in a thread where its input of `size` bytes would hold up the event loop."""
    if size > INLINE_BYTES:
        return await asyncio.to_thread(work, *arguments)
    return work(*arguments)


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _parse(model: type[BaseModel], content: bytes) -> BaseModel:
    try:
        return model.model_validate(parse_json(content))
    except ValidationError as error:
        raise of_validation(error, "body") from None
    except RecursionError:
        raise Refused("bad_request", "the JSON is nested too deeply") from None
