"""What becomes of trained weights: used at once, saved, their loss as a curve, and a sheet of what they paint."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from nodegraph import Context, node
from nodegraph.diffusion.models import trained
from nodegraph.diffusion.pictures.grid import labelled_grid
from nodegraph.diffusion.pictures.plot import Curve, line_plot
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.training.values import TrainingLog
from nodegraph.diffusion.values import VAE, Image, Latent, Model, Sigmas, TextEncoder, Weights
from nodegraph.fields import FileName, GuidanceScale, Seed, Steps

from .models import Loaded, VAEDecode, denoiser_of, text_encoder_of


@node(category="training")
def UseWeights(weights: Weights) -> Loaded:
    """Use a model right after its training, as LoadModel gives one from a file."""
    return Loaded(*trained.describe(trained.checkpoint(weights), None))


@node(category="training", effect="files")
def SaveModel(
    context: Context,
    weights: Weights,
    name: FileName = "model",
    half: Annotated[bool, Field(description="In half precision: half the size, hardly any difference.")] = True,
) -> None:
    """Write a model to the folder of checkpoints, under a fresh number; LoadModel opens it by that name."""
    context.save(name, ".safetensors", trained.to_bytes(weights, half=half), "checkpoints")


@node(category="training")
def LossCurve(
    log: TrainingLog,
    title: Annotated[str, Field(max_length=200, description="Written above the curves.")] = "Loss",
    logarithmic: Annotated[bool, Field(description="A logarithmic axis for the loss.")] = True,
) -> Image:
    """Plot a training: its loss, the loss on pictures held out, and the parts where there are several."""
    columns = list(log.columns[1:])
    if columns[:-1] and len({"held out", "total"} ^ set(columns)) == 1:
        columns = [name for name in columns if name in ("total", "held out")]
    steps = log.rows[:, 0].tolist()
    curves = [Curve(name, steps, log.rows[:, log.columns.index(name)].tolist()) for name in columns]
    return Image(line_plot(curves, title=title, x_label="step", y_label="loss", log_y=logarithmic))


@node(category="training", on_device=True)
def SampleGrid(
    context: Context,
    model: Model,
    text_encoder: TextEncoder,
    vae: VAE,
    prompts: Annotated[
        str,
        Field(
            max_length=20_000,
            description="A line for each row: words, or a class.",
            json_schema_extra={"widget": "text"},
        ),
    ] = "",
    style: Annotated[str, Field(max_length=100, description="A style that the model knows; empty for any.")] = "",
    columns: Annotated[int, Field(ge=1, le=64, description="Pictures in a row, of one seed after the other.")] = 8,
    steps: Steps = 20,
    guidance_scale: GuidanceScale = 2.0,
    scale: Annotated[int, Field(ge=1, le=16, description="Times each picture is enlarged, pixel by pixel.")] = 1,
    seed: Seed = 0,
) -> Image:
    """A sheet of what a model paints: a row for each prompt, a column for each seed."""
    lines = [line.strip() for line in prompts.splitlines()] or [""]
    live, encoder = denoiser_of(context, model), text_encoder_of(context, text_encoder)
    sigmas = Sigmas(schedule("karras", model.parametrization, steps))
    side = vae.size // vae.downscale
    blank = Latent(torch.zeros(columns, vae.latent_channels, side, side))
    negative = encoder.encode("", {})
    rows = []
    for line in context.track(lines):
        positive = encoder.encode(line, {style: 1.0} if style else {})
        result = blank.tensor
        for step in sample(
            live, blank, sigmas, positive, negative,
            name="dpmpp_2m", seed=seed, guidance_scale=guidance_scale, device=context.device,
        ):  # fmt: skip
            result = step.x
            context.check_cancelled()
        rows.append(VAEDecode(context, vae, Latent(result.float().clone())).tensor)
    return Image(labelled_grid(torch.cat(rows).clone(), columns, [], scale))
