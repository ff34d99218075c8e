"""Where things are kept: one folder for everything of a user, and what ships with the package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from nodegraph.errors import FileRefused
from nodegraph.files import Files

PACKAGE = Path(__file__).parent
PREVIEWS = "previews"  # the folder, in that of the output, of pictures that are only shown
# Each kind of model with the folders that it is looked for in, the first of them our own and the rest ComfyUI's.
MODEL_FOLDERS: dict[str, tuple[str, ...]] = {
    "checkpoints": ("checkpoints", "diffusion_models", "unet", "diffusers"),
    "vae": ("vae",),
    "loras": ("loras",),
    "controlnet": ("controlnet",),
    "text_encoders": ("text_encoders", "clip"),
    "image_encoders": ("image_encoders", "clip_vision"),
    "tokenizers": ("tokenizers",),
    "embeddings": ("embeddings",),
    "upscalers": ("upscalers", "upscale_models"),
    "onnx": ("onnx",),
}
MODEL_KINDS = tuple(MODEL_FOLDERS)
OTHER_FOLDERS = (
    " Put it into one of these folders, or name yours by --models or $NODEGRAPH_MODELS (ComfyUI's models folder "
    "as it is); $NODEGRAPH_HOME moves all of nodegraph's own."
)


@dataclass(frozen=True)
class Home:
    """The folders of one user. Nothing is made until something is written there."""

    folder: Path
    cache: Path
    further: tuple[Path, ...] = ()

    @classmethod
    def of_user(cls, folder: Path | None = None, models: Sequence[Path] | None = None) -> Home:
        """The given folder, else `$NODEGRAPH_HOME`, else the platform's own places.

        `models` are further model folders, or ComfyUI's extra_model_paths.yaml; else those of `$NODEGRAPH_MODELS`.
        """
        listed = os.environ.get("NODEGRAPH_MODELS", "").split(os.pathsep)
        given = models or [Path(path) for path in listed if path]
        further = tuple(path.expanduser().absolute() for path in given)
        chosen = folder or (Path(path) if (path := os.environ.get("NODEGRAPH_HOME")) else None)
        if chosen is not None:
            chosen = chosen.expanduser().absolute()
            return cls(chosen, chosen / "cache", further)
        import platformdirs

        return cls(platformdirs.user_data_path("nodegraph"), platformdirs.user_cache_path("nodegraph"), further)

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
        roots = self.model_roots()
        shipped = Path(str(resources.files("nodegraph.workflows")))
        roots["images"] = (*inputs, self.folder / "inputs", shipped)
        roots["datasets"] = (*inputs, self.folder / "datasets", shipped)
        embedded = PACKAGE / "diffusion" / "embedded"
        doubler = {"upscale2x": embedded / "upscale2x.onnx"}
        builtin = {"checkpoints": {"emoji": embedded / "emoji"}, "upscalers": doubler, "onnx": doubler}
        return Files(
            roots,
            builtin=builtin,
            output=output,
            allowed=allowed,
            unfinished=self.cache / "unfinished",
            digests=self.cache / "digests.sqlite",
            hints=dict.fromkeys(MODEL_KINDS, OTHER_FOLDERS),
            linked=MODEL_KINDS,
        )

    def model_roots(self) -> dict[str, Sequence[Path]]:
        """The folders of each kind of model: the home's own first, then the further ones in order.

        Raises:
            FileRefused: a further folder is not there, or a yaml file is not what ComfyUI understands.
        """
        roots: dict[str, list[Path]] = {kind: [] for kind in MODEL_KINDS}
        for place in (self.models, *self.further):
            if place.suffix in (".yaml", ".yml"):
                found = extra_model_paths(place)
            else:
                if place != self.models and not place.is_dir():
                    raise FileRefused(f"there is no model folder {place}; --models takes a folder or a yaml file")
                found = {kind: [place / name for name in names] for kind, names in MODEL_FOLDERS.items()}
            for kind, folders in found.items():
                roots[kind] += folders
        own = {kind: (self.models / kind).absolute() for kind in MODEL_KINDS}
        return {
            kind: [path for path in paths if path == own[kind] or path.is_dir()] for kind, paths in roots.items()
        }


def extra_model_paths(path: Path) -> dict[str, list[Path]]:
    """The model folders that a ComfyUI extra_model_paths.yaml names, by our kinds; other entries are left out.

    Raises:
        FileRefused: the file cannot be read as such.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise FileRefused(f"{path} cannot be read as a list of model folders: {error}") from None
    if not isinstance(document, dict):
        raise FileRefused(f"{path} names no model folders; see ComfyUI's extra_model_paths.yaml.example")
    kinds = {name: kind for kind, names in MODEL_FOLDERS.items() for name in names}
    roots: dict[str, list[Path]] = {kind: [] for kind in MODEL_KINDS}
    for section in document.values():
        if not isinstance(section, dict):
            continue
        base = path.parent / Path(os.path.expandvars(str(section.get("base_path", "")))).expanduser()
        for name, folders in section.items():
            if name in kinds and isinstance(folders, str):
                roots[kinds[name]] += [base / line.strip() for line in folders.splitlines() if line.strip()]
    return roots
