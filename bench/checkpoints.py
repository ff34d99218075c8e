"""A full-size Stable Diffusion 1.5 of random weights, loaded and run beside diffusers on this machine.

    python bench/checkpoints.py [--size 256] [--steps 2]

Writes 2 GB of float16 weights to a temporary folder. Each side runs in processes of its own, in turn: seconds to
load, peak memory over that of the imports, and seconds a step with guidance, the best of the rounds. Seconds are
by the clock and of processor time, which other programs on the machine change less. The last column is ours
against diffusers'.

Where there is a GPU, pictures a second follow, of Stable Diffusion 1.5 at 512 px and XL at 1024 px, 25 steps,
batches of 1 and 4, as it is and compiled. The last two figures are ours compiled against diffusers, as it is and
compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checkpoint_weights import write

CHILD = """
import json, re, sys, time
from pathlib import Path
import torch
side, folder, size, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
import diffusers.models.autoencoders.autoencoder_kl, diffusers.models.unets.unet_2d_condition
import transformers.models.clip.modeling_clip
def resident(word):
    return int(re.search(word + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
if side == "ours":
    from nodegraph.heap import keep_pages
    keep_pages()  # as the command line and the workers do
    from nodegraph.diffusion.models.loading import describe, load
    from nodegraph.diffusion.sampling.schedules import schedule
    from nodegraph.diffusion.sampling.loop import sample
    from nodegraph.diffusion.values import Latent, Sigmas
else:
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel
def now():
    return time.perf_counter(), time.process_time()
ids = torch.zeros(1, 77, 768)
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
started = now()
def loading():
    return [last - first for first, last in zip(started, now())]
with torch.inference_mode():
    if side == "ours":
        handles = describe("sd15", folder, "digest")
        live = load(handles.model.checkpoint, folder, "cpu", "float32")
        loaded, peak = loading(), resident("VmHWM") - before
        words = live.text_encoder.encode("a photo of a cat", {})
        sigmas = Sigmas(schedule("normal", handles.model.parametrization, steps))
        blank = Latent(torch.zeros(1, 4, size // 8, size // 8))
        times = [now()]
        for step in sample(live.denoiser, blank, sigmas, words, words, guidance_scale=5.0):
            times.append(now())
    else:
        local = {"local_files_only": True, "torch_dtype": torch.float32}
        pipeline = StableDiffusionPipeline(
            unet=UNet2DConditionModel.from_pretrained(folder / "unet", **local),
            vae=AutoencoderKL.from_pretrained(folder / "vae", **local),
            text_encoder=CLIPTextModel.from_pretrained(
                folder / "text_encoder", local_files_only=True, dtype=torch.float32
            ),
            tokenizer=None,
            scheduler=EulerDiscreteScheduler(timestep_spacing="trailing", steps_offset=1),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )
        loaded, peak = loading(), resident("VmHWM") - before
        times = [now()]
        pipeline.set_progress_bar_config(disable=True)
        pipeline(prompt_embeds=ids, negative_prompt_embeds=ids, num_inference_steps=steps, height=size, width=size,
                 output_type="latent", callback_on_step_end=lambda *a: times.append(now()) or {})
print(json.dumps([*loaded, peak / 1e9, *((last - first) / steps for first, last in zip(times[0], times[-1]))]))
"""


GPU = [(family, pixels, batch) for family, pixels in (("sd1", 512), ("sdxl", 1024)) for batch in (1, 4)]
SIDES = ("nodegraph", "nodegraph+compile", "diffusers", "diffusers+compile")


def measured(command: list[str]) -> list[float]:
    """What a process prints as its last line. Ends this one where it fails."""
    # Threads that spin while they wait would count as work.
    quiet = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def pictures_a_second(place: Path, device: str, steps: int) -> None:
    """Print the table of a GPU: each side's pictures a second, and ours against diffusers'."""
    script = str(Path(__file__).with_name("checkpoints_gpu.py"))
    for family, pixels, batch in GPU:
        folder = place / family
        if not folder.exists():
            print(f"{family}: {write(folder, family, text=False):.2f} GB of float16 weights", flush=True)
        rates = {}
        for side in SIDES:
            told = (str(folder), family, str(pixels), str(steps), str(batch), device)
            rates[side] = batch / min(measured([script, side, *told]))
        shown = "   ".join(f"{side} {rate:6.2f}" for side, rate in rates.items())
        ratios = (rates["nodegraph+compile"] / rates[side] for side in ("diffusers", "diffusers+compile"))
        words = "   ".join(f"{ratio:.2f} x" for ratio in ratios)
        print(
            f"{family} {pixels} px, {steps} steps, batch {batch}: pictures a second {shown}   {words}", flush=True
        )


def main() -> None:
    """Write the weights, run both sides, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default=gpu(), help="the GPU of the second table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "sd15"
        print(f"{write(folder):.2f} GB of float16 weights", flush=True)
        found: dict[str, list[float]] = {}
        for side in ("ours", "diffusers") * options.rounds:
            now = measured(["-c", CHILD, side, str(folder), str(options.size), str(options.steps)])
            found[side] = [min(pair) for pair in zip(found.get(side, now), now, strict=True)]
    step = f"step at {options.size} px"
    names = ("load, seconds", "load, processor s", "peak memory, GB", f"{step}, seconds", f"{step}, processor s")
    for name, ours, theirs in zip(names, found["ours"], found["diffusers"], strict=True):
        print(f"{name:26} nodegraph {ours:8.2f}   diffusers {theirs:8.2f}   ratio {ours / theirs:.2f}")
    if options.device is None:
        print("pictures a second at 512 and 1024 px, compiled and not, need a GPU; there is none here")
        return
    with tempfile.TemporaryDirectory() as place:
        pictures_a_second(Path(place), options.device, 25)


def gpu() -> str | None:
    """The GPU of this machine; None where it has none."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
