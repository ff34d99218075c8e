"""Data sets to train on: folders of pictures, handwritten digits, MNIST's files, packs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from nodegraph import Context, NodegraphError, node, pictures
from nodegraph.diffusion.pictures.images import on_white
from nodegraph.diffusion.sampling import analytic
from nodegraph.diffusion.training import datasets
from nodegraph.diffusion.training.values import Dataset
from nodegraph.diffusion.values import Image
from nodegraph.fields import DatasetFile, DatasetFolderName

MAX_PICTURES = 200_000
MAX_CAPTION = 2000
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

Size = Annotated[int, Field(ge=4, le=1024, description="Width and height that every picture is brought to.")]
Limit = Annotated[int, Field(ge=0, le=MAX_PICTURES, description="At most so many pictures; 0 takes all.")]


@node(category="training/data")
def DatasetFolder(
    context: Context,
    folder: DatasetFolderName,
    size: Size = 64,
    subfolders: Annotated[
        Literal["classes", "styles", "nothing"], Field(description="What the names of folders in the folder mean.")
    ] = "classes",
    limit: Limit = 0,
) -> Dataset:
    """Pictures of a folder, with their words.

    The words of `cat.png` are the lines of `cat.txt` beside it, each line another way to say it, or else its name.
    The middle square of each picture is used.
    """
    root = _path(context, folder)
    if not root.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found = list(_picture_files(root, limit or MAX_PICTURES))
    if not found:
        raise ValueError(f"there is no picture ({', '.join(SUFFIXES)}) in {folder}")
    squares, captions, groups = [], [], []
    for path in context.track(found):
        squares.append(_read(path, size))
        captions.append(_caption(path))
        inside = path.relative_to(root).parts
        groups.append(inside[0] if len(inside) > 1 and subfolders != "nothing" else "")
    return datasets.captioned(torch.cat(squares), captions, groups, subfolders)


@node(category="training/data", needs={"sklearn": "scikit-learn"})
def DatasetDigits(
    styles: Annotated[
        str, Field(max_length=200, description="Of `chalk`, `ink` and `pencil`, with commas; every digit in each.")
    ] = "chalk",
) -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 pixels, in ten classes `zero` to `nine`."""
    return datasets.digits([name.strip() for name in styles.split(",") if name.strip()])


@node(category="training/data")
def DatasetMNIST(
    context: Context,
    images: DatasetFile,
    labels: DatasetFile,
    padding: Annotated[int, Field(ge=0, le=64, description="Black pixels added on every side.")] = 2,
    limit: Limit = 0,
) -> Dataset:
    """Pictures and classes from two IDX files, as MNIST comes in, packed with gzip or not.

    The padding of 2 makes MNIST's 28 pixels 32, which patches and VAEs divide.
    """
    shown = datasets.read_idx(_path(context, images).read_bytes())
    said = datasets.read_idx(_path(context, labels).read_bytes())
    if shown.ndim != 3 or shown.shape[1] != shown.shape[2]:
        raise ValueError(f"{images} does not hold square pictures; its shape is {shown.shape}")
    if said.shape != shown.shape[:1]:
        raise ValueError(f"{images} holds {len(shown)} pictures and {labels} {said.size} labels")
    count = limit or len(shown)
    tensor = torch.from_numpy(shown[:count].copy())[:, None]
    tensor = torch.nn.functional.pad(tensor, (padding, padding, padding, padding))
    numbers = torch.from_numpy(said[:count].astype("int64"))
    names = analytic.DIGIT_NAMES if int(numbers.max()) < 10 else [str(n) for n in range(int(numbers.max()) + 1)]
    return datasets.labelled(tensor, numbers, names)


@node(category="training/data")
def DatasetPack(
    context: Context,
    index: Annotated[
        str,
        Field(
            description="The pack's `.json`: offsets, styles and words.", json_schema_extra={"file": "datasets"}
        ),
    ],
    pack: Annotated[
        str, Field(description="Its pictures, one after the other.", json_schema_extra={"file": "datasets"})
    ],
    size: Size = 64,
    styles: Annotated[
        str, Field(max_length=500, description="Names of styles that are used, with commas; empty for all.")
    ] = "",
    groups: Annotated[
        str, Field(max_length=500, description="Names of groups that are used, with commas; empty for all.")
    ] = "",
    limit: Limit = 0,
) -> Dataset:
    """Captioned pictures of several styles, packed into two files by `tools/build_pack.py`."""
    described = _index(_path(context, index))
    content = _path(context, pack).read_bytes()
    offsets, concepts = described["offsets"], described["emojis"]
    wanted_styles, wanted_groups = _names(styles) or described["styles"], _names(groups)
    for name in wanted_styles:
        if name not in described["styles"]:
            raise ValueError(f"the pack has no style {name!r}; it has {', '.join(described['styles'])}")
    chosen = [
        number
        for number, (style, concept) in enumerate(zip(described["style"], described["emoji"], strict=True))
        if described["styles"][style] in wanted_styles
        and (not wanted_groups or concepts[concept].get("group") in wanted_groups)
    ][: limit or MAX_PICTURES]
    if not chosen:
        raise ValueError("the pack has no picture in these styles and groups")
    squares, captions, shown = [], [], []
    for number in context.track(chosen):
        decoded = pictures.decode(content[offsets[number] : offsets[number + 1]])
        squares.append(datasets.square(torch.from_numpy(decoded)[None], size))
        captions.append(_concept_caption(concepts[described["emoji"][number]]))
        shown.append(described["styles"][described["style"][number]])
    return datasets.captioned(torch.cat(squares), captions, shown, "styles")


@node(category="training/data")
def DatasetFromImages(
    images: Annotated[Image, Field(description="Pictures; of each the middle square is used.")],
    captions: Annotated[
        str, Field(max_length=1_000_000, description="A line for each picture, or one for all; may be empty.")
    ] = "",
) -> Dataset:
    """Make a data set of pictures in the graph."""
    rgb = on_white(images.tensor)
    lines = captions.splitlines() or [""]
    if len(lines) == 1:
        lines *= len(rgb)
    if len(lines) != len(rgb):
        raise ValueError(f"{len(rgb)} pictures need as many lines of captions, or one; got {len(lines)}")
    return datasets.captioned(datasets.square(rgb, min(rgb.shape[2:])), lines, [""] * len(rgb), "classes")


@node(category="training/data")
def JoinDatasets(
    parts: Annotated[list[Dataset], Field(description="Data sets of one picture size, in order.")],
    styles: Annotated[
        str, Field(max_length=1000, description="With commas, a style for each data set; empty keeps their own.")
    ] = "",
) -> Dataset:
    """Put data sets together; each may become a style of its own."""
    return datasets.join(parts, _names(styles))


@node(category="training/data")
def DatasetImages(
    dataset: Dataset,
    first: Annotated[int, Field(ge=0, le=MAX_PICTURES, description="Number of the first picture, from 0.")] = 0,
    count: Annotated[int, Field(ge=1, le=4096, description="How many pictures.")] = 64,
) -> Image:
    """Look at the pictures of a data set."""
    chosen = dataset.pictures[first : first + count]
    if not len(chosen):
        raise ValueError(f"there is no picture {first} in a data set of {len(dataset.captions)}")
    return Image((chosen.float() / 255).expand(-1, 3, -1, -1).contiguous())


def _path(context: Context, name: str) -> Path:
    path = context.files.find("datasets", name)
    if path is None:
        raise ValueError(f"{name} is not the name of a file; nothing is downloaded")
    return path


def _picture_files(root: Path, limit: int) -> Iterator[Path]:
    count = 0
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        # A link that leads out of the folder would read what the user did not offer.
        if not hidden and path.suffix.lower() in SUFFIXES and path.resolve().is_relative_to(root.resolve()):
            if count == limit:
                return
            count += 1
            yield path


def _read(path: Path, size: int) -> torch.Tensor:
    try:
        return datasets.square(torch.from_numpy(pictures.decode(path.read_bytes()))[None], size)
    except NodegraphError as error:
        raise ValueError(f"{path.name}: {error}; remove it from the folder") from None


def _caption(path: Path) -> str:
    words = path.with_suffix(".txt")
    if words.is_file() and words.resolve().is_relative_to(path.parent.resolve()):
        with words.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_CAPTION).strip()
    return path.stem.replace("_", " ").replace("-", " ")


def _index(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text("utf-8"))
        lengths = (len(described["style"]), len(described["emoji"]), len(described["offsets"]) - 1)
        sound = len(set(lengths)) == 1 and lengths[0] <= MAX_PICTURES
        sound &= all(0 <= number < len(described["styles"]) for number in described["style"])
        sound &= all(0 <= number < len(described["emojis"]) for number in described["emoji"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not the index of a pack: {error!r}") from None
    if not sound:
        raise ValueError(f"{path.name} contradicts itself: its lists do not fit each other")
    return described  # type: ignore[no-any-return]


def _concept_caption(concept: dict[str, Any]) -> str:
    names = [concept.get("name"), *(concept.get("kw") or []), concept.get("zh")]
    return "\n".join(name for name in names if isinstance(name, str) and name)[:MAX_CAPTION]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
