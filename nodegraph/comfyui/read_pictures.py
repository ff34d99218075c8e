"""The nodes of ComfyUI for pictures and masks: what is repainted, combined, enlarged and loaded."""

from __future__ import annotations

from nodegraph.comfyui.graph import Node, Source, shown
from nodegraph.comfyui.reading import Draft, Reading, Translation, Untold, cleaned
from nodegraph.comfyui.said import Said

COMBINED = {
    "add": "union",
    "or": "union",
    "multiply": "intersection",
    "and": "intersection",
    "subtract": "difference",
}


def encode_for_inpaint(translation: Translation, node: Node) -> Reading:
    """VAEEncodeForInpaint: a MaskInpaint; where the mask is grown, behind a GrowMask."""
    draft = Draft("MaskInpaint", "inpaint")
    for entry, name in (("vae", "vae"), ("image", "pixels"), ("mask", "mask")):
        draft.put(entry, node.inputs.get(name))
    pixels = translation.value(node, "grow_mask_by", 6)
    if not isinstance(pixels, int) or not isinstance(draft.links.get("mask"), Source):
        return Reading([draft], {0: (draft, "latent")})
    told = ["there the masked part is hidden from the VAE; here a Sampler repaints it whatever it shows"]
    if pixels < 2:
        return Reading([draft], {0: (draft, "latent")}, told=told)
    # There a square of so many pixels is laid on each; here so many are added on every side.
    grown = Draft("GrowMask", "grown_mask", {"pixels": pixels // 2}, {"mask": draft.links["mask"]})
    draft.links["mask"] = (grown, "mask")
    return Reading([draft, grown], {0: (draft, "latent")}, told=told)


def noise_mask(translation: Translation, node: Node) -> Reading:
    """SetLatentNoiseMask on what a VAEEncode makes: a MaskInpaint."""
    found = translation.graph.source(node, "samples")
    if found is None or found[1].type != "VAEEncode":
        raise Untold("its latent comes from no VAEEncode, and MaskInpaint here takes a picture")
    draft = Draft("MaskInpaint", "inpaint")
    draft.put("vae", found[1].inputs.get("vae"))
    draft.put("image", found[1].inputs.get("pixels"))
    draft.put("mask", node.inputs.get("mask"))
    return Reading([draft], {0: (draft, "latent")}, (found[0].node,))


def mask_composite(translation: Translation, node: Node) -> Reading:
    """MaskComposite of two masks at one corner: a CombineMasks."""
    operation = translation.word(node, "operation")
    if operation not in COMBINED or any(translation.value(node, name, 0) != 0 for name in ("x", "y")):
        raise Untold(
            Said("masks are combined at one corner here, and not by {operation}", operation=shown(operation))
        )
    draft = Draft("CombineMasks", "combined_mask", {"operation": COMBINED[operation]})
    draft.put("a", node.inputs.get("destination"))
    draft.put("b", node.inputs.get("source"))
    told = ["masks of 0 and 1 combine to the same; where both are soft, the result differs"]
    return Reading([draft], {0: (draft, "mask")}, told=told)


def upscale(translation: Translation, node: Node) -> Reading:
    """ImageUpscaleWithModel and its UpscaleModelLoader: an Upscale."""
    found = translation.graph.source(node, "upscale_model")
    if found is None or found[1].type != "UpscaleModelLoader":
        raise Untold("its network comes from no UpscaleModelLoader, and Upscale here names a file")
    draft = Draft("Upscale", "upscaled")
    draft.put("image", node.inputs.get("image"))
    draft.put("upscaler", cleaned("model_name", found[1].inputs.get("model_name"), []))
    return Reading([draft], {0: (draft, "image")}, (found[0].node,))


def upscale_loader(_: Translation, __: Node) -> Reading:
    """UpscaleModelLoader, which stays where no Upscale here stands for it."""
    raise Untold("an Upscale here names its file itself, but what this is linked to is none")


def load_mask(translation: Translation, node: Node) -> Reading:
    """LoadImageMask: a LoadImage, and a MaskFromImage where it reads a colour."""
    draft = Draft("LoadImage", "picture")
    draft.put("image", node.inputs.get("image"))
    channel = translation.word(node, "channel", "alpha")
    if channel == "alpha":
        return Reading([draft], {0: (draft, "mask")})
    mask = Draft("MaskFromImage", "mask", {"channel": channel}, {"image": (draft, "image")})
    return Reading([mask, draft], {0: (mask, "mask")})
