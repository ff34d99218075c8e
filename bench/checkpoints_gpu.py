"""Pictures a second on a GPU: one side, in a process of its own. `bench/checkpoints.py` starts it.

    python bench/checkpoints_gpu.py SIDE FOLDER FAMILY PIXELS STEPS BATCH DEVICE

SIDE is `nodegraph` or `diffusers`, and either with `+compile`. Prints the seconds of each of three batches after a
first one, from embeddings to decoded pictures, in bfloat16 with guidance.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

ROUNDS = 3
GUIDANCE = 5.0


@dataclass(frozen=True)
class Work:
    """A batch to paint: the checkpoint's folder, the embeddings (1, 77, D) and (1, P), and the pictures' side."""

    folder: Path
    compiled: bool
    text: Tensor
    pooled: Tensor | None
    pixels: int
    steps: int
    batch: int
    device: str


def ours(work: Work) -> Callable[[], Tensor]:
    """What paints a batch here."""
    from nodegraph.diffusion.models.loading import describe
    from nodegraph.diffusion.models.pool import ModelPool
    from nodegraph.diffusion.sampling.loop import sample
    from nodegraph.diffusion.sampling.schedules import schedule
    from nodegraph.diffusion.values import Condition, Conditioning, Latent, Sigmas

    handles = describe("bench", work.folder, "digest")
    live = ModelPool().open(handles.model.checkpoint, work.folder, work.device, "bfloat16", compiled=work.compiled)
    sigmas = Sigmas(schedule("normal", handles.model.parametrization, work.steps))
    blank = Latent(torch.zeros(work.batch, 4, work.pixels // 8, work.pixels // 8))
    words, none = (Conditioning((Condition(work.text * sign, pooled=work.pooled),)) for sign in (1, -1))

    def paint() -> Tensor:
        for step in sample(live.denoiser, blank, sigmas, words, none, guidance_scale=GUIDANCE, device=work.device):
            last = step.x
        with torch.inference_mode():
            return live.vae.decode(last).cpu()

    return paint


def theirs(work: Work) -> Callable[[], Tensor]:
    """What paints a batch in diffusers."""
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )

    local = {"local_files_only": True, "torch_dtype": torch.bfloat16}
    parts = {
        "unet": UNet2DConditionModel.from_pretrained(work.folder / "unet", **local),
        "vae": AutoencoderKL.from_pretrained(work.folder / "vae", **local),
        "scheduler": EulerDiscreteScheduler(timestep_spacing="trailing", steps_offset=1),
        "text_encoder": None,
        "tokenizer": None,
        "feature_extractor": None,
    }
    told = {"prompt_embeds": work.text, "negative_prompt_embeds": -work.text}
    if work.pooled is None:
        pipeline = StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False)
    else:
        pipeline = StableDiffusionXLPipeline(
            **parts,
            text_encoder_2=None,
            tokenizer_2=None,
            add_watermarker=False,
            force_zeros_for_empty_prompt=False,
        )
        told |= {"pooled_prompt_embeds": work.pooled, "negative_pooled_prompt_embeds": work.pooled}
    pipeline = pipeline.to(work.device)
    pipeline.set_progress_bar_config(disable=True)
    if work.compiled:
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.unet.compile()
    options = {
        "num_inference_steps": work.steps,
        "guidance_scale": GUIDANCE,
        "height": work.pixels,
        "width": work.pixels,
    }
    told = {
        name: value.to(work.device, torch.bfloat16).repeat_interleave(work.batch, 0)
        for name, value in told.items()
    }

    def paint() -> Tensor:
        pictures: Tensor = pipeline(**told, **options, output_type="pt").images
        return pictures.cpu()

    return paint


def main() -> None:
    """Paint once to warm up, then measure."""
    side, folder, family, pixels, steps, batch, device = sys.argv[1:]
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(1, 77, 2048 if family == "sdxl" else 768, generator=generator)
    pooled = torch.randn(1, 1280, generator=generator) if family == "sdxl" else None
    name, _, compiled = side.partition("+")
    make = ours if name == "nodegraph" else theirs
    work = Work(Path(folder), bool(compiled), text, pooled, int(pixels), int(steps), int(batch), device)
    paint = make(work)
    seconds = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        paint()  # ends with the pictures on the host, so that all is done
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds[1:]))


if __name__ == "__main__":
    main()
