"""Annotated values that many nodes share: one range, one help text, one widget for each."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field


def file_field(kind: str, description: str, needs: dict[str, dict[str, str]] | None = None) -> Any:
    """Metadata for a string that names a file of a kind; its content's digest enters the key.

    Kinds are the names of folders that `Files` knows: `images`, `checkpoints` and so on. `needs` has, for what a
    name begins with, packages as `@node(needs=...)` takes them.
    """
    extra: dict[str, Any] = {"file": kind} if needs is None else {"file": kind, "needs": needs}
    return Field(min_length=1, max_length=4096, description=description, json_schema_extra=extra)


def painted_by(model: str, description: str) -> Any:
    """Metadata for a latent that the model of another input paints on; `check` compares their sizes."""
    return Field(description=description, json_schema_extra={"painted_by": model})


def _widget(name: str) -> dict[str, Any]:
    return {"widget": name}


Seed = Annotated[
    int,
    Field(
        ge=0,
        le=2**63 - 1,
        description="Which noise is drawn; the same seed draws the same noise on every "
        "device, and image i of a batch uses seed + i.",
        json_schema_extra=_widget("seed"),
    ),
]
Steps = Annotated[int, Field(ge=1, le=1000, description="How many steps the sampler takes.")]
GuidanceScale = Annotated[
    float,
    Field(
        ge=0,
        le=100,
        description="How strongly the prompt steers: negative + scale * (positive - negative). "
        "1 turns guidance off and halves the work.",
    ),
]
Strength = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="Share of the schedule that runs: 1 starts from pure noise, less keeps more "
        "of the latent that is given.",
    ),
]
Width = Annotated[int, Field(ge=8, le=8192, description="Width in pixels.", json_schema_extra={"side": "width"})]
Height = Annotated[
    int, Field(ge=8, le=8192, description="Height in pixels.", json_schema_extra={"side": "height"})
]
BatchSize = Annotated[
    int,
    Field(ge=1, le=256, description="How many pictures are made at once.", json_schema_extra={"count": True}),
]
Prompt = Annotated[
    str,
    Field(
        max_length=20_000,
        description="What the picture should show, in words.",
        json_schema_extra=_widget("text"),
    ),
]
Fraction = Annotated[float, Field(ge=0, le=1, description="A share between 0 and 1.")]
Color = Annotated[
    str,
    Field(
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="A colour such as #ff8800.",
        json_schema_extra={"form": "a colour such as #ff8800"} | _widget("color"),
    ),
]
# What no name of a file holds, as the inside of a class of letters: what Windows has for other uses, what a
# terminal obeys, and what is not seen but turns the rest about, so that `gpj.exe` is read as `exe.jpg`.
NOT_IN_NAMES = (
    r"/\\<>:\"|?*\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
)
FileName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=120,
        pattern=f"^[^{NOT_IN_NAMES}]+$",
        description="Name of the file without its ending; a number is added so that nothing is overwritten.",
        json_schema_extra={"form": 'a name without / \\ < > : " | ? * and letters that are not seen'},
    ),
]
CheckpointFile = Annotated[
    str,
    file_field(
        "checkpoints",
        "A checkpoint file or diffusers folder; `emoji` ships with the package, `analytic://...` are exact.",
        needs={"analytic://dataset": {"sklearn": "scikit-learn"}},
    ),
]
LoraFile = Annotated[str, file_field("loras", "A LoRA, as .safetensors.")]
VAEFile = Annotated[str, file_field("vae", "A VAE, as .safetensors.")]
TextEncoderFile = Annotated[str, file_field("text_encoders", "A text encoder, as .safetensors.")]
ImageEncoderFile = Annotated[str, file_field("image_encoders", "An image encoder, as .safetensors.")]
ControlNetFile = Annotated[str, file_field("controlnet", "A ControlNet, as .safetensors.")]
EmbeddingFile = Annotated[str, file_field("embeddings", "A learned word (textual inversion), as .safetensors.")]
UpscalerFile = Annotated[str, file_field("upscalers", "An upscaler's network, as .safetensors.")]
OnnxFile = Annotated[str, file_field("onnx", "A network as .onnx; `upscale2x` ships with the package.")]
ImageFile = Annotated[str, file_field("images", "A picture file: PNG, JPEG or WebP.")]
DatasetFile = Annotated[str, file_field("datasets", "A file of a data set, in a folder of data sets.")]
DatasetFolderName = Annotated[
    str, file_field("datasets", "A folder of pictures, in a folder of data sets or beside the workflow.")
]
