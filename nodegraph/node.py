"""`@node`: a function's signature becomes a node's inputs, outputs and JSON Schema.

The function itself is returned unchanged, so a test calls it directly and a type checker sees it. What the
engine needs is derived once and kept on it as a `NodeType`: pure data, so that a process that never imports
the function (the server, `nodegraph check`) can work from a stored copy.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, overload

from pydantic import BaseModel, ConfigDict, JsonValue, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from nodegraph.context import Context
from nodegraph.errors import DeclarationError

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])
Effect = Literal["none", "files", "always"]

PRIMITIVES: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "str"}
_ATTRIBUTE = "__nodegraph__"
_SETTINGS = {
    "category": 'a text such as "image/mask"',
    "effect": '"none", "files" or "always"',
    "on_device": "True or False",
    "version": "a whole number",
    "needs": 'a dict such as {"sklearn": "scikit-learn"}',
}


_refused: ContextVar[list[DeclarationError] | None] = ContextVar("refused", default=None)


@contextmanager
def one_by_one() -> Iterator[list[DeclarationError]]:
    """While modules of nodes are imported: a function that cannot be a node stays none, and the others load.

    Gives the list that the errors are put into. Elsewhere `@node` raises them.
    """
    refused: list[DeclarationError] = []
    before = _refused.set(refused)
    try:
        yield refused
    finally:
        _refused.reset(before)


class Lazy(Generic[T]):
    """An input that is evaluated when it is called, and never where it is not."""

    def __init__(self, evaluate: Callable[[], T]) -> None:
        self._evaluate = evaluate

    def __call__(self) -> T:
        return self._evaluate()


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Data):
    """One input: the wire types it takes, and the JSON Schema of a literal where one fits.

    A type that starts with `~` is a variable: every input and output of the node that names it has the
    same type. `value_schema` None means that only a link fits. `painted_by` is the input whose model paints on
    what is linked to this one.
    """

    name: str
    types: tuple[str, ...]
    required: bool
    many: bool = False
    lazy: bool = False
    default: JsonValue = None
    value_schema: dict[str, JsonValue] | None = None
    painted_by: str | None = None
    doc: str = ""


class Output(_Data):
    """One output: its type, and the types it also is (its base classes), nearest first."""

    name: str
    type: str
    bases: tuple[str, ...] = ()
    doc: str = ""


class NodeType(_Data):
    """Everything there is to know about a node without importing it.

    `needs` are packages that are not installed with nodegraph, by the module that each brings.
    """

    name: str
    category: str
    doc: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    effect: Effect = "none"
    on_device: bool = False
    version: int = 1
    needs: dict[str, str] = {}
    module: str = ""
    code: str = ""

    def input(self, name: str) -> Input | None:
        """The input of that name, or None."""
        return next((entry for entry in self.inputs if entry.name == name), None)

    def output(self, name: str) -> Output | None:
        """The output of that name, or None."""
        return next((entry for entry in self.outputs if entry.name == name), None)


class Declaration(NamedTuple):
    """What `@node` leaves on a function: its type, and how to call it."""

    type: NodeType
    context: str | None  # the parameter that receives the Context
    named_outputs: bool  # the function returns a NamedTuple whose fields are the ports


@overload
def node(function: Function, /) -> Function: ...


@overload
def node(
    *,
    category: str = ...,
    effect: Effect = ...,
    on_device: bool = ...,
    version: int = ...,
    needs: Mapping[str, str] | None = ...,
) -> Callable[[Function], Function]: ...


def node(
    function: Function | None = None,
    /,
    *,
    category: str = "other",
    effect: Effect = "none",
    on_device: bool = False,
    version: int = 1,
    needs: Mapping[str, str] | None = None,
) -> Function | Callable[[Function], Function]:
    """Declare a function to be a node, as `@node` or `@node(...)`. A registry finds it in its module.

    Args:
        category: where menus show it, such as `image/mask`.
        effect: `always` for a side effect that must happen on every run; `files` where the only effect is
            files written through `context.save`, which is not repeated while those files stand unaltered.
        on_device: the result depends on the kind of device and on the dtype, so both enter its key.
        version: raise it when the same inputs should give another result although the source is the same.
        needs: packages that it imports when it runs, by the module that each brings, such as
            `{"sklearn": "scikit-learn"}`; `check` says which are not installed.

    Raises:
        DeclarationError: the signature says too little, naming the parameter and what to add; or a setting of
            `@node` itself is none, naming what would be.
    """

    def declare(function: Function) -> Function:
        try:
            declaration = _declare(function, category, effect, on_device, version, needs)
        except DeclarationError as error:
            refused = _refused.get()
            if refused is None:
                raise
            refused.append(error)
        else:
            setattr(function, _ATTRIBUTE, declaration)
        return function

    return declare if function is None else declare(function)


def declaration_of(value: object) -> Declaration | None:
    """What `@node` left on a function, or None where it is no node."""
    found = getattr(value, _ATTRIBUTE, None)
    return found if isinstance(found, Declaration) else None


def _declare(
    function: Callable[..., Any],
    category: str,
    effect: Effect,
    on_device: bool,
    version: int,
    needs: Mapping[str, str] | None,
) -> Declaration:
    if isinstance(function, type) or not callable(function) or not hasattr(function, "__name__"):
        raise DeclarationError(
            f"@node declares a function, which {function!r:.80} is not; write `@node` above its `def`, or its "
            'settings by their names: `@node(category="mine")`'
        )
    name = function.__name__
    doc = inspect.getdoc(function) or ""
    if not doc:
        raise DeclarationError(f"{name} has no docstring; add one, it is what users read in the editor")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DeclarationError(f"{name}: cannot resolve its annotations: {error}") from None

    inputs: list[Input] = []
    context = None
    for parameter in inspect.signature(function).parameters.values():
        place = f"{name}, parameter {parameter.name}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise DeclarationError(f"{place}: a node takes named parameters only")
        if parameter.name not in hints:
            raise DeclarationError(f"{place}: no type annotation; add one, it is the input's type")
        if hints[parameter.name] is Context:
            context = parameter.name
        else:
            inputs.append(_input(place, parameter, hints[parameter.name]))

    if "return" not in hints:
        raise DeclarationError(f"{name} has no return annotation; add one, it names the outputs (or -> None)")
    outputs, named = _outputs(name, hints["return"])
    settings = {
        "category": category,
        "effect": effect,
        "on_device": on_device,
        "version": version,
        "needs": dict(needs) if isinstance(needs, Mapping) else {} if needs is None else needs,
    }
    described = {
        "name": name, "doc": doc, "inputs": tuple(inputs), "outputs": outputs, "module": function.__module__ or "",
    }  # fmt: skip
    try:
        node_type = NodeType.model_validate(settings | described, strict=True)
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][0])
        given = repr(settings.get(wrong))[:80]
        raise DeclarationError(f"{name}: @node({wrong}={given}): {wrong} must be {_SETTINGS[wrong]}") from None
    return Declaration(node_type, context, named)


def _input(place: str, parameter: inspect.Parameter, hint: Any) -> Input:
    annotation, info = _strip(hint)
    lazy = get_origin(annotation) is Lazy
    if lazy:
        annotation, inner = _strip(get_args(annotation)[0])
        info = inner or info
    many = get_origin(annotation) is list
    element = _strip(get_args(annotation)[0])[0] if many else annotation
    alternatives, optional = _alternatives(element)
    primitive = all(_is_primitive(entry) for entry in alternatives)
    value = hint if not lazy else get_args(_strip(hint)[0])[0]
    # A variable takes any literal that JSON can say.
    if any(isinstance(entry, TypeVar) for entry in alternatives):
        primitive, value = True, bool | int | float | str
    required = parameter.default is parameter.empty
    if not required and not primitive and not optional and not many:
        raise DeclarationError(f"{place}: a wire type can only default to None; write `T | None = None`")
    doc = (info.description if info else None) or _first_line(alternatives[0])
    default = None if required else parameter.default
    try:
        return Input(
            name=parameter.name,
            types=tuple(_type_name(place, entry) for entry in alternatives),
            required=required,
            many=many,
            lazy=lazy,
            default=list(default) if isinstance(default, tuple) else default,
            value_schema=_schema(place, value) if primitive else None,
            painted_by=_painted_by(info),
            doc=doc,
        )
    except ValidationError:
        raise DeclarationError(
            f"{place}: its default {repr(default)[:80]} is nothing that JSON can say; use a number, a text, "
            "True, False or None"
        ) from None


def _painted_by(info: FieldInfo | None) -> str | None:
    extra = info.json_schema_extra if info is not None else None
    found = extra.get("painted_by") if isinstance(extra, dict) else None
    return found if isinstance(found, str) else None


def _outputs(name: str, hint: Any) -> tuple[tuple[Output, ...], bool]:
    annotation, info = _strip(hint)
    if annotation is type(None):
        return (), False
    if isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        fields = typing.get_type_hints(annotation, include_extras=True)
        return tuple(_output(name, port, fields[port], port) for port in annotation._fields), True
    alternatives, _ = _alternatives(annotation)
    is_wire = isinstance(alternatives[0], type) and alternatives[0] not in PRIMITIVES
    port = _snake_case(alternatives[0].__name__) if is_wire else "value"
    return (_output(name, port, hint, "its result", info),), False


def _output(name: str, port: str, hint: Any, what: str, info: FieldInfo | None = None) -> Output:
    annotation, found = _strip(hint)
    info = found or info
    alternatives, optional = _alternatives(annotation)
    if optional or len(alternatives) != 1:
        raise DeclarationError(f"{name}, {what}: an output has one type; got {annotation}")
    kind = alternatives[0]
    bases: tuple[str, ...] = ()
    if isinstance(kind, type) and kind not in PRIMITIVES:
        bases = tuple(base.__name__ for base in kind.__mro__[1:] if base not in (object, Generic))
    doc = (info.description if info else None) or _first_line(kind)
    return Output(name=port, type=_type_name(f"{name}, {what}", kind), bases=bases, doc=doc)


def _strip(hint: Any) -> tuple[Any, FieldInfo | None]:
    """The bare annotation, and the last `Field` beside it."""
    if get_origin(hint) is not Annotated:
        return hint, None
    bare, *metadata = get_args(hint)
    infos = [entry for entry in metadata if isinstance(entry, FieldInfo)]
    return bare, infos[-1] if infos else None


def _alternatives(annotation: Any) -> tuple[list[Any], bool]:
    """The members of a union without None, and whether None was one of them."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_strip(entry)[0] for entry in get_args(annotation)]
        return [entry for entry in members if entry is not type(None)], type(None) in members
    return [annotation], False


def _is_primitive(entry: Any) -> bool:
    return entry in PRIMITIVES or get_origin(entry) is Literal


def _type_name(place: str, entry: Any) -> str:
    if isinstance(entry, TypeVar):
        return f"~{entry.__name__}"
    if get_origin(entry) is Literal:
        kinds = {type(choice) for choice in get_args(entry)}
        if not kinds:
            raise DeclarationError(
                f"{place}: a Literal without choices; where they are looked up, give one that says what is missing"
            )
        if len(kinds) != 1 or kinds.isdisjoint(PRIMITIVES):
            raise DeclarationError(f"{place}: the choices of a Literal must be of one primitive type")
        return PRIMITIVES[kinds.pop()]
    if entry in PRIMITIVES:
        return PRIMITIVES[entry]
    if isinstance(entry, type) and entry not in (list, dict, tuple, set, object, bytes):
        return entry.__name__
    raise DeclarationError(
        f"{place}: {entry} cannot travel on a wire; use bool, int, float, str, a Literal, a frozen "
        "dataclass, a list of one of these, or a TypeVar"
    )


def _schema(place: str, hint: Any) -> dict[str, JsonValue]:
    try:
        return TypeAdapter(hint).json_schema()
    except PydanticSchemaGenerationError as error:
        raise DeclarationError(f"{place}: {error.message}") from None


def _first_line(kind: Any) -> str:
    doc = kind.__doc__ if isinstance(kind, type) and kind not in PRIMITIVES else None
    return inspect.cleandoc(doc).splitlines()[0] if doc else ""


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
