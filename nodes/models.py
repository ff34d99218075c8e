"""Loading models, and turning words and pictures into what they understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field
from torch import Tensor

from nodegraph import Context, node
from nodegraph.diffusion.checkpoints.families import TextFamily
from nodegraph.diffusion.checkpoints.text_files import assembled
from nodegraph.diffusion.checkpoints.text_files import describe as describe_text_encoder
from nodegraph.diffusion.live import (
    EncodesFrames,
    LiveDenoiser,
    LiveTextEncoder,
    ReadsStyle,
    TakesTokenizer,
    adapted,
    controlled,
    parametrized,
    taught,
    wrapping,
)
from nodegraph.diffusion.models.loading import describe
from nodegraph.diffusion.models.memory import afford
from nodegraph.diffusion.pictures.images import on_white, resize
from nodegraph.diffusion.pictures.tiling import around, tiled
from nodegraph.diffusion.sampling.conditioning import stacked
from nodegraph.diffusion.sampling.denoisers import time_to_sigma
from nodegraph.diffusion.sampling.schedules import with_zero_terminal_snr
from nodegraph.diffusion.sampling.switching import Switched, apart
from nodegraph.diffusion.soundness import sound
from nodegraph.diffusion.values import (
    VAE,
    Adapter,
    Conditioning,
    Image,
    Latent,
    LowNoise,
    Mask,
    Model,
    Prediction,
    StyleCode,
    TextEncoder,
)
from nodegraph.fields import CheckpointFile, Prompt, TextEncoderFile, file_field
from nodegraph.fields import Fraction as Share

MARGIN = 8  # latent pixels that a VAE is shown beyond the edges of a picture that tiles

Tile = Annotated[
    int | None,
    Field(ge=64, le=8192, description="Work in overlapping tiles of this many pixels, which takes less memory."),
]


OtherTextEncoderFile = Annotated[str | None, file_field("text_encoders", "Another one, where the family has it.")]


class Loaded(NamedTuple):
    """The parts of a checkpoint."""

    model: Model
    text_encoder: TextEncoder
    vae: VAE


TokenizerFile = Annotated[
    str | None,
    file_field(
        "tokenizers", "How words become tokens (tokenizer.json), where T5 or Qwen reads them; folders have it."
    ),
]


@node(category="model")
def LoadModel(context: Context, checkpoint: CheckpointFile = "emoji", tokenizer: TokenizerFile = None) -> Loaded:
    """Choose a checkpoint. Nothing is read into memory until a later node needs it."""
    path = context.files.find("checkpoints", checkpoint)
    digest = context.files.digest(path) if path is not None else None
    model, text_encoder, vae = describe(checkpoint, path, digest)
    return Loaded(model, replace(text_encoder, tokenizer=_tokenizer(context, tokenizer)), vae)


@node(category="model")
def LoadTextEncoder(
    context: Context,
    family: Annotated[TextFamily, Field(description="The family of models that it is for.")],
    first: TextEncoderFile,
    second: OtherTextEncoderFile = None,
    third: OtherTextEncoderFile = None,
    tokenizer: TokenizerFile = None,
) -> TextEncoder:
    """Choose text encoders in files of their own, in any order, such as clip_l and t5xxl for Flux."""
    files = []
    for name in (first, second, third):
        if name is not None:
            path = context.files.find("text_encoders", name)
            if path is None:
                raise ValueError(f"{name} is no file name")
            files.append((name, context.files.digest(path), path))
    return describe_text_encoder(family, files, _tokenizer(context, tokenizer))


def _tokenizer(context: Context, name: str | None) -> Adapter | None:
    path = None if name is None else context.files.find("tokenizers", name)
    return None if name is None or path is None else Adapter(name, context.files.digest(path))


@node(category="conditioning", on_device=True)
def Encode(
    context: Context,
    text_encoder: TextEncoder,
    text: Prompt = "",
    style: Annotated[
        str, Field(max_length=100, description="A style that the model knows, such as `twemoji`; empty for any.")
    ] = "",
    code: Annotated[
        StyleCode | None, Field(description="A style that StyleEncode has read off a picture, in place of a name.")
    ] = None,
) -> Conditioning:
    """Turn words into conditioning that guides a sampler."""
    if style and code is not None:
        raise ValueError("both a style and a style code are given; empty the one or unlink the other")
    live = text_encoder_of(context, text_encoder)
    unknown = live.unknown_words(text)
    if unknown:
        context.progress(1, 1, f"words that this model does not know are left out: {', '.join(unknown)}")
    return live.encode(text, {style: 1.0} if style else dict(code.shares) if code is not None else {})


class StyleFound(NamedTuple):
    """The style of a picture."""

    code: Annotated[StyleCode, Field(description="The share of each style, for Encode.")]
    name: Annotated[str, Field(description="The style that it is most like.")]
    lines: Annotated[str, Field(description="Each style with its share on a line, the largest first.")]


@node(category="conditioning", on_device=True)
def StyleEncode(context: Context, text_encoder: TextEncoder, image: Image) -> StyleFound:
    """Read which of a model's styles a picture is drawn in; of several pictures, the average."""
    live = text_encoder_of(context, text_encoder)
    if not isinstance(live, ReadsStyle):
        raise ValueError(f"{text_encoder.checkpoint.name} knows no styles; use the embedded model, `emoji`")
    shares = live.read(on_white(image.tensor))
    ordered = sorted(shares.items(), key=lambda one: -one[1])
    lines = "\n".join(f"{name} {share:.0%}" for name, share in ordered)
    return StyleFound(StyleCode(tuple(shares.items())), ordered[0][0], lines)


@node(category="conditioning", on_device=True)
def StyleMix(
    context: Context,
    text_encoder: TextEncoder,
    text: Prompt,
    style_a: Annotated[str, Field(min_length=1, max_length=100, description="The first style.")],
    style_b: Annotated[str, Field(min_length=1, max_length=100, description="The second style.")],
    weight: Annotated[float, Field(ge=0, le=1, description="0 is all of the first, 1 all of the second.")] = 0.5,
) -> Conditioning:
    """Turn words into conditioning in a blend of two styles."""
    live = text_encoder_of(context, text_encoder)
    styles = {style_a: 1 - weight}
    styles[style_b] = styles.get(style_b, 0.0) + weight
    return live.encode(text, styles)


@node(category="conditioning")
def CombineConditioning(
    conditionings: Annotated[
        list[Conditioning], Field(description="Those whose predictions are averaged by strength and region.")
    ],
) -> Conditioning:
    """Let several conditionings guide at once."""
    return Conditioning(tuple(condition for one in conditionings for condition in one.conditions))


@node(category="conditioning")
def LimitConditioning(
    conditioning: Conditioning,
    strength: Annotated[float, Field(gt=0, le=10, description="Weight against others that are combined.")] = 1.0,
    start: Share = 0.0,
    end: Share = 1.0,
) -> Conditioning:
    """Give a conditioning a strength, and let it act only from `start` to `end` of the schedule, where it did."""
    if end <= start:
        raise ValueError(f"end ({end}) must be above start ({start})")
    pieces = [
        replace(c, strength=c.strength * strength, start=max(c.start, start), end=min(c.end, end))
        for c in conditioning.conditions
    ]
    left = tuple(piece for piece in pieces if piece.start < piece.end)
    if not left:
        acts = " and ".join(f"{c.start:g} to {c.end:g}" for c in conditioning.conditions)
        raise ValueError(f"the conditioning acts from {acts}, so that from {start:g} to {end:g} nothing is left")
    return Conditioning(left)


@node(category="conditioning")
def RegionConditioning(conditioning: Conditioning, mask: Mask, vae: VAE) -> Conditioning:
    """Let a conditioning act only where the mask is 1 (white); elsewhere others, or the negative, rule.

    The mask may be larger or smaller than the picture, but not of another shape.
    """
    if len(mask.tensor) > 1:
        raise ValueError(
            f"the input `mask` holds {len(mask.tensor)} masks, and a region is one for all pictures; give one"
        )
    region = latent_mask(mask.tensor, vae, mask.tensor.shape[2:])
    return Conditioning(
        tuple(
            replace(c, region=region if c.region is None else c.region * region) for c in conditioning.conditions
        )
    )


@node(category="conditioning", on_device=True)
def EncodeEach(
    context: Context,
    text_encoder: TextEncoder,
    texts: Annotated[
        str,
        Field(
            max_length=20_000,
            description="A text for each picture of the batch, one on each line.",
            json_schema_extra={"widget": "text"},
        ),
    ],
    style: Annotated[str, Field(max_length=100, description="A style that the model knows; empty for any.")] = "",
) -> Conditioning:
    """Turn several lines into conditioning: picture i of a batch follows line i."""
    lines = [line.strip() for line in texts.splitlines() if line.strip()]
    if not lines:
        raise ValueError("there is no text; write one on each line")
    return stacked([Encode(context, text_encoder, line, style) for line in lines])


@node(category="model")
def Reparametrize(
    model: Model,
    prediction: Annotated[
        Prediction | None, Field(description="What the network predicts; left out, what its checkpoint says.")
    ] = None,
    shift: Annotated[
        float | None, Field(gt=0, le=100, description="Of a flow's times, towards noise where above 1.")
    ] = None,
    zero_terminal_snr: Annotated[
        bool, Field(description="Rescale the noise of training so that its last timestep is pure noise.")
    ] = False,
) -> Model:
    """Say what a network predicts and how its noise is spaced, where its checkpoint tells it wrongly or not."""
    p = model.parametrization
    if shift is not None and p.law != "flow":
        raise ValueError(f"shift moves the times of a flow; this model's law is {p.law}. Leave shift out")
    grows = p.token_shift if shift is None else None
    p = replace(p, prediction=prediction or p.prediction, shift=shift or p.shift, token_shift=grows)
    return replace(model, parametrization=with_zero_terminal_snr(p) if zero_terminal_snr else p)


@node(category="conditioning")
def FluxGuidance(
    conditioning: Conditioning,
    scale: Annotated[float, Field(ge=0, le=100, description="What it is told; 3.5 is usual.")] = 3.5,
) -> Conditioning:
    """Tell Flux.1 dev how strongly to follow the text. It was distilled from guidance: set guidance_scale to 1."""
    return Conditioning(tuple(replace(one, numbers=(scale,)) for one in conditioning.conditions))


def denoiser_of(context: Context, model: Model, *guides: Conditioning | None) -> LiveDenoiser:
    """The live denoiser behind a handle: under its parametrization, with its LoRAs and the guides' ControlNets."""
    if model.low is not None:
        return _switched(context, model, model.low, guides)
    live: LiveDenoiser = parametrized(context.open(model.checkpoint).denoiser, model.parametrization)
    live = adapted(live, _files(context, model.adapters), model.checkpoint)
    given = [condition for guide in guides if guide is not None for condition in guide.conditions]
    wanted = {one.checkpoint.digest: one.checkpoint for condition in given for one in condition.controls}
    live = controlled(live, {digest: context.open(net).denoiser for digest, net in wanted.items()})
    return wrapping(live, model.wrap)


def _switched(
    context: Context, model: Model, low: LowNoise, guides: Sequence[Conditioning | None]
) -> LiveDenoiser:
    def opened(second: bool) -> LiveDenoiser:
        context.close()  # so that the other network may be moved away
        return denoiser_of(context, apart(model)[second], *guides)

    return Switched(opened, time_to_sigma(model.parametrization, low.boundary), low.guidance_scale)


def text_encoder_of(context: Context, text_encoder: TextEncoder) -> LiveTextEncoder:
    """The live text encoder behind a handle, with its LoRAs and the words that it was taught."""
    if text_encoder.files:
        live = assembled(text_encoder, [context.open(file).text_encoder for file in text_encoder.files])
    else:
        live = context.open(text_encoder.checkpoint).text_encoder
    if text_encoder.tokenizer is not None and isinstance(live, TakesTokenizer):
        ((path, _),) = _files(context, [text_encoder.tokenizer])
        live = live.with_tokenizer(path)
    live = adapted(live, _files(context, text_encoder.adapters), text_encoder.checkpoint)
    words = zip(text_encoder.words, _files(context, text_encoder.words), strict=True)
    return taught(live, [(word.name, path) for word, (path, _) in words], text_encoder.checkpoint)


def _files(context: Context, adapters: Sequence[Adapter]) -> list[tuple[Path, float]]:
    found = []
    for adapter in adapters:
        path = context.files.located(adapter.digest)
        if path is None:
            raise ValueError(f"{adapter.name} is no longer where it was; run the workflow again")
        found.append((path, adapter.strength))
    return found


def latent_mask(mask: Tensor, vae: VAE, picture: Sequence[int]) -> Tensor:
    """A mask (N, 1, H, W) of a picture of some (height, width), in the size of the latent that VAEEncode makes.

    What the VAE cuts off the picture is cut off the mask, in its own scale.
    """
    sides = [max(1, side) for side in _sides(vae, picture)]
    height, width = (
        max(1, round(had * min(side * vae.downscale, whole) / whole))
        for had, side, whole in zip(mask.shape[2:], sides, picture, strict=True)
    )
    return resize(mask[..., :height, :width], (sides[0], sides[1]), "area")


def _sides(vae: VAE, picture: Sequence[int]) -> list[int]:
    return [side // vae.downscale for side in picture]


@node(category="latent", on_device=True)
def VAEEncode(context: Context, vae: VAE, image: Image, tile: Tile = None) -> Latent:
    """Turn pictures into latents; transparency is laid on white. Sides are cut to fit the VAE."""
    height, width = (side * vae.downscale for side in _sides(vae, image.tensor.shape[2:]))
    if not height or not width:
        raise ValueError(f"the picture is smaller than {vae.downscale} pixels; make it larger")
    rgb = on_white(image.tensor)[..., :height, :width].to(context.device)
    encode = context.open(vae.checkpoint).vae.encode
    side, ratio = _tile(context, tile, height, width), Fraction(1, vae.downscale)

    def whole(pixels: Tensor) -> Tensor:
        return encode(pixels) if side is None else tiled(encode, pixels, side, ratio, vae.downscale)

    return Latent(around(whole, rgb, vae.wrap, MARGIN * vae.downscale, ratio).cpu().contiguous())


@node(category="latent", on_device=True)
def VAEDecode(context: Context, vae: VAE, latent: Latent, tile: Tile = None) -> Image:
    """Turn latents into pictures."""
    made, tensor = vae.checkpoint.name, latent.tensor.float().to(context.device)
    if tensor.shape[1] != vae.latent_channels:
        raise ValueError(
            f"the latent has {tensor.shape[1]} channels, and the VAE of {made} reads {vae.latent_channels}; "
            "link that of the model that painted it"
        )
    live = context.open(vae.checkpoint).vae
    if tensor.ndim == 5 and not isinstance(live, EncodesFrames):
        raise ValueError(f"the latent is a video's, and the VAE of {made} makes pictures; link that of Wan")
    decode, ratio = live.decode, vae.downscale
    sides = [side * ratio for side in tensor.shape[-2:]]
    frames = 1 if tensor.ndim == 4 else 4 * tensor.shape[2] - 3
    afford("a picture", len(tensor) * frames, 3, *sides)
    if tensor.ndim == 5 and tile is not None:
        raise ValueError("tiles are for pictures: a video is decoded whole, few frames at a time. Leave tile out")
    side = None if tensor.ndim == 5 else _tile(context, tile, *sides)

    def whole(part: Tensor) -> Tensor:
        if side is None:
            return decode(part)
        return tiled(decode, part, side // ratio, Fraction(ratio))

    decoded = around(whole, tensor, vae.wrap, MARGIN, Fraction(ratio)).float().clamp(0, 1).cpu()
    return Image(sound(decoded.contiguous(), "the picture", vae.checkpoint.name))


def _tile(context: Context, tile: int | None, height: int, width: int) -> int | None:
    """The side of a tile in pixels, where tiles are asked for or memory ran out; None works on the whole."""
    if tile is None and context.short_of_memory:
        tile = min(512, max(height, width) // 2)
        context.progress(0, 1, f"memory ran out; goes on in tiles of {tile} pixels")
    return tile
