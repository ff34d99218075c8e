"""Networks that make pictures larger: ONNX files and the checkpoints that spandrel knows, in tiles or whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodegraph.diffusion.checkpoints.header import ModelRefused, read
from nodegraph.diffusion.checkpoints.parts import Source
from nodegraph.diffusion.checkpoints.weights import Reader
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.networks.onnx import OnnxNetwork
from nodegraph.diffusion.values import Checkpoint

FAMILY = "upscaler"
# Pixels around a tile that a network is shown with it; at the picture's edges the last ones are repeated.
MARGIN = 32
PROBE = 32  # side of the picture that tells how many times larger a network makes one


@dataclass(frozen=True, eq=False)
class Upscaler:
    """A network from pictures to larger ones.

    Args:
        function: (1, 3, h, w) in [0, 1] to (1, 3, h * scale, w * scale).
        scale: how many times as long each side becomes.
        side: the one size that it takes, or None where it takes any.
    """

    function: Callable[[Tensor], Tensor]
    scale: int
    side: int | None = None

    def __call__(self, image: Tensor, tile: int | None = None) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] enlarged, whole or in tiles of a side.

        Each tile is worked on with a margin of what lies around it, which is cut off again: a network that looks
        no further gives the same as on the whole, so there is no seam.
        """
        return torch.cat([self._one(one[None], tile) for one in image])

    def _one(self, image: Tensor, tile: int | None) -> Tensor:
        height, width = image.shape[2:]
        margin = MARGIN if self.side is None else self.side // 4
        step = (tile or max(height, width)) if self.side is None else self.side - 2 * margin
        # A network of one size gets whole tiles; what is too much is cut off at the end.
        below, right = (-height % step, -width % step) if self.side is not None else (0, 0)
        padded = functional.pad(image, (margin, margin + right, margin, margin + below), mode="replicate")
        result = image.new_empty(1, 3, (height + below) * self.scale, (width + right) * self.scale)
        for top in range(0, height, step):
            for left in range(0, width, step):
                piece = padded[..., top : top + step + 2 * margin, left : left + step + 2 * margin]
                cut = margin * self.scale
                made = self.function(piece)[..., cut:-cut, cut:-cut].clamp(0, 1)
                y, x = top * self.scale, left * self.scale
                result[..., y : y + made.shape[2], x : x + made.shape[3]] = made
        return result[..., : height * self.scale, : width * self.scale]


def load(checkpoint: Checkpoint, path: Path | None, device: str, dtype: str = "float32") -> Loaded:  # noqa: ARG001
    """The upscaler in a file, told apart by its content, for the pool to keep; in float32 whatever is asked for.

    Raises:
        ValueError: the file is neither an ONNX network from pictures to pictures nor a checkpoint that spandrel
            knows, or what runs it is not installed.
    """
    if path is None:
        raise ValueError("the upscaler's file is no longer where it was; run the workflow again")
    with path.open("rb") as file:
        start = file.read(9)
    live: Any
    networks: dict[str, nn.Module] = {}
    if path.suffix == ".onnx" and start[8:] != b"{":
        live = of_onnx(OnnxNetwork(path, device))
    else:
        live, networks["denoiser"] = _of_spandrel(path)
    return Loaded(live, live, live, networks)


def of_onnx(network: OnnxNetwork) -> Upscaler:
    """An ONNX network as an upscaler. Raises ValueError where it is none from one picture to a larger one."""
    if len(network.inputs) != 1:
        raise ValueError(
            f"{network.path} takes {len(network.inputs)} inputs ({', '.join(network.inputs)}), not 1 picture"
        )
    ((name, (_, shape)),) = network.inputs.items()
    sides = [side if isinstance(side, int) else None for side in shape[2:]]
    if len(shape) != 4 or shape[1] not in (3, "C", "channels") or len(set(sides)) != 1:
        raise ValueError(f"{network.path} takes {name} of shape {list(shape)}, and a picture is (N, 3, H, W)")
    side = sides[0]
    probe = network(**{name: torch.zeros(1, 3, side or PROBE, side or PROBE)})[0]
    scale = probe.shape[-1] // (side or PROBE) if probe.ndim == 4 else 0
    if scale < 1 or probe.shape[1:] != (3, (side or PROBE) * scale, (side or PROBE) * scale):
        raise ValueError(f"{network.path} makes {list(probe.shape)} of a picture, which is no picture")
    return Upscaler(lambda image: network(**{name: image})[0], scale, side)


def _of_spandrel(path: Path) -> tuple[Upscaler, nn.Module]:
    header, reader = read(path), Reader()
    try:
        import spandrel
    except Exception as error:  # torchvision fails in many ways beside a torch of another build
        raise ValueError(
            f"{path.name} needs the package spandrel, which cannot be imported here ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}). Install it with: pip install "
            f"nodegraph[upscalers]; "
            "it needs the torchvision that belongs to this torch. ONNX upscalers work without it"
        ) from None
    weights = {key: reader.tensor(Source(path, key, entry, entry.shape)) for key, entry in header.tensors.items()}
    try:
        model: Any = spandrel.ModelLoader("cpu").load_from_state_dict(weights)
    except Exception as error:
        raise ModelRefused(f"{path} is no upscaler that spandrel knows: {str(error)[:200]}") from None
    if (
        not isinstance(model, spandrel.ImageModelDescriptor)
        or model.input_channels != 3
        or model.output_channels != 3
    ):
        raise ModelRefused(f"{path} is no network from colour pictures to colour pictures")
    network: nn.Module = model.eval().model

    def enlarge(image: Tensor) -> Tensor:
        made: Tensor = model(image.to(next(network.parameters()).device))
        return made.cpu()

    return Upscaler(enlarge, int(model.scale)), network
