"""ImageToVideo as ComfyUI has it: there the conditionings go through the node to take the picture with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodegraph.comfyui.said import Said
from nodegraph.comfyui.writing import Port, Slot, Writing

if TYPE_CHECKING:
    from nodegraph.workflow import Link

SMALL_VAE = (
    "wan2.2_vae"  # in the name of the VAE's file: the model of 5 billion weights, which has a node of its own
)


def image_to_video(writing: Writing, name: str) -> None:
    """A WanImageToVideo, or what it is called with a last picture or for the model of 5 billion weights."""
    inputs: dict[str, Any] = {
        "vae": writing.link(name, "vae"),
        "width": writing.value(name, "width"),
        "height": writing.value(name, "height"),
        "length": writing.value(name, "frames"),
        "batch_size": 1,
        "start_image": writing.link(name, "image"),
    }
    if _is_small(writing, name):
        writing.without(name, "Wan22ImageToVideoLatent", {"vae", "image", "width", "height", "frames"})
        id = writing.add(name, "Wan22ImageToVideoLatent", inputs)
        writing.outputs[name, "latent"] = Slot(id, 0)
        return
    last, encoder = writing.link(name, "last"), writing.link(name, "image_encoder")
    positive, negative = _conditionings(writing, name)
    inputs |= {"positive": positive, "negative": negative}
    if encoder is not None:
        inputs["clip_vision_output" if last is None else "clip_vision_start_image"] = _seen(writing, name, "image")
    if last is not None:
        inputs["end_image"] = last
        if encoder is not None:
            inputs["clip_vision_end_image"] = _seen(writing, name, "last")
    id = writing.add(name, "WanImageToVideo" if last is None else "WanFirstLastFrameToVideo", inputs)
    for slot, output in enumerate(("positive", "negative", "latent")):
        writing.outputs[name, output] = Slot(id, slot)


def through_video(writing: Writing, name: str, entry: str) -> Port | None:
    """The conditioning of a Sampler that comes through an ImageToVideo there; None where it paints on no such."""
    video = writing.videos[name]
    return Port(video, entry) if video and not _is_small(writing, video) else None


def _conditionings(writing: Writing, name: str) -> tuple[Link | None, Link | None]:
    """What all Samplers that paint on it are guided by."""
    pairs = []
    for sampler in writing.painters.get(name, ()):
        positive = writing.link(sampler, "positive")
        pairs.append((positive, writing.link(sampler, "negative") or positive))
    if not pairs:
        message = Said("no Sampler paints on it, and WanImageToVideo of ComfyUI needs its two conditionings")
        writing.problem(name, message)
        return None, None
    if any(one != pairs[0] for one in pairs):
        message = Said(
            "Samplers of several conditionings paint on it; give each pair of them an ImageToVideo of its own"
        )
        writing.problem(name, message)
    return pairs[0]


def _seen(writing: Writing, name: str, entry: str) -> Slot:
    inputs = {
        "clip_vision": writing.link(name, "image_encoder"),
        "image": writing.link(name, entry),
        "crop": "center",
    }
    return Slot(writing.add(name, "CLIPVisionEncode", inputs), 0)


def _is_small(writing: Writing, name: str) -> bool:
    vae = writing.link(name, "vae")
    spec = writing.nodes.get(vae.node) if vae is not None else None
    file = spec.values.get("vae") if spec is not None and spec.type == "LoadVAE" else None
    return isinstance(file, str) and SMALL_VAE in file.lower()
