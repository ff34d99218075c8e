"""LoRA: small products of matrices that are added to a network's weights (Hu et al. 2021).

Files of kohya's trainer name modules with underscores, diffusers' and PEFT's with dots; those for SDXL may use the
names of the original U-Net, those for transformers the names of original files, where several weights are one. All
become the same terms: for one weight, W + strength * (alpha / rank) * up @ down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal, NoReturn

import torch
from torch import Tensor, nn

from nodegraph.diffusion.checkpoints.header import Header, ModelRefused, read
from nodegraph.diffusion.checkpoints.layouts import LAYOUTS
from nodegraph.diffusion.checkpoints.names import original_unet_renamer
from nodegraph.diffusion.checkpoints.parts import Source
from nodegraph.diffusion.checkpoints.weights import DTYPES, Reader

Target = Literal["denoiser", "text_encoder", "text_encoder_2", "text_encoder_3"]  # as diffusers numbers them
Shapes = Mapping[str, tuple[int, ...]]
RANK_LIMIT = 8192  # what is computed of a file grows with its ranks; the largest known are those of whole weights

_KOHYA = re.compile(r"lora_(unet|transformer|te|te1|te2|te3)_([^.]+)\.(.+)")
_KOHYA_TARGETS: dict[str, Target] = {
    "unet": "denoiser", "transformer": "denoiser", "te": "text_encoder", "te1": "text_encoder",
    "te2": "text_encoder_2", "te3": "text_encoder_3",
}  # fmt: skip
_DOTTED_TARGETS: tuple[tuple[str, Target], ...] = (
    ("unet.", "denoiser"),
    ("transformer.", "denoiser"),
    ("diffusion_model.", "denoiser"),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder_3.", "text_encoder_3"),
    ("", "denoiser"),
)
# What a key ends in, and what that is.
_LEAVES = (
    (r"[._]lora(?:_A|_down|\.down|_linear_layer\.down)(?:\.default)?\.weight", "down"),
    (r"[._]lora(?:_B|_up|\.up|_linear_layer\.up)(?:\.default)?\.weight", "up"),
    (r"\.lora_mid\.weight", "mid"),
    (r"\.alpha", "alpha"),
    (r"\.hada_w1_a", "w1a"),
    (r"\.hada_w1_b", "w1b"),
    (r"\.hada_w2_a", "w2a"),
    (r"\.hada_w2_b", "w2b"),
    (r"\.diff", "diff"),
    (r"\.diff_b", "diff_b"),
)


@dataclass(frozen=True)
class Term:
    """What one file adds to one weight: its tensors by role (`up`, `down`, `mid`, `alpha`, `w1a`, ..., `diff`).

    `rows` are those of what it adds that are for this weight, where it is for several, and `swapped` says that its
    halves change places.
    """

    pieces: Mapping[str, Source]
    rows: tuple[int, int] | None = None
    swapped: bool = False

    def delta(self, reader: Reader, shape: torch.Size) -> Tensor:
        """The change at strength 1, float32, of the weight's shape."""
        part = {role: reader.tensor(source, torch.float32) for role, source in self.pieces.items()}
        for role in part.keys() & {"up", "w1a", "w2a", "diff"}:  # whose rows are the weight's
            if self.rows is not None:
                part[role] = part[role][slice(*self.rows)]
            if self.swapped:
                part[role] = torch.cat(part[role].tensor_split(2)[::-1])
        if "diff" in part:
            return part["diff"].reshape(shape)
        if "w1a" in part:
            rank = part["w1b"].shape[0]
            change = (part["w1a"] @ part["w1b"]) * (part["w2a"] @ part["w2b"])
        else:
            up, down = part["up"].flatten(1), part["down"]
            rank = down.shape[0]
            if "mid" in part:
                change = torch.einsum("or,rskl,si->oikl", up, part["mid"], down.flatten(1))
            else:
                change = up @ down.flatten(1)
        scale = float(part["alpha"]) / rank if "alpha" in part else 1.0
        return change.reshape(shape) * scale


def targets(path: Path) -> dict[Target, list[str]]:
    """The networks that a LoRA is for, each with its keys. Raises ModelRefused where the file is no LoRA."""
    header = read(path)
    found: dict[Target, list[str]] = {}
    for key in header.tensors:
        found.setdefault(_split(header, key)[0], []).append(key)
    return found


def terms(path: Path, wanted: Collection[Target], shapes: Shapes, layers: int = 2) -> dict[str, Term]:
    """What a LoRA adds to a network, by the names of its weights; from headers alone.

    Args:
        path: of the file.
        wanted: which network, by all that files call it.
        shapes: of the network's weights.
        layers: of a block of the U-Net, to read original names.

    Raises:
        ModelRefused: the file is no LoRA, or of a kind or for a network that differs.
    """
    header = read(path)
    modules = {name.removesuffix(".weight").replace(".", "_"): name for name in shapes if name.endswith(".weight")}
    rename = original_unet_renamer(layers)
    places: dict[str, _Place] = {}
    pieces: dict[str, dict[str, Source]] = {}
    unknown: list[str] = []
    for key, entry in header.tensors.items():
        place, module, role = _split(header, key)
        if place not in wanted:
            continue
        found = _find(module, modules, shapes, rename if place == "denoiser" else str)
        if not found:
            unknown.append(key)
            continue
        for one in found:
            weight = one.weight.removesuffix("weight") + "bias" if role == "diff_b" else one.weight
            places[weight] = one
            source = Source(path, key, entry, entry.shape)
            pieces.setdefault(weight, {})["diff" if role == "diff_b" else role] = source
    if unknown:
        raise ModelRefused(
            f"{path} was made for another model: {unknown[0]} (and {len(unknown) - 1} more) has no place in "
            f"this one. "
            "Use a LoRA of the checkpoint's own family"
        )
    for weight, given in pieces.items():
        _check(path, weight, given, shapes.get(weight), places[weight].total)
    return {weight: Term(given, places[weight].rows, places[weight].swapped) for weight, given in pieces.items()}


def _split(header: Header, key: str) -> tuple[Target, str, str]:
    """Which network a key is for, the module with underscores for dots, and the tensor's role."""
    if any(word in key for word in ("dora_scale", "lora_magnitude", "lokr_", "hada_t1", "hada_t2")):
        raise ModelRefused(
            f"{header.path} is a kind of LoRA that is not supported ({key}); LoRA, LoCon and LoHa are"
        )
    for pattern, role in _LEAVES:
        if match := re.search(pattern + "$", key):
            module = key[: match.start()]
            if kohya := _KOHYA.fullmatch(module + ".x"):
                return _KOHYA_TARGETS[kohya[1]], kohya[2].removeprefix("text_model_"), role
            module = module.removeprefix("base_model.model.")
            start, target = next(pair for pair in _DOTTED_TARGETS if module.startswith(pair[0]))
            module = module.removeprefix(start).removeprefix("text_model.").replace(".processor", "")
            return target, module.replace(".", "_"), role
    raise ModelRefused(f"{header.path} is no LoRA: it holds {key[:120]!r}. LoRAs hold pairs of small matrices")


@dataclass(frozen=True)
class _Place:
    """A weight that a module of a LoRA changes; `rows` are its own of the `total` that the module changes."""

    weight: str
    rows: tuple[int, int] | None = None
    total: int | None = None
    swapped: bool = False


def _find(module: str, modules: Mapping[str, str], shapes: Shapes, rename: Callable[[str], str]) -> list[_Place]:
    for name in (module, f"{module}_0", rename(module)):
        if name in modules:
            return [_Place(modules[name])]
    for layout in LAYOUTS:
        names, swapped = layout.modules(module) or ([], False)
        if names and all(name in modules for name in names):
            weights = [modules[name] for name in names]
            edges = list(accumulate((shapes[weight][0] for weight in weights), initial=0))
            if len(weights) > 1:
                return [
                    _Place(weight, rows, edges[-1]) for weight, rows in zip(weights, pairwise(edges), strict=True)
                ]
            # As in `Layout.pieces`: of two blocks of rows, the network is as wide as its other side.
            return [_Place(weights[0], swapped=swapped and edges[-1] == 2 * shapes[weights[0]][1])]
    return []


def _check(
    path: Path, weight: str, found: Mapping[str, Source], shape: tuple[int, ...] | None, total: int | None
) -> None:
    roles = found.keys() - {"alpha"}
    for needed in ({"diff"}, {"up", "down"}, {"up", "down", "mid"}, {"w1a", "w1b", "w2a", "w2b"}):
        if roles == needed:
            break
    else:
        raise ModelRefused(f"{path} is not complete: for {weight} it holds {', '.join(sorted(found))}")
    if shape is None:
        raise ModelRefused(f"{path} was made for another model: it changes {weight}, which this one has not")
    _check_numbers(path, found)
    height, inner = total or shape[0], math.prod(shape[1:])
    if "diff" in found:
        if found["diff"].shape != (height, *shape[1:]):
            _other_model(path, weight, found["diff"], shape)
        return
    for rows, columns in (("up", "down"),) if "up" in found else (("w1a", "w1b"), ("w2a", "w2b")):
        (tall, *rest), (rank, *wide) = _sides(path, found[rows]), _sides(path, found[columns])
        ranks, met = {math.prod(rest), rank}, math.prod(rest) == rank
        if "mid" in found:  # lies between the two, with both of their ranks and the sides of a convolution
            first, second, *kernel = _sides(path, found["mid"], 4)
            met = (first, second) == (math.prod(rest), rank)
            wide += kernel
        elif rows != "up":
            met = met and len(rest) == len(wide) == 1
        if not met or min(ranks) < 1 or max(ranks) > RANK_LIMIT:
            raise ModelRefused(
                f"{path} is damaged: {found[rows].key} {list(found[rows].shape)} and {found[columns].key} "
                f"{list(found[columns].shape)} have no rank of 1 to {RANK_LIMIT} in common. Get the LoRA anew"
            )
        if tall != height or math.prod(wide) != inner:
            _other_model(path, weight, found[columns], shape)


def _check_numbers(path: Path, found: Mapping[str, Source]) -> None:
    for role, source in found.items():
        if role == "alpha":
            if math.prod(source.shape) != 1:
                raise ModelRefused(
                    f"{path} is damaged: {source.key} should be one number, not {list(source.shape)}"
                )
        elif not (source.entry.dtype in DTYPES and DTYPES[source.entry.dtype].is_floating_point):
            raise ModelRefused(
                f"{path}: {source.key} is {source.entry.dtype}; LoRAs hold floating-point numbers. Get it in "
                "float16 or bfloat16"
            )


def _sides(path: Path, source: Source, count: int = 2) -> tuple[int, ...]:
    if len(source.shape) < count:
        raise ModelRefused(
            f"{path} is damaged: {source.key} has the shape {list(source.shape)}. Get the LoRA anew"
        )
    return source.shape


def _other_model(path: Path, weight: str, source: Source, shape: tuple[int, ...]) -> NoReturn:
    raise ModelRefused(
        f"{path} was made for another model: {source.key} has the shape {list(source.shape)}, and what it changes "
        f"here, {weight}, has {list(shape)}. Use a LoRA of the checkpoint's own family"
    )


class Patches:
    """LoRAs merged into a network, and the weights that they took the place of.

    The weights that are replaced stay as they are, on the host, so taking a LoRA out again gives the network back
    exactly, and what the network takes on an accelerator does not grow.

    Args:
        network: whose weights are replaced.
        target: which network it is, for files that hold several; `set` may say otherwise.
        layers: of a block of a U-Net.
    """

    def __init__(self, network: nn.Module, target: Target, layers: int = 2) -> None:
        self._weights = {_plain(name): value for name, value in network.named_parameters()}
        self._targets: tuple[Target, ...] = (target,)
        self._layers = layers
        self._original: dict[str, Tensor] = {}
        self._now: tuple[tuple[Target, ...], tuple[tuple[Path, float], ...]] = ((target,), ())

    def set(self, files: Sequence[tuple[Path, float]], targets: tuple[Target, ...] = ()) -> None:
        """Have just these files merged, each with its strength; none gives the network as it was loaded."""
        wanted = targets or self._targets, tuple((path, strength) for path, strength in files if strength)
        if wanted == self._now:
            return
        shapes = {name: tuple(value.shape) for name, value in self._weights.items()}
        planned = [(terms(path, wanted[0], shapes, self._layers), strength) for path, strength in wanted[1]]
        self.remove()
        reader = Reader()
        try:
            for name in _names(found for found, _ in planned):
                self._merge(name, planned, reader)
        except BaseException:  # half of a LoRA is none
            self.remove()
            raise
        self._now = wanted

    def _merge(self, name: str, planned: Sequence[tuple[Mapping[str, Term], float]], reader: Reader) -> None:
        parameter = self._weights[name]
        original = parameter.data
        self._original[name] = original.to("cpu")
        change = torch.zeros(original.shape, dtype=torch.float32)
        for found, strength in planned:
            if name in found:
                change += strength * found[name].delta(reader, original.shape)
                if not change.isfinite().all():
                    source = next(iter(found[name].pieces.values()))
                    raise ModelRefused(
                        f"{source.path} is damaged, or its strength of {strength:g} too large: what {source.key} "
                        "adds is no number. Get the LoRA anew"
                    )
        parameter.data = (original.float() + change.to(original.device)).to(original.dtype)

    def remove(self) -> None:
        """Put the weights back that were replaced."""
        for name, original in self._original.items():
            self._weights[name].data = original.to(self._weights[name].device)
        self._original, self._now = {}, (self._targets, ())


def _names(found: Iterable[Mapping[str, Term]]) -> list[str]:
    return list(dict.fromkeys(name for one in found for name in one))


def _plain(name: str) -> str:
    return name.removeprefix("text_model.")
