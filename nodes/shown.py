"""Pictures that a network is shown while it paints: to start a video from, or to follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field

from nodegraph import Context, node
from nodegraph.diffusion.checkpoints import image_encoder as eyes
from nodegraph.diffusion.checkpoints import wan
from nodegraph.diffusion.live import EncodesFrames
from nodegraph.diffusion.models.memory import afford
from nodegraph.diffusion.pictures.images import covering, on_white
from nodegraph.diffusion.values import VAE, Image, ImageEncoder, Latent, Model, Shown
from nodegraph.fields import Height, ImageEncoderFile, Width

from .models import VAEEncode
from .sampling import EmptyVideo, Frames


@node(category="model")
def LoadImageEncoder(
    context: Context,
    file: Annotated[
        ImageEncoderFile | None, Field(description="An image encoder; left out, that of the model's own folder.")
    ] = None,
    model: Annotated[
        Model | None, Field(description="A diffusers folder that has one, in place of a file.")
    ] = None,
) -> ImageEncoder:
    """Choose what reads pictures for Wan 2.1 from picture to video: CLIP ViT-H, in a file or a folder."""
    if (file is None) == (model is None):
        raise ValueError("choose `file`, or link `model` from the LoadModel of a diffusers folder: one of the two")
    if file is not None:
        path = context.files.find("image_encoders", file)
        if path is None:
            raise ValueError(f"{file} is no file name")
        return eyes.describe(file, context.files.digest(path), path)
    assert model is not None  # one of the two is there
    path = context.files.located(model.checkpoint.digest)
    if path is None:
        raise ValueError(
            f"{model.checkpoint.name} is no folder, and so has no image encoder; choose `file` instead"
        )
    return eyes.describe(model.checkpoint.name, model.checkpoint.digest, path)


@node(category="latent", on_device=True)
def ImageToVideo(
    context: Context,
    vae: VAE,
    image: Annotated[Image, Field(description="The first frame; what is beyond the video's aspect is cut off.")],
    width: Width = 832,
    height: Height = 480,
    frames: Frames = 81,
    last: Annotated[
        Image | None, Field(description="The last frame, for networks that were trained to reach one.")
    ] = None,
    image_encoder: Annotated[
        ImageEncoder | None, Field(description="What reads the pictures for Wan 2.1; Wan 2.2 has none.")
    ] = None,
) -> Latent:
    """A blank latent of a video that starts from a picture, for networks of Wan from picture to video."""
    latent = EmptyVideo(vae, width, height, frames)
    encoder = context.open(vae.checkpoint).vae
    if not isinstance(encoder, EncodesFrames):
        raise ValueError(f"the VAE of {vae.checkpoint.name} makes pictures; link that of Wan, which makes videos")
    afford("a video", frames, 3, height, width)
    ends = [covering(on_white(one.tensor[:1]), (height, width)) for one in (image, last) if one is not None]
    if len(ends) > frames:
        raise ValueError("a video from one picture to another has 5 frames or more; make `frames` larger")
    video = torch.full((frames, 3, height, width), 0.5)
    video[0] = ends[0][0]
    if last is not None:
        video[-1] = ends[1][0]
    channels = wan.shown(vae.checkpoint.family, encoder, video.to(context.device), last is not None).cpu()
    states = None
    if image_encoder is not None:
        seen = context.open(image_encoder.checkpoint).eyes
        states = torch.cat([seen.read(one.to(context.device)).cpu() for one in ends], 1)
    return Latent(latent.tensor, shown=Shown(channels, states))


@node(category="latent", on_device=True)
def FollowPicture(
    context: Context,
    vae: VAE,
    image: Annotated[Image, Field(description="What to follow: edges for Flux.1 Canny, depth for Flux.1 Depth.")],
    latent: Annotated[
        Latent | None, Field(description="What to paint on, of the picture's size; left out, a blank one.")
    ] = None,
) -> Latent:
    """A latent with a picture beside it, for networks that were trained to follow one."""
    height, width = image.tensor.shape[2:]
    sides = vae.latent_sides(height=height, width=width)
    shown = Shown(VAEEncode(context, vae, image).tensor)
    blank = torch.zeros(len(image.tensor), vae.latent_channels, *sides)
    return Latent(blank, shown=shown) if latent is None else replace(latent, shown=shown)
