"""A full-size Stable Diffusion 1.5 of random weights, loaded and run beside diffusers on this machine.

    python bench/checkpoints.py [--size 256] [--steps 2]

Writes 2 GB of float16 weights to a temporary folder. Each side runs in processes of its own, in turn: seconds to
load, peak memory over that of the imports, and seconds a step with guidance, by the clock and of processor time
(which other programs on the machine hardly change), the best of the rounds. The last column is ours against
diffusers'.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

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
started = time.perf_counter()
with torch.inference_mode():
    if side == "ours":
        handles = describe("sd15", folder, "digest")
        live = load(handles.model.checkpoint, folder, "cpu", "float32")
        loaded, peak = time.perf_counter() - started, resident("VmHWM") - before
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
        loaded, peak = time.perf_counter() - started, resident("VmHWM") - before
        times = [now()]
        pipeline.set_progress_bar_config(disable=True)
        pipeline(prompt_embeds=ids, negative_prompt_embeds=ids, num_inference_steps=steps, height=size, width=size,
                 output_type="latent", callback_on_step_end=lambda *a: times.append(now()) or {})
print(json.dumps([loaded, peak / 1e9, *((last - first) / steps for first, last in zip(times[0], times[-1]))]))
"""


def write(folder: Path) -> float:
    """Random float16 weights of the size of Stable Diffusion 1.5 as a diffusers folder; returns gigabytes."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    down = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    unet = {"cross_attention_dim": 768, "attention_head_dim": 8, "down_block_types": down, "sample_size": 64}
    vae = {
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
    }
    clip = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_attention_heads=12, bos_token_id=49406, eos_token_id=49407
    )
    with torch.device("meta"):
        networks = {
            "unet": (UNet2DConditionModel(**unet), unet, "diffusion_pytorch_model"),
            "vae": (AutoencoderKL(**vae), vae, "diffusion_pytorch_model"),
            "text_encoder": (CLIPTextModel(clip), clip.to_dict(), "model"),
        }
    total = 0
    for name, (network, config, stem) in networks.items():
        (folder / name).mkdir(parents=True)
        prefix = "text_model." if name == "text_encoder" else ""
        weights = {
            prefix + key: (torch.randn(value.shape) * 0.02).half() for key, value in network.state_dict().items()
        }
        total += sum(value.nbytes for value in weights.values())
        save_file(weights, folder / name / f"{stem}.safetensors", {"format": "pt"})
        (folder / name / "config.json").write_text(json.dumps(config, default=str))
    (folder / "model_index.json").write_text("{}")
    return total / 1e9


def main() -> None:
    """Write the weights, run both sides, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "sd15"
        print(f"{write(folder):.2f} GB of float16 weights", flush=True)
        found: dict[str, list[float]] = {}
        for side in ("ours", "diffusers") * options.rounds:
            command = [sys.executable, "-c", CHILD, side, str(folder), str(options.size), str(options.steps)]
            # Threads that spin while they wait would count as work.
            quiet = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            measured = json.loads(done.stdout.splitlines()[-1])
            found[side] = [min(pair) for pair in zip(found.get(side, measured), measured, strict=True)]
    step = f"step at {options.size} px"
    names = ("load, seconds", "peak memory, GB", f"{step}, seconds", f"{step}, processor s")
    for name, ours, theirs in zip(names, found["ours"], found["diffusers"], strict=True):
        print(f"{name:26} nodegraph {ours:8.2f}   diffusers {theirs:8.2f}   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
