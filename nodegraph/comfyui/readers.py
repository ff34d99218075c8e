"""The nodes of ComfyUI that are read as more, or fewer, or other nodes here."""

from __future__ import annotations

from typing import Any

from nodegraph.comfyui import read_models, read_pictures, read_samplers, read_videos
from nodegraph.comfyui.graph import Node, Source
from nodegraph.comfyui.reading import Draft, Reader, Reading, Translation
from nodegraph.comfyui.table import NOISY


def _list(kind: str, type: str, name: str, entry: str, ours: str, output: str) -> Reader:
    """A node of two inputs; a row of them, one behind the other, is one list here."""

    def lines(node: Node) -> list[Any]:
        return [one for number in (1, 2) if isinstance(one := node.inputs.get(f"{entry}{number}"), Source)]

    def continues(translation: Translation, node: Node) -> bool:
        readers = translation.graph.readers.get(node.id, [])
        return len(readers) == 1 and translation.graph.nodes[readers[0]].type == node.type == kind

    def read(translation: Translation, node: Node) -> Reading:
        absorbed: list[str] = []
        found: list[Source] = []
        waiting = lines(node)[::-1]
        while waiting:
            one = waiting.pop()
            before = translation.graph.nodes[one.node]
            if continues(translation, before) and not continues(translation, node):  # the last stands for the row
                absorbed.append(before.id)
                waiting += lines(before)[::-1]
            else:
                found.append(one)
        draft = Draft(type, name, links={ours: found})
        return Reading([draft], {0: (draft, output)}, tuple(absorbed))

    return read


READERS: dict[str, Reader] = {
    "KSampler": read_samplers.ksampler,
    "KSamplerAdvanced": read_samplers.ksampler_advanced,
    "PrimitiveInt": read_samplers.whole_number,
    "BasicScheduler": read_samplers.basic_scheduler,
    "SamplerCustom": read_samplers.sampler_custom,
    "SamplerCustomAdvanced": read_samplers.sampler_custom_advanced,
    "UNETLoader": read_models.unet_loader,
    **dict.fromkeys(("CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader"), read_models.clip_loader),
    "LoraLoaderModelOnly": read_models.lora_model_only,
    **dict.fromkeys(("ModelSamplingSD3", "ModelSamplingAuraFlow"), read_models.shifted),
    "ModelSamplingFlux": read_models.shifted_by_size,
    "ControlNetApply": read_models.control,
    "ControlNetApplyAdvanced": read_models.control_advanced,
    "VAEEncodeForInpaint": read_pictures.encode_for_inpaint,
    "SetLatentNoiseMask": read_pictures.noise_mask,
    "MaskComposite": read_pictures.mask_composite,
    "ImageUpscaleWithModel": read_pictures.upscale,
    "LoadImageMask": read_pictures.load_mask,
    "ConditioningCombine": _list(
        "ConditioningCombine", "CombineConditioning", "combined", "conditioning_", "conditionings", "conditioning"
    ),
    "LatentBatch": _list("LatentBatch", "LatentBatch", "batch", "samples", "latents", "latent"),
    "ImageBatch": _list("ImageBatch", "BatchImages", "batch", "image", "pictures", "image"),
    **dict.fromkeys(
        ("KSamplerSelect", "RandomNoise", "DisableNoise", "BasicGuider", "CFGGuider", *NOISY),
        read_samplers.chooser,
    ),
    "UpscaleModelLoader": read_pictures.upscale_loader,
    **dict.fromkeys(read_videos.SEEN, read_videos.image_to_video),
    "CLIPVisionEncode": read_videos.vision_encode,
    "CreateVideo": read_videos.create_video,
    "SaveVideo": read_videos.save_video,
}
