"""Which family a checkpoint is of, from the names and shapes of its weights alone, never from the file's name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodegraph.diffusion.checkpoints.families import FAMILIES, Family
from nodegraph.diffusion.checkpoints.header import ModelRefused
from nodegraph.diffusion.checkpoints.parts import Contents, Part
from nodegraph.diffusion.checkpoints.signs import Sign

if TYPE_CHECKING:  # torch is not imported to look at headers
    from nodegraph.diffusion.values import Prediction

_MARKS = {"v_pred", "model.v_pred"}
_ZERO_SNR_MARKS = {"ztsnr", "model.ztsnr"}
_METADATA = ("modelspec.prediction_type", "prediction_type", "ss_v_parameterization")
_V_WORDS = {"v", "v_prediction", "v-prediction", "true"}
_EPS_WORDS = {"eps", "epsilon", "false"}


@dataclass(frozen=True)
class Detected:
    """A checkpoint's family by name, what its network predicts, in words what it is shown beside the noise, and
    whether its training began in pure noise."""

    name: str
    prediction: Prediction
    shown: str = ""
    zero_snr: bool = False

    @property
    def title(self) -> str:
        """What it is, in words."""
        words = self.family.title
        if self.prediction == "v":
            words += ", v prediction"
        return f"{words}, {self.shown}" if self.shown else words

    @property
    def family(self) -> Family:
        """What is known of the family."""
        return FAMILIES[self.name]


def detect(found: Contents) -> Detected:
    """The family of a checkpoint with a denoising network.

    Raises:
        ModelRefused: there is no such network, or none of a known family; the text names the nearest and the first
            weight that differs.
    """
    part = found.parts.get("denoiser")
    if part is None or what_it_holds(found) == "LoRA":
        raise ModelRefused(f"{found.path} {what_else(found)}")
    differences = {name: _differences(part, family.signs) for name, family in FAMILIES.items()}
    for name, missing in differences.items():
        if not missing:
            family = FAMILIES[name]
            first = part.shape(family.signs[0].name)
            shown = "" if first is None else family.shown.get(first[1], "")
            predicts = _predicts(found, family.prediction)
            return Detected(name, predicts, shown, predicts == "v" and _begins_in_noise(found))
    nearest = min(differences, key=lambda name: len(differences[name]) / len(FAMILIES[name].signs))
    raise ModelRefused(
        f"{found.path} is of no family that is known. The nearest is {FAMILIES[nearest].title}, but "
        f"{differences[nearest][0]}. Known are {', '.join(family.title for family in FAMILIES.values())}"
    )


def what_else(found: Contents) -> str:
    """In words what a file without a denoising network is, and what to do with it."""
    what = what_it_holds(found)
    where = {
        "LoRA": "`loras` and link LoadLora behind LoadModel",
        "ControlNet": "`controlnet` and choose it in LoadControlNet",
        "VAE": "`vae` and choose it in LoadVAE",
        "embedding": "`embeddings` and choose it in LoadEmbedding",
        "image encoder": "`image_encoders` and choose it in LoadImageEncoder",
        "text encoder": "`text_encoders` and choose it in LoadTextEncoder",
    }.get(what)
    if where is not None:
        return f"is no checkpoint but of the kind {what}. Put it into the folder {where}"
    first = min(found.keys, default="nothing")
    return f"holds no network that is known; its first tensor is {first[:120]!r}"


def what_it_holds(found: Contents) -> str:
    """The kind of model in a file: LoRA, ControlNet, VAE, an encoder, embedding, checkpoint or unknown."""
    if any("lora" in key or ".hada_" in key or ".lokr_" in key for key in found.keys):
        return "LoRA"
    if "denoiser" in found.parts:
        return "checkpoint"
    if "controlnet" in found.parts:
        return "ControlNet"
    if "vae" in found.parts:
        return "VAE"
    if "image_encoder" in found.parts:
        return "image encoder"
    if found.parts:
        return "text encoder"
    if found.keys & {"emb_params", "clip_l", "clip_g", "string_to_param"}:
        return "embedding"
    return "unknown"


def _differences(part: Part, signs: tuple[Sign, ...]) -> list[str]:
    """What keeps a part from a family, in words that use the file's own names."""
    found = []
    for sign in signs:
        source = part.weights.get(sign.name)
        if source is None:
            if not sign.absent:
                found.append(f"{sign.name} is missing")
        elif sign.absent:
            found.append(f"it has {source.key}, which that family has not")
        elif not sign.form.fits(source.shape):
            found.append(f"{source.key} has the shape {list(source.shape)} and should be {sign.form.words}")
    return found


def _predicts(found: Contents, usual: Prediction) -> Prediction:
    """The prediction that the file or folder itself names, else the family's."""
    if usual == "flow":
        return usual
    said = [found.metadata[name].lower() for name in _METADATA if name in found.metadata]
    if found.keys & _MARKS:
        said.append("v")
    said.append(str(_scheduler(found).get("prediction_type", "")))
    for word in said:
        if word in _V_WORDS:
            return "v"
        if word in _EPS_WORDS:
            return "eps"
    return usual


def _begins_in_noise(found: Contents) -> bool:
    """Whether the law of noise is one that ends in pure noise (Lin et al. 2024), as file or folder say."""
    return bool(found.keys & _ZERO_SNR_MARKS) or _scheduler(found).get("rescale_betas_zero_snr") is True


def _scheduler(found: Contents) -> Mapping[str, Any]:
    """What a folder says of its scheduler; nothing for a file."""
    try:
        config = json.loads((found.path / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
