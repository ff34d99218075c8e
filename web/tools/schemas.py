"""Print one JSON Schema of everything that the editor exchanges with the server."""

from __future__ import annotations

import json

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from nodegraph.catalog import Catalog
from nodegraph.workflow import Workflow


def models() -> list[type[BaseModel]]:
    """The models that travel; each becomes a TypeScript interface of its name."""
    return [Workflow, Catalog]


if __name__ == "__main__":
    _, schema = models_json_schema(
        [(model, "serialization") for model in models()],
        ref_template="#/definitions/{model}",
    )
    print(json.dumps(schema, sort_keys=True))
