"""Training in the graph: a VAE, and a diffusion model of a size and with a loss that are nodes too."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field

from nodegraph import Context, node
from nodegraph.diffusion.live import Loaded as Live
from nodegraph.diffusion.models import trained
from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.pictures.grid import labelled_grid
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.training import learning
from nodegraph.diffusion.training.objectives import Objective, Target, Times
from nodegraph.diffusion.training.state import StateDamaged
from nodegraph.diffusion.training.trainer import Settings, Trainer
from nodegraph.diffusion.training.values import Dataset, NetworkSize, TrainingLog
from nodegraph.diffusion.values import VAE, Image, Latent, Sigmas, Weights
from nodegraph.fields import Seed

PREVIEW_STEPS = 10

TrainingSteps = Annotated[int, Field(ge=1, le=10_000_000, description="How many steps the optimiser takes.")]
PicturesAtOnce = Annotated[int, Field(ge=1, le=4096, description="Pictures in each step.")]
Rate = Annotated[
    float, Field(gt=0, le=1, description="Peak of the learning rate; it warms up and falls to nearly 0.")
]
Average = Annotated[
    float,
    Field(
        ge=0, lt=1, description="Decay of the moving average of the weights, which is what is kept; 0 for none."
    ),
]
Clip = Annotated[
    float, Field(gt=0, le=1e6, description="The gradient is shortened to this norm where it is longer.")
]
HeldOut = Annotated[
    float, Field(ge=0, le=0.9, description="Share of the pictures never trained on, to measure the loss with.")
]
SaveEvery = Annotated[
    int,
    Field(
        ge=1,
        le=1_000_000,
        description="After so many steps all is saved; killed, the training goes on from there.",
    ),
]


class TrainedVAE(NamedTuple):
    """A VAE, and how its training went."""

    vae: VAE
    log: TrainingLog


class TrainedModel(NamedTuple):
    """A model's weights, and how their training went."""

    weights: Weights
    log: TrainingLog


@node(category="training")
def DenoiserSize(
    width: Annotated[int, Field(ge=16, le=2048, multiple_of=16, description="Width of the tokens.")] = 96,
    depth: Annotated[int, Field(ge=1, le=48, description="Number of blocks.")] = 4,
    patch: Annotated[int, Field(ge=1, le=16, description="Side of the square of latent pixels in a token.")] = 2,
    text_width: Annotated[
        int, Field(ge=16, le=2048, multiple_of=16, description="Width of word embeddings.")
    ] = 64,
    text_depth: Annotated[int, Field(ge=0, le=12, description="Layers of the text encoder.")] = 1,
) -> NetworkSize:
    """How large the network that TrainDiffusion trains is: a transformer with cross-attention to words."""
    return NetworkSize(width, depth, patch, text_width, text_depth)


@node(category="training")
def DiffusionLoss(
    prediction: Annotated[
        Target, Field(description="What the network predicts: noise, velocity or flow.")
    ] = "flow",
    min_snr: Annotated[
        float,
        Field(ge=0, le=1000, description="Cap on how much nearly clean pictures weigh; 5 is usual, 0 is off."),
    ] = 0.0,
    diffusion: Annotated[float, Field(ge=0, le=1000, description="Weight of the error of the prediction.")] = 1.0,
    reconstruction: Annotated[
        float, Field(ge=0, le=1000, description="Weight of the absolute error of the clean estimate.")
    ] = 0.0,
    style: Annotated[
        float, Field(ge=0, le=1000, description="Weight of how badly the asked style is read off the estimate.")
    ] = 0.0,
    variance: Annotated[
        float,
        Field(
            ge=0,
            le=1000,
            description="Weight of the bound that teaches the variance of a step, for the sampler "
            "`ddpm_learned_range`; 1 is usual, 0 learns none. For `eps` and `v`.",
        ),
    ] = 0.0,
    times: Annotated[
        Times,
        Field(
            description="How sigmas are drawn: alike, or those in the middle more often (`logit_normal`, "
            "which is usual for `flow`)."
        ),
    ] = "usual",
) -> Objective:
    """What TrainDiffusion minimises: a sum of weighted parts, reported one by one."""
    return Objective(prediction, min_snr, diffusion, reconstruction, style, variance, times)


@node(category="training", on_device=True)
def TrainDiffusion(
    context: Context,
    dataset: Dataset,
    size: Annotated[NetworkSize | None, Field(description="Of the network; left out, a small one.")] = None,
    loss: Annotated[Objective | None, Field(description="What is minimised; left out, the flow's error.")] = None,
    vae: Annotated[VAE | None, Field(description="Learn in its latents; left out, in pixels.")] = None,
    condition: Annotated[
        Literal["text", "class", "nothing"], Field(description="What will guide the model, besides styles.")
    ] = "text",
    steps: TrainingSteps = 1000,
    batch_size: PicturesAtOnce = 64,
    learning_rate: Rate = 1e-3,
    dropout: Annotated[
        float, Field(ge=0, le=0.5, description="Chance that words and style are left out, so that guidance works.")
    ] = 0.1,
    average: Average = 0.999,
    clip: Clip = 1.0,
    held_out: HeldOut = 0.05,
    mixed_precision: Annotated[bool, Field(description="Compute in bfloat16 on an accelerator.")] = True,
    save_every: SaveEvery = 200,
    seed: Seed = 0,
) -> TrainedModel:
    """Train a diffusion model on a data set, guided by words, classes and styles.

    It tells the loss and the pictures a second, and shows samples while it runs. Killed and run again with the
    same inputs it goes on where it last saved, to the same weights.
    """
    shape, objective = size or NetworkSize(), loss or Objective()
    encoder = _autoencoder(context, vae)
    clean = learning.latents(dataset, encoder, context.device)
    captions = learning.Captions.of(dataset, condition)
    config = trained.TrainedConfig(
        size=dataset.size,
        channels=clean.shape[1],
        prediction=objective.prediction,
        variance=objective.variance > 0,
        condition="class" if condition == "class" else "text",
        words=captions.vocabulary.words,
        styles=dataset.styles,
        network=trained.NetworkShape(
            width=shape.width, depth=shape.depth, heads=_heads(shape.width), patch=shape.patch,
            text_width=shape.text_width, text_depth=shape.text_depth,
        ),
        autoencoder=None if encoder is None else trained.shape_of(encoder),
        steps=steps,
        pictures_seen=steps * batch_size,
    )  # fmt: skip
    with learning.seeded(seed):
        network = trained.compose(config).to(context.device)
    trainer = Trainer(
        network,
        learning.diffusion_losses(clean, dataset, captions, objective, dropout),
        len(clean),
        Settings(steps, batch_size, learning_rate, average, clip, 0.01, held_out, seed, mixed_precision),
    )

    def weights() -> Weights:
        return trained.pack(config, {"model": trainer.result} | ({} if encoder is None else {"vae": encoder}))

    def preview() -> Image:
        live = trained.load(trained.checkpoint(weights()), None, context.device)
        for part in live.networks.values():
            part.to(context.device)
        return _samples(live, config, seed, context.device)

    _train(context, trainer, save_every, preview)
    return TrainedModel(weights(), trainer.training_log())


@node(category="training", on_device=True)
def TrainVAE(
    context: Context,
    dataset: Dataset,
    channels: Annotated[int, Field(ge=1, le=32, description="Channels of the latent.")] = 8,
    width: Annotated[int, Field(ge=32, le=512, multiple_of=32, description="Width of the convolutions.")] = 64,
    divergence: Annotated[
        float, Field(ge=0, le=1, description="How strongly latents are drawn towards a unit Gaussian.")
    ] = 1e-4,
    steps: TrainingSteps = 1000,
    batch_size: PicturesAtOnce = 32,
    learning_rate: Rate = 1e-3,
    average: Average = 0.998,
    clip: Clip = 1.0,
    held_out: HeldOut = 0.05,
    mixed_precision: Annotated[bool, Field(description="Compute in bfloat16 on an accelerator.")] = True,
    save_every: SaveEvery = 200,
    seed: Seed = 0,
) -> TrainedVAE:
    """Train a VAE on the pictures of a data set: 4 x 4 pixels become one latent pixel.

    It starts as the principal components of the pictures' patches and learns the rest.
    """
    if dataset.size % Autoencoder.downscale:
        raise ValueError(f"a VAE needs sides that 4 divides; the pictures have {dataset.size} pixels")
    config = trained.TrainedConfig(
        size=dataset.size, channels=channels, steps=steps, pictures_seen=steps * batch_size,
        autoencoder=trained.AutoencoderShape(channels=channels, width=width),
    )  # fmt: skip
    with learning.seeded(seed):
        network = Autoencoder(channels, width)
    network.start_from_components(learning.pictures(dataset, slice(1000), 3))
    trainer = Trainer(
        network.to(context.device),
        learning.autoencoder_losses(dataset, divergence),
        len(dataset.captions),
        Settings(steps, batch_size, learning_rate, average, clip, 1e-4, held_out, seed, mixed_precision),
    )
    result = trainer.result
    assert isinstance(result, Autoencoder)
    shown = learning.pictures(dataset, trainer.training[:1], 3).to(context.device)

    def preview() -> Image:
        with torch.no_grad():
            again = result.reconstruct(result.posterior(shown)[0])
        return Image(torch.cat([shown, again.clamp(0, 1)], dim=3).cpu())

    _train(context, trainer, save_every, preview)
    learning.calibrate(result, dataset, context.device)
    checkpoint = trained.checkpoint(trained.pack(config, {"vae": result}))
    return TrainedVAE(trained.describe(checkpoint, None).vae, trainer.training_log())


def _train(context: Context, trainer: Trainer, save_every: int, preview: Callable[[], Image]) -> None:
    """Train to the end, telling loss and speed, showing samples, and saving what it takes to go on."""
    state, settings = context.state_file, trainer.settings
    if state is not None:
        _resume(context, trainer, state)
    started, first = time.monotonic(), trainer.done
    resumed = ", resumed" if first else ""  # in each note, for an editor that is opened later
    unsaved = ""
    while trainer.done < settings.steps:
        parts = trainer.advance()
        now = time.monotonic()
        if state is not None and trainer.done % save_every == 0:
            unsaved = _save(trainer, state)
        speed = (trainer.done - first) * settings.batch_size / max(now - started, 1e-9)
        words = ", ".join(
            f"{name} {value:.4f}" for name, value in parts.items() if name != "total" and len(parts) > 2
        )
        note = f"loss {parts['total']:.4f}{f' ({words})' if words else ''}, {speed:.0f} images/s{resumed}{unsaved}"
        try:
            context.progress(trainer.done, settings.steps, note)
        except BaseException:
            if state is not None:
                _save(trainer, state)
            raise
        context.preview_of(preview)


def _resume(context: Context, trainer: Trainer, state: Path) -> None:
    """Go on where an earlier run was stopped. A damaged state is set aside: it would fail each time anew."""
    steps = trainer.settings.steps
    try:
        if trainer.resume(state):
            context.progress(trainer.done, steps, f"goes on after step {trainer.done}")
    except StateDamaged as error:
        aside = state.with_name(f"{state.name}.damaged")
        with suppress(OSError):
            state.replace(aside)
        context.progress(
            0, steps, f"starts anew: what was saved of this training is damaged: {error}. It is kept as {aside}"
        )


def _save(trainer: Trainer, state: Path) -> str:
    """Keep what it takes to go on. Where the disk refuses, returns what to tell of it: the training is well."""
    try:
        trainer.save(state)
    except OSError as error:
        return f"; step {trainer.done} could not be saved to go on from: {error.strerror or error}"
    return ""


def _heads(width: int) -> int:
    """Heads of 32 channels or a little more: as many as divide the width."""
    return next(heads for heads in range(max(1, width // 32), 0, -1) if width % heads == 0)


def _autoencoder(context: Context, vae: VAE | None) -> Autoencoder | None:
    if vae is None:
        return None
    live = context.open(vae.checkpoint).vae
    if not isinstance(live, Autoencoder):
        raise ValueError(
            f"the VAE of {vae.checkpoint.name} cannot be saved with a trained model; use one of TrainVAE, or that "
            "of the embedded model"
        )
    return live


def _samples(live: Live, config: trained.TrainedConfig, seed: int, device: str) -> Image:
    side = config.size // config.downscale
    blank = Latent(torch.zeros(1, config.channels, side, side))
    parametrization = Objective(config.prediction).parametrization
    sigmas = Sigmas(schedule("karras", parametrization, PREVIEW_STEPS))
    names = list(config.words if config.condition == "class" else [""])[:4]
    shown = []
    for name in names:
        positive = live.text_encoder.encode(name, {})
        for step in sample(live.denoiser, blank, sigmas, positive, name="dpmpp_2m", seed=seed, device=device):
            result = step.x
        shown.append(live.vae.decode(result.float().clone()).cpu())
    return Image(labelled_grid(torch.cat(shown), 2, []))
