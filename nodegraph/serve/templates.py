"""Templates: the workflows that ship with the package, read once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from nodegraph.serve.models import OpenedTemplate, Template, Templates
from nodegraph.serve.refuse import Refused
from nodegraph.workflow import Workflow

PICTURES = Path(__file__).parent / "template_pictures"


@dataclass
class TemplateStore:
    """The shipped workflows by name, such as `theory/steps`, and their pictures."""

    folder: Path = field(default_factory=lambda: Path(str(resources.files("nodegraph.workflows"))))
    pictures: Path = PICTURES
    _read: dict[str, Workflow] | None = None

    def listed(self) -> Templates:
        """Every template: those at the top first, by name."""
        order = sorted(self._workflows.items(), key=lambda item: (item[0].count("/"), item[0]))
        return Templates(
            templates=[
                Template(
                    name=name,
                    title=workflow.title or name,
                    description=workflow.description,
                    picture=f"/api/template-pictures/{name}" if self._picture(name).is_file() else None,
                )
                for name, workflow in order
            ]
        )

    def read(self, name: str) -> OpenedTemplate:
        """A template. Raises Refused where there is none of that name."""
        workflow = self._workflows.get(name)
        if workflow is None:
            raise Refused("not_found", f"there is no template {name[:100]!r}")
        return OpenedTemplate(name=name, workflow=json.loads(workflow.dump()))

    def picture(self, name: str) -> Path:
        """The file of a template's picture, a WebP. Raises Refused where there is none."""
        if name not in self._workflows or not self._picture(name).is_file():
            raise Refused("not_found", f"there is no picture of a template {name[:100]!r}")
        return self._picture(name)

    def _picture(self, name: str) -> Path:
        return self.pictures / f"{name.replace('/', '-')}.webp"

    @property
    def _workflows(self) -> dict[str, Workflow]:
        if self._read is None:
            found = {path.relative_to(self.folder): path for path in self.folder.rglob("*.json")}
            self._read = {name.with_suffix("").as_posix(): Workflow.load(path) for name, path in found.items()}
        return self._read
