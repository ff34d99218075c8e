"""Where things are kept: one folder for everything of a user, and what ships with the package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from nodegraph.files import Files

PACKAGE = Path(__file__).parent
MODEL_KINDS = (
    "checkpoints",
    "vae",
    "loras",
    "controlnet",
    "text_encoders",
    "embeddings",
    "upscalers",
    "onnx",
)


@dataclass(frozen=True)
class Home:
    """The folders of one user. Nothing is made until something is written there."""

    folder: Path
    cache: Path

    @classmethod
    def of_user(cls, folder: Path | None = None) -> Home:
        """The given folder, else `$NODEGRAPH_HOME`, else the platform's own places."""
        chosen = folder or (Path(path) if (path := os.environ.get("NODEGRAPH_HOME")) else None)
        if chosen is not None:
            chosen = chosen.expanduser().absolute()
            return cls(chosen, chosen / "cache")
        import platformdirs

        return cls(platformdirs.user_data_path("nodegraph"), platformdirs.user_cache_path("nodegraph"))

    @property
    def plugins(self) -> Path:
        """The user's plugin folder."""
        return self.folder / "plugins"

    @property
    def models(self) -> Path:
        """The user's model folder, one folder of a kind in it."""
        return self.folder / "models"

    def files(self, *, output: Path, inputs: Sequence[Path] = (), allowed: Sequence[Path] = ()) -> Files:
        """Files for a run: pictures from `inputs` and the home, models from the home, results to `output`."""
        roots: dict[str, Sequence[Path]] = {kind: (self.models / kind,) for kind in MODEL_KINDS}
        shipped = Path(str(resources.files("nodegraph.workflows")))
        roots["images"] = (*inputs, self.folder / "inputs", shipped)
        builtin = {"checkpoints": {"emoji": PACKAGE / "diffusion" / "embedded" / "emoji"}}
        return Files(roots, builtin=builtin, output=output, allowed=allowed)
