"""Print one JSON Schema of everything that the editor exchanges with the server."""

from __future__ import annotations

import inspect
import json

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from nodegraph.serve import models
from nodegraph.serve.models.common import Asked
from nodegraph.workflow import Workflow


def exchanged() -> list[type[BaseModel]]:
    """The models that travel; each becomes a TypeScript interface of its name."""
    wire = [entry for name, entry in vars(models).items() if inspect.isclass(entry) and not name.startswith("_")]
    return [Workflow, *(entry for entry in wire if issubclass(entry, BaseModel) and entry is not BaseModel)]


def is_asked(model: type[BaseModel]) -> bool:
    """Whether a client sends it, so that fields with a default may be left out."""
    return issubclass(model, Asked)


if __name__ == "__main__":
    _, schema = models_json_schema(
        [(model, "validation" if is_asked(model) else "serialization") for model in exchanged()],
        ref_template="#/definitions/{model}",
    )
    asked = [model.__name__ for model in exchanged() if is_asked(model)]
    print(json.dumps({"definitions": schema["$defs"], "asked": asked}, sort_keys=True))
