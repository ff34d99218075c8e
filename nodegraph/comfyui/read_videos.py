"""The nodes of ComfyUI for videos: Wan from pictures, and frames that become a file."""

from __future__ import annotations

from nodegraph.comfyui.graph import Node, Source, same, shown
from nodegraph.comfyui.reading import Draft, Reading, Translation, Untold, cleaned
from nodegraph.comfyui.said import Said
from nodegraph.comfyui.table import FASTEST

# By the picture that it is of, the input that has what an image encoder said of it.
SEEN = {
    "WanImageToVideo": {"start_image": "clip_vision_output"},
    "WanFirstLastFrameToVideo": {
        "start_image": "clip_vision_start_image",
        "end_image": "clip_vision_end_image",
    },
    "Wan22ImageToVideoLatent": {"start_image": ""},
}


def image_to_video(translation: Translation, node: Node) -> Reading:
    """WanImageToVideo, WanFirstLastFrameToVideo and Wan22ImageToVideoLatent: an ImageToVideo of the pictures.

    There the conditionings go through the node to take the picture with them; here it goes with the latent.
    """
    told: list[str] = []
    pictures = {name: one for name in SEEN[node.type] if isinstance(one := node.inputs.get(name), Source)}
    if "end_image" in pictures and "start_image" not in pictures:
        raise Untold("it has a last picture and no first one, which an ImageToVideo here begins with")
    encoder, absorbed = _encoder(translation, node, pictures)
    draft = Draft("ImageToVideo" if pictures else "EmptyVideo", "video" if pictures else "blank")
    inputs = {"width": "width", "height": "height", "frames": "length", "vae": "vae"}
    if pictures:
        inputs |= {"image": "start_image", "last": "end_image"}
    for entry, name in inputs.items():
        draft.put(entry, node.inputs.get(name))
    if encoder is not None:
        draft.put("image_encoder", encoder)
        told.append(Said("the image encoder sees the middle of the picture as it is cut for the video"))
    if (batch := node.inputs.get("batch_size", 1)) != 1:
        sentence = "`{name}` was {value} and is left out: there is none here, and {neutral} is what is done"
        told.append(Said(sentence, name="batch_size", value=shown(batch), neutral=1))
    if node.type == "Wan22ImageToVideoLatent":
        return Reading([draft], {0: (draft, "latent")}, absorbed, told)
    passed = enumerate(map(node.inputs.get, ("positive", "negative")))
    through = {slot: one for slot, one in passed if isinstance(one, Source)}
    return Reading([draft], {**through, 2: (draft, "latent")}, absorbed, told)


def _encoder(
    translation: Translation, node: Node, pictures: dict[str, Source]
) -> tuple[Source | None, tuple[str, ...]]:
    """The image encoder of a node's CLIPVisionEncode, and those that an ImageToVideo stands for."""
    seen = {picture: translation.graph.source(node, entry) for picture, entry in SEEN[node.type].items() if entry}
    given = {picture: found for picture, found in seen.items() if found is not None}
    if not given:
        return None, ()
    encoders = []
    for picture, (_, encode) in given.items():
        if encode.type != "CLIPVisionEncode":
            raise Untold("what its picture shows comes from no CLIPVisionEncode")
        if not same(encode.inputs.get("image"), pictures.get(picture)):
            raise Untold("its CLIPVisionEncode sees another picture than the one it begins or ends with")
        encoders.append(encode.inputs.get("clip_vision"))
    first = encoders[0]
    if (
        given.keys() != pictures.keys()
        or not isinstance(first, Source)
        or not all(same(first, one) for one in encoders)
    ):
        raise Untold("an ImageToVideo here has one image encoder, which sees each of its pictures")
    return first, tuple(source.node for source, _ in given.values())


def vision_encode(_: Translation, __: Node) -> Reading:
    """CLIPVisionEncode, which stays where no ImageToVideo here stands for it."""
    raise Untold(
        "an ImageToVideo here shows its pictures to the encoder itself, but what this is linked to is none"
    )


def save_video(translation: Translation, node: Node) -> Reading:
    """SaveVideo of what a CreateVideo makes: a SaveAnimation, as WebP."""
    found = translation.graph.source(node, "video")
    if found is None or found[1].type != "CreateVideo":
        raise Untold("its video comes from no CreateVideo, and SaveAnimation here takes frames")
    video = found[1]
    told: list[str] = [Said("there it is an MP4 file; here it is an animated WebP")]
    draft = Draft("SaveAnimation", "save")
    draft.put("image", video.inputs.get("images"))
    draft.put("name", cleaned("filename_prefix", node.inputs.get("filename_prefix"), told))
    speed = video.inputs.get("fps")
    if isinstance(speed, int | float) and speed > FASTEST:
        sentence = "{speed} frames a second are more than a SaveAnimation writes; it writes {most}"
        told.append(Said(sentence, speed=shown(speed), most=FASTEST))
        speed = FASTEST
    draft.put("frames_per_second", speed)
    if isinstance(video.inputs.get("audio"), Source):
        told.append(Said("its sound is left out"))
    return Reading([draft], {}, (found[0].node,), told)


def create_video(_: Translation, __: Node) -> Reading:
    """CreateVideo, which stays where no SaveAnimation here stands for it."""
    raise Untold("a SaveAnimation here takes the frames themselves, but what this is linked to is none")
