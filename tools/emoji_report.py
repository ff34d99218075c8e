"""The pictures of the model card: the loss curve of a training log, and samples that nobody picked.

python tools/emoji_report.py --log .cache/emoji/log.jsonl --out docs/images
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from nodegraph.diffusion.models import emoji
from nodegraph.diffusion.pictures.grid import labelled_grid
from nodegraph.diffusion.pictures.plot import Curve, line_plot
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.values import Checkpoint, Latent, Sigmas
from nodegraph.pictures import encode_png

# Fixed before the model was trained; seed 0 for all, in this order, every one shown.
PROMPTS = """\
red apple|green apple|banana|strawberry|watermelon|pizza|hamburger|birthday cake
cat face|dog face|panda|fox|frog|penguin|fish|butterfly
smiling face|smiling face with heart-eyes|crying face|angry face|winking face|ghost|alien|robot
red heart|blue heart|green heart|yellow star|purple circle|rainbow|sun|moon
blue car|red car|bus|bicycle|rocket|airplane|ship|train
house|tree|cactus|flower|mushroom|snowman|fire|umbrella
book|key|bell|gift|balloon|guitar|camera|crown
红苹果|蓝色汽车|猫脸|狗脸|笑脸|红色的心|披萨|火箭""".replace("\n", "|").split("|")
STYLE = "3d"


def samples(folder: Path, steps: int = 25, guidance_scale: float = 4.0) -> Tensor:
    """A labelled sheet of every prompt at seed 0, (1, 3, H, W)."""
    checkpoint = Checkpoint("emoji", "", "emoji")
    live = emoji.load(checkpoint, folder, "cpu")
    model, _, vae = emoji.describe(checkpoint, folder)
    side = vae.size // vae.downscale
    blank = Latent(torch.zeros(1, vae.latent_channels, side, side))
    sigmas = Sigmas(schedule("karras", model.parametrization, steps))
    negative = live.text_encoder.encode("", {})
    pictures = []
    for prompt in PROMPTS:
        positive = live.text_encoder.encode(prompt, {STYLE: 1.0})
        result = blank.tensor
        for step in sample(
            live.denoiser, blank, sigmas, positive, negative, name="dpmpp_2m", guidance_scale=guidance_scale
        ):
            result = step.x
        pictures.append(live.vae.decode(result.clone()))
    return labelled_grid(torch.cat(pictures), 8, [p if p.isascii() else "" for p in PROMPTS], scale=2)


def loss_curve(log: Path) -> Tensor:
    """Training and held-out loss of the denoiser against pictures seen, (1, 3, H, W)."""
    entries = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    entries = [entry for entry in entries if entry.get("stage") == "denoiser"]
    curves = []
    for key, name in (("loss", "training"), ("held_out_loss", "held out")):
        points = sorted((entry["seen"], entry[key]) for entry in entries if entry.get(key, 9) < 1)
        curves.append(Curve(name, [seen / 1000 for seen, _ in points], [loss for _, loss in points]))
    return line_plot(curves, title="Flow-matching loss", x_label="thousand pictures seen", y_label="loss")


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("nodegraph/diffusion/embedded/emoji"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    (args.out / "emoji-loss.png").write_bytes(encode_png(loss_curve(args.log)[0]))
    (args.out / "emoji-samples.png").write_bytes(encode_png(samples(args.model)[0]))


if __name__ == "__main__":
    main()
