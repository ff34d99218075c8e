"""The child that imports every node and writes the catalog to a file; further arguments are plugin folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nodegraph.catalog import begun_at
from nodegraph.registry import Registry

if __name__ == "__main__":
    path, *plugins = map(Path, sys.argv[1:])
    begun = begun_at(path)
    registry = Registry.load(plugins, begins=lambda origin: begun.write_text(origin, "utf-8", "surrogateescape"))
    path.write_text(registry.catalog.model_dump_json(), "utf-8")
    os._exit(0)  # whatever threads a plugin has begun at import
