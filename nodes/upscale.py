"""Larger pictures, and networks of other programs: upscalers, ONNX in and out."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field

from nodegraph import Context, node
from nodegraph.diffusion.models import exporting, upscaling
from nodegraph.diffusion.models.memory import afford
from nodegraph.diffusion.networks.onnx import OnnxNetwork
from nodegraph.diffusion.pictures.images import on_white
from nodegraph.diffusion.values import Checkpoint, Image, Model
from nodegraph.fields import FileName, OnnxFile, UpscalerFile

Side = Annotated[
    Annotated[int, Field(ge=32, le=8192)] | None,
    Field(
        description="Work in tiles of this many pixels, which takes less memory; left out, on the whole picture."
    ),
]


@node(category="image/upscale", on_device=True)
def Upscale(context: Context, image: Image, upscaler: UpscalerFile = "upscale2x", tile: Side = 512) -> Image:
    """Make a picture larger with a network; `upscale2x` doubles drawn pictures and ships with the package."""
    path = context.files.find("upscalers", upscaler)
    if path is None:
        raise ValueError(f"{upscaler} is no file name")
    checkpoint = Checkpoint(upscaler, context.files.digest(path), upscaling.FAMILY)
    network: Any = context.open(checkpoint).denoiser
    return Image(_each(context, image, network, tile))


@node(category="image/upscale", on_device=True)
def RunOnnx(context: Context, image: Image, network: OnnxFile = "upscale2x", tile: Side = None) -> Image:
    """Run an ONNX network that turns a picture into a picture of the same or a larger size."""
    path = context.files.find("onnx", network)
    if path is None:
        raise ValueError(f"{network} is no file name")
    return Image(_each(context, image, upscaling.of_onnx(OnnxNetwork(path, context.device)), tile))


@node(category="model", effect="files", needs={"onnxscript": "onnxscript"})
def ExportOnnx(
    context: Context,
    model: Model,
    part: Annotated[
        exporting.PartName, Field(description="Which of the model's networks is written.")
    ] = "vae_decoder",
    name: FileName = "model",
) -> None:
    """Write a network of the embedded model as an ONNX file, for other programs."""
    content = exporting.as_onnx(context.open(model.checkpoint), model.checkpoint, part)
    context.save(f"{name}-{part}", ".onnx", content)


def _each(context: Context, image: Image, network: upscaling.Upscaler, tile: int | None) -> torch.Tensor:
    rgb = on_white(image.tensor)
    afford("a picture", *rgb.shape[:2], *(side * network.scale for side in rgb.shape[2:]))
    with torch.inference_mode():
        made = [network(one[None], tile) for one in context.track(list(rgb))]
    return torch.cat(made).float().clamp(0, 1).clone()
